//! Signed configurations over a real store: who may sign, which versions come back and which never, through restarts and losses.

use super::*;
use crate::control_plane::reload::Estate;
use crate::control_plane::signed::{Guard, Offer};
use crate::control_plane::supply::Ending;
use crate::control_plane::{Change, choose};
use crate::vault::signature::{self, PublicKey, TrustSet};
use minisign::KeyPair;
use std::io::Cursor;

pub(super) fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("randomness")
}

fn text_of(pair: &KeyPair) -> String {
    PublicKey::parse(&pair.pk.to_box().expect("a box").to_string()).expect("a key").text().to_owned()
}

fn guard(pairs: &[&KeyPair], threshold: usize) -> Guard {
    let keys = pairs.iter().map(|pair| PublicKey::parse(&text_of(pair)).expect("a key")).collect();
    Guard { pins: Some(TrustSet::new(keys, Some(threshold)).expect("a trust")), fleet: Some("edge".to_owned()) }
}

/// The usual configuration as a version of `prod`, with further lines at its top.
fn version(number: u64, lines: &str) -> String {
    CONFIG.replace("version = 3\n", &format!("version = {number}\nconfig_id = \"prod\"\n{lines}\n"))
}

fn trusting(pairs: &[&KeyPair], threshold: usize) -> String {
    let keys: Vec<String> = pairs.iter().map(|pair| format!("{:?}", text_of(pair))).collect();
    format!("trust = {{ keys = [{}], threshold = {threshold} }}", keys.join(", "))
}

fn sign(text: &str, pairs: &[&KeyPair]) -> String {
    let number = text.lines().find_map(|line| line.strip_prefix("version = ")).expect("a version");
    let comment = signature::comment("prod", number.parse().expect("a number"), text.as_bytes());
    let one = |pair: &&KeyPair| minisign::sign(None, &pair.sk, Cursor::new(text), Some(&comment), None);
    pairs.iter().map(|pair| one(pair).expect("signed").into_string()).collect()
}

impl House {
    /// Starts as `igris serve --trust-key` does, over the file that lies there.
    fn start_signed(&self, guard: Guard) -> Result<Control, ControlError> {
        let chosen = choose(&self.file(), &self.directory, guard, clock())?;
        let env = self.env.clone();
        let opened = Control::open(Start {
            config: chosen.config,
            stamp: chosen.stamp,
            footing: chosen.footing,
            source: ConfigSource::File(self.file()),
            data_dir: self.directory.clone(),
            reports: vec![self.reports.clone()],
            board: Arc::default(),
            driver: "epoll".to_owned(),
            workers: 1,
            control_socket: self.directory.join("control.sock"),
            env: Box::new(move |name| env.get(name).cloned()),
            clock,
            entropy: Box::new(OsEntropy),
        })?;
        Ok(opened.control)
    }

    fn lay(&self, text: &str, pairs: &[&KeyPair]) {
        fs::create_dir_all(&self.directory).expect("a directory");
        fs::write(self.file(), text).expect("written");
        fs::write(self.directory.join("igris.toml.minisig"), sign(text, pairs)).expect("written");
    }
}

fn push(control: &mut Control, text: &str, pairs: &[&KeyPair]) -> Result<Reloaded, ControlError> {
    let pushed = Some(Offer::pushed(text.as_bytes().to_vec(), Some(sign(text, pairs))));
    control.change_config(WHO, Change { pushed, watch: None })
}

/// The refusal's sentence; it must name its rule and change nothing.
fn refused(control: &mut Control, text: &str, pairs: &[&KeyPair]) -> String {
    let before = control.published().load_full();
    let error = push(control, text, pairs).expect_err("refused");
    assert!(Arc::ptr_eq(&before, &control.published().load_full()), "nothing was published");
    assert_eq!(error.status(), 422);
    error.to_string()
}

#[track_caller]
fn assert_says(sentence: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| sentence.contains(part)), "{parts:?} in: {sentence}");
}

fn live(control: &Control) -> u64 {
    control.published().load().config.version
}

#[test]
fn only_what_trusted_keys_signed_is_taken() {
    let (house, a, b, stranger) = (House::new("signed-keys"), pair(), pair(), pair());
    house.lay(&version(7, ""), &[&stranger]);
    let error = house.start_signed(guard(&[&a, &b], 1)).err().expect("a stranger's signature");
    assert_says(&error.to_string(), &["rule C5", "sign with"]);
    assert!(!house.directory.join("igris.db").exists(), "nothing was made");
    house.lay(&version(7, ""), &[&b]);
    let mut control = house.start_signed(guard(&[&a, &b], 1)).expect("started");
    assert_eq!((live(&control), control.config_status()["trust"]["threshold"].as_u64()), (7, Some(1)));
    assert!(push(&mut control, &version(8, ""), &[&a]).expect("taken").changed);
    assert_says(&refused(&mut control, &version(9, ""), &[&stranger]), &["rule C5"]);
    let unsigned = control.reload(WHO, Some(&version(9, ""))).expect_err("refused");
    assert_says(&unsigned.to_string(), &["not signed", "rule C1", "igris sign sign"]);
    let mut tampered = Offer::pushed(version(9, "").into_bytes(), Some(sign(&version(9, ""), &[&a])));
    tampered.bytes[30] ^= 1;
    let change = Change { pushed: Some(tampered), watch: None };
    assert_says(&control.change_config(WHO, change).expect_err("refused").to_string(), &["does not fit", "rule C5"]);
}

#[test]
fn broken_text_is_not_looked_into_before_its_signature() {
    let (house, key) = (House::new("signed-order"), pair());
    house.lay(&version(7, ""), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    let change = Change { pushed: Some(Offer::pushed(b"[[[broken \xff".to_vec(), None)), watch: None };
    let error = control.change_config(WHO, change).expect_err("refused");
    assert!(error.to_string().contains("not signed") && error.lines().len() == 1, "{error}");
}

#[test]
fn identity_is_asked_for_and_must_be_ours() {
    let (house, key) = (House::new("signed-identity"), pair());
    house.lay(&version(7, ""), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    let text = |from: &str, to: &str| version(8, "").replace(from, to);
    let plain = |text: &str| {
        let signed = minisign::sign(None, &key.sk, Cursor::new(text), Some("timestamp:1"), None);
        let offer = Offer::pushed(text.as_bytes().to_vec(), Some(signed.expect("signed").into_string()));
        Change { pushed: Some(offer), watch: None }
    };
    for (text, parts) in [
        (text("config_id = \"prod\"\n", ""), &["config_id", "rule C1"][..]),
        (text("version = 8\n", ""), &["`version`", "rule C3"]),
        (text("\"prod\"", "\"staging\""), &["`staging`", "`prod`", "repin"]),
        (version(8, "not_for = [\"edge\"]"), &["not_for", "`edge`", "rule C1"]),
        (version(8, "expires_at = 2026-11-01T00:00:00Z"), &["expired", "rule C4"]),
    ] {
        let error = control.change_config(WHO, plain(&text)).expect_err("refused");
        assert_says(&error.to_string(), parts);
    }
    assert!(control.change_config(WHO, plain(&version(8, "not_for = [\"core\"]"))).expect("a stock signature").changed);
    // A purpose that is not what the file says: signed as another version.
    let (text, other) = (version(10, ""), signature::comment("prod", 9, version(10, "").as_bytes()));
    let signed = minisign::sign(None, &key.sk, Cursor::new(&text), Some(&other), None).expect("signed").into_string();
    let change = Change { pushed: Some(Offer::pushed(text.into_bytes(), Some(signed))), watch: None };
    assert_says(&control.change_config(WHO, change).expect_err("refused").to_string(), &["version 9", "version 10"]);
}

#[test]
fn versions_only_grow_and_never_come_back() {
    let (house, key) = (House::new("signed-versions"), pair());
    house.lay(&version(7, ""), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    assert!(!push(&mut control, &version(7, ""), &[&key]).expect("the same").changed, "twice is nothing");
    assert_says(&refused(&mut control, &version(7, "# other"), &[&key]), &["another content", "rule C3", "above 7"]);
    assert_says(&refused(&mut control, &version(6, ""), &[&key]), &["older than version 7", "rule C3"]);
    let leap = 7 + crate::limits::CONFIG_VERSION_LEAP_MAX;
    assert_says(&refused(&mut control, &version(leap + 1, ""), &[&key]), &["leaps too far", "rule C4"]);
    assert!(push(&mut control, &version(leap, ""), &[&key]).expect("just so far").changed);
    assert_says(&refused(&mut control, &version(7, ""), &[&key]), &["older"]);
    drop(control);
    // The file is the old one still: the store knows better, and says so.
    let control = house.start_signed(guard(&[&key], 1)).expect("started");
    assert_eq!(live(&control), leap);
    assert_says(&events(&control), &["alarm", "is version 7", "from the store"]);
}

#[test]
fn a_configuration_that_does_not_apply_uses_up_no_version() {
    let (house, key) = (House::new("signed-burn"), pair());
    house.lay(&version(7, ""), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    let broken = version(8, "").replace("OPENAI_API_KEY", "NOT_SET_ANYWHERE");
    assert_says(&refused(&mut control, &broken, &[&key]), &["NOT_SET_ANYWHERE"]);
    assert!(push(&mut control, &version(8, "# repaired"), &[&key]).expect("the same number").changed);
}

#[test]
fn what_was_stored_and_not_published_is_live_after_a_crash() {
    let (house, key) = (House::new("signed-crash"), pair());
    house.lay(&version(7, ""), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    let text = version(8, "");
    let offer = Offer::pushed(text.clone().into_bytes(), Some(sign(&text, &[&key])));
    let admitted = control.standing.admit(offer, Some("prod"), NOW).expect("admitted");
    let inputs = crate::control_plane::inputs::gather(&admitted.config, &control.env, None).expect("read");
    let entry = control.standing.entry(&admitted, 0);
    let (config, stamp) = (admitted.config.clone(), admitted.stamp.clone());
    let estate = Estate::Settled { who: WHO, what: "config.put", ending: Ending::Now };
    control.put_live(config, stamp, &inputs, estate, |store| entry.write(store, NOW)).expect("stored");
    assert_eq!(live(&control), 7, "not published yet");
    drop(control);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    assert_eq!(live(&control), 8);
    assert!(!push(&mut control, &text, &[&key]).expect("the same").changed);
    assert_says(&refused(&mut control, &version(7, ""), &[&key]), &["older"]);
}

#[test]
fn who_is_trusted_changes_only_with_the_consent_of_both() {
    let (house, old, new) = (House::new("signed-change"), pair(), pair());
    house.lay(&version(7, ""), &[&old]);
    let mut control = house.start_signed(guard(&[&old], 1)).expect("started");
    let change = version(8, &trusting(&[&new], 1));
    assert_says(&refused(&mut control, &change, &[&old]), &["those who come must sign", "rule C5"]);
    assert_says(&refused(&mut control, &change, &[&new]), &["rule C5"]);
    assert!(push(&mut control, &change, &[&old, &new]).expect("both signed").changed);
    assert_says(&refused(&mut control, &version(9, ""), &[&old]), &["rule C5"]);
    assert!(push(&mut control, &version(9, ""), &[&new]).expect("the new one").changed, "no `trust`: it stays");
    drop(control);
    // The unit file still names the old key: trust grew from it.
    house.lay(&version(9, ""), &[&new]);
    let control = house.start_signed(guard(&[&old], 1)).expect("started");
    assert_eq!(live(&control), 9);
    drop(control);
    // Or it names the new one already.
    drop(house.start_signed(guard(&[&new], 1)).expect("started"));
    let other = pair();
    for strange in [guard(&[&other], 1), guard(&[&old, &new], 1), guard(&[&old], 1)] {
        let error = house.start_signed(strange).err().expect("not what the store was pinned to");
        assert_says(&error.to_string(), &["rule C3", "igris sign repin"]);
    }
}

#[test]
fn a_change_of_trust_that_is_taken_back_leaves_those_who_were_trusted() {
    let (house, old, new) = (House::new("signed-undone"), pair(), pair());
    house.lay(&version(7, ""), &[&old]);
    let mut control = house.start_signed(guard(&[&old], 1)).expect("started");
    let text = version(8, &trusting(&[&new], 1));
    let pushed = Some(Offer::pushed(text.clone().into_bytes(), Some(sign(&text, &[&old, &new]))));
    let watch = Some(Duration::from_secs(60));
    control.change_config(WHO, Change { pushed, watch }).expect("on trial");
    assert_says(&refused(&mut control, &version(9, ""), &[&old]), &["rule C5"]);
    control.end_trial(WHO, false).expect("taken back");
    assert_eq!(live(&control), 7);
    assert_says(&refused(&mut control, &version(9, ""), &[&new]), &["rule C5"]);
    push(&mut control, &version(9, ""), &[&old]).expect("as before");
    drop(control);
    // The file is what was taken back: the last good one is served, by the keys that are trusted.
    house.lay(&text, &[&old, &new]);
    let control = house.start_signed(guard(&[&old], 1)).expect("started");
    assert_eq!(live(&control), 9);
    assert_says(&events(&control), &["was taken back", "version 9 from the store"]);
}

#[test]
fn a_lost_store_asks_for_the_pinned_key_again_and_takes_nothing_else() {
    let (house, old, new) = (House::new("signed-lost"), pair(), pair());
    house.lay(&version(7, &trusting(&[&new], 1)), &[&old, &new]);
    drop(house.start_signed(guard(&[&old], 1)).expect("started"));
    for file in ["igris.db", "igris.db-wal", "igris.db-shm"] {
        let _ = fs::remove_file(house.directory.join(file));
    }
    house.lay(&version(8, ""), &[&new]);
    let error = house.start_signed(guard(&[&old], 1)).err().expect("the old key did not sign this");
    assert_says(&error.to_string(), &["rule C5"]);
    let _ = fs::remove_file(house.directory.join("root.key"));
    let control = house.start_signed(guard(&[&new], 1)).expect("pinned to the new key");
    assert_eq!(live(&control), 8);
}

#[test]
fn an_expired_configuration_serves_on_and_is_never_loaded() {
    let (house, key) = (House::new("signed-expiry"), pair());
    CLOCK.set(NOW.0);
    let end = UnixMillis(NOW.0 + 3_600_000).to_rfc3339();
    house.lay(&version(7, &format!("expires_at = {end}")), &[&key]);
    let mut control = house.start_signed(guard(&[&key], 1)).expect("started");
    control.tick();
    assert_eq!(control.config_status()["expired"], false);
    CLOCK.set(NOW.0 + 3_600_000);
    control.tick();
    control.tick();
    assert_eq!(events(&control).matches("goes on serving").count(), 1, "{}", events(&control));
    assert_eq!((live(&control), control.config_status()["expired"].as_bool()), (7, Some(true)));
    assert!(control.metrics().contains("igris_config_expired 1\n"));
    assert_says(&control.reload(WHO, None).expect_err("refused").to_string(), &["expired", "rule C4"]);
    drop(control);
    assert!(house.start_signed(guard(&[&key], 1)).is_err(), "expired");
    // A clock that is set back brings nothing back: the store has seen later.
    CLOCK.set(NOW.0);
    let error = house.start_signed(guard(&[&key], 1)).err().expect("expired");
    assert_says(&error.to_string(), &["expired", "see to the clock"]);
    CLOCK.set(NOW.0);
}

#[test]
fn a_signed_file_cannot_move_the_store_that_judges_it() {
    let (house, key) = (House::new("signed-store"), pair());
    house.lay(&version(7, "store.url = \"sqlite:/tmp/igris-elsewhere.db\""), &[&key]);
    let error = house.start_signed(guard(&[&key], 1)).err().expect("refused");
    assert_says(&error.to_string(), &["store.url", "rule C3"]);
}

#[test]
fn without_trusted_keys_nothing_is_asked_for() {
    let (house, key) = (House::new("signed-none"), pair());
    house.lay(&version(7, &trusting(&[&key], 1)), &[&key]);
    let mut control = house.start_signed(Guard::default()).expect("started");
    assert!(control.reload(WHO, Some(&version(3, ""))).expect("any version").changed);
    assert!(control.config_status()["trust"].is_null());
}

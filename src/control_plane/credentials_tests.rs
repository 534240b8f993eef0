use super::*;
use crate::store::tests::{NOW, Place as Directory, tenant};
use crate::vault::OsEntropy;
use std::time::Instant;

const URL: &str = "https://api.openai.com/v1";
/// Rule R4: a key with a marker that must turn up nowhere. Its end is not part of the marker, since ends are shown.
const MARKER: &str = "CANARY0123456789marker";

fn openai() -> ProviderId {
    ProviderId::new("openai")
}

fn key(n: u32) -> Secret {
    Secret::take(format!("sk-proj-{MARKER}-{n:04}").into_bytes())
}

struct House {
    directory: Directory,
    store: Store,
    keyring: Keyring,
}

impl House {
    fn new(name: &str) -> Self {
        let directory = Directory::new(&format!("credentials-{name}"));
        let (store, keyring) = directory.open();
        Self { directory, store, keyring }
    }

    fn tenant(&mut self, name: &str) -> TenantId {
        tenant(&mut self.store, &self.keyring, name)
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Credentials<'_>) -> T) -> T {
        work(&mut Credentials::new(&mut self.store, &self.keyring, &mut OsEntropy, NOW))
    }

    fn add(&mut self, tenant: &TenantId, secret: Secret) -> Result<CredentialView, CredentialError> {
        self.with(|keys| keys.add(tenant, &openai(), URL, secret, KeyConfig::default()))
    }

    fn opened(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let refused = self
            .with(|keys| {
                keys.open_living(
                    None,
                    |_| Had::Nothing,
                    |key| {
                        let secret = key.secret.expect("opened");
                        found.push((key.tenant.to_string(), secret.expose().to_vec()));
                    },
                )
            })
            .expect("opened");
        assert!(refused.is_empty(), "{refused:?}");
        found
    }

    fn reopen(self) -> Self {
        let Self { directory, store, keyring } = self;
        drop((store, keyring));
        let (store, keyring) = directory.open();
        Self { directory, store, keyring }
    }
}

fn id(view: &CredentialView) -> CredentialId {
    CredentialId::parse(&view.id).expect("an id")
}

#[test]
fn a_key_goes_in_once_and_comes_out_for_the_snapshot_only() {
    let mut house = House::new("add");
    let acme = house.tenant("acme");
    let padded = Secret::take([b" \n", key(1).expose(), b"\r\n"].concat());
    let view = house.add(&acme, padded).expect("added");
    assert_eq!((view.status, view.key.as_str(), view.warnings.len()), ("active", "sk-proj-…0001", 0));
    let json = serde_json::to_value(&view).expect("json");
    assert_eq!(json["config"], serde_json::json!({"timeout": 300, "max_retries": 3}));
    assert_eq!(json["created_at"], "2026-11-23T06:51:53Z");
    assert_eq!(house.opened(), [("acme".to_owned(), key(1).expose().to_vec())]);
    let mut house = house.reopen();
    assert_eq!(house.opened(), [("acme".to_owned(), key(1).expose().to_vec())]);
    let listed = house.with(|keys| keys.list(&acme, Some(&openai()))).expect("listed");
    assert_eq!(listed, [view]);
}

#[test]
fn no_file_ever_holds_the_text_and_a_removed_record_is_gone() {
    let mut house = House::new("scan");
    let acme = house.tenant("acme");
    let view = house.add(&acme, key(7)).expect("added");
    house.with(|keys| keys.list(&acme, None)).expect("listed");
    assert!(house.directory.files_with(MARKER.as_bytes()).is_empty());
    let record = house.store.credential(&acme, id(&view)).expect("row").record.expect("sealed");
    assert!(!house.directory.files_with(&record).is_empty(), "the scan can find what is there");

    let removed = house.with(|keys| keys.remove(&acme, id(&view))).expect("removed");
    assert_eq!(removed.status, "revoked");
    assert!(house.directory.files_with(&record).is_empty(), "the sealed record is still on disk");
    assert!(house.directory.files_with(MARKER.as_bytes()).is_empty());
    assert!(house.opened().is_empty());
    let again = house.with(|keys| keys.remove(&acme, id(&view)));
    assert!(matches!(again, Err(CredentialError::Store(StoreError::NotFound(_)))));
    let house = house.reopen();
    assert!(house.directory.files_with(&record).is_empty() && house.directory.files_with(MARKER.as_bytes()).is_empty());
}

#[test]
fn a_bad_text_or_config_is_refused_without_quoting_it() {
    let mut house = House::new("refuse");
    let acme = house.tenant("acme");
    for bad in
        ["", " \t\r\n", "sk-CANARY\r\nx-evil: 1", "sk-CANARY\0", "sk-CANARY two", "sk-CANARYé", "sk-CANARY\u{7f}"]
    {
        let error = house.add(&acme, Secret::copy_of(bad.as_bytes())).expect_err(bad);
        assert_eq!(error.whose(), Whose::Client);
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
    }
    let limits =
        [(PROVIDER_KEY_BYTES_MAX - 1, true), (PROVIDER_KEY_BYTES_MAX, true), (PROVIDER_KEY_BYTES_MAX + 1, false)];
    for (len, fine) in limits {
        assert_eq!(house.add(&acme, Secret::take(vec![b'k'; len])).is_ok(), fine, "{len}");
    }
    for (timeout_ms, max_retries, fine) in [
        (1, 0, true),
        (CREDENTIAL_TIMEOUT_MS_MAX, 10, true),
        (0, 0, false),
        (CREDENTIAL_TIMEOUT_MS_MAX + 1, 0, false),
        (1, 11, false),
    ] {
        let config = KeyConfig { timeout_ms, max_retries };
        assert_eq!(house.with(|keys| keys.add(&acme, &openai(), URL, key(1), config)).is_ok(), fine, "{config:?}");
    }
}

#[test]
fn tenants_do_not_see_each_other() {
    let mut house = House::new("tenants");
    let (acme, other) = (house.tenant("acme"), house.tenant("other"));
    let nobody = TenantId::new("nobody");
    let view = house.add(&acme, key(1)).expect("added");
    let missing = |error: CredentialError| matches!(error, CredentialError::Store(StoreError::NotFound(_)));
    assert!(house.with(|keys| keys.list(&other, None)).expect("listed").is_empty());
    assert!(missing(house.with(|keys| keys.remove(&other, id(&view))).expect_err("rule T1")));
    assert!(missing(house.with(|keys| keys.remove(&nobody, id(&view))).expect_err("rule T1")));
    assert!(missing(house.with(|keys| keys.list(&nobody, None)).expect_err("rule T1")));
    assert!(missing(house.add(&nobody, key(2)).expect_err("rule T1")));
    assert_eq!(house.opened().len(), 1);
}

/// Rule V4 in the database: rows that change places do not open, and harm nobody else.
#[test]
fn swapped_rows_are_refused_alone() {
    let mut house = House::new("swap");
    let (acme, other) = (house.tenant("acme"), house.tenant("other"));
    let victim = house.add(&acme, key(1)).expect("added");
    house.add(&acme, key(2)).expect("added");
    house.add(&other, key(3)).expect("added");
    for change in [
        "UPDATE credentials SET base_url = 'https://evil.example/v1' WHERE id = ?1",
        "UPDATE credentials SET provider = 'xai' WHERE id = ?1",
        "UPDATE credentials SET tenant = 'other' WHERE id = ?1",
        "UPDATE credentials SET generation = 2 WHERE id = ?1",
        "UPDATE credentials SET record = (SELECT record FROM credentials WHERE id <> ?1 AND tenant = 'acme') WHERE id = ?1",
    ] {
        let House { store, keyring, directory } = house;
        drop((store, keyring));
        let kept = std::fs::read(directory.database()).expect("read");
        let raw = rusqlite::Connection::open(directory.database()).expect("opened");
        raw.execute(change, [id(&victim).bits().to_be_bytes()]).expect("changed");
        drop(raw);
        let (store, keyring) = directory.open();
        house = House { store, keyring, directory };
        let mut found = 0;
        let refused = house.with(|keys| keys.open_living(None, |_| Had::Nothing, |_| found += 1)).expect("opened");
        assert_eq!((found, refused.len()), (2, 1), "{change}");
        assert_eq!(refused[0].id, id(&victim));
        let House { store, keyring, directory } = house;
        drop((store, keyring));
        std::fs::write(directory.database(), kept).expect("restored");
        let (store, keyring) = directory.open();
        house = House { store, keyring, directory };
    }
    assert_eq!(house.opened().len(), 3);
}

#[test]
fn a_prefix_of_another_provider_is_warned_about() {
    let mut house = House::new("warn");
    let acme = house.tenant("acme");
    for (provider, text, warned) in [
        ("openai", "sk-ant-api03-0123456789abcdef", true),
        ("openai", "sk-0123456789abcdef", false),
        ("anthropic", "sk-0123456789abcdef", true),
        ("mistral", "0123456789abcdef0123456789abcdef", false),
        ("deepseek", "sk-0123456789abcdef", false),
        ("google", "AIza0123456789abcdef", false),
        ("xai", "gsk_0123456789abcdef", true),
        ("openai", "sk-igris-0123456789abcdef", true),
        ("local-vllm", "sk-proj-0123456789abcdef", false),
    ] {
        let secret = Secret::copy_of(text.as_bytes());
        let provider = ProviderId::new(provider);
        let view = house.with(|keys| keys.add(&acme, &provider, URL, secret, KeyConfig::default())).expect("added");
        assert_eq!(!view.warnings.is_empty(), warned, "{provider} {text}: {:?}", view.warnings);
        assert!(!view.warnings.iter().any(|warning| warning.contains("0123456789")));
    }
}

#[test]
fn short_keys_show_no_end() {
    assert_eq!(redacted(b"ollama"), "…");
    assert_eq!(redacted(b"0123456789abcde"), "…");
    assert_eq!(redacted(b"0123456789abcdef"), "…cdef");
    assert_eq!(redacted(b"sk-ant-api03-0123456789abcdef"), "sk-ant-…cdef");
}

#[test]
fn what_a_configuration_on_trial_leaves_out_stays_until_it_has_passed() {
    let mut house = House::new("supply-later");
    let acme = house.tenant("acme");
    for (number, ending, expected) in [(1, Ending::Now, 1), (2, Ending::Later, 2), (2, Ending::Now, 1)] {
        let (secrets, config) = (vec![key(number)], (KeyConfig::default(), ending));
        house.with(|keys| keys.supply(&acme, &openai(), "https://a.example", secrets, config)).expect("supplied");
        assert_eq!(house.opened().len(), expected, "{number} {ending:?}");
    }
}

#[test]
fn configuration_supplies_a_set_and_the_api_keeps_its_own() {
    let mut house = House::new("supply");
    let acme = house.tenant("acme");
    let by_api = house.add(&acme, key(9)).expect("added");
    let mut supply = |numbers: &[u32], url: &str| {
        let secrets = numbers.iter().map(|n| key(*n)).collect();
        let views = house
            .with(|keys| keys.supply(&acme, &openai(), url, secrets, (KeyConfig::default(), Ending::Now)))
            .expect("supplied")
            .views;
        let mut texts: Vec<_> = house.opened().into_iter().map(|(_, text)| text).collect();
        texts.sort();
        (views.into_iter().map(|view| view.id).collect::<Vec<_>>(), texts)
    };
    let text = |n| key(n).expose().to_vec();
    let (first, texts) = supply(&[1, 2], URL);
    assert_eq!(texts, [text(1), text(2), text(9)]);
    let (again, texts) = supply(&[1, 2], URL);
    assert_eq!((&again, texts), (&first, vec![text(1), text(2), text(9)]));
    let (other, texts) = supply(&[2, 3], URL);
    assert_eq!(other[0], first[1], "a known key keeps its id");
    assert_eq!(texts, [text(2), text(3), text(9)]);
    let (moved, _) = supply(&[2, 3], "https://eu.api.openai.com/v1");
    assert!(!moved.contains(&other[0]), "another address is another seal (rule T5)");
    let (_, texts) = supply(&[], URL);
    assert_eq!(texts, [text(9)]);
    assert_eq!(house.store.credential(&acme, id(&by_api)).expect("row").state, CredentialState::Active);
}

#[test]
fn a_new_data_key_seals_everything_anew() {
    let mut house = House::new("dek");
    let (acme, other) = (house.tenant("acme"), house.tenant("other"));
    for n in 1..=3 {
        house.add(&acme, key(n)).expect("added");
    }
    let gone = house.add(&acme, key(4)).expect("added");
    house.with(|keys| keys.remove(&acme, id(&gone))).expect("removed");
    house.add(&other, key(5)).expect("added");
    let before = house.opened();
    let old = house.store.data_key(&acme).expect("row");
    assert_eq!(old.seals, 4);
    assert_eq!(house.with(|keys| keys.rotate_data_key(&acme)).expect("rotated"), 3);
    assert_eq!(house.opened(), before);
    let new = house.store.data_key(&acme).expect("row");
    assert_eq!((new.generation, new.seals), (2, 3));
    assert!(house.directory.files_with(&old.record).is_empty(), "the old data key is still on disk");
    house.add(&acme, key(6)).expect("still takes keys");
    assert_eq!(house.reopen().opened().len(), 5);
}

#[test]
fn keys_stay_open_through_a_master_key_rotation() {
    let mut house = House::new("kek");
    let acme = house.tenant("acme");
    house.add(&acme, key(1)).expect("added");
    let House { store, keyring, .. } = &mut house;
    store.admin().rotate_master_key(keyring, &mut OsEntropy, NOW).expect("rotated");
    house.add(&acme, key(2)).expect("added");
    assert_eq!(house.opened().len(), 2);
    assert_eq!(house.reopen().opened().len(), 2);
}

#[test]
fn the_last_seal_of_a_data_key_is_refused_in_the_store_too() {
    let mut house = House::new("seals");
    let acme = house.tenant("acme");
    let House { store, keyring, directory } = house;
    drop((store, keyring));
    let raw = rusqlite::Connection::open(directory.database()).expect("opened");
    raw.execute("UPDATE tenants SET dek_seals = 4294967295", []).expect("set");
    drop(raw);
    let (store, keyring) = directory.open();
    let mut house = House { directory, store, keyring };
    house.add(&acme, key(1)).expect("the last one");
    let spent = house.add(&acme, key(2)).expect_err("refused");
    assert!(matches!(spent, CredentialError::Store(StoreError::Vault(VaultError::SealsSpent))));
    house.with(|keys| keys.rotate_data_key(&acme)).expect("rotated");
    house.add(&acme, key(2)).expect("the new data key seals");
}

/// Run alone with `--ignored --nocapture` and `--release` for the figure.
#[test]
#[ignore = "a measurement"]
fn how_long_opening_takes() {
    let mut house = House::new("speed");
    let tenants: Vec<_> = (0..100).map(|n| house.tenant(&format!("t{n}"))).collect();
    for n in 0..1_000 {
        house.add(&tenants[n as usize % 100], key(n)).expect("added");
    }
    let start = Instant::now();
    let mut house = house.reopen();
    let unlocked = start.elapsed();
    let start = Instant::now();
    assert_eq!(house.opened().len(), 1_000);
    println!("store and hierarchy {unlocked:?}; 1000 credentials of 100 tenants {:?}", start.elapsed());
}

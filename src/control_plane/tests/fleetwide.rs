//! Which configuration a machine of a fleet starts with, as far as its copy knows. What the machines do to each other is in
//! `tests/fleet_config.rs`.

use super::*;
use crate::control_plane::choose;
use crate::control_plane::fleetwide::{Word, keep_place};
use crate::control_plane::reload::{only_at_a_start, stamp};
use crate::control_plane::signed::Guard;
use crate::store::{FleetConfig, FleetConfigs, StoredText, TextState};

/// The usual configuration with a database, an address of its own, and a line that makes it another text.
fn text(port: u16, line: &str) -> String {
    let top = format!("version = 3\nserver = {{ listen = [\"127.0.0.1:{port}\"] }}\n{line}\n");
    let store = "[store]\nurl = \"postgres://igris@127.0.0.1:1/igris\"\n[vault]\nroot_key = { env = \"ROOT\" }\n";
    CONFIG.replace("version = 3\n", &top) + store
}

/// Lets the copy of a machine know that a fleet served these, the last of them now.
fn served(house: &House, texts: &[&str]) {
    fs::create_dir_all(&house.directory).expect("a directory");
    let mut store = Store::open(&house.directory.join("igris.db")).expect("opened");
    for text in texts {
        let row = StoredText {
            digest: stamp(3, text).digest,
            config_id: None,
            version: 3,
            state: TextState::Good,
            watch_ms: 0,
            text: (*text).to_owned(),
            signature: None,
            trust: None,
        };
        store.all_or_nothing(|store| store.admin().put_fleet_config(&row, WHO, NOW)).expect("put");
    }
}

/// What a start would serve over this file: its digest, the port it listens on, and whether the file was left behind.
fn chosen(house: &House, file: &str) -> (String, u16, bool) {
    fs::write(house.file(), file).expect("written");
    let chosen = choose(&house.file(), &house.directory, Guard::default(), clock()).expect("chosen");
    (chosen.stamp.digest, chosen.config.server.listen[0].port(), chosen.footing.beside.is_some())
}

#[test]
fn an_old_file_gives_way_to_the_fleets_and_keeps_its_own_place() {
    let house = House::new("fleetwide-choice");
    let (first, second) = (text(8_001, "# first"), text(8_002, "# second"));
    served(&house, &[&first, &second]);
    let digest = |text: &str| stamp(3, text).digest;
    assert_eq!(chosen(&house, &first), (digest(&second), 8_001, true), "it was left behind");
    assert_eq!(chosen(&house, &second), (digest(&second), 8_002, false), "it is the fleet's");
    let new = text(8_003, "# third");
    assert_eq!(chosen(&house, &new), (digest(&new), 8_003, false), "nobody had it");
    // A machine that left its fleet goes by its file again.
    let alone = CONFIG.replace("version = 3", "version = 3 # alone");
    served(&house, &[&alone, &second]);
    fs::write(house.file(), &alone).expect("written");
    let chosen = choose(&house.file(), &house.directory, Guard::default(), clock()).expect("chosen");
    assert_eq!(chosen.stamp.digest, digest(&alone));
}

#[test]
fn what_a_fleet_serves_and_this_build_cannot_read_does_not_stop_a_start() {
    let house = House::new("fleetwide-unread");
    let (own, newer) = (text(8_001, "# own"), text(8_002, "from_a_newer_build = true"));
    served(&house, &[&own, &newer]);
    assert_eq!(chosen(&house, &own), (stamp(3, &own).digest, 8_001, false));
}

#[test]
fn old_is_what_was_served_before_and_of_signed_ones_what_has_a_lower_version() {
    let newest = FleetConfig {
        number: 9,
        digest: "new".to_owned(),
        config_id: None,
        version: 7,
        text: String::new(),
        signature: None,
        who: String::new(),
        at: NOW,
    };
    let none = FleetConfigs::default();
    let fleet = FleetConfigs { newest: Some(newest), older: vec!["old".to_owned(), "new".to_owned()] };
    for (known, digest, version, expected) in [
        (&none, "any", None, Word::New),
        (&none, "any", Some(1), Word::New),
        (&fleet, "new", None, Word::Fleets),
        (&fleet, "new", Some(7), Word::Fleets),
        (&fleet, "old", None, Word::Old),
        (&fleet, "any", None, Word::New),
        (&fleet, "any", Some(6), Word::Old),
        (&fleet, "old", Some(8), Word::New),
    ] {
        assert_eq!(Word::of(known, digest, version), expected, "{digest} {version:?}");
    }
}

#[test]
fn a_machine_keeps_all_that_only_a_start_reads() {
    let known = crate::control_plane::known();
    let parse = |text: &str| Config::parse("igris.toml", text, &known).expect("read");
    let own = parse(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nworkers = 3\nio = \"epoll\"\ntls = { cert = \"a\", key = \"b\" }\n\
         [admin]\nsocket = \"/a\"\n[store]\nurl = \"sqlite:/a.db\"\n[vault]\nroot_key = { env = \"A\" }\n\
         [ledger]\ndurability = \"power\"\ndirectory = \"/a\"\n",
    );
    let mut others = parse("[server]\ndrain_timeout = \"7s\"\n");
    assert_eq!(only_at_a_start(&own, &others).count(), 9, "the text above differs in every such key");
    keep_place(&mut others, &own);
    assert_eq!(only_at_a_start(&own, &others).next(), None);
    assert_eq!(others.server.tls, own.server.tls);
    assert_eq!(others.server.drain_timeout, Duration::from_secs(7), "the rest is the fleet's");
}

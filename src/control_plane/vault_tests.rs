//! The hierarchy under change, cut at every step, and what a copy holds.

use super::*;
use crate::control_plane::credentials::KeyConfig;
use crate::domain::id::{CredentialId, ProviderId};
use crate::domain::secret::Secret;
use crate::vault::cut;
use std::fs;

const NOW: UnixMillis = UnixMillis(1_795_416_713_000);
const CANARY: &[u8] = b"sk-CANARY-of-the-vault-0123456789abcdef";
const URL: &str = "https://api.openai.com/v1";

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-vault-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn place(&self) -> VaultPlace {
        VaultPlace::of(None, &self.0)
    }

    fn init(&self) -> OfflineVault {
        let mut vault = OfflineVault::init(&self.place(), "test", NOW).expect("made");
        for tenant in ["default", "acme"].map(TenantId::new) {
            let OfflineVault { store, keyring, .. } = &mut vault;
            store.admin().ensure_tenant(&tenant, keyring, &mut OsEntropy, NOW).expect("a tenant");
            add(&mut vault, &tenant);
        }
        vault
    }

    fn open(&self) -> Result<OfflineVault, ControlError> {
        OfflineVault::open(&self.place(), "test", NOW)
    }

    /// Everything opens, under exactly one root key.
    fn is_whole(&self) {
        drop(self.open().unwrap_or_else(|error| panic!("{}: {error}", self.0.display())));
        let report = Reader::open(&self.place(), NOW).expect("opened").verify(None).expect("read");
        assert!(report.whole, "{:?}", report.findings);
        assert_eq!((report.credentials, report.data_keys, report.peppers), (2, 2, 1));
        let names = fs::read_dir(&self.0).expect("listed").map(|entry| entry.expect("an entry").file_name());
        let keys: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("root.key")).collect();
        assert_eq!(keys, ["root.key"]);
    }

    fn root_key(&self) -> Vec<u8> {
        fs::read(self.0.join("root.key")).expect("a root key")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn add(vault: &mut OfflineVault, tenant: &TenantId) {
    let OfflineVault { store, keyring, .. } = vault;
    let (provider, secret) = (ProviderId::new("openai"), Secret::copy_of(CANARY));
    let added =
        Credentials::new(store, keyring, &mut OsEntropy, NOW).add(tenant, &provider, URL, secret, KeyConfig::default());
    added.expect("added");
}

#[test]
fn a_root_rotation_cut_at_any_step_leaves_one_key_that_opens() {
    let home = Home::new("cut");
    drop(home.init());
    let (mut undone, mut finished) = (0, 0);
    for steps in 0.. {
        let before = home.root_key();
        let mut vault = home.open().expect("opened");
        cut::after(steps);
        let _ = vault.rotate_root(&NewRoot::InPlace, NOW);
        let reached = cut::end();
        drop(vault);
        home.is_whole();
        if home.root_key() == before {
            undone += 1
        } else {
            finished += 1
        }
        if !reached {
            break;
        }
    }
    assert!(undone >= 3 && finished >= 4, "cut before and after the commit: {undone} and {finished}");
}

#[test]
fn a_store_that_refuses_leaves_the_old_root_key() {
    let home = Home::new("refused");
    drop(home.init());
    let before = home.root_key();
    for (table, moment) in
        [("kek_versions", "UPDATE"), ("audit", "INSERT"), ("audit_head", "UPDATE"), ("vault", "UPDATE")]
    {
        let raw = rusqlite::Connection::open(home.place().store).expect("opened");
        let trigger = format!("CREATE TRIGGER no BEFORE {moment} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END");
        raw.execute_batch(&trigger).expect("made");
        drop(raw);
        let mut vault = home.open().expect("opened");
        let refused = vault.rotate_root(&NewRoot::InPlace, NOW).expect_err(table);
        assert!(refused.to_string().contains("the store refused"), "{refused}");
        let master = vault.rotate_master(NOW);
        // A master key is inserted, and the older one dropped in the end.
        assert_eq!(master.is_err(), table != "kek_versions", "{table}");
        drop(vault);
        let raw = rusqlite::Connection::open(home.place().store).expect("opened");
        raw.execute_batch("DROP TRIGGER no").expect("dropped");
        drop(raw);
        home.is_whole();
        assert_eq!(home.root_key(), before, "{table}");
    }
}

#[test]
fn an_old_root_key_is_refused_and_nothing_is_written() {
    let home = Home::new("old");
    drop(home.init());
    let old = home.root_key();
    home.open().expect("opened").rotate_root(&NewRoot::InPlace, NOW).expect("rotated");
    let new = home.root_key();
    assert_ne!(new, old);
    let path = home.0.join("root.key");
    let put = |text: &[u8]| {
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("set");
    };
    put(&old);
    let before = fs::read(home.place().store).expect("read");
    let refused = home.open().err().expect("refused").to_string();
    assert!(refused.contains("did not seal this store"), "{refused}");
    assert_eq!((fs::read(home.place().store).expect("read"), home.root_key()), (before.clone(), old));
    fs::remove_file(&path).expect("removed");
    let refused = home.open().err().expect("refused").to_string();
    assert!(refused.contains("holds no root key") && refused.contains("backup"), "{refused}");
    assert!(fs::read(home.place().store).expect("read") == before && !path.exists());
    put(&new);
    home.is_whole();
}

#[test]
fn a_new_root_key_may_lie_elsewhere_and_the_remedy_says_what_is_left_to_do() {
    let home = Home::new("elsewhere");
    let mut vault = home.init();
    let file = home.0.join("other.key");
    let rotated = vault.rotate_root(&NewRoot::File(file.clone()), NOW).expect("rotated");
    let remedy = rotated.remedy.expect("a remedy");
    assert!(
        remedy.contains("other.key")
            && !remedy.contains(std::str::from_utf8(&fs::read(&file).expect("made")[..16]).expect("digits"))
    );
    assert!(vault.rotate_root(&NewRoot::File(file.clone()), NOW).expect_err("the same").to_string().contains("in use"));
    drop(vault);
    assert!(home.open().is_err(), "the old file is no longer the key");
    fs::rename(&file, home.0.join("root.key")).expect("as the remedy says");
    home.is_whole();
    let mut vault = home.open().expect("opened");
    vault.root = RootSource::Env("IGRIS_NOWHERE".into());
    let refused = vault.rotate_root(&NewRoot::InPlace, NOW).expect_err("refused").to_string();
    assert!(refused.contains("--new-root-key"), "{refused}");
}

#[test]
fn master_and_data_keys_rotate_and_everything_opens() {
    let home = Home::new("master");
    let mut vault = home.init();
    let rotated = vault.rotate_master(NOW).expect("rotated");
    assert_eq!(rotated, MasterRotated { version: 2, rewrapped: 4 }, "two data keys, a pepper, the audit key");
    let acme = TenantId::new("acme");
    assert_eq!(vault.rotate_data(&acme, NOW).expect("rotated").resealed, 1);
    assert!(vault.rotate_data(&TenantId::new("nobody"), NOW).is_err());
    drop(vault);
    home.is_whole();

    // Cut after its first step: the next command finishes it instead of beginning another.
    let mut vault = home.open().expect("opened");
    begin_master(&mut vault.store, &mut vault.keyring, &mut OsEntropy, ("test", NOW)).expect("begun");
    assert!(begin_master(&mut vault.store, &mut vault.keyring, &mut OsEntropy, ("test", NOW)).is_err());
    drop(vault);
    home.is_whole();
    assert_eq!(home.open().expect("opened").rotate_master(NOW).expect("finished").version, 3);
    home.is_whole();
    let rows = home.open().expect("opened").store.admin().audit_tail(9).expect("read");
    let seen: Vec<_> =
        rows.iter().rev().map(|row| (row.what.as_str(), row.before.as_str(), row.after.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("vault.init", "", ""),
            ("vault.rotate_master", "1", "2"),
            ("vault.rotate_data", "generation 1", "generation 2"),
            ("vault.rotate_master", "2", "3"),
        ]
    );
}

#[test]
fn init_refuses_where_there_is_a_hierarchy_and_open_where_there_is_none() {
    let home = Home::new("init");
    assert!(matches!(home.open(), Err(ControlError::NotFound(_))));
    assert!(!home.0.exists(), "looking makes nothing");
    drop(home.init());
    let before = home.root_key();
    assert!(matches!(OfflineVault::init(&home.place(), "test", NOW), Err(ControlError::Conflict(_))));
    assert_eq!(home.root_key(), before);
    home.is_whole();
}

#[test]
fn a_copy_is_whole_has_nothing_erased_and_goes_over_no_file() {
    let home = Home::new("copy");
    let mut vault = home.init();
    let acme = TenantId::new("acme");
    let record = |vault: &OfflineVault| {
        let rows = vault.store.credentials(&acme, None).expect("read");
        rows.iter().find_map(|row| row.record.clone()).expect("a living key")
    };
    let erased = record(&vault);
    let OfflineVault { store, keyring, .. } = &mut vault;
    let id = CredentialId::parse(
        &Credentials::new(store, keyring, &mut OsEntropy, NOW).list(&acme, None).expect("listed")[0].id,
    );
    Credentials::new(store, keyring, &mut OsEntropy, NOW).remove(&acme, id.expect("an id")).expect("removed");
    add(&mut vault, &acme);

    let copy = home.0.join("copy.db");
    vault.back_up(&copy).expect("copied");
    let bytes = fs::read(&copy).expect("read");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&copy).expect("there").permissions()) & 0o777,
        0o600
    );
    for (needle, why) in [(&erased[70..], "an erased record"), (CANARY, "a key in the clear")] {
        assert!(memchr::memmem::find(&bytes, needle).is_none(), "{why} is in the copy");
    }
    assert!(memchr::memmem::find(&bytes, &record(&vault)[70..]).is_some(), "the living record is");
    assert!(vault.back_up(&copy).expect_err("refused").to_string().contains("not overwritten"));
    assert_eq!(fs::read(&copy).expect("read"), bytes);
    assert!(vault.back_up(&home.0.join("missing/copy.db")).is_err());

    // With its root key it is a store like any other; without, it is nothing.
    let place = VaultPlace { store: copy, ..home.place() };
    let report = Reader::open(&place, NOW).expect("opened").verify(None).expect("read");
    assert!(report.whole && report.credentials == 2, "{:?}", report.findings);
    let stranger = home.0.join("stranger.key");
    RootSource::File(stranger.clone()).make(&mut OsEntropy).expect("made");
    let refused = Reader::open(&VaultPlace { root: RootSource::File(stranger), ..place }, NOW).err().expect("refused");
    assert!(refused.to_string().contains("did not seal"), "{refused}");
    let names: Vec<_> =
        fs::read_dir(&home.0).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".part")), "{names:?}");
}

#[test]
fn what_does_not_open_is_a_finding() {
    let home = Home::new("finding");
    drop(home.init());
    let verify = || {
        let report = Reader::open(&home.place(), NOW).expect("opened").verify(None).expect("read");
        (report.whole, report.findings.join("\n"))
    };
    assert_eq!(verify(), (true, String::new()));
    let change = |sql: &str| {
        let raw = rusqlite::Connection::open(home.place().store).expect("opened");
        raw.execute_batch(sql).expect("changed");
    };
    change("UPDATE credentials SET provider = 'groq' WHERE tenant = 'acme'");
    let (whole, findings) = verify();
    assert!(!whole && findings.contains("of tenant acme") && findings.contains("altered"), "{findings}");
    change("UPDATE credentials SET provider = 'openai' WHERE tenant = 'acme'");
    change("UPDATE tenants SET dek_generation = 9 WHERE id = 'acme'");
    assert!(verify().1.contains("the data key of tenant acme"));
    change("UPDATE tenants SET dek_generation = 1 WHERE id = 'acme'");
    change("UPDATE audit SET who = 'nobody'");
    assert!(verify().1.contains("audit row 1"));
    change("UPDATE audit SET who = 'test'");
    change("PRAGMA foreign_keys = OFF; INSERT INTO peppers SELECT 9, 99, record, created FROM peppers");
    assert!(Reader::open(&home.place(), NOW).is_err(), "a pepper below no master key");
}

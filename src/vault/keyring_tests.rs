use super::*;
use crate::vault::entropy::OsEntropy;
use crate::vault::root_key::RootSource;
use std::path::PathBuf;

/// A fresh root key on disk; the same name gives the same key within a test run.
fn root(name: &str) -> RootKey {
    let path: PathBuf = std::env::temp_dir().join(format!("igris-ring-{name}-{}", std::process::id()));
    let source = RootSource::File(path);
    match source.load().expect("readable") {
        Some(root) => root,
        None => source.make(&mut OsEntropy).expect("made"),
    }
}

#[test]
fn a_hierarchy_opens_with_its_root_key_and_no_other() {
    let rows = Keyring::create(&root("own"), &mut OsEntropy).expect("created");
    let keyring = Keyring::open(root("own"), &rows).expect("opened");
    assert_eq!(keyring.active_version().expect("active"), 1);
    assert_eq!(keyring.pepper().expect("pepper").version(), 1);
    assert!(matches!(Keyring::open(root("foreign"), &rows), Err(VaultError::WrongRootKey)));
}

#[test]
fn a_data_key_opens_for_its_tenant_only() {
    let rows = Keyring::create(&root("tenant"), &mut OsEntropy).expect("created");
    let keyring = Keyring::open(root("tenant"), &rows).expect("opened");
    let (acme, other) = (TenantId::new("acme"), TenantId::new("other"));
    let row = keyring.make_data_key(&acme, 1, &mut OsEntropy).expect("made");
    assert!(keyring.open_data_key(&acme, &row).is_ok());
    assert!(keyring.open_data_key(&other, &row).is_err());
    assert!(keyring.open_data_key(&acme, &WrappedDataKey { generation: 2, ..row }).is_err());
}

#[test]
fn rewrapping_keeps_the_key_and_is_idempotent() {
    let rows = Keyring::create(&root("rewrap"), &mut OsEntropy).expect("created");
    let mut keyring = Keyring::open(root("rewrap"), &rows).expect("opened");
    let tenant = TenantId::new("acme");
    let old = keyring.make_data_key(&tenant, 1, &mut OsEntropy).expect("made");
    let before = *keyring.open_data_key(&tenant, &old).expect("opened").bytes();
    let new = keyring.next_master(&mut OsEntropy).expect("next");
    keyring.adopt(new);
    assert_eq!(keyring.active_version().expect("active"), 2);
    let moved = keyring.rewrap_data_key(&tenant, &old, &mut OsEntropy).expect("rewrapped").expect("moved");
    assert_eq!((moved.kek_version, moved.generation, moved.seals), (2, 1, 0));
    assert_eq!(*keyring.open_data_key(&tenant, &moved).expect("opened").bytes(), before);
    assert!(keyring.rewrap_data_key(&tenant, &moved, &mut OsEntropy).expect("no error").is_none());
    let pepper = keyring.rewrap_pepper(&rows.peppers[0], &mut OsEntropy).expect("rewrapped").expect("moved");
    assert!(keyring.rewrap_pepper(&pepper, &mut OsEntropy).expect("no error").is_none());
    keyring.forget_older().expect("forgotten");
    assert!(keyring.open_data_key(&tenant, &moved).is_ok());
    assert!(matches!(keyring.open_data_key(&tenant, &old), Err(VaultError::UnknownMasterKey { version: 1 })));
}

#[test]
fn another_root_key_takes_over() {
    let rows = Keyring::create(&root("before"), &mut OsEntropy).expect("created");
    let keyring = Keyring::open(root("before"), &rows).expect("opened");
    let tenant = TenantId::new("acme");
    let data_key = keyring.make_data_key(&tenant, 1, &mut OsEntropy).expect("made");
    let (root_check, masters) = keyring.under(&root("after"), &mut OsEntropy).expect("moved");
    let moved = KeyringRows { root_check, masters, peppers: rows.peppers.clone(), audit: rows.audit.clone() };
    assert!(matches!(Keyring::open(root("before"), &moved), Err(VaultError::WrongRootKey)));
    let keyring = Keyring::open(root("after"), &moved).expect("opened");
    assert!(keyring.open_data_key(&tenant, &data_key).is_ok());
}

#[test]
fn master_keys_cannot_change_places() {
    let mut rows = Keyring::create(&root("swap"), &mut OsEntropy).expect("created");
    let mut keyring = Keyring::open(root("swap"), &rows).expect("opened");
    let second = keyring.next_master(&mut OsEntropy).expect("next");
    rows.masters.push(second.wrapped.clone());
    keyring.adopt(second);
    let (first, second) = (rows.masters[0].record.clone(), rows.masters[1].record.clone());
    rows.masters[0].record = second;
    rows.masters[1].record = first;
    assert!(Keyring::open(root("swap"), &rows).is_err());
}

#[test]
fn a_hierarchy_without_its_audit_key_is_refused_and_an_older_one_gets_it() {
    let mut rows = Keyring::create(&root("audit"), &mut OsEntropy).expect("created");
    let keyring = Keyring::open(root("audit"), &rows).expect("opened");
    let bond = keyring.audit_key().expect("there").bind(b"row", &[b"1"]);
    let kept = rows.audit.take();
    assert!(matches!(Keyring::open(root("audit"), &rows), Err(VaultError::AuditKeyMissing)));

    // As a store that was made before the audit log had a key: the root key vouches for nothing.
    rows.root_check = seal_with(root("audit").bytes(), &Place::root_check(), &[], &mut OsEntropy).expect("sealed");
    let mut older = Keyring::open(root("audit"), &rows).expect("opened");
    assert!(older.audit_key().is_none());
    let new = older.next_audit_key(&mut OsEntropy).expect("made");
    (rows.root_check, rows.audit) = (new.root_check.clone(), Some(new.wrapped.clone()));
    older.adopt_audit_key(new);
    let again = Keyring::open(root("audit"), &rows).expect("opened");
    let other = again.audit_key().expect("there").bind(b"row", &[b"1"]);
    assert_eq!(other, older.audit_key().expect("there").bind(b"row", &[b"1"]));
    assert_ne!(other, bond);

    // It goes with the master key, and with the root key.
    rows.audit = kept;
    rows.root_check = Keyring::create(&root("audit"), &mut OsEntropy).expect("created").root_check;
    let mut keyring = Keyring::open(root("audit"), &rows).expect("opened");
    let next = keyring.next_master(&mut OsEntropy).expect("next");
    rows.masters.push(next.wrapped.clone());
    keyring.adopt(next);
    let moved = keyring.rewrap_audit_key(rows.audit.as_ref().expect("a row"), &mut OsEntropy).expect("rewrapped");
    let moved = moved.expect("moved");
    assert!(keyring.rewrap_audit_key(&moved, &mut OsEntropy).expect("no error").is_none());
    rows.audit = Some(moved);
    let copy = Keyring::open(root("audit"), &rows).expect("opened").duplicate().expect("copied");
    assert_eq!(copy.audit_key().expect("there").bind(b"row", &[b"1"]), bond);
}

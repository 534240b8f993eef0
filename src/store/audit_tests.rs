//! The audit log against somebody who can write the whole file and has no key.

use super::super::tests::Place;
use super::*;

fn note(store: &mut Store, what: &str) -> u64 {
    let acme = TenantId::new("acme");
    let tenant = what.starts_with("tenant").then_some(&acme);
    let entry = AuditEntry { at: UnixMillis(7), tenant, who: "uid:0", what, target: "key_1", before: "", after: "1" };
    store.admin().append_audit(&entry).expect("noted")
}

fn three(name: &str) -> (Place, Store) {
    let place = Place::new(name);
    let (mut store, _) = place.open();
    for what in ["credential.add", "tenant.create", "config.put"] {
        note(&mut store, what);
    }
    (place, store)
}

fn finding(store: &mut Store) -> String {
    store.admin().verify_audit().expect_err("a finding").to_string()
}

/// Makes a row follow from the one before as a log without a key does.
fn relink(store: &Store, from: u64) {
    let rows = {
        let mut statement =
            store.connection.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY sequence")).expect("sql");
        let rows = statement.query_map([], read).expect("a query");
        rows.collect::<Result<Vec<_>, _>>().expect("rows")
    };
    let mut before = [0; 32];
    for row in rows {
        let tenant = row.tenant.as_deref().map(TenantId::new);
        let bond = linked(&before, row.sequence, &entry_of(&row, tenant.as_ref()));
        before = if row.sequence >= from { bond } else { row.bond };
        store
            .connection
            .execute("UPDATE audit SET hash = ?1 WHERE sequence = ?2", params![before, to_sql(row.sequence)])
            .expect("set");
    }
}

#[test]
fn a_log_cut_at_its_end_shows_and_keeps_showing() {
    let (_place, mut store) = three("audit-cut");
    store.connection.execute("DELETE FROM audit WHERE sequence = 3", []).expect("cut");
    assert!(finding(&mut store).contains("ends with row 2 and its head says 3"));
    assert!(store.admin().audit_head().is_err());
    // What is noted afterwards does not hide it.
    assert_eq!(note(&mut store, "later"), 4);
    assert!(finding(&mut store).contains("row 3"), "the gap stays");
    // Nor does a head that was made to fit the cut.
    let (_place, mut store) = three("audit-cut-head");
    store.connection.execute("DELETE FROM audit WHERE sequence = 3", []).expect("cut");
    store.connection.execute("UPDATE audit_head SET sequence = 2", []).expect("set");
    assert_eq!(note(&mut store, "later"), 3);
    assert!(finding(&mut store).contains("altered before row 3"));
    assert_eq!(note(&mut store, "later"), 4);
    assert!(finding(&mut store).contains("altered before row 3"));
    assert!(store.admin().audit_head().is_err());
}

#[test]
fn who_rewrites_the_whole_table_still_shows() {
    let (place, mut store) = three("audit-rewrite");
    store.connection.execute("UPDATE audit SET who = 'uid:7' WHERE sequence = 1", []).expect("changed");
    relink(&store, 1);
    assert!(finding(&mut store).contains("row 1"));
    // Also one who says that the log was never bound.
    store.connection.execute("UPDATE audit_head SET keyed_from = 4", []).expect("set");
    assert!(finding(&mut store).contains("its head says"));
    store.connection.execute("DELETE FROM audit_head", []).expect("removed");
    assert!(finding(&mut store).contains("head is missing"));
    store.unlock(&place.root(), &mut crate::vault::OsEntropy, UnixMillis(1)).expect("it opens");
    assert!(finding(&mut store).contains("head is missing"), "a start does not make a new one");
    note(&mut store, "later");
    assert!(store.admin().verify_audit().is_err());
}

#[test]
fn taking_the_key_away_does_not_make_a_new_log() {
    let (place, store) = three("audit-no-key");
    store.connection.execute_batch("DELETE FROM audit_head; DELETE FROM audit_key").expect("removed");
    drop(store);
    let mut store = place.store();
    let refused = store.unlock(&place.root(), &mut crate::vault::OsEntropy, UnixMillis(1));
    assert!(matches!(refused, Err(StoreError::Vault(VaultError::AuditKeyMissing))));
}

#[test]
fn rows_from_before_the_log_had_a_key_are_gone_on_from() {
    let (place, mut store) = three("audit-older");
    relink(&store, 1);
    let (sequence, bond) = last(&store.connection).expect("a row");
    let key = store.audit_key().expect("a key");
    Head { sequence, keyed_from: 4, broken_at: 0, bond: Vec::new() }
        .write(&store.connection, &key, &bond)
        .expect("set");
    assert_eq!(store.admin().verify_audit().expect("linked rows hold"), 3);
    note(&mut store, "credential.add");
    assert_eq!(store.admin().verify_audit().expect("and go on"), 4);
    store.connection.execute("UPDATE audit SET who = 'uid:7' WHERE sequence = 2", []).expect("changed");
    assert!(finding(&mut store).contains("row 2"));
    drop(store);
    drop(place.open());
}

#[test]
fn an_anchor_shows_an_older_copy_of_everything() {
    let (_place, mut store) = three("audit-anchor");
    let anchor = store.admin().audit_head().expect("a head");
    assert_eq!(AuditHead::parse(&anchor.to_string()), Some(anchor));
    for bad in ["", "3", "3:", "x:0123456789abcdef", "+3:0123456789abcdef", "3:0123456789abcde", "3:+123456789abcdef"] {
        assert_eq!(AuditHead::parse(bad), None, "{bad}");
    }
    note(&mut store, "later");
    assert_eq!(store.admin().verify_audit_to(Some(anchor)).expect("it stands").sequence, 4);
    for other in [AuditHead { sequence: 9, ..anchor }, AuditHead { bond: [1; 8], ..anchor }] {
        assert!(store.admin().verify_audit_to(Some(other)).is_err(), "{other}");
    }
    assert!(store.admin().verify_audit_to(Some(AuditHead::default())).is_ok(), "an empty log was there once");
}

#[test]
fn a_page_is_of_one_tenant_where_one_is_named() {
    let (_place, mut store) = three("audit-page");
    let acme = TenantId::new("acme");
    let numbers = |rows: Vec<AuditRow>| rows.iter().map(|row| row.sequence).collect::<Vec<_>>();
    let all = AuditFilter::default();
    assert_eq!(numbers(store.admin().audit_page(all, 9).expect("read")), [1, 2, 3]);
    assert_eq!(numbers(store.admin().audit_page(AuditFilter { after: 1, ..all }, 1).expect("read")), [2]);
    let own = AuditFilter { tenant: Some(&acme), ..all };
    assert_eq!(numbers(store.admin().audit_page(own, 9).expect("read")), [2]);
    let other = TenantId::new("other");
    assert!(store.admin().audit_page(AuditFilter { tenant: Some(&other), ..all }, 9).expect("read").is_empty());
}

use super::super::tests::{NOW, Place, tenant};
use super::super::{AlertFilter, AuditEntry, NewAlert, Store, StoreError};
use super::*;
use crate::domain::id::{AlertId, TenantId};
use crate::vault::{Keyring, OsEntropy};
use std::sync::{Arc, Mutex};

const FLEET: [u8; 16] = [7; 16];

/// A database that is a list: every change with its generation.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<Vec<Vec<RowChange>>>>, Arc<Mutex<Option<ShareError>>>);

impl Shared for Hub {
    fn commit(&mut self, since: u64, changes: &[RowChange]) -> Result<u64, ShareError> {
        if let Some(fault) = self.1.lock().expect("whole").clone() {
            return Err(fault);
        }
        let mut log = self.0.lock().expect("whole");
        if log.len() as u64 != since {
            return Err(ShareError::Behind);
        }
        log.push(changes.to_vec());
        Ok(log.len() as u64)
    }
}

impl Hub {
    fn fails(&self, fault: Option<ShareError>) {
        *self.1.lock().expect("whole") = fault;
    }

    fn generation(&self) -> u64 {
        self.0.lock().expect("whole").len() as u64
    }

    fn news(&self, since: u64) -> News {
        let log = self.0.lock().expect("whole");
        let mut rows: Vec<RowChange> = Vec::new();
        for change in log.iter().skip(since as usize).flatten() {
            rows.retain(|known| known.table != change.table || known.key != change.key);
            rows.push(change.clone());
        }
        News { fleet: FLEET, since, generation: log.len() as u64, rows }
    }

    fn join(&self, place: &Place) -> Store {
        let mut store = Store::open_copy(&place.database()).expect("store");
        store.share(FLEET, Box::new(self.clone())).expect("it joins");
        store.adopt(&self.news(store.shared_generation().expect("shared"))).expect("taken in");
        store
    }
}

fn audited(store: &mut Store, what: &str) -> Result<u64, StoreError> {
    let entry = AuditEntry { at: NOW, tenant: None, who: "test", what, target: "x", before: "", after: "" };
    store.admin().append_audit(&entry)
}

/// Two machines, the second of which has the first one's root key.
fn pair(name: &str) -> (Hub, [Place; 2], [Store; 2], Keyring) {
    let hub = Hub::default();
    let places = [Place::new(&format!("{name}-a")), Place::new(&format!("{name}-b"))];
    let mut first = hub.join(&places[0]);
    let keyring = first.unlock(&places[0].root(), &mut OsEntropy, NOW).expect("a hierarchy");
    let mut second = hub.join(&places[1]);
    second.unlock(&places[0].root(), &mut OsEntropy, NOW).expect("the same hierarchy");
    (hub, places, [first, second], keyring)
}

#[test]
fn what_one_changes_the_other_has_and_a_repeated_word_changes_nothing() {
    let (hub, _places, [mut first, mut second], keyring) = pair("news");
    let acme = tenant(&mut first, &keyring, "acme");
    assert!(!second.has_tenant(&acme).expect("asked"));
    let news = hub.news(second.shared_generation().expect("shared"));
    let adopted = second.adopt(&news).expect("taken in");
    assert_eq!((adopted.rows, adopted.tenants.contains(&acme), adopted.hierarchy), (1, true, false));
    assert!(second.has_tenant(&acme).expect("asked"));
    assert_eq!(second.adopt(&news).expect("known"), Adopted::default());
    // From the very beginning once more: every row is what it is there by now.
    audited(&mut second, "one").expect("written");
    audited(&mut first, "two").expect_err("it does not know of the first");
    first.adopt(&hub.news(0)).expect("taken in");
    audited(&mut first, "two").expect("written");
    assert_eq!(first.shared_generation(), Some(hub.generation()));
}

#[test]
fn who_is_behind_changes_nothing_and_succeeds_after_the_news() {
    let (hub, _places, [mut first, mut second], keyring) = pair("behind");
    let acme = tenant(&mut first, &keyring, "acme");
    let refused = second.admin().ensure_tenant(&TenantId::new("other"), &keyring, &mut OsEntropy, NOW);
    assert!(matches!(refused, Err(StoreError::Share(ShareError::Behind))), "{refused:?}");
    assert!(!second.has_tenant(&TenantId::new("other")).expect("asked"), "nothing is left of it");
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    tenant(&mut second, &keyring, "other");
    first.adopt(&hub.news(first.shared_generation().expect("shared"))).expect("taken in");
    assert!(first.has_tenant(&acme).expect("asked") && first.has_tenant(&TenantId::new("other")).expect("asked"));
    let gap = News { since: 99, generation: 100, ..hub.news(0) };
    assert!(matches!(first.adopt(&gap), Err(StoreError::Share(ShareError::Behind))));
    let elsewhere = News { fleet: [8; 16], ..hub.news(0) };
    assert!(matches!(first.adopt(&elsewhere), Err(StoreError::OtherFleet)));
}

#[test]
fn the_log_says_on_which_machine_something_was_done() {
    let (hub, _places, [mut first, mut second], _) = pair("machine");
    first.admin().call_machine("gw-1");
    audited(&mut first, "one").expect("written");
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    let who = |store: &mut Store| store.admin().audit_tail(1).expect("read")[0].who.clone();
    assert_eq!(who(&mut second), "test host:gw-1");
    audited(&mut second, "two").expect("written");
    assert_eq!(who(&mut second), "test", "nobody gave it a name");
    assert_eq!(second.admin().verify_audit().expect("whole"), 2);
}

#[test]
fn a_database_that_is_gone_takes_nothing_and_a_transaction_is_undone_as_a_whole() {
    let (hub, _places, [mut first, _second], keyring) = pair("gone");
    let before = hub.generation();
    for fault in [ShareError::Unreachable("down".to_owned()), ShareError::Unknown("cut".to_owned())] {
        hub.fails(Some(fault.clone()));
        let tried: Result<(), StoreError> = first.all_or_nothing(|store| {
            tenant(store, &keyring, "acme");
            audited(store, "tenant.create").map(drop)
        });
        assert!(matches!(tried, Err(StoreError::Share(error)) if error == fault));
        assert!(!first.has_tenant(&TenantId::new("acme")).expect("asked"));
    }
    hub.fails(None);
    assert_eq!(hub.generation(), before);
    // Many calls are one change; one that changes no row is none.
    first
        .all_or_nothing(|store| {
            tenant(store, &keyring, "acme");
            audited(store, "tenant.create")
        })
        .expect("made");
    assert_eq!(hub.generation(), before + 1);
    assert!(!first.admin().ensure_tenant(&TenantId::new("acme"), &keyring, &mut OsEntropy, NOW).expect("known"));
    assert_eq!(hub.generation(), before + 1);
}

#[test]
fn nothing_is_written_past_the_others() {
    let (hub, _places, [mut first, _second], _) = pair("past");
    let refused = first.connection.execute("UPDATE vault SET kek_version_min = 9", []);
    assert!(refused.expect_err("refused").to_string().contains("outside of a change"));
    assert!(first.connection.execute("DELETE FROM peppers", []).is_err());
    assert!(first.connection.execute("INSERT INTO audit VALUES (1, 0, NULL, '', '', '', '', '', x'00')", []).is_err());
    // What is a machine's own is written as ever.
    let before = hub.generation();
    first.admin().set_usage_mark("mine", 7).expect("written");
    assert_eq!((first.admin().usage_sequence("mine").expect("read"), hub.generation()), (Some(7), before));
}

#[test]
fn what_is_erased_elsewhere_is_erased_from_this_file_too() {
    let (hub, places, [mut first, mut second], keyring) = pair("erased");
    let acme = tenant(&mut first, &keyring, "acme");
    let record = first.data_key(&acme).expect("a row").record;
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    assert!(!places[1].files_with(&record).is_empty());
    first.admin().destroy_tenant(&acme, NOW).expect("destroyed");
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    assert!(places[1].files_with(&record).is_empty(), "no file has it any more");
}

#[test]
fn a_copy_goes_on_after_a_restart_and_is_no_store_of_its_own() {
    let (hub, places, [mut first, second], keyring) = pair("restart");
    tenant(&mut first, &keyring, "acme");
    drop(second);
    let refused = Store::open(&places[1].database()).err().expect("refused");
    assert!(matches!(refused, StoreError::Copy { .. }) && refused.to_string().contains("[store] url"), "{refused}");
    let mut second = Store::open_copy(&places[1].database()).expect("opened");
    let other = second.share([9; 16], Box::new(hub.clone()));
    assert!(matches!(other, Err(StoreError::OtherFleet)), "the copy of another database");
    second.share(FLEET, Box::new(hub.clone())).expect("it joins again");
    assert!(second.shared_generation() < Some(hub.generation()), "it knows how far it was");
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    let mut own = Store::open(&Place::new("restart-own").database()).expect("opened");
    own.unlock(&places[0].root(), &mut OsEntropy, NOW).expect("a hierarchy of its own");
    assert!(matches!(own.share(FLEET, Box::new(hub)), Err(StoreError::OtherFleet)));
}

#[test]
fn an_estate_fills_an_empty_store_and_no_other() {
    let (_hub, places, [mut first, mut second], keyring) = pair("fill");
    tenant(&mut first, &keyring, "acme");
    let rows = first.estate().expect("read");
    let place = Place::new("filled");
    let mut filled = Store::open(&place.database()).expect("opened");
    filled.fill(&rows).expect("filled");
    assert!(filled.has_tenant(&TenantId::new("acme")).expect("asked"));
    filled.unlock(&places[0].root(), &mut OsEntropy, NOW).expect("it opens with the same root key");
    assert!(matches!(filled.fill(&rows), Err(StoreError::Exists(_))));
    assert!(second.fill(&rows).is_err());
}

#[test]
fn the_list_of_shared_tables_is_what_the_file_has() {
    let place = Place::new("columns");
    let store = Store::open(&place.database()).expect("opened");
    for table in ESTATE {
        let sql = "SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid";
        let mut statement = store.connection.prepare(sql).expect("prepared");
        let columns = statement.query_map([table.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let columns: Vec<(String, String, i64)> = columns.expect("read").map(|row| row.expect("a row")).collect();
        let ours: Vec<(String, String, bool)> = table
            .columns
            .iter()
            .map(|column| {
                let kind = match column.kind {
                    Kind::Integer => "INTEGER",
                    Kind::Text => "TEXT",
                    Kind::Blob => "BLOB",
                };
                (column.name.to_owned(), kind.to_owned(), column.is_key)
            })
            .collect();
        let theirs: Vec<_> = columns.into_iter().map(|(name, kind, key)| (name, kind, key > 0)).collect();
        assert_eq!(ours, theirs, "{}", table.name);
    }
}

#[test]
fn what_was_told_has_one_order_and_who_is_behind_tells_nothing() {
    let (hub, _places, [mut first, mut second], keyring) = pair("told");
    let acme = tenant(&mut first, &keyring, "acme");
    second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    let alert = |bits| NewAlert {
        id: AlertId::from_bits(bits),
        tenant: acme.clone(),
        kind: "budget_alert".to_owned(),
        subject: "acme".to_owned(),
        sentence: "It is so.".to_owned(),
        data: "{}".to_owned(),
        created: NOW,
        lasts: false,
    };
    first.add_alert(&acme, &alert(1)).expect("told");
    let late = second.add_alert(&acme, &alert(2));
    assert!(matches!(late, Err(StoreError::Share(ShareError::Behind))), "{late:?}");
    let adopted = second.adopt(&hub.news(second.shared_generation().expect("shared"))).expect("taken in");
    assert_eq!((adopted.alerts, adopted.rows, adopted.tenants.len()), (true, 1, 0));
    second.add_alert(&acme, &alert(2)).expect("told");
    first.adopt(&hub.news(first.shared_generation().expect("shared"))).expect("taken in");
    let all = AlertFilter { most: 9, ..AlertFilter::default() };
    let told: Vec<(u64, u128)> =
        first.alerts(&acme, &all).expect("read").iter().map(|row| (row.sequence, row.id.bits())).collect();
    assert_eq!(told, [(2, 2), (1, 1)]);
    // What is there already is no change.
    let before = hub.generation();
    first.add_alert(&acme, &alert(2)).expect("there");
    assert_eq!(hub.generation(), before);
}

use super::*;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, ProviderId, RotationId, TenantId};
use crate::domain::money::Money;
use crate::domain::scope::Scopes;
use crate::vault::{Keyring, OsEntropy, RootSource, VaultError};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub(crate) const NOW: UnixMillis = UnixMillis(1_795_416_713_000);

/// A directory of its own for one test, gone with it. Where `IGRIS_TEST_STORE_URL` names a cluster of PostgreSQL, the stores in it share
/// a database of their own there, and at the end another copy of it must be the same.
pub(crate) struct Place(PathBuf, Option<String>);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let cluster = std::env::var("IGRIS_TEST_STORE_URL").ok();
        let database = cluster.map(|cluster| {
            let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            crate::fleet::testing::database(&cluster, &format!("store_{plain}_{}", std::process::id()))
        });
        Self(path, database)
    }

    /// The store, on either engine.
    pub(crate) fn store(&self) -> Store {
        match &self.1 {
            None => Store::open(&self.database()).expect("store"),
            Some(url) => joined(&self.database(), url),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("igris.db")
    }

    pub(crate) fn root(&self) -> RootSource {
        RootSource::File(self.0.join("root.key"))
    }

    pub(crate) fn open(&self) -> (Store, Keyring) {
        let mut store = self.store();
        let keyring = store.unlock(&self.root(), &mut OsEntropy, NOW).expect("key ring");
        (store, keyring)
    }

    /// Every file of the directory that holds these bytes.
    pub(crate) fn files_with(&self, marker: &[u8]) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.0).expect("listed").map(|entry| entry.expect("entry").path());
        files.filter(|path| memchr::memmem::find(&fs::read(path).expect("read"), marker).is_some()).collect()
    }
}

/// A copy of a database, with all of its news.
fn joined(path: &std::path::Path, url: &str) -> Store {
    let mut store = Store::open_copy(path).expect("store");
    let (fleet, id) = crate::fleet::testing::join(url);
    store.share(id, Box::new(fleet.clone())).expect("it joins");
    let news = fleet.pull(store.shared_generation().expect("shared")).expect("news");
    store.adopt(&news).expect("taken in");
    store
}

/// What a store has of what is shared, in one order.
fn estate_of(store: &Store) -> Vec<String> {
    let mut rows: Vec<String> = store.estate().expect("rows").iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(url) = self.1.as_deref().filter(|_| !std::thread::panicking() && self.database().exists()) {
            let other = joined(&self.0.join("other.db"), url);
            // A test may hold its store until the end of its scope, which is after this: then there is nothing to compare.
            if let Ok(own) = Store::open_copy(&self.database()) {
                assert_eq!(estate_of(&own), estate_of(&other), "another copy has the same");
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn tenant(store: &mut Store, keyring: &Keyring, name: &str) -> TenantId {
    let tenant = TenantId::new(name);
    store.admin().ensure_tenant(&tenant, keyring, &mut OsEntropy, NOW).expect("tenant");
    tenant
}

#[test]
fn files_belong_to_their_owner_alone() {
    let place = Place::new("modes");
    let (_store, _) = place.open();
    assert_eq!(fs::metadata(&place.0).expect("directory").permissions().mode() & 0o777, 0o700);
    let files = fs::read_dir(&place.0).expect("listed").map(|entry| entry.expect("entry").path());
    for path in files {
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    }
}

#[test]
fn settings_are_those_that_survive_power_loss() {
    let place = Place::new("settings");
    let (store, _) = place.open();
    let text = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).expect("pragma");
    let number = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("pragma");
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!((number("synchronous"), number("foreign_keys"), number("secure_delete")), (2, 1, 1));
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let place = Place::new("second");
    let (store, _) = place.open();
    let error = Store::open(&place.database()).err().expect("refused");
    assert!(matches!(error, StoreError::InUse { .. }));
    assert!(error.to_string().contains("--data-dir"), "{error}");
    drop(store);
    Store::open(&place.database()).expect("free again");
}

#[test]
fn many_openers_at_once_leave_one() {
    let place = Place::new("race");
    drop(place.open());
    let open = || Store::open(&place.database());
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        let results: Vec<_> = openers.into_iter().map(|opener| opener.join().expect("no panic")).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    });
}

#[test]
fn tables_of_a_newer_build_and_foreign_files_are_refused() {
    let place = Place::new("newer");
    let (store, _) = place.open();
    store.connection.pragma_update(None, "user_version", 999).expect("set");
    drop(store);
    assert!(matches!(Store::open(&place.database()), Err(StoreError::TooNew { found: 999, .. })));

    let foreign = Place::new("foreign");
    fs::create_dir_all(&foreign.0).expect("directory");
    let other = rusqlite::Connection::open(foreign.database()).expect("opened");
    other.execute_batch("CREATE TABLE theirs (x)").expect("made");
    drop(other);
    assert!(matches!(Store::open(&foreign.database()), Err(StoreError::Foreign { .. })));

    let noise = Place::new("noise");
    fs::create_dir_all(&noise.0).expect("directory");
    fs::write(noise.database(), vec![0x5a; 8_192]).expect("written");
    assert!(matches!(Store::open(&noise.database()), Err(StoreError::Database(_))));
}

#[test]
fn the_hierarchy_comes_back_with_its_root_key_only() {
    let place = Place::new("root");
    let (mut store, keyring) = place.open();
    let acme = tenant(&mut store, &keyring, "acme");
    drop(store);

    let (store, keyring) = place.open();
    keyring.open_data_key(&acme, &store.data_key(&acme).expect("row")).expect("opens");
    drop((store, keyring));

    // Another root key: refused, nothing overwritten.
    let RootSource::File(path) = place.root() else { unreachable!() };
    let kept = fs::read(&path).expect("read");
    fs::remove_file(&path).expect("removed");
    place.root().make(&mut OsEntropy).expect("another");
    let mut store = place.store();
    let refused = store.unlock(&place.root(), &mut OsEntropy, NOW);
    assert!(matches!(refused, Err(StoreError::Vault(VaultError::WrongRootKey))));

    // No root key: refused, and none is made.
    fs::remove_file(&path).expect("removed");
    let refused = store.unlock(&place.root(), &mut OsEntropy, NOW).expect_err("refused");
    assert!(matches!(refused, StoreError::Vault(VaultError::RootKeyMissing { .. })));
    assert!(refused.to_string().contains("backup") && !path.exists());

    fs::write(&path, kept).expect("restored");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("chmod");
    store.unlock(&place.root(), &mut OsEntropy, NOW).expect("the right one still opens");
}

#[test]
fn a_first_start_cut_after_the_root_key_goes_on_with_it() {
    let place = Place::new("torn");
    fs::create_dir_all(&place.0).expect("directory");
    place.root().make(&mut OsEntropy).expect("made");
    let RootSource::File(path) = place.root() else { unreachable!() };
    let made = fs::read(&path).expect("read");
    drop(place.open());
    drop(place.open());
    assert_eq!(fs::read(&path).expect("read"), made);
}

#[test]
fn a_master_key_rotation_may_stop_anywhere() {
    let place = Place::new("kek");
    let (mut store, mut keyring) = place.open();
    let tenants: Vec<TenantId> = (0..600).map(|n| tenant(&mut store, &keyring, &format!("t{n}"))).collect();
    store.admin().add_master_key(&mut keyring, &mut OsEntropy, NOW).expect("added");
    assert_eq!(store.admin().rewrap_batch_for_test(&keyring), 256);
    drop((store, keyring));

    // Killed after the first batch: both versions live, everything opens, the rest is taken up.
    let (mut store, mut keyring) = place.open();
    assert_eq!(keyring.active_version().expect("active"), 2);
    for tenant in &tenants {
        keyring.open_data_key(tenant, &store.data_key(tenant).expect("row")).expect("opens");
    }
    assert_eq!(store.admin().finish_master_rotation(&mut keyring, &mut OsEntropy).expect("finished"), 346);
    assert_eq!(store.admin().finish_master_rotation(&mut keyring, &mut OsEntropy).expect("again"), 0);
    let versions: Vec<u32> = (store.connection.prepare("SELECT version FROM kek_versions").expect("sql"))
        .query_map([], |row| row.get(0))
        .expect("query")
        .map(|version| version.expect("row"))
        .collect();
    assert_eq!(versions, [2]);
    drop((store, keyring));
    let (store, keyring) = place.open();
    for tenant in &tenants {
        keyring.open_data_key(tenant, &store.data_key(tenant).expect("row")).expect("opens");
    }
}

#[test]
fn a_new_root_key_takes_over_and_the_old_one_opens_nothing() {
    let (place, other) = (Place::new("root-old"), Place::new("root-new"));
    let (mut store, keyring) = place.open();
    let acme = tenant(&mut store, &keyring, "acme");
    fs::create_dir_all(&other.0).expect("directory");
    let root = other.root().make(&mut OsEntropy).expect("made");
    let moved = store.admin().rotate_root_key(&keyring, root, &mut OsEntropy).expect("moved");
    moved.open_data_key(&acme, &store.data_key(&acme).expect("row")).expect("opens");
    let refused = store.unlock(&place.root(), &mut OsEntropy, NOW);
    assert!(matches!(refused, Err(StoreError::Vault(VaultError::WrongRootKey))));
    store.unlock(&other.root(), &mut OsEntropy, NOW).expect("the new one opens");
}

#[test]
fn a_destroyed_tenant_is_shredded_and_may_begin_anew() {
    let place = Place::new("shred");
    let (mut store, keyring) = place.open();
    let acme = tenant(&mut store, &keyring, "acme");
    let before = store.data_key(&acme).expect("row");
    store.admin().destroy_tenant(&acme, NOW).expect("destroyed");
    assert!(matches!(store.data_key(&acme), Err(StoreError::NotFound(_))));
    assert!(matches!(store.admin().destroy_tenant(&acme, NOW), Err(StoreError::NotFound(_))));
    assert!(place.files_with(&before.record).is_empty(), "the wrapped data key is still on disk");
    tenant(&mut store, &keyring, "acme");
    assert_eq!(store.data_key(&acme).expect("row").generation, 2);
}

fn usage(tenant: &str, hour: u64, cost: Money) -> UsageRow {
    UsageRow {
        tenant: TenantId::new(tenant),
        hour,
        provider: ProviderId::new("openai"),
        model: "gpt-4o".into(),
        policy: "ordered".to_owned(),
        credential: CredentialId::from_bits(1),
        access_key: AccessKeyId::from_bits(2),
        requests: 1,
        attempts: 2,
        failed: 0,
        estimated: 0,
        unpriced: 0,
        input_tokens: 10,
        output_tokens: 20,
        cached_tokens: 3,
        cost,
    }
}

#[test]
fn usage_adds_up_exactly_and_only_once() {
    let place = Place::new("usage");
    let (mut store, _) = place.open();
    let huge = Money::from_pico(i128::from(i64::MAX) * 1_000);
    let rows = [
        usage("acme", 7, huge),
        usage("acme", 7, Money::from_pico(1)),
        usage("acme", 8, Money::ZERO),
        usage("b", 7, huge),
    ];
    let batch = |sequence| UsageBatch { source: "core-0", sequence, rows: &rows };
    assert_eq!(store.admin().usage_sequence("core-0").expect("read"), None);
    assert_eq!(store.admin().add_usage(&batch(5)).expect("added"), Ingested::Added);
    assert_eq!(store.admin().add_usage(&batch(5)).expect("known"), Ingested::Known);
    assert_eq!(store.admin().add_usage(&batch(4)).expect("known"), Ingested::Known);
    assert_eq!(store.admin().add_usage(&batch(6)).expect("added"), Ingested::Added);
    let other = UsageBatch { source: "core-1", sequence: 1, rows: &rows };
    assert_eq!(store.admin().add_usage(&other).expect("added"), Ingested::Added);
    assert_eq!(store.admin().usage_sequence("core-0").expect("read"), Some(6));

    let mut lines = Vec::new();
    let filter = UsageFilter { hours: 7..8 };
    store.for_each_usage(&TenantId::new("acme"), &filter, |row| lines.push(row)).expect("read");
    let cost = Money::from_pico(3 * (i128::from(i64::MAX) * 1_000 + 1));
    let sum = UsageRow {
        requests: 6,
        attempts: 12,
        input_tokens: 60,
        output_tokens: 120,
        cached_tokens: 18,
        ..usage("acme", 7, cost)
    };
    assert_eq!(lines, [sum]);
    let mut tenants = Vec::new();
    store.admin().for_each_usage(&UsageFilter { hours: 0..99 }, |row| tenants.push(row.tenant)).expect("read");
    assert_eq!(tenants.len(), 3);
}

#[test]
fn the_audit_chain_shows_a_changed_row() {
    let place = Place::new("audit");
    let (mut store, _) = place.open();
    let acme = TenantId::new("acme");
    for n in 0..3_u64 {
        let entry = AuditEntry {
            at: UnixMillis(n),
            tenant: (n != 1).then_some(&acme),
            who: "uid:0",
            what: "credential.add",
            target: "key_1",
            before: "",
            after: "1",
        };
        assert_eq!(store.admin().append_audit(&entry).expect("noted"), n + 1);
    }
    assert_eq!(store.admin().verify_audit().expect("whole"), 3);
    assert_eq!(store.admin().audit_tail(2).expect("read").iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 2]);
    for (change, back) in [
        ("UPDATE audit SET who = 'uid:1' WHERE sequence = 2", "UPDATE audit SET who = 'uid:0' WHERE sequence = 2"),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 2", "UPDATE audit SET sequence = 2 WHERE sequence = 9"),
    ] {
        store.connection.execute(change, []).expect("changed");
        assert!(matches!(store.admin().verify_audit(), Err(StoreError::Damaged(_))), "{change}");
        store.connection.execute(back, []).expect("changed back");
        assert_eq!(store.admin().verify_audit().expect("whole again"), 3);
    }
}

#[test]
fn an_older_configuration_never_comes_back() {
    let place = Place::new("config");
    let (mut store, _) = place.open();
    let offer = |version, byte| ConfigVersion { config_id: "main".into(), version, hash: [byte; 64] };
    let mut accept = |version, byte| store.admin().accept_config(&offer(version, byte), NOW).expect("judged");
    assert_eq!(accept((1 << 32) + 1, 1), Accepted::Leap);
    assert_eq!(accept(7, 1), Accepted::New);
    assert_eq!(accept(7, 1), Accepted::Same);
    assert_eq!(accept(7, 2), Accepted::Different);
    assert_eq!(accept(6, 1), Accepted::Older);
    assert_eq!(accept(8 + (1 << 32), 1), Accepted::Leap);
    assert_eq!(accept(7 + (1 << 32), 1), Accepted::New);
    drop(store);
    let (mut store, _) = place.open();
    assert_eq!(store.admin().accept_config(&offer(8, 1), NOW).expect("judged"), Accepted::Older);
}

pub(crate) fn credential(id: u128, state: CredentialState) -> CredentialRow {
    CredentialRow {
        id: CredentialId::from_bits(id),
        provider: ProviderId::new("openai"),
        base_url: "https://api.openai.com/v1".into(),
        state,
        origin: Origin::Api,
        generation: 1,
        kek_version: 1,
        record: Some(vec![1, 2, 3]),
        display: "sk-…abcd".into(),
        timeout_ms: 30_000,
        max_retries: 3,
        created: NOW,
        retired: None,
    }
}

#[test]
fn a_rotation_moves_with_its_credentials_or_not_at_all() {
    let place = Place::new("rotation");
    let (mut store, keyring) = place.open();
    let (acme, other) = (tenant(&mut store, &keyring, "acme"), tenant(&mut store, &keyring, "other"));
    for (id, state, seals) in [(1, CredentialState::Active, 1), (2, CredentialState::Pending, 2)] {
        let row = credential(id, state);
        let new = NewCredential { row: &row, data_key_generation: 1, seals };
        store.insert_credential(&acme, &new).expect("stored");
        assert!(matches!(store.insert_credential(&acme, &new), Err(StoreError::Changed(_))), "a seal counts once");
    }
    let mut row = RotationRow {
        id: RotationId::from_bits(9),
        provider: ProviderId::new("openai"),
        old: CredentialId::from_bits(1),
        new: CredentialId::from_bits(2),
        state: "grace".into(),
        open: true,
        detail: "{}".into(),
        created: NOW,
        deadline: UnixMillis(NOW.0 + 900_000),
        updated: NOW,
    };
    assert!(matches!(store.begin_rotation(&other, &row, &[]), Err(StoreError::NotFound(_))), "rule T1");
    store.begin_rotation(&acme, &row, &[]).expect("begun");
    let twice = RotationRow { id: RotationId::from_bits(10), ..row.clone() };
    assert!(matches!(store.begin_rotation(&acme, &twice, &[]), Err(StoreError::Exists(_))), "rule V8: 409");
    assert_eq!(store.admin().open_rotations().expect("read"), [(acme.clone(), row.clone())]);

    let step = |id, from, to| CredentialStep { id: CredentialId::from_bits(id), from, to };
    let good = step(2, CredentialState::Pending, CredentialState::Active);
    let bad = step(1, CredentialState::Pending, CredentialState::Revoked);
    row.state = "done".into();
    row.open = false;
    assert!(matches!(store.step_rotation(&acme, "grace", &row, &[good, bad]), Err(StoreError::Changed(_))));
    assert_eq!(store.credential(&acme, good.id).expect("row").state, CredentialState::Pending, "nothing moved");
    assert_eq!(store.rotation(&acme, row.id).expect("row").state, "grace");
    let erase = step(1, CredentialState::Active, CredentialState::Revoked);
    store.step_rotation(&acme, "grace", &row, &[good, erase]).expect("stepped");
    assert!(matches!(store.step_rotation(&acme, "grace", &row, &[]), Err(StoreError::Changed(_))), "once only");
    assert_eq!(store.credential(&acme, erase.id).expect("row").record, None);
    assert_eq!(store.rotations(&acme, None).expect("read"), [row.clone()]);
    assert!(matches!(store.rotation(&other, row.id), Err(StoreError::NotFound(_))), "rule T1");
    assert!(store.admin().open_rotations().expect("read").is_empty());
}

#[test]
fn access_keys_stream_tenant_by_tenant() {
    let place = Place::new("stream");
    let (mut store, keyring) = place.open();
    let tenants = ["b", "a"].map(|name| tenant(&mut store, &keyring, name));
    for n in 0..100_u8 {
        let digest = [n; 32];
        let new = NewAccessKey {
            id: AccessKeyId::from_bits(u128::from(n)),
            name: "app",
            pepper_version: 1,
            digest: &digest,
            last4: "abcd",
            scopes: Scopes::INFERENCE,
            limits: "{}",
            created: NOW,
            expires: (n % 10 == 0).then_some(UnixMillis(NOW.0 + 1)),
        };
        store.insert_access_key(&tenants[usize::from(n % 2)], &new).expect("stored");
        assert!(matches!(store.insert_access_key(&tenants[0], &new), Err(StoreError::Exists(_))));
    }
    store.revoke_access_key(&tenants[1], AccessKeyId::from_bits(1), NOW).expect("revoked");
    let later = UnixMillis(NOW.0 + 1);
    assert_eq!(store.admin().access_key_count(NOW).expect("counted"), 99);
    assert_eq!(store.admin().access_key_count(later).expect("counted"), 89);
    let mut seen = Vec::new();
    let each = |row: AccessKeyRow<'_>| {
        assert_eq!(row.digest, [row.id.bits() as u8; 32]);
        seen.push(row.tenant.to_owned());
        Ok::<(), StoreError>(())
    };
    store.admin().for_each_access_key(later, each).expect("streamed");
    assert_eq!(seen.len(), 89);
    let living = |id: u128, now| {
        let read = |row: AccessKeyRow<'_>| row.living;
        store.admin().lend_access_key(AccessKeyId::from_bits(id), now, read).expect("read")
    };
    let mut living = living;
    assert_eq!(
        [living(2, later), living(1, later), living(10, NOW), living(10, later), living(100, NOW)],
        [Some(true), Some(false), Some(true), Some(false), None]
    );
    assert_eq!(store.admin().next_access_key_end(NOW).expect("read"), Some(later));
    assert_eq!(store.admin().next_access_key_end(later).expect("read"), None);
    assert_eq!(store.admin().access_keys_ended(NOW, later).expect("read").len(), 10);
    assert!(store.admin().access_keys_ended(later, UnixMillis(NOW.0 + 9)).expect("read").is_empty());
    store.verify().expect("sound");
}

#[test]
fn many_calls_happen_wholly_or_not_at_all() {
    let place = Place::new("whole");
    let (mut store, keyring) = place.open();
    let gone = store.all_or_nothing(|store| {
        tenant(store, &keyring, "a");
        store.admin().add_usage(&UsageBatch { source: "core-0", sequence: 1, rows: &[usage("a", 1, Money::ZERO)] })?;
        Err::<(), _>(StoreError::Changed("configuration"))
    });
    assert!(matches!(gone, Err(StoreError::Changed(_))));
    let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.all_or_nothing(|store| -> Result<(), StoreError> {
            tenant(store, &keyring, "a");
            panic!("in the middle");
        })
    }));
    assert!(thrown.is_err());
    assert!(store.admin().tenants().expect("read").is_empty());
    assert_eq!(store.admin().usage_sequence("core-0").expect("read"), None);

    let record = store
        .all_or_nothing(|store| {
            let a = tenant(store, &keyring, "a");
            tenant(store, &keyring, "b");
            let record = store.data_key(&a)?.record;
            store.admin().destroy_tenant(&a, NOW)?;
            Ok::<_, StoreError>(record)
        })
        .expect("committed");
    assert_eq!(store.admin().tenants().expect("read").len(), 1);
    assert!(place.files_with(&record).is_empty(), "what was erased inside is gone outside");
}

/// Run alone with `--ignored --nocapture` and `--release` for the figure.
#[test]
#[ignore = "a measurement"]
fn how_long_a_snapshot_load_takes() {
    let place = Place::new("load");
    let (mut store, keyring) = place.open();
    tenant(&mut store, &keyring, "acme");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
                INSERT INTO access_keys SELECT randomblob(16), 'acme', 'app', 1, randomblob(32), 'abcd', 1, '{}', 0, NULL, NULL FROM n";
    store.connection.execute(fill, []).expect("filled");
    let start = std::time::Instant::now();
    let mut count = 0_u64;
    let each = |row: AccessKeyRow<'_>| {
        count += u64::from(row.digest.len() == 32);
        Ok::<(), StoreError>(())
    };
    store.admin().for_each_access_key(NOW, each).expect("streamed");
    println!("{count} access keys streamed in {:?}", start.elapsed());
}

#[test]
fn a_released_store_is_another_processs_until_it_is_taken_back() {
    let place = Place::new("released");
    let mut store = place.store();
    let batch = |sequence| UsageBatch { source: "reports", sequence, rows: &[] };
    store.admin().add_usage(&batch(3)).expect("added");
    store.release().expect("released");
    assert!(store.admin().add_usage(&batch(4)).is_err(), "nothing is written beside the other process");
    let mut other = Store::open(&place.database()).expect("the lock is free");
    assert_eq!(other.admin().usage_sequence("reports").expect("read"), Some(3));
    assert!(matches!(store.take_back(&place.database()), Err(StoreError::InUse { .. })));
    drop(other);
    store.take_back(&place.database()).expect("taken back");
    assert_eq!(store.admin().add_usage(&batch(4)).expect("added"), Ingested::Added);
    store.admin().forget_usage_source("reports").expect("forgotten");
    assert_eq!(store.admin().usage_sequence("reports").expect("read"), None);
}

#[test]
fn the_lock_goes_with_its_holder_even_while_a_child_has_the_descriptor() {
    let place = Place::new("inherited");
    let lock = files::prepare(&place.database()).expect("locked");
    let inherited = lock.duplicate_for_test();
    assert!(matches!(files::prepare(&place.database()), Err(StoreError::InUse { .. })));
    drop(lock);
    files::prepare(&place.database()).expect("free again");
    drop(inherited);
}

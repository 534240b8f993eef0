//! Large estates: what one change reads, copies and opens does not grow with how much there is.

use super::*;
use crate::control_plane::access::{Access, Terms};
use crate::snapshot::Credential;
use crate::vault::AccessKeyText;

/// Makes tenants with so many access keys each, in one transaction and without publishing; answers one key's text of every tenant.
fn fill(control: &mut Control, tenants: usize, keys: usize) -> Vec<AccessKeyText> {
    let none = serde_json::Map::new();
    let Means { store, keyring, entropy, now } = means(control);
    let mut texts = Vec::with_capacity(tenants);
    store
        .all_or_nothing(|store| {
            for n in 0..tenants {
                let name = tenant(&format!("t{n}"));
                store.admin().ensure_tenant(&name, keyring, entropy, now)?;
                for key in 0..keys {
                    let terms = Terms { name: "app", scopes: Scopes::INFERENCE, limits: &none, expires: None };
                    let (_, text) = Access::new(store, keyring, entropy, now).make(&name, &terms)?;
                    if key == 0 {
                        texts.push(text);
                    }
                }
            }
            Ok::<(), ControlError>(())
        })
        .expect("stored");
    control.dirty.access = true;
    control.publish().expect("published");
    texts
}

fn plain(expires: Option<UnixMillis>) -> NewAccess {
    NewAccess { name: "one".to_owned(), scopes: Scopes::INFERENCE, limits: Default::default(), expires }
}

/// The one credential that a tenant shows a provider.
fn credential(control: &Control, tenant_name: &str) -> Arc<Credential> {
    let snapshot = control.published().load_full();
    let found = snapshot.credentials.find(&tenant(tenant_name), &ProviderId::new("openai"));
    assert_eq!(found.len(), 1);
    found[0].clone()
}

#[test]
fn one_key_comes_changes_and_goes_among_many_and_the_others_are_not_read_again() {
    let house = House::new("estate");
    let mut control = house.open(CONFIG);
    let texts = fill(&mut control, 20, 20);
    assert_eq!(control.published().load().access.len(), 401);
    // A row that nobody looks at again can be broken without anybody's knowing.
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    raw.execute("UPDATE access_keys SET limits = '[' WHERE tenant = 't3'", []).expect("broken");
    let old = shown(&control, texts[3].expose()).expect("published before");
    let (view, text) = control.make_access_key(WHO, &tenant("t1"), plain(None)).expect("made");
    let id = AccessKeyId::parse(&view.id).expect("an id");
    assert!(shown(&control, text.expose()).is_some_and(|key| key.tenant.as_str() == "t1"));
    assert!(shown(&control, texts[3].expose()).is_some_and(|key| Arc::ptr_eq(&key, &old)), "the very same");
    control.revoke_access_key(WHO, &tenant("t1"), id).expect("revoked");
    assert!(shown(&control, text.expose()).is_none());
    control.delete_tenant(WHO, &tenant("t2")).expect("destroyed");
    assert!(shown(&control, texts[2].expose()).is_none(), "with all its keys");
    assert_eq!(control.published().load().access.len(), 381);
    // A reload names one key of the configuration again, and reads no other either.
    control.reload(WHO, Some(&CONFIG.replace("version = 3", "version = 4"))).expect("fine");
    assert_eq!(control.published().load().access.len(), 381);
    drop(control);
    let control = house.open(CONFIG);
    assert!(events(&control).contains("20 stored access keys cannot be read"), "{}", events(&control));
    assert_eq!(control.published().load().access.len(), 361);
}

#[test]
fn a_key_that_ends_leaves_alone_and_comes_back_when_the_clock_does() {
    let house = House::new("ends");
    let mut control = house.open(CONFIG);
    let texts = fill(&mut control, 2, 3);
    let mut make = |after| {
        let (_, text) =
            control.make_access_key(WHO, &tenant("t0"), plain(Some(UnixMillis(NOW.0 + after)))).expect("made");
        text
    };
    let (second, first) = (make(2_000), make(1_000));
    let there = |control: &Control| [&first, &second].map(|text| shown(control, text.expose()).is_some());
    control.tick();
    assert_eq!(there(&control), [true, true]);
    let kept = shown(&control, texts[0].expose()).expect("published");
    for (after, expected) in [(1_000, [false, true]), (1_999, [false, true]), (2_000, [false, false])] {
        CLOCK.set(NOW.0 + after);
        control.tick();
        assert_eq!(there(&control), expected, "after {after} ms");
    }
    assert!(shown(&control, texts[0].expose()).is_some_and(|key| Arc::ptr_eq(&key, &kept)), "nobody else was touched");
    let generation = control.published().load().generation;
    control.tick();
    assert_eq!(control.published().load().generation, generation, "nothing is left to do");
    CLOCK.set(NOW.0 + 1_500);
    control.tick();
    assert_eq!(there(&control), [false, true], "the later one has not ended yet after all");
}

#[test]
fn a_tenants_change_opens_nobody_elses_secrets_and_a_reload_none() {
    let house = House::new("opens");
    let mut control = house.open(CONFIG);
    for name in ["beta", "gamma"] {
        control.create_tenant(WHO, name).expect("made");
        add(&mut control, name, "openai", &format!("sk-CANARY-{name}-0123456789")).expect("added");
    }
    let (beta, gamma) = (credential(&control, "beta"), credential(&control, "gamma"));
    // Nothing could open these records any more.
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    raw.execute("UPDATE credentials SET record = zeroblob(160) WHERE tenant = 'beta'", []).expect("broken");
    add(&mut control, "acme", "openai", "sk-CANARY-acme-0123456789").expect("added");
    assert!(Arc::ptr_eq(&credential(&control, "beta"), &beta), "not even looked at");
    control.reload(WHO, Some(&CONFIG.replace("version = 3", "version = 4"))).expect("fine");
    assert!(Arc::ptr_eq(&credential(&control, "beta").secret, &beta.secret), "looked at and not opened");
    assert!(Arc::ptr_eq(&credential(&control, "gamma").secret, &gamma.secret));
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-acme-0123456789"]);
    // Removed, it is gone with its secret: nothing brings it back from the table before.
    let id = control.credentials(&tenant("gamma"), None).expect("listed")[0].id.clone();
    let id = CredentialId::parse(&id).expect("an id");
    control.remove_credential(WHO, &tenant("gamma"), "openai", id).expect("removed");
    assert_eq!(keys_for(&control, "gamma", "openai"), [OPENAI_KEY], "only the operator's is left");
    drop(control);
    let control = house.open(CONFIG);
    assert!(events(&control).contains("cannot be opened"), "{}", events(&control));
    assert_eq!(keys_for(&control, "beta", "openai"), [OPENAI_KEY]);
}

#[test]
fn what_is_no_longer_published_is_freed_here_once_nobody_serves_from_it() {
    let house = House::new("retired");
    let mut control = house.open(CONFIG);
    let texts = fill(&mut control, 1, 1);
    let serving = control.published().load_full();
    let gone = Arc::downgrade(&serving.access);
    control.make_access_key(WHO, &tenant("t0"), plain(None)).expect("made");
    control.tick();
    assert!(gone.upgrade().is_some(), "somebody serves from it");
    assert!(serving.access.find(&digest(&serving.access.pepper, texts[0].expose())).is_some());
    drop(serving);
    assert!(gone.upgrade().is_some(), "the last to let go was not the one that frees");
    control.tick();
    assert!(gone.upgrade().is_none());
}

#[test]
fn a_great_many_changes_at_once_are_read_in_one_pass() {
    let house = House::new("many");
    let mut control = house.open(CONFIG);
    let texts = fill(&mut control, 1, 1);
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                INSERT INTO access_keys (id, tenant, name, pepper_version, digest, last4, scopes, limits, created)
                SELECT randomblob(16), 't0', 'app', 1, randomblob(32), 'abcd', 1, '{}', 0 FROM n";
    raw.execute(fill, []).expect("filled");
    let mut ids = raw.prepare("SELECT id FROM access_keys").expect("prepared");
    let ids: Vec<[u8; 16]> = ids.query_map([], |row| row.get(0)).expect("read").map(Result::unwrap).collect();
    control.touch_access_keys(ids.into_iter().map(|id| AccessKeyId::from_bits(u128::from_be_bytes(id))));
    control.publish().expect("published");
    assert_eq!(control.published().load().access.len(), 5_002);
    assert!(shown(&control, texts[0].expose()).is_some());
}

/// The figures of a large estate. Run alone with `--ignored --nocapture` in a release build; `IGRIS_ESTATE_KEYS` and
/// `IGRIS_ESTATE_TENANTS` say how large.
#[test]
#[ignore = "a measurement"]
fn how_much_a_large_estate_costs() {
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (keys, tenants): (usize, usize) =
        (number("IGRIS_ESTATE_KEYS", 100_000), number("IGRIS_ESTATE_TENANTS", 10_000));
    let routes = number("IGRIS_ESTATE_ROUTES", 1_000);
    let house = House::new("estate-figures");
    let route = |n: usize| {
        format!(
            "[[models]]\nname = \"route-{n}\"\npolicy = \"ordered\"\ntargets = [ {{ provider = \"openai\", model = \"gpt-4o\" }}, \
             {{ provider = \"local-vllm\", model = \"llama\" }} ]\n"
        )
    };
    let named: String = (0..tenants).map(|n| format!("[[tenants]]\nid = \"t{n}\"\n")).collect();
    let text = format!("{CONFIG}{}{named}", (0..routes).map(route).collect::<String>());
    println!("configuration: {} KiB, {routes} routes, {tenants} tenants", text.len() / 1024);
    let timed = |what: &str, since: Instant| println!("{what}: {:?}", since.elapsed());
    let start = Instant::now();
    drop(house.open(&text));
    timed("first start, tenants made", start);
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    raw.execute_batch("PRAGMA synchronous = OFF").expect("set");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO access_keys (id, tenant, name, pepper_version, digest, last4, scopes, limits, created)
                SELECT randomblob(16), 't' || (i % ?2), 'app', 1, randomblob(32), 'abcd', 1,
                       CASE WHEN i % 3 THEN '{}' ELSE '{\"models\":[\"gpt-4*\"]}' END, 0 FROM n";
    raw.execute(fill, [keys as i64, tenants as i64]).expect("filled");
    drop(raw);
    let before = resident();
    let start = Instant::now();
    let mut control = house.open(&text);
    timed(&format!("start with {keys} access keys"), start);
    let grown = resident().saturating_sub(before);
    println!("resident memory grew by {} KiB: {} bytes an access key", grown / 1024, grown / (keys as u64).max(1));
    let start = Instant::now();
    control.dirty.access = true;
    control.publish().expect("published");
    timed("access table, whole", start);
    let start = Instant::now();
    control.tick();
    timed("freeing the one before", start);
    for n in 0..tenants.min(1_000) {
        add(&mut control, &format!("t{n}"), "openai", &format!("sk-CANARY-{n}-0123456789")).expect("added");
    }
    let start = Instant::now();
    let (view, _) = control.make_access_key(WHO, &tenant("t1"), plain(None)).expect("made");
    timed("one access key made, stored and published", start);
    let start = Instant::now();
    control.touch_access(AccessKeyId::parse(&view.id).expect("an id"));
    control.publish().expect("published");
    timed("of this, the publication", start);
    let start = Instant::now();
    add(&mut control, "t7", "openai", "sk-CANARY-more-0123456789").expect("added");
    timed("one provider key added, stored and published", start);
    let start = Instant::now();
    control.touch_credentials(&tenant("t7"));
    control.publish().expect("published");
    timed("of this, the publication", start);
    let next = text.replace("version = 3", "version = 4");
    let start = Instant::now();
    parse_config("figures", &next).expect("fine");
    timed("parsing the configuration", start);
    let start = Instant::now();
    control.reload(WHO, Some(&next)).expect("fine");
    timed("reload", start);
    let start = Instant::now();
    assert!(control.tenants().expect("listed").len() >= tenants);
    timed("listing the tenants", start);
}

/// Resident memory, bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("we run");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn news_of_which_a_step_fails_holds_as_far_as_it_can_and_the_rest_is_made_up_for() {
    let house = House::new("news-owed");
    let mut control = house.open(CONFIG);
    let (view, text) = control.make_access_key(WHO, &tenant("acme"), plain(None)).expect("made");
    let id = AccessKeyId::parse(&view.id).expect("an id");
    // The rows are in, and a table that a step before the publication reads is not there.
    let raw = rusqlite::Connection::open(house.directory.join("igris.db")).expect("opened");
    raw.execute("UPDATE access_keys SET revoked = 5 WHERE name = 'one'", []).expect("revoked elsewhere");
    raw.execute("ALTER TABLE webhooks RENAME TO hidden", []).expect("hidden");
    control.owe(Adopted { rows: 2, access_keys: [id].into(), webhooks: true, ..Adopted::default() });
    let before = control.published().load().generation;
    (0..3).for_each(|_| control.settle_news());
    assert_eq!(control.published().load().generation, before + 1, "once");
    assert!(shown(&control, text.expose()).is_none(), "a key that was revoked elsewhere is out");
    assert!(!control.news_owed.is_empty(), "the webhooks are owed");
    raw.execute("ALTER TABLE hidden RENAME TO webhooks", []).expect("shown");
    control.tick();
    assert!(control.news_owed.is_empty());
}

//! What must hold after every restart. What was under way is settled here: it happened or it did not, and from now on that is so.

use super::book::{Book, Deed, Rotation};
use super::driver::{AUDIT, Able, text_of};
use crate::support::{Gateway, bare, bearer, chat, post_with};
use igris::store::Store;
use igris_load::Simulator;
use igris_load::simulator::masked;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Access keys that are shown after each restart; the states of all others are read from the list.
const SHOWN: usize = 40;

/// The books as the killed process left them: every page whole. Looked at in a copy, since the next start is to find them as they are.
pub fn check_files(gateway: &Gateway) {
    let copy = gateway.home().join("copy");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir(&copy).expect("the home folder can be written to");
    for name in ["igris.db", "igris.db-wal"] {
        let from = gateway.home().join("data").join(name);
        if from.exists() {
            fs::copy(&from, copy.join(name)).expect("a file can be copied");
        }
    }
    let store = Store::open(&copy.join("igris.db")).expect("opened after a kill");
    store.verify().expect("every page is whole");
}

/// Every promise, over the running gateway.
pub fn check(gateway: &Gateway, simulator: &Simulator, book: &mut Book, able: Able) {
    let asked = book.under_way.take();
    if able.audit {
        let answer = gateway.admin_ask("POST", AUDIT, "{}");
        assert_eq!(answer.status, 200, "the audit log is whole: {}", answer.text());
    }
    config(gateway, book, asked.as_ref());
    tenants(gateway, book, asked.as_ref());
    access_keys(gateway, book, asked.as_ref());
    for chain in 0..book.chains.len() {
        provider_keys(gateway, simulator, book, chain, asked.as_ref());
    }
}

/// Rule C3: never older than what was acknowledged.
fn config(gateway: &Gateway, book: &mut Book, asked: Option<&Deed>) {
    let version = get(gateway, "/status")["config"]["version"].as_u64().expect("a version");
    let asked = match asked {
        Some(Deed::Reload { version }) => *version,
        _ => book.config_version,
    };
    assert!(version == book.config_version || version == asked, "version {version} after {}", book.config_version);
    book.config_version = version;
}

fn tenants(gateway: &Gateway, book: &mut Book, asked: Option<&Deed>) {
    let ids: Vec<String> = list(gateway, "/tenants").iter().map(|tenant| text_of(tenant, "id")).collect();
    if let Some(Deed::MakeTenant { id } | Deed::DropTenant { id }) = asked {
        book.tenants.insert(id.clone(), ids.contains(id));
    }
    for (id, there) in &book.tenants {
        assert_eq!(ids.contains(id), *there, "tenant {id}");
    }
    assert!(book.chains.iter().all(|chain| ids.contains(&chain.tenant)));
}

fn access_keys(gateway: &Gateway, book: &mut Book, asked: Option<&Deed>) {
    for chain in &book.chains {
        let rows = list(gateway, &format!("/access-keys?tenant={}", chain.tenant));
        let states: BTreeMap<String, String> =
            rows.iter().map(|row| (text_of(row, "id"), text_of(row, "status"))).collect();
        for row in &rows {
            let whole = row["scopes"].as_array().is_some_and(|scopes| !scopes.is_empty());
            assert!(whole && !text_of(row, "name").is_empty(), "half a key: {row}");
        }
        if let Some(Deed::RevokeAccessKey { id }) = asked
            && let (Some(state), Some(key)) = (states.get(id), book.access_keys.get_mut(id))
        {
            key.revoked = state == "revoked";
        }
        let may_be_new = match asked {
            Some(Deed::MakeAccessKey { tenant }) => *tenant == chain.tenant,
            Some(Deed::RotateAccessKey { id }) => book.access_keys[id].tenant == chain.tenant,
            _ => false,
        };
        let known = |id: &String| book.access_keys.contains_key(id) || book.strays.contains(id);
        let unknown: Vec<String> = states.keys().filter(|id| !known(id)).cloned().collect();
        assert!(unknown.len() <= usize::from(may_be_new), "nobody asked for {unknown:?}");
        book.strays.extend(unknown);
        for (id, key) in book.access_keys.iter().filter(|(_, key)| key.tenant == chain.tenant) {
            let expected = if key.revoked { "revoked" } else { "active" };
            assert_eq!(states.get(id).map(String::as_str), Some(expected), "access key {id}");
        }
    }
    show(gateway, book, asked);
}

/// Shows the key that was under way and as many others: they work, or they do not.
fn show(gateway: &Gateway, book: &Book, asked: Option<&Deed>) {
    let of_asked = |id: &&String| matches!(asked, Some(Deed::RevokeAccessKey { id: asked }) if *asked == **id);
    let first = book.access_keys.keys().filter(of_asked);
    let mut client = gateway.client();
    for id in first.chain(book.access_keys.keys().rev().take(SHOWN)) {
        let key = &book.access_keys[id];
        let answer = client.ask(&bare("GET", "/v1/models", &bearer(&key.text)));
        let expected = if key.revoked { 401 } else { 200 };
        assert_eq!(answer.status, expected, "access key {id}: {}", answer.text());
        if answer.status != 200 {
            client = gateway.client();
        }
    }
}

/// Rule V8: exactly one of a chain is the key in use, and requests are served with the one that the rotations say.
fn provider_keys(gateway: &Gateway, simulator: &Simulator, book: &mut Book, number: usize, asked: Option<&Deed>) {
    let chain = &mut book.chains[number];
    let keys = list(gateway, &format!("/providers/openai/keys?tenant={}", chain.tenant));
    let states: BTreeMap<String, String> =
        keys.iter().map(|key| (text_of(key, "id"), text_of(key, "status"))).collect();
    let in_use: Vec<&String> =
        states.iter().filter(|(_, state)| ["active", "fallback"].contains(&state.as_str())).map(|(id, _)| id).collect();
    assert_eq!(in_use.len(), 1, "exactly one active key: {states:?}");
    let rotations = match chain.texts.len() > 1 || matches!(asked, Some(Deed::BeginRotation { .. })) {
        true => list(gateway, &format!("/rotations?tenant={}", chain.tenant)),
        false => Vec::new(),
    };
    let open: Vec<&Value> = rotations
        .iter()
        .filter(|row| ["in_progress", "held"].contains(&row["status"].as_str().unwrap_or("")))
        .collect();
    assert!(open.len() <= 1, "two at once: {open:?}");
    let now = open.first().map(|row| Rotation {
        id: text_of(row, "rotation_id"),
        old: text_of(row, "old_key_id"),
        new: text_of(row, "new_key_id"),
    });
    let (was, is) = (chain.open.as_ref().map(|open| open.id.clone()), now.as_ref().map(|open| open.id.clone()));
    if was != is {
        match (asked, chain.open.take(), &now) {
            (Some(Deed::BeginRotation { chain: of, text }), None, Some(begun)) if *of == number => {
                chain.texts.insert(begun.new.clone(), text.clone());
            }
            (Some(Deed::CompleteRotation { chain: of }), Some(ended), None) if *of == number => {
                chain.active = ended.new
            }
            (Some(Deed::CancelRotation { chain: of }), Some(_), None) if *of == number => {}
            (asked, before, now) => panic!("a rotation moved by itself: {asked:?}: {before:?} -> {now:?}"),
        }
        chain.open = now;
    }
    assert_eq!(in_use, [&chain.active], "{:?} {states:?}", chain.open);
    let serving = chain.open.as_ref().map_or(&chain.active, |open| &open.new);
    let answer = gateway.ask(&post_with("/v1/chat/completions", &bearer(&chain.access_key), chat("x").as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = &chain.texts[serving];
    assert_eq!(simulator.truth().last().and_then(|record| record.key), Some(masked(text)), "{serving}: {states:?}");
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn list(gateway: &Gateway, path: &str) -> Vec<Value> {
    get(gateway, path)["data"].as_array().unwrap_or_else(|| panic!("{path} is a list")).clone()
}

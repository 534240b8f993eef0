//! What can be asked of the simulator itself while it serves: `/_mock/health`, `/_mock/counts`, `/_mock/keys`, `/_mock/faults`,
//! `/_mock/stamps`.
//!
//! Only callers on this machine are answered, and only where the builder allowed it. These requests are no part of any provider: they
//! are not checked as such, not counted and not logged.

use super::Site;
use super::fault::Fault;
use super::keyring::KeyTerms;
use super::rule::{Behaviour, FaultRule};
use super::stamps;
use super::truth::masked;
use super::wire::Head;
use serde_json::{Value, json};
use std::time::Instant;

/// How its paths start; no provider has such.
const START: &str = "/_mock/";

/// Whether a request is meant for the simulator itself.
pub(super) fn claims(head: &Head) -> bool {
    head.target.starts_with(START)
}

/// The status and JSON text of the answer.
pub(super) fn answer(site: &Site, head: &Head, body: &[u8], is_near: bool) -> (u16, String) {
    let path = head.path().strip_prefix(START).unwrap_or_default();
    let told = match (&head.method[..], path) {
        _ if !is_near => Err((403, "only callers on this machine are answered; ask over loopback".to_owned())),
        ("GET", "health") => Ok(health(site)),
        ("GET", "counts") => Ok(counts(site)),
        ("GET", "stamps") => return (200, stamps::page(site, &head.target)),
        ("GET", "keys") => Ok(keys(site)),
        ("POST", "keys") => change_key(site, body),
        ("GET", "faults") => Ok(faults(&site.current().behaviour)),
        ("POST", "faults") => replace_faults(site, body),
        ("DELETE", "faults") => replace_faults(site, b""),
        (_, "health" | "counts" | "keys" | "faults" | "stamps") => {
            Err((405, "use GET; keys takes POST too, faults POST and DELETE".to_owned()))
        }
        _ => Err((
            404,
            "there are /_mock/health, /_mock/counts, /_mock/keys, /_mock/faults and /_mock/stamps".to_owned(),
        )),
    };
    match told {
        Ok(value) => (200, format!("{value}\n")),
        Err((status, message)) => (status, format!("{}\n", json!({ "error": message }))),
    }
}

type Told = Result<Value, (u16, String)>;

fn health(site: &Site) -> Value {
    let counts = site.truth.counts();
    let dialects: Vec<_> = site.surfaces.iter().map(|surface| surface.name()).collect();
    json!({
        "status": "ok", "up_s": site.started.elapsed().as_secs_f64(), "dialects": dialects,
        "open": counts.requests - counts.ended, "requests": counts.requests,
    })
}

fn counts(site: &Site) -> Value {
    let accounts = site.truth.accounts();
    let accounts = accounts.iter().map(|(account, sums)| {
        json!({
            "key": &*account.key, "model": &*account.model, "requests": sums.requests, "ended": sums.ended,
            "completed": sums.completed, "client_closed": sums.client_closed, "faulted": sums.faulted,
            "prompt_tokens": sums.prompt_tokens, "completion_tokens": sums.completion_tokens,
        })
    });
    let mut value = site.truth.counts().to_json();
    value["accounts"] = accounts.collect();
    value["journal_lost"] = site.truth.journal_lost().into();
    value
}

fn keys(site: &Site) -> Value {
    let standing = site.keys.standing(Instant::now());
    let any = standing.is_empty();
    let keys = standing.iter().map(|(key, accepted)| json!({ "key": masked(key), "accepted": accepted }));
    json!({ "any": any, "keys": keys.collect::<Vec<_>>() })
}

/// Accepts a key from now on by the terms in the body, such as `sk-new@10s..`.
fn change_key(site: &Site, body: &[u8]) -> Told {
    let text = String::from_utf8_lossy(body);
    let terms: KeyTerms = text.trim().parse().map_err(|reason| (400, reason))?;
    if terms.key().is_empty() {
        return Err((400, "there is no key; send KEY, or KEY@..60s and its kin".to_owned()));
    }
    site.keys.change(terms, Instant::now());
    Ok(keys(site))
}

fn faults(behaviour: &Behaviour) -> Value {
    let rules = behaviour.faults.iter().enumerate().map(|(at, rule)| {
        json!({
            "rule": at + 1, "text": rule.text(), "fault": Fault::name(rule.fault()),
            "looked_at": rule.looked_at(), "struck": rule.struck(),
        })
    });
    json!({ "rules": rules.collect::<Vec<_>>() })
}

/// Puts the rules of a text in place of those there are; their times count from now.
fn replace_faults(site: &Site, body: &[u8]) -> Told {
    let text = std::str::from_utf8(body).map_err(|_| (400, "the rules are not UTF-8; send text".to_owned()))?;
    let faults = FaultRule::parse_all(text).map_err(|reason| (400, reason.to_string()))?;
    let behaviour = Behaviour { faults, ..Behaviour::clone(&site.current().behaviour) };
    let told = self::faults(&behaviour);
    site.set_behaviour(behaviour);
    Ok(told)
}

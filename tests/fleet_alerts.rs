//! Alerts of machines that share an estate: told once, known to all, and a machine's own alarm goes out while the database is gone.

#[path = "alerts/receiver.rs"]
#[allow(dead_code)]
mod receiver;

mod fleet;
mod support;

use fleet::{Ground, Machine, or_skip, seen_by_all};
use receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;
use support::{ACCESS_KEY, INFERENCE_KEY, bearer, chat_of, post_with, wait_until};

/// What a change may take to be everywhere.
const SOON: Duration = Duration::from_secs(1);
/// What a start, or a database that comes back, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A token of the answer costs a tenth of a cent, the prompt next to nothing: an answer of ten tokens is a cent.
const PRICES: &str =
    "[[prices]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\ninput = \"$0.001/Mtok\"\noutput = \"$1000/Mtok\"\n";

fn ground() -> Option<Ground> {
    or_skip(Ground::builder(3).postgres().provider(|provider| provider.tokens(10)).start())
}

fn machines(ground: &Ground, receiver: &Receiver) -> Vec<Machine> {
    let hook = format!(
        "[[alerts.webhooks]]\nname = \"pager\"\nurl = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}\nallow_private_address = true\n",
        receiver.url()
    );
    ground.machines(|_, builder| builder.env("HOOK_SECRET", SECRET).config_toml(PRICES).config_toml(&hook))
}

/// Spends a cent; whether it was served.
fn spend(machine: &Machine) -> bool {
    let body = chat_of("gpt-4o", "hello", ",\"max_tokens\":10");
    machine.ask(&post_with("/v1/chat/completions", &bearer(INFERENCE_KEY), body.as_bytes())).status == 200
}

/// What a machine lists of one sort, the oldest first.
fn alerts(machine: &Machine, kind: &str) -> Vec<Value> {
    let listed = machine.admin(&format!("/alerts?type={kind}&limit=500"));
    assert_eq!(listed.status, 200, "{}", listed.text());
    let mut rows = listed.json()["data"].as_array().cloned().expect("a list");
    rows.reverse();
    rows
}

fn thresholds(machine: &Machine) -> Vec<u64> {
    alerts(machine, "budget_alert").iter().filter_map(|row| row["data"]["threshold_percent"].as_u64()).collect()
}

/// Sets a budget for all access keys of the tenant, and waits until every machine keeps it: what is under way meanwhile does not count.
fn set_budget(machines: &[Machine], setting: &Machine, budget: &str) {
    let body = json!({"budget": budget, "hard": false}).to_string();
    let set = setting.ask(&post_with("/v1/tenants/default/budget", &bearer(ACCESS_KEY), body.as_bytes()));
    assert_eq!(set.status, 200, "{}", set.text());
    let keeps =
        |machine: &Machine| machine.admin("/budgets").json()["data"].as_array().is_some_and(|rows| !rows.is_empty());
    seen_by_all(machines, SOON, "the budget holds", keeps);
}

/// The messages of one sort that came to the receiver.
fn heard(receiver: &Receiver, kind: &str) -> Vec<Value> {
    let bodies = receiver.heard().into_iter().map(|message| serde_json::from_str(&message.body).expect("JSON"));
    bodies.filter(|body: &Value| body["type"] == kind).collect()
}

#[test]
fn a_threshold_that_every_machine_sees_is_told_once_and_seen_by_all() {
    let Some(ground) = ground() else { return };
    let receiver = Receiver::start(|_| Manner::Status(204));
    let machines = machines(&ground, &receiver);
    set_budget(&machines, &machines[0], "$0.20/month");
    // On each machine more than the whole budget: each of them passes every threshold by itself.
    thread::scope(|scope| {
        for machine in &machines {
            scope.spawn(move || (0..30).for_each(|_| assert!(spend(machine), "its cap is soft")));
        }
    });
    wait_until(PATIENCE, "all thresholds are told", || thresholds(&machines[0]).len() >= 3);
    // Long enough for a second one to be told.
    thread::sleep(Duration::from_secs(2));
    for machine in &machines {
        let mut told = thresholds(machine);
        told.sort_unstable();
        assert_eq!(told, [75, 90, 100], "machine {}", machine.number);
    }
    wait_until(PATIENCE, "the messages came", || heard(&receiver, "budget_alert").len() >= 3);
    assert_eq!(heard(&receiver, "budget_alert").len(), 3);
    // Who says on one machine that it was seen has said so on all.
    let first = alerts(&machines[0], "budget_alert")[0].clone();
    let path = format!("/v1/tenants/default/alerts/{}/acknowledge", first["id"].as_str().expect("an id"));
    let noted = machines[2].ask(&post_with(&path, &bearer(ACCESS_KEY), b"{}"));
    assert_eq!(noted.status, 200, "{}", noted.text());
    seen_by_all(&machines, SOON, "it is acknowledged", |machine| {
        alerts(machine, "budget_alert")[0]["state"] == "acknowledged"
    });
}

#[test]
fn a_machine_that_was_killed_tells_nothing_twice_and_forgets_nothing() {
    let Some(ground) = ground() else { return };
    let receiver = Receiver::start(|_| Manner::Status(204));
    let mut machines = machines(&ground, &receiver);
    set_budget(&machines, &machines[1], "$0.10/month");
    assert!((0..12).all(|_| spend(&machines[0])));
    wait_until(PATIENCE, "all thresholds are told", || thresholds(&machines[1]).len() == 3);
    machines[0].kill();
    machines[0].restart();
    assert!((0..3).all(|_| spend(&machines[0])));
    assert!((0..12).all(|_| spend(&machines[2])));
    thread::sleep(Duration::from_secs(2));
    for machine in &machines {
        assert_eq!(thresholds(machine), [75, 90, 100], "machine {}", machine.number);
    }
    let mut ids: Vec<String> = heard(&receiver, "budget_alert").iter().map(|body| body["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each once, or again under its own id after the kill");
}

#[test]
fn what_is_wrong_with_one_machine_is_told_without_the_database() {
    let Some(ground) = ground() else { return };
    let receiver = Receiver::start(|_| Manner::Status(204));
    let machines = machines(&ground, &receiver);
    ground.postgres().kill();
    let is_gone = |body: &Value| {
        body["data"]["text"].as_str().unwrap_or_default().contains("the database is gone")
            || body.to_string().contains("the database is gone")
    };
    wait_until(PATIENCE, "each machine says so", || {
        heard(&receiver, "alarm").iter().filter(|body| is_gone(body)).count() >= 3
    });
    ground.postgres().start();
    let listed = |machine: &Machine| {
        alerts(machine, "alarm")
            .iter()
            .filter(|row| row["text"].as_str().is_some_and(|text| text.contains("the database is gone")))
            .count()
    };
    seen_by_all(&machines, PATIENCE, "all list what each said", |machine| listed(machine) == 3);
    assert!(alerts(&machines[1], "alarm").iter().all(|row| row["data"]["machine"].is_string()));
}

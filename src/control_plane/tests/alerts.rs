//! What is unusual, what was spent elsewhere, and keys that grow old, in a simulated clock over a real store.

use super::*;
use crate::control_plane::alerts::{AlertQuery, NewBudget};
use crate::domain::budget::{Budget, Cap, Period};
use crate::store::{BudgetOrigin, UsageBatch, UsageRow};
use std::time::Instant;

const HOUR: u64 = 3_600_000;

fn usd(text: &str) -> Money {
    Money::parse_usd(text).expect("an amount")
}

/// An hour of the books of the access key and the provider key that reports are of.
fn line(hour: u64, cost: &str, attempts: u64) -> UsageRow {
    let report = attempt("acme", Outcome::Completed, None);
    UsageRow {
        tenant: report.tenant,
        hour,
        provider: report.provider,
        model: report.model.to_string(),
        policy: "ordered".to_owned(),
        credential: report.credential.expect("a key"),
        access_key: report.access_key,
        requests: attempts,
        attempts,
        failed: 0,
        estimated: 0,
        unpriced: 0,
        input_tokens: 1,
        output_tokens: 1,
        cached_tokens: 0,
        cost: usd(cost),
    }
}

/// A control plane whose books have ten days of a dollar an hour behind `now`.
fn after_ten_days(house: &House, now: UnixMillis) -> Control {
    CLOCK.set(now.0);
    let mut control = house.open(CONFIG);
    let hour = UsageRow::hour_of(now);
    let rows: Vec<UsageRow> = (hour - 240..hour).map(|hour| line(hour, "1", 40)).collect();
    control.store.admin().add_usage(&UsageBatch { source: "past", sequence: 1, rows: &rows }).expect("added");
    control
}

/// A look later than every pause between two.
fn look(control: &mut Control, turn: u64) {
    control.ingest().expect("taken");
    control.watch_alerts(clock(), Instant::now() + Duration::from_secs(60 * turn));
}

fn told(control: &mut Control, kind: &str) -> Vec<serde_json::Value> {
    let query = AlertQuery { kind: Some(kind.to_owned()), most: 100, ..AlertQuery::default() };
    let mut found = control.alerts(None, query).expect("read");
    found.reverse();
    found.iter().map(|view| serde_json::to_value(view).expect("json")).collect()
}

#[test]
fn a_burst_is_told_of_once_and_is_over_when_an_hour_is_usual() {
    let house = House::new("unusual");
    let mut control = after_ten_days(&house, NOW);
    let spend = |cost: &str| report(&house, "acme", Outcome::Completed, true, Some(cost));
    spend("1.2");
    look(&mut control, 1);
    assert_eq!(told(&mut control, "anomaly"), Vec::<serde_json::Value>::new(), "as ever");
    for turn in 2..5 {
        spend("20");
        look(&mut control, turn);
    }
    let rows = told(&mut control, "anomaly");
    assert_eq!(rows.len(), 2, "one for the access key, one for the provider key: {rows:#?}");
    let own = rows.iter().find(|row| row["data"]["scope"] == "access_key").expect("an access key");
    assert_eq!((&own["tenant"], &own["active"]), (&"acme".into(), &true.into()));
    assert_eq!((&own["data"]["figure"], &own["data"]["expected"]), (&21.2.into(), &1.0.into()));
    assert_eq!(own["data"]["since"], "2026-11-23T06:00:00Z");
    let shared = rows.iter().find(|row| row["data"]["scope"] == "provider_key").expect("a provider key");
    assert_eq!(shared["tenant"], "default", "nobody's key is the operator's");
    drop(control);

    let mut control = house.open(CONFIG);
    spend("20");
    look(&mut control, 1);
    look(&mut control, 2);
    assert_eq!(told(&mut control, "anomaly").len(), 2, "told before the restart");
    CLOCK.set(NOW.0 + HOUR);
    look(&mut control, 3);
    assert!(told(&mut control, "anomaly").iter().all(|row| row["active"] == true), "the hour before was not usual");
    spend("1");
    look(&mut control, 4);
    CLOCK.set(NOW.0 + 2 * HOUR);
    look(&mut control, 5);
    let rows = told(&mut control, "anomaly");
    assert!(rows.len() == 2 && rows.iter().all(|row| row["active"] == false), "{rows:#?}");
    assert!(events(&control).contains("as usual again"), "{}", events(&control));
}

#[test]
fn failures_are_told_of_by_their_share() {
    let house = House::new("failures");
    let mut control = after_ten_days(&house, NOW);
    for turn in 1..40 {
        let outcome = if turn % 2 == 0 { Outcome::Broken } else { Outcome::Completed };
        report(&house, "acme", outcome, true, Some("0.001"));
        look(&mut control, turn);
    }
    let rows = told(&mut control, "anomaly");
    assert!(rows.len() == 2 && rows.iter().all(|row| row["data"]["measure"] == "errors"), "{rows:#?}");
    assert!(rows.iter().all(|row| row["data"]["attempts"].as_u64().is_some_and(|count| count >= 20)));
}

#[test]
fn nothing_is_unusual_where_nobody_wants_to_know() {
    let house = House::new("unwatched");
    CLOCK.set(NOW.0);
    drop(after_ten_days(&house, NOW));
    let mut control = house.open(&format!("{CONFIG}[alerts]\nunusual = false\n"));
    report(&house, "acme", Outcome::Completed, true, Some("500"));
    look(&mut control, 1);
    look(&mut control, 2);
    assert_eq!(told(&mut control, "anomaly"), Vec::<serde_json::Value>::new());
}

#[test]
fn what_another_process_spent_counts_for_budgets_once() {
    let house = House::new("elsewhere");
    CLOCK.set(NOW.0);
    let mut control = house.open(CONFIG);
    let budget = Budget { amount: usd("10"), period: Period::Day, cap: Cap::Soft };
    let new = NewBudget { access_key: None, budget, alert_at: Some(vec![50, 100]) };
    control.set_budget(WHO, BudgetOrigin::Operator, &tenant("acme"), new).expect("set");
    look(&mut control, 1);
    let other =
        House { reports: Arc::new(CoreReports::new(64)), directory: house.directory.join("x"), env: house.env.clone() };
    let mut old = other.open(CONFIG);
    old.release(WHO).expect("released");
    report(&other, "acme", Outcome::Completed, true, Some("6"));
    old.part();
    let batch = old.next_batch().expect("a report");
    for turn in 2..5 {
        control.book(&batch).expect("booked");
        look(&mut control, turn);
    }
    let shown = control.budgets(&tenant("acme"), None).expect("shown");
    assert_eq!(shown.budgets.first().map(|budget| budget.spent_usd), Some(6.0));
    let rows = told(&mut control, "budget_alert");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!((&rows[0]["data"]["threshold_percent"], &rows[0]["data"]["percent"]), (&50.into(), &60.0.into()));
    // A restart reads the books, and what was told.
    drop(control);
    let mut control = house.open(CONFIG);
    look(&mut control, 1);
    assert_eq!(told(&mut control, "budget_alert").len(), 1);
    let shown = control.budgets(&tenant("acme"), None).expect("shown");
    assert_eq!(shown.budgets.first().map(|budget| budget.spent_usd), Some(6.0));
    // The next day everything begins anew.
    CLOCK.set(NOW.0 + 24 * HOUR);
    control.keep_allowances(clock());
    let shown = control.budgets(&tenant("acme"), None).expect("shown");
    assert_eq!(shown.budgets.first().map(|budget| budget.spent_usd), Some(0.0));
}

#[test]
fn an_old_key_is_told_of_until_it_is_gone() {
    let house = House::new("ages");
    CLOCK.set(NOW.0);
    let mut control = house.open(CONFIG);
    let key = add(&mut control, "acme", "openai", "sk-proj-CANARY0123456789-old").expect("added");
    CLOCK.set(NOW.0 + 91 * 24 * HOUR);
    control.remind_of_old_keys(clock(), Instant::now());
    let rows = told(&mut control, "key_age");
    let own: Vec<_> = rows.iter().filter(|row| row["tenant"] == "acme").collect();
    assert!(own.len() == 1 && own[0]["data"]["key"] == key.id.as_str() && own[0]["active"] == true, "{rows:#?}");
    drop(control);
    let mut control = house.open(CONFIG);
    control.remind_of_old_keys(clock(), Instant::now());
    assert_eq!(told(&mut control, "key_age").len(), rows.len(), "told before the restart");
    let id = CredentialId::parse(&key.id).expect("an id");
    control.remove_credential(WHO, &tenant("acme"), "openai", id).expect("removed");
    control.remind_of_old_keys(clock(), Instant::now() + Duration::from_secs(48 * 3_600));
    let rows = told(&mut control, "key_age");
    assert!(rows.iter().any(|row| row["tenant"] == "acme" && row["active"] == false), "{rows:#?}");
}

#[test]
fn alarms_and_trouble_are_alerts_of_the_operator_and_not_told_twice() {
    let house = House::new("alarms");
    CLOCK.set(NOW.0);
    let mut control = house.open(CONFIG);
    for _ in 0..3 {
        control.note("alarm", "something is wrong; look at it");
    }
    control.note("config", "nothing is wrong");
    look(&mut control, 1);
    look(&mut control, 2);
    let rows = told(&mut control, "alarm");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["tenant"], "default");
}

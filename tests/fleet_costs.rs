//! Costs and usage of several machines: whichever is asked answers for all of them, to the picodollar, and without the database for itself.

mod fleet;
mod support;

use fleet::{Ground, Machine, or_skip, seen_by_all};
use igris::domain::clock::UnixMillis;
use igris::domain::money::Money;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{ACCESS_KEY, BOOKS_KEY, STRANGER_KEY, bare, bearer, chat, wait_until};

/// What a database that comes or goes may take to be noticed on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Days of the past that have lines; today has none, which each machine may fill by itself.
const DAYS: u64 = 40;

/// What was used in one hour of the past.
struct Line {
    tenant: &'static str,
    hour: u64,
    provider: &'static str,
    /// 0: a provider without keys.
    credential: u32,
    attempts: u64,
    pico: i128,
}

fn today() -> u64 {
    UnixMillis::now().0 / 86_400_000
}

fn lines(today: u64) -> Vec<Line> {
    let mut dice = fastrand::Rng::with_seed(9);
    let line = |number: u64| Line {
        tenant: ["default", "other"][dice.usize(..2)],
        hour: (today - 1 - number % DAYS) * 24 + dice.u64(..24),
        provider: ["openai", "anthropic", "local"][dice.usize(..3)],
        credential: dice.u32(0..2) * 77,
        attempts: dice.u64(1..5),
        pico: dice.i128(0..3_000_000_000_000),
    };
    (0..600).map(line).collect()
}

/// Puts lines, as many as the argument of a program has room for, where the machines of a fleet ship theirs.
fn fill(ground: &Ground, lines: &[Line], today: u64) {
    let partition = |day: u64| {
        let (from, to) = (day * 24, day * 24 + 24);
        format!("CREATE TABLE igris.of_test_{day} PARTITION OF igris.usage_hours FOR VALUES FROM ({from}) TO ({to});")
    };
    ground.sql(&(today - DAYS..today).map(partition).collect::<String>());
    for (table, period, hours) in [("usage_hours", "hour", 1), ("usage_days", "day", 24)] {
        let value = |line: &Line| {
            let Line { tenant, hour, provider, credential, attempts, pico } = line;
            format!("('{tenant}',{},'{provider}','\\x{credential:032x}'::bytea,{attempts},{pico})", hour / hours)
        };
        ground.sql(&format!(
            "INSERT INTO igris.{table}
             SELECT tenant, {period}, provider, 'm', 'cost', credential, credential, sum(n), sum(n), 0, 0, 0, sum(n), 0, 0, sum(pico)
             FROM (VALUES {}) AS v (tenant, {period}, provider, credential, n, pico) GROUP BY 1, 2, 3, 6",
            lines.iter().map(value).collect::<Vec<_>>().join(",")
        ));
    }
}

/// The sum of those that fit.
fn sum(lines: &[Line], fits: impl Fn(&Line) -> bool) -> (u64, Money) {
    let chosen = lines.iter().filter(|line| fits(line));
    chosen.fold((0, Money::ZERO), |sum, line| (sum.0 + line.attempts, sum.1 + Money::from_pico(line.pico)))
}

fn told(sums: &Value) -> (u64, Money) {
    let cost = sums["cost"].as_str().and_then(Money::parse_usd).unwrap_or_else(|| panic!("no exact cost in {sums}"));
    (sums["attempts"].as_u64().unwrap_or_else(|| panic!("no count in {sums}")), cost)
}

fn admin(machine: &Machine, path: &str) -> Value {
    let answer = machine.admin(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn page(machine: &Machine, key: &str, path: &str) -> Value {
    let answer = machine.ask(&bare("GET", path, &bearer(key)));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn is_reachable(machine: &Machine) -> bool {
    admin(machine, "/status")["fleet"]["reachable"] == true
}

/// `igris admin` on a machine: what it printed.
fn cli(machine: &Machine, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.arg("admin").args(words).arg("--socket").arg(machine.home().join("admin.sock"));
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// From where the lines begin up to today.
fn window(today: u64) -> String {
    let at = |day: u64| UnixMillis(day * 86_400_000).to_rfc3339();
    format!("from={}&to={}", at(today - DAYS), at(today))
}

/// The answer without what differs from one instant to the next.
fn lasting(mut answer: Value) -> Value {
    for member in ["as_of", "forecast", "naive_usd", "days", "by_provider", "by_model"] {
        if let Some(answer) = answer.as_object_mut() {
            answer.remove(member);
        }
    }
    answer
}

#[test]
fn every_machine_answers_for_all_of_them() {
    let Some(ground) = or_skip(Ground::builder(3).postgres().start()) else { return };
    let machines = ground.machines(|_, builder| builder);
    let today = today();
    let lines = lines(today);
    fill(&ground, &lines, today);
    let time = window(today);
    let all_equal = |ask: &dyn Fn(&Machine) -> Value| {
        let answers: Vec<Value> = machines.iter().map(ask).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!((&answers[0]["scope"], &answers[0]["note"]), (&json!("fleet"), &Value::Null), "{}", answers[0]);
        answers[0].clone()
    };

    let everything = sum(&lines, |_| true);
    assert_eq!(told(&all_equal(&|machine| admin(machine, &format!("/usage?{time}")))), everything);
    let by =
        all_equal(&|machine| admin(machine, &format!("/costs?{time}&group_by=tenant,provider&bucket=week&limit=5000")));
    assert_eq!(told(&by["total"]), everything);
    let data = by["data"].as_array().expect("lines");
    let parts: Money = data.iter().map(|line| told(line).1).sum();
    assert_eq!((parts, &by["next"]), (everything.1, &Value::Null));
    let local = sum(&lines, |line| (line.tenant, line.provider) == ("other", "local"));
    let told_of = data.iter().filter(|line| line["tenant"] == "other" && line["provider"] == "local").map(told);
    assert_eq!(told_of.fold((0, Money::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1)), local);
    let forecast = all_equal(&|machine| lasting(admin(machine, "/costs/forecast")));
    assert!(forecast["history_days"].as_u64() >= Some(DAYS), "{forecast}");

    // A tenant has its own alone, and none of the operator's keys by name (rule T3).
    let others = sum(&lines, |line| line.tenant == "other");
    let path = format!("/v1/tenants/other/costs?{time}&group_by=key");
    let own = all_equal(&|machine| page(machine, STRANGER_KEY, &path));
    assert_eq!(told(&own["total"]), others);
    let keys: Vec<&str> =
        own["data"].as_array().expect("lines").iter().filter_map(|line| line["key"].as_str()).collect();
    assert!(keys.len() == 2 && keys.contains(&"shared") && keys.contains(&"none"), "{own}");
    let default = format!("/v1/tenants/default/usage?{time}");
    assert_eq!(
        told(&all_equal(&|machine| page(machine, BOOKS_KEY, &default))),
        sum(&lines, |line| line.tenant == "default")
    );
    all_equal(&|machine| lasting(page(machine, BOOKS_KEY, "/v1/tenants/default/costs/forecast")));
    for machine in &machines {
        machine.ask(&bare("GET", &default, &bearer(STRANGER_KEY))).must_be_fault(404, "not_found");
    }

    // What a machine counted by itself is asked for by the operator.
    for path in ["/usage?scope=machine", "/costs?scope=machine&period=month"] {
        let alone = admin(&machines[1], path);
        let total = if path.starts_with("/usage") { &alone } else { &alone["total"] };
        assert_eq!((told(total), &alone["scope"], &alone["note"]), ((0, Money::ZERO), &json!("machine"), &Value::Null));
    }
    assert_eq!(machines[0].admin("/costs?scope=fleet").status, 400);
    let tenant = machines[0].ask(&bare("GET", &format!("{default}&scope=machine"), &bearer(ACCESS_KEY)));
    tenant.must_be_fault(400, "invalid_request");

    let (from, to) = time["from=".len()..].split_once("&to=").expect("both");
    let printed: Vec<String> = machines
        .iter()
        .map(|machine| cli(machine, &["costs", "--from", from, "--to", to, "--limit", "5000"]))
        .collect();
    assert!(printed.iter().all(|text| *text == printed[0] && text.contains("\nof all machines\n")), "{printed:#?}");
    assert!(cli(&machines[2], &["usage", "--period", "month"]).starts_with("of all machines\n"));
    assert!(!cli(&machines[2], &["usage", "--scope", "machine"]).contains("all machines"));
}

#[test]
fn without_the_database_a_machine_answers_for_itself_and_says_so() {
    let Some(ground) = or_skip(Ground::builder(2).postgres().start()) else { return };
    let machines = ground.machines(|_, builder| builder);
    let today = today();
    let lines = lines(today);
    fill(&ground, &lines, today);
    for _ in 0..3 {
        assert_eq!(machines[0].chat(&chat("counted here")).status, 200);
    }
    let attempts = |machine: &Machine| admin(machine, "/usage?period=day&scope=machine")["attempts"].clone();
    wait_until(PATIENCE, "they are booked", || attempts(&machines[0]) == 3);
    let path = format!("/usage?{}", window(today));
    assert_eq!(told(&admin(&machines[0], &path)), sum(&lines, |_| true));

    // From the very first question on, whether the machine has noticed or not.
    ground.postgres().kill();
    for (machine, own) in machines.iter().zip([3, 0]) {
        let alone = admin(machine, "/usage?period=day");
        assert_eq!((&alone["scope"], &alone["attempts"]), (&json!("machine"), &json!(own)), "{alone}");
        let note = alone["note"].as_str().expect("a sentence");
        assert!(note.contains("this machine alone"), "{note}");
        assert_eq!(page(machine, BOOKS_KEY, "/v1/tenants/default/costs")["note"], note);
        assert_eq!(admin(machine, "/costs/forecast")["note"], note);
        assert!(cli(machine, &["costs"]).contains(note));
        assert!(cli(machine, &["costs", "forecast"]).contains(note));
        let asked_for = admin(machine, "/usage?scope=machine");
        assert_eq!((&asked_for["scope"], &asked_for["note"]), (&json!("machine"), &Value::Null));
    }
    seen_by_all(&machines, PATIENCE, "they notice", |machine| !is_reachable(machine));
    assert_eq!(admin(&machines[0], &path)["scope"], "machine");
    assert_eq!(machines[0].admin("/usage?tenant=nobody").status, 404);

    ground.postgres().start();
    seen_by_all(&machines, PATIENCE, "they find it again", is_reachable);
    for machine in &machines {
        let again = admin(machine, &path);
        assert_eq!((told(&again), &again["scope"]), (sum(&lines, |_| true), &json!("fleet")), "{again}");
    }
}

#[test]
fn a_slow_database_holds_up_its_page_alone() {
    let Some(ground) = or_skip(Ground::builder(1).postgres().wires().start()) else { return };
    let machines = ground.machines(|_, builder| builder);
    let machine = &machines[0];
    let today = today();
    let lines = lines(today);
    fill(&ground, &lines, today);
    let path = format!("/costs?{}&group_by=provider", window(today));
    assert_eq!(told(&admin(machine, &path)["total"]), sum(&lines, |_| true));

    // A page takes four round trips and more, a second each.
    ground.wire(0).delay(Duration::from_millis(500));
    let is_done = AtomicBool::new(false);
    let beside = |what: &str| {
        let mut answered = 0;
        while !is_done.load(Ordering::SeqCst) {
            assert_eq!(machine.chat(&chat("beside")).status, 200, "{what}");
            assert_eq!(machine.admin("/status").status, 200, "{what}");
            assert_eq!(machine.admin("/usage?scope=machine").status, 200, "{what}");
            answered += 1;
        }
        answered
    };
    let ask = |what: &str| {
        is_done.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| {
                let answer = machine.admin(&path);
                is_done.store(true, Ordering::SeqCst);
                answer
            });
            let answered = beside(what);
            let answer = asker.join().expect("no panic");
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert!(answered > 20, "{what}: {answered} while the page was waited for");
            answer.json()
        })
    };
    let slow = ask("slow");
    assert_eq!((told(&slow["total"]), &slow["scope"]), (sum(&lines, |_| true), &json!("fleet")), "{slow}");

    // One that says nothing is given up for the machine's own books.
    ground.wire(0).delay(Duration::ZERO);
    wait_until(PATIENCE, "it is there", || is_reachable(machine) && admin(machine, &path)["scope"] == "fleet");
    ground.wire(0).hole();
    let silent = ask("silent");
    assert_eq!(silent["scope"], "machine", "{silent}");
    assert!(silent["note"].is_string(), "{silent}");
    ground.wire(0).heal();
    wait_until(PATIENCE, "it is there again", || is_reachable(machine));
    wait_until(PATIENCE, "all machines answer again", || admin(machine, &path)["scope"] == "fleet");
}

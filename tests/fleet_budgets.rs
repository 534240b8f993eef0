//! Budgets and rates of several gateways that share a real PostgreSQL: one limit for all of them, whatever is taken from them.

mod fleet;
mod support;

use fleet::{Ground, Load, Machine, or_skip, seen_by_all};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Answer, Builder, bearer, chat_of, post_with, wait_until};

const KEY: &str = "sk-igris-canary-limited-0123456789abcdef";

/// A token of the answer costs a tenth of a cent, the prompt next to nothing: answers of ten tokens are a cent each.
const PRICES: &str =
    "[[prices]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\ninput = \"$0.001/Mtok\"\noutput = \"$1000/Mtok\"\n";

/// What a start, or a database that comes back, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a machine must be silent to count as gone.
const GONE: Duration = Duration::from_secs(25);

fn ground(describe: impl FnOnce(fleet::GroundBuilder) -> fleet::GroundBuilder) -> Option<Ground> {
    let builder = Ground::builder(3).postgres().provider(|provider| provider.tokens(10));
    or_skip(describe(builder).start())
}

/// Three gateways with one more access key, `limited`, with these limits.
fn limited(ground: &Ground, limits: &str, more: &str) -> Vec<Machine> {
    let key = format!(
        "[[access_keys]]\nname = \"limited\"\nkey = {{ file = \"{{home}}/limited.key\" }}\nlimits = {{ {limits} }}\n{more}"
    );
    let describe = |_: usize, builder: Builder| builder.config_toml(PRICES).file("limited.key", KEY).config_toml(&key);
    let machines = ground.machines(describe);
    seen_by_all(&machines, PATIENCE, "all know each other", |machine| leases(machine)["machines"] == 3);
    machines
}

fn leases(machine: &Machine) -> Value {
    machine.admin("/status").json()["fleet"]["leases"].clone()
}

fn request(key: &str) -> Vec<u8> {
    post_with("/v1/chat/completions", &bearer(key), chat_of("gpt-4o", "hello", ",\"max_tokens\":10").as_bytes())
}

fn ask(machine: &Machine) -> Answer {
    machine.ask(&request(KEY))
}

/// Dollars that the fleet has spent by what a machine says.
fn spent(machine: &Machine) -> f64 {
    let list = machine.admin("/access-keys?tenant=default").json();
    let keys = list["data"].as_array().unwrap_or_else(|| panic!("no list in {list}"));
    let own = keys.iter().find(|key| key["name"] == "limited" && key["status"] == "active").expect("the key is there");
    own["usage"]["budgets"][0]["spent"].as_f64().expect("a number")
}

fn served(ground: &Ground) -> u64 {
    ground.provider.truth().counts().requests
}

/// Asks on these machines, each on connections of its own and with a pause, until all of them have refused for a while; answers how many
/// were served when the first was refused.
fn spend(ground: &Ground, machines: &[&Machine], pause: Duration, calm: Duration) -> u64 {
    let (over, first) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
    let last: Vec<AtomicU64> = machines.iter().map(|_| AtomicU64::new(0)).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        for (machine, last) in machines.iter().zip(&last) {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = machine.client();
                    while !over.load(Ordering::Relaxed) {
                        let answer = client.ask(&request(KEY));
                        match answer.status {
                            200 => last.store(began.elapsed().as_millis() as u64, Ordering::Relaxed),
                            402 => drop(first.fetch_min(served(ground), Ordering::Relaxed)),
                            status => panic!("{status}: {}", answer.text()),
                        }
                        thread::sleep(pause);
                    }
                });
            }
        }
        let quiet = |last: &AtomicU64| began.elapsed() > Duration::from_millis(last.load(Ordering::Relaxed)) + calm;
        wait_until(Duration::from_secs(90), "all refuse", || last.iter().all(quiet));
        over.store(true, Ordering::Relaxed);
    });
    first.load(Ordering::Relaxed)
}

#[test]
fn three_machines_spend_one_budget_and_no_more() {
    let Some(ground) = ground(|builder| builder) else { return };
    let machines = limited(&ground, "budget = \"$10/month\"", "");
    let all: Vec<&Machine> = machines.iter().collect();
    let first = spend(&ground, &all, Duration::from_millis(15), Duration::from_secs(6));
    let total = served(&ground);
    println!("the first refusal after {first} of 1000 requests, {total} in all");
    assert!(total <= 1_000, "{total} cents of a thousand");
    assert!(total >= 980 && first >= 300, "{total}, {first}");
    seen_by_all(&machines, PATIENCE, "all know what all have spent", |machine| {
        (spent(machine) - total as f64 / 100.0).abs() < 0.02
    });
    let refused = ask(&machines[1]);
    refused.must_be_fault(402, "budget_exceeded");
    let metrics = machines[0].admin("/metrics").text();
    assert!(metrics.contains("igris_fleet_lease_rounds_total{outcome=\"answered\"}"), "{metrics}");
}

#[test]
fn what_a_killed_machine_had_leased_comes_back_and_so_does_what_it_spent() {
    let Some(ground) = ground(|builder| builder) else { return };
    let mut machines = limited(&ground, "budget = \"$10/month\"", "");
    let load = Load::with(&[&machines[0]], 2, Duration::from_millis(10), |_| request(KEY));
    wait_until(PATIENCE, "a fifth is spent", || served(&ground) >= 200);
    assert_eq!(load.end().failures, [""; 0]);
    machines[0].kill();
    let others = [&machines[1], &machines[2]];
    spend(&ground, &others, Duration::from_millis(15), GONE);
    let total = served(&ground);
    println!("{total} of 1000 after a machine was killed");
    // What it spent in its last half second was told to nobody.
    assert!((940..=1_000 + 50).contains(&total), "{total}");
    machines[0].restart();
    ask(&machines[0]).must_be_fault(402, "budget_exceeded");
    seen_by_all(&machines, PATIENCE, "what it spent is known", |machine| {
        (spent(machine) - total as f64 / 100.0).abs() < 0.02
    });
}

#[test]
fn without_the_database_leases_are_spent_to_their_end_and_no_request_fails_before() {
    let Some(ground) = ground(|builder| builder) else { return };
    let mut machines = limited(&ground, "budget = \"$50/month\"", "");
    let warm: Vec<Load> =
        machines.iter().map(|machine| Load::with(&[machine], 1, Duration::from_millis(40), |_| request(KEY))).collect();
    wait_until(PATIENCE, "some is spent", || served(&ground) >= 200);
    ground.postgres().kill();
    thread::sleep(Duration::from_secs(2));
    for load in warm {
        let served = load.end();
        assert_eq!(served.failures, [""; 0]);
        assert!(served.answered > 20, "{}", served.answered);
    }
    // A restart does not forget what was leased, and lends no more.
    machines[1].restart();
    assert_eq!(ask(&machines[1]).status, 200);
    let all: Vec<&Machine> = machines.iter().collect();
    spend(&ground, &all, Duration::ZERO, Duration::from_secs(2));
    let total = served(&ground);
    println!("{total} of 5000 when all leases were used up");
    assert!(total < 2_000, "each at most one part in 24 beyond what it had: {total}");
    let refused = ask(&machines[0]);
    refused.must_be_fault(402, "budget_exceeded");
    assert!(refused.message().contains("cannot be reached"), "{}", refused.text());
    ground.postgres().start();
    seen_by_all(&machines, PATIENCE, "all serve again", |machine| ask(machine).status == 200);
    seen_by_all(&machines, PATIENCE, "all know what all have spent", |machine| {
        (spent(machine) - served(&ground) as f64 / 100.0).abs() < 0.04
    });
}

#[test]
fn whoever_has_a_limit_is_refused_when_the_term_is_over_where_that_is_wished() {
    let Some(ground) = ground(|builder| builder) else { return };
    let machines = limited(&ground, "budget = \"$50/month\"", "[fleet]\nwithout_database = \"refuse\"\n");
    seen_by_all(&machines, PATIENCE, "all serve", |machine| ask(machine).status == 200);
    ground.postgres().kill();
    seen_by_all(&machines, PATIENCE, "the term is over", |machine| ask(machine).status == 503);
    let refused = ask(&machines[2]);
    refused.must_be_fault(503, "limits_unknown");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(machines[2].ask(&request(ACCESS_KEY)).status, 200, "who has no limit is served");
    assert_eq!(leases(&machines[2])["term_seconds"], 0);
    ground.postgres().start();
    seen_by_all(&machines, PATIENCE, "all serve again", |machine| ask(machine).status == 200);
}

#[test]
fn a_rate_is_that_of_all_machines_and_follows_who_needs_it() {
    let Some(ground) = ground(|builder| builder) else { return };
    let machines = limited(&ground, "requests_per_minute = 600", "");
    let run = |machines: &[&Machine], seconds: u64| {
        let (over, admitted) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for machine in machines {
                scope.spawn(|| {
                    let mut client = machine.client();
                    while !over.load(Ordering::Relaxed) {
                        let answer = client.ask(&request(KEY));
                        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                        admitted.fetch_add(u64::from(answer.status == 200), Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(5));
                    }
                });
            }
            thread::sleep(Duration::from_secs(seconds));
            over.store(true, Ordering::Relaxed);
        });
        admitted.load(Ordering::Relaxed)
    };
    let all: Vec<&Machine> = machines.iter().collect();
    let began = Instant::now();
    let together = run(&all, 12);
    let most = 600 + 10 * began.elapsed().as_secs() + 10;
    println!("three machines: {together} of at most {most} in 12 s");
    assert!(together <= most && together >= 400, "{together} of {most}");
    let alone = run(&[&machines[1]], 12);
    println!("one machine after that: {alone} in 12 s at 10 a second");
    let most = 600 + 10 * began.elapsed().as_secs() + 10;
    assert!(together + alone <= most && alone >= 50, "{alone}");
}

#[test]
fn requests_at_a_time_are_counted_on_all_machines() {
    let Some(ground) = ground(|builder| builder.provider(|provider| provider.latency(Duration::from_secs(3)))) else {
        return;
    };
    let machines = limited(&ground, "concurrent = 6", "");
    let answers: Vec<u16> = thread::scope(|scope| {
        let asked: Vec<_> = (0..12)
            .map(|number| {
                thread::sleep(Duration::from_millis(60));
                let machine = &machines[number % 3];
                scope.spawn(move || ask(machine).status)
            })
            .collect();
        asked.into_iter().map(|one| one.join().expect("answered")).collect()
    });
    let count = |status: u16| answers.iter().filter(|one| **one == status).count();
    println!("{answers:?}");
    assert!(count(200) <= 6 && count(200) >= 3 && count(200) + count(429) == 12, "{answers:?}");
}

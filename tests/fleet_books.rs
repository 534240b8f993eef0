//! The books of all machines balance to the last attempt, whatever is taken from them: what the provider saw, what the machines' journals
//! closed, and what the one database has, each attempt once and to the last picodollar (rules L11, L12).

mod fleet;
mod support;

use fleet::{Ground, Load, Machine, Postgres, or_skip, seen_by_all};
use igris::domain::clock::UnixMillis;
use igris::domain::id::{AccessKeyId, AttemptId, CredentialId, RequestId, TenantId};
use igris::domain::money::Money;
use igris::domain::secret::Secret;
use igris::fleet::{Books, Close, Encryption, Fleet, LaneEnd, Place, Shipment};
use igris::ledger::{Entry, Reader};
use igris::report::AttemptReport;
use igris::store::{Store, UsageFilter};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{chat, wait_until};

/// What a machine may take to ship what it has, once the database is back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Receipts that the provider keeps: more than any run makes.
const RECEIPTS_MAX: usize = 1_000_000;

fn ground(machines: u8, describe: impl FnOnce(fleet::GroundBuilder) -> fleet::GroundBuilder) -> Option<Ground> {
    let builder =
        Ground::builder(machines).postgres().provider(|provider| provider.receipts("x-request-id", RECEIPTS_MAX));
    or_skip(describe(builder).start())
}

fn books(machine: &Machine) -> Value {
    machine.admin("/status").json()["fleet"]["books"].clone()
}

fn count(ground: &Ground, sql: &str) -> u64 {
    ground.sql(sql).parse().unwrap_or_else(|_| panic!("{sql}: {}", ground.sql(sql)))
}

/// Every close in the journals of these machines, by attempt.
fn closes(machines: &[Machine]) -> BTreeMap<u128, AttemptReport> {
    let mut closes = BTreeMap::new();
    for machine in machines {
        let mut reader = Reader::new(&machine.home().join("data/ledger"), None);
        for lane in reader.lanes().expect("listed") {
            let read = reader.read(&lane, 0, usize::MAX, &mut |_, entry| {
                if let Entry::Close(close) = entry {
                    assert!(closes.insert(close.attempt.bits(), close).is_none(), "no attempt is closed twice");
                }
            });
            read.unwrap_or_else(|fault| panic!("lane {lane}: {fault}"));
        }
    }
    closes
}

/// What a machine's own books have, picodollars.
fn own_cost(machine: &Machine) -> i128 {
    let store = Store::open_reading(&machine.home().join("data/igris.db")).expect("a store");
    let (mut cost, filter) = (0, UsageFilter { hours: 0..1 << 40 });
    store.for_each_usage(&TenantId::new("default"), &filter, |row| cost += row.cost.pico()).expect("read");
    cost
}

/// Waits until the database has as many attempts as the journals, and then holds all books against each other. No requests may be under way.
fn balance(ground: &Ground, machines: &[Machine]) {
    assert!(ground.provider.truth().wait_settled(PATIENCE));
    let attempts = || count(ground, "SELECT count(*) FROM igris.attempts");
    wait_until(PATIENCE, "everything is shipped", || closes(machines).len() as u64 == attempts());
    let closes = closes(machines);
    // Each attempt once, as it was closed.
    let rows = ground
        .sql("SELECT encode(attempt, 'hex'), encode(exchange, 'hex'), status, outcome, cost_pico FROM igris.attempts");
    let mut kept: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in rows.lines() {
        let parts: Vec<&str> = row.split('|').collect();
        let bits = |text: &str| u128::from_str_radix(text, 16).expect("hexadecimal digits");
        let close = closes.get(&bits(parts[0])).unwrap_or_else(|| panic!("nobody closed {row}"));
        assert_eq!(close.exchange.bits(), bits(parts[1]), "{row}");
        assert_eq!((close.status.to_string().as_str(), close.outcome.name()), (parts[2], parts[3]), "{row}");
        assert_eq!(close.cost.map(|cost| cost.pico().to_string()).unwrap_or_default(), parts[4], "{row}");
        let (all, silent) = kept.entry(close.exchange.to_string()).or_default();
        *all += 1;
        *silent += u64::from(close.status == 0);
    }
    // What the provider saw: every request has its attempt, and an attempt without a request is one that never got an answer.
    let (receipts, lost) = ground.provider.truth().receipts();
    assert_eq!((lost, receipts.len() as u64), (0, ground.provider.truth().counts().requests));
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    receipts.iter().for_each(|receipt| *seen.entry(receipt.id.to_string()).or_default() += 1);
    assert_eq!(seen.keys().find(|exchange| !kept.contains_key(*exchange)), None, "the provider saw what nobody booked");
    let mut unread = 0;
    for (exchange, (all, silent)) in &kept {
        let seen = seen.get(exchange).copied().unwrap_or(0);
        assert!(seen <= *all && all - seen <= *silent, "{exchange}: {all} attempts, {silent} silent, {seen} seen");
        unread += all - seen;
    }
    // Sums by hour and day, those of the database and those of the machines, to the last picodollar.
    let cost: i128 = closes.values().filter_map(|close| close.cost).map(Money::pico).sum();
    let requests = closes.values().filter(|close| close.last).count();
    let input: u64 = closes.values().map(|close| close.usage.input).sum();
    for table in ["usage_hours", "usage_days"] {
        let sums = ground
            .sql(&format!("SELECT sum(attempts), sum(requests), sum(input_tokens), sum(cost_pico) FROM igris.{table}"));
        assert_eq!(sums, format!("{}|{requests}|{input}|{cost}", closes.len()), "{table}");
    }
    let own = || machines.iter().map(own_cost).sum::<i128>();
    wait_until(PATIENCE, "the machines' own books come to the same", || own() == cost);
    println!("{} attempts, {unread} of them never read by the provider, {cost} picodollars", closes.len());
    assert!(cost > 0);
}

#[test]
fn the_books_balance_whatever_is_taken_from_three_machines() {
    let Some(ground) = ground(3, |builder| builder.namespaces()) else { return };
    let mut machines = ground.machines(|_, builder| builder);
    let loads: Vec<Load> = (0..3).map(|first| Load::on(&[&machines[first], &machines[(first + 1) % 3]], 2)).collect();
    wait_until(PATIENCE, "the first are there", || count(&ground, "SELECT count(*) FROM igris.attempts") > 100);
    machines[2].kill();
    machines[2].restart();
    ground.net().partition(1);
    wait_until(PATIENCE, "it spools", || {
        let books = books(&machines[1]);
        books["unshipped"].as_u64().is_some_and(|records| records > 50) && books["trouble"].is_string()
    });
    ground.postgres().kill();
    machines[0].kill();
    machines[0].restart();
    wait_until(PATIENCE, "a machine that starts without it says so", || {
        let books = books(&machines[0]);
        books["unshipped"].is_null() && books["behind_seconds"].as_u64() >= Some(2) && books["trouble"].is_string()
    });
    let metrics = machines[1].admin("/metrics").text();
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit_once(' ').and_then(|(_, number)| number.parse::<f64>().ok()).expect("a number")
    };
    assert!(figure("igris_fleet_books_behind_seconds ") >= 2.0 && figure("igris_fleet_books_unshipped ") > 50.0);
    ground.postgres().start();
    machines[2].kill();
    ground.net().heal(1);
    wait_until(PATIENCE, "one ships again", || books(&machines[1])["unshipped"] == 0);
    machines[2].restart();
    // Once more under load, in the middle of it all.
    machines[0].kill();
    machines[0].restart();
    let answered: u64 = loads.into_iter().map(|load| load.end().answered).sum();
    assert!(answered > 300, "{answered}");
    balance(&ground, &machines);
    seen_by_all(&machines, PATIENCE, "nothing is missing", |machine| {
        let books = books(machine);
        books["unshipped"] == 0 && books["trouble"].is_null() && books["behind_seconds"].as_u64() <= Some(1)
    });
}

#[test]
fn the_database_dies_again_and_again_in_the_middle_of_shipments() {
    let Some(ground) = ground(2, |builder| builder) else { return };
    let machines = ground.machines(|_, builder| builder);
    let load = Load::on(&machines.iter().collect::<Vec<_>>(), 4);
    for turn in 0..4 {
        let before = count(&ground, "SELECT count(*) FROM igris.attempts");
        wait_until(PATIENCE, "it goes on", || count(&ground, "SELECT count(*) FROM igris.attempts") > before + 20);
        std::thread::sleep(Duration::from_millis(170 * turn));
        ground.postgres().kill();
        ground.postgres().start();
    }
    assert_eq!(load.end().failures, Vec::<String>::new());
    balance(&ground, &machines);
}

#[test]
fn a_machine_that_stops_leaves_nothing_unshipped_and_one_that_is_upgraded_ships_on() {
    let Some(ground) = ground(2, |builder| builder) else { return };
    let mut machines = ground.machines(|_, builder| builder);
    let load = Load::on(&[&machines[0]], 2);
    let there = || count(&ground, "SELECT count(*) FROM igris.attempts");
    wait_until(PATIENCE, "the first are there", || there() > 20);
    let upgraded = machines[0].gateway_mut().upgrade("{}");
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let before = there();
    wait_until(PATIENCE, "the new process ships", || there() > before + 20);
    assert_eq!(load.end().failures, Vec::<String>::new());
    for number in 0..20 {
        assert_eq!(machines[1].chat(&chat(&format!("last {number}"))).status, 200);
    }
    assert!(machines[1].stop(PATIENCE), "it ends");
    let of_second = closes(&machines[1..]);
    let kept = ground.sql("SELECT encode(attempt, 'hex') FROM igris.attempts");
    let kept: BTreeSet<u128> = kept.lines().map(|id| u128::from_str_radix(id, 16).expect("digits")).collect();
    assert_eq!(of_second.keys().filter(|attempt| !kept.contains(attempt)).count(), 0, "its last ones among them");
    assert_eq!(of_second.len(), 20);
    machines[1].restart();
    balance(&ground, &machines);
}

#[test]
fn a_machine_without_a_journal_says_that_nothing_of_it_is_there() {
    let Some(ground) = ground(1, |builder| builder) else { return };
    let machines = ground.machines(|_, builder| builder.config_toml("[ledger]\ndurability = \"none\"\n"));
    assert_eq!(machines[0].chat(&chat("hello")).status, 200);
    let books = books(&machines[0]);
    assert_eq!(books["shipping"], false);
    assert!(books["trouble"].as_str().is_some_and(|text| text.contains("durability")), "{books}");
    wait_until(PATIENCE, "there is an alarm", || machines[0].admin("/alerts").text().contains("keeps no journal"));
    assert!(!machines[0].admin("/metrics").text().contains("\nigris_fleet_books_unshipped"));
}

#[test]
fn nothing_that_a_client_said_or_a_key_is_in_the_books() {
    let Some(ground) = ground(1, |builder| builder) else { return };
    let machines = ground.machines(|_, builder| builder);
    assert_eq!(machines[0].chat(&chat("a canary that sings")).status, 200);
    wait_until(PATIENCE, "it is there", || count(&ground, "SELECT count(*) FROM igris.attempts") == 1);
    let tables = ["attempts", "usage_hours", "usage_days", "lanes"];
    let rows: String = tables.iter().map(|table| ground.sql(&format!("SELECT * FROM igris.{table}"))).collect();
    assert!(rows.contains("gpt-4o") && !rows.contains("canary") && !rows.contains("sk-"), "{rows}");
}

// === What it costs: figures, for people ===

/// Attempts of the measurement: `IGRIS_BOOKS_ROWS`.
fn rows() -> u64 {
    std::env::var("IGRIS_BOOKS_ROWS").map_or(5_000_000, |text| text.parse().expect("a number"))
}

/// Attempts over thirty days of fifty tenants with two keys each, four models at two providers.
struct Past {
    dice: fastrand::Rng,
    names: Vec<String>,
    next: u128,
}

impl Past {
    const DAYS: u64 = 30;

    fn new() -> Self {
        let names = (0..50).map(|number| format!("tenant-{number:02}")).collect();
        Self { dice: fastrand::Rng::with_seed(7), names, next: 1 }
    }

    fn shipment(&mut self, part: f64, size: usize) -> Shipment {
        let since = u64::try_from(self.next).expect("small") - 1;
        let mut shipment = self.attempts(part, size);
        let (lane, closes) = ("measured/0".to_owned(), size as u64);
        shipment.end(LaneEnd { lane, since, number: since + closes, closes });
        shipment
    }

    /// Attempts of an instant, as a part of all days.
    fn attempts(&mut self, part: f64, size: usize) -> Shipment {
        const MODELS: [(&str, &str); 4] = [
            ("openai", "gpt-4o"),
            ("openai", "gpt-4o-mini"),
            ("anthropic", "claude-sonnet-4-5"),
            ("anthropic", "claude-haiku-4-5"),
        ];
        let (mut shipment, now) = (Shipment::default(), UnixMillis::now().0);
        let span = Self::DAYS * 86_400_000;
        for _ in 0..size {
            let at = now - span + (part * span as f64) as u64 + self.dice.u64(..1_000);
            // A few tenants make most of it.
            let tenant = (self.dice.f64().powi(3) * self.names.len() as f64) as usize;
            let (provider, model) = MODELS[self.dice.usize(..4)];
            shipment.add(&Close {
                attempt: AttemptId::from_bits(self.dice.u128(..)),
                exchange: RequestId::from_bits(self.dice.u128(..)),
                started: UnixMillis(at),
                tenant: &self.names[tenant],
                access_key: AccessKeyId::from_bits((tenant as u128) << 8 | self.dice.u128(..2)),
                provider,
                model,
                policy: "ordered",
                credential: Some(CredentialId::from_bits(tenant as u128 + 1)),
                outcome: "completed",
                status: 200,
                last: true,
                failed: false,
                unpriced: false,
                source: "provider",
                input_tokens: self.dice.u64(50..5_000),
                output_tokens: self.dice.u64(1..900),
                cached_tokens: 0,
                cost: Some(Money::from_pico(self.dice.i128(1_000_000..90_000_000_000))),
            });
            self.next += 1;
        }
        shipment
    }
}

/// Processor time of all its processes.
fn cpu_of(postgres: &Postgres) -> Duration {
    let ticks = |pid: u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = line.rsplit_once(')').map_or("", |(_, rest)| rest);
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    };
    Duration::from_millis(10 * postgres.processes().into_iter().map(ticks).sum::<u64>())
}

fn joined(ground: &Ground) -> (Fleet, Books) {
    let url = Arc::new(Secret::copy_of(ground.database().url().as_bytes()));
    let place = Place { url, password: None, encryption: Encryption::Off, authority: None, listens: true };
    let (news, kept) = tokio::sync::mpsc::unbounded_channel();
    std::mem::forget(kept);
    let fleet = Fleet::start(&place, news, [7; 16]).expect("a thread");
    let id = fleet.met().expect("it answers");
    let books = fleet.books(id).expect("a runtime");
    (fleet, books)
}

/// Fills the books by the statement that ships, and measures the last of it, the room it takes, and what is asked of it.
#[test]
#[ignore = "a measurement"]
fn what_the_books_cost_and_how_fast_they_answer() {
    const PIECE: usize = 4_096;
    let cluster = |postgres: fleet::PostgresBuilder| {
        ["shared_buffers = '512MB'", "max_wal_size = '4GB'", "checkpoint_timeout = '15min'"]
            .into_iter()
            .fold(postgres, fleet::PostgresBuilder::setting)
    };
    let ground = Ground::builder(1).postgres_with(cluster).start().expect("a database");
    let (_fleet, mut books) = joined(&ground);
    let (rows, mut past) = (rows(), Past::new());
    let pieces = rows / PIECE as u64;
    let measured = pieces.min(48);
    let began = Instant::now();
    for piece in 0..pieces - measured {
        books.ship(&past.shipment(piece as f64 / pieces as f64, PIECE)).expect("taken");
    }
    println!(
        "{} attempts in {:.0} s, as a beginning",
        (pieces - measured) * PIECE as u64,
        began.elapsed().as_secs_f64()
    );
    ground.sql("VACUUM ANALYZE");
    let shipments: Vec<Shipment> =
        (pieces - measured..pieces).map(|piece| past.shipment(piece as f64 / pieces as f64, PIECE)).collect();
    if let Ok(path) = std::env::var("IGRIS_QUIET") {
        println!("waiting for {path}");
        wait_until(Duration::from_secs(600), "it is quiet", || std::path::Path::new(&path).exists());
    }
    let (before, began) = (cpu_of(ground.postgres()), Instant::now());
    for shipment in &shipments {
        books.ship(shipment).expect("taken");
    }
    let (took, spent) = (began.elapsed(), cpu_of(ground.postgres()) - before);
    let count = measured * PIECE as u64;
    println!("{count} attempts in {took:?}: {:.0} a second", count as f64 / took.as_secs_f64());
    println!("the server's processor time: {:.1} ms for 1000 attempts", spent.as_secs_f64() * 1e6 / count as f64);
    // The same ones again, as by a machine whose disk was put back: nothing is new, and all of it is looked up.
    let known: Vec<Duration> = (0..8)
        .map(|turn| {
            let mut again = Past::new().attempts(0.0, PIECE);
            again.end(LaneEnd { lane: "again/0".to_owned(), since: turn, number: turn + 1, closes: PIECE as u64 });
            let began = Instant::now();
            assert!(books.ship(&again).expect("taken") < PIECE as u64 / 10);
            began.elapsed()
        })
        .collect();
    println!("{PIECE} that are known, again and again: {known:?}");
    sizes(&ground);
    questions(&ground);
}

fn sizes(ground: &Ground) {
    ground.sql("VACUUM ANALYZE");
    for table in ["attempts", "usage_hours", "usage_days"] {
        let sizes = ground.sql(&format!(
            "SELECT sum(pg_relation_size(c.oid)), sum(pg_total_relation_size(c.oid)), (SELECT count(*) FROM igris.{table})
             FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = 'igris' AND c.relkind = 'r' AND c.relname LIKE '{table}%'"
        ));
        let parts: Vec<f64> = sizes.split('|').map(|part| part.parse().unwrap_or(0.0)).collect();
        println!(
            "{table}: {} rows, {:.0} bytes a row, {:.0} with indexes",
            parts[2],
            parts[0] / parts[2],
            parts[1] / parts[2]
        );
    }
}

/// The kinds of questions that the dashboard asks, over everything and for one tenant.
fn questions(ground: &Ground) {
    let sums = "sum(requests), sum(attempts), sum(failed), sum(estimated), sum(unpriced), sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(cost_pico)";
    let now = UnixMillis::now().0;
    let (hour, day) = (now / 3_600_000, now / 86_400_000);
    let whose = [("all", String::new()), ("one", "tenant = 'tenant-03' AND ".to_owned())];
    for (scope, whose) in whose {
        let days = |group: &str| {
            format!(
                "SELECT {group}, {sums} FROM igris.usage_days WHERE {whose}day >= {} AND day < {} GROUP BY 1 ORDER BY 1",
                day - 29,
                day + 1
            )
        };
        let asked = [
            ("month by day", days("day")),
            ("month by model", days("model")),
            ("month by tenant", days("tenant")),
            (
                "24 hours by hour",
                format!(
                    "SELECT hour, {sums} FROM igris.usage_hours WHERE {whose}hour >= {} AND hour < {} GROUP BY 1 ORDER BY 1",
                    hour - 23,
                    hour + 1
                ),
            ),
            (
                "month by hour, for a forecast",
                format!(
                    "SELECT hour, {sums} FROM igris.usage_hours WHERE {whose}hour >= {} AND hour < {} GROUP BY 1 ORDER BY 1",
                    hour - 24 * 29,
                    hour + 1
                ),
            ),
        ];
        for (name, sql) in asked {
            let times: Vec<f64> = (0..5)
                .map(|_| {
                    let plan = ground.sql(&format!("EXPLAIN (ANALYZE, TIMING OFF) {sql}"));
                    let line =
                        plan.lines().find_map(|line| line.trim().strip_prefix("Execution Time: ").map(str::to_owned));
                    line.and_then(|text| text.split(' ').next().and_then(|number| number.parse().ok())).expect("a time")
                })
                .collect();
            let least = times.iter().copied().fold(f64::MAX, f64::min);
            println!("{scope}, {name}: {least:.1} ms of {times:?}");
            let plan = ground.sql(&format!("EXPLAIN {sql}"));
            plan.lines().take(6).for_each(|line| println!("    {line}"));
        }
    }
}

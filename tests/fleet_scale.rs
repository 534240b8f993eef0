//! What one more machine costs the database: a measurement for `docs/fleet-scale.md`, not a test.
//!
//! Real clients of the gateway's own module, many in one process, against a real PostgreSQL whose processes are looked at in `/proc`.

mod fleet;
mod support;

use fleet::{Ground, or_skip};
use igris::domain::secret::Secret;
use igris::fleet::share::Mine;
use igris::fleet::{Encryption, Fleet, LeaseAsk, Place, PoolName, Quantity, Round};
use igris::store::{News, RowChange, Shared, Table, Value};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A machine without a gateway: it says how far it is, as one would.
struct Stub {
    fleet: Fleet,
    news: mpsc::UnboundedReceiver<News>,
    at: u64,
}

impl Stub {
    fn join(url: &str) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let url = Arc::new(Secret::copy_of(url.as_bytes()));
        let place = Place { url, password: None, encryption: Encryption::Off, authority: None, listens: true };
        let fleet = Fleet::start(&place, sender, fastrand::u128(..).to_be_bytes()).expect("a thread");
        fleet.met().expect("it answers");
        fleet.is_at(0);
        Self { fleet, news, at: 0 }
    }

    /// Takes in what came; how far it is.
    fn follow(&mut self) -> u64 {
        while let Ok(news) = self.news.try_recv() {
            self.at = self.at.max(news.generation);
            self.fleet.is_at(self.at);
        }
        self.at
    }
}

/// `man 5 proc`: nanoseconds on a processor are the first field of `schedstat`.
fn nanoseconds(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Processor time of the whole cluster; of processes that are there at the end.
fn cpu(ground: &Ground) -> Duration {
    ground.postgres().processes().into_iter().map(nanoseconds).map(Duration::from_nanos).sum()
}

/// Memory that a connection's process has for itself, in kilobytes: the mean of those that listen.
fn private(ground: &Ground) -> u64 {
    let pids =
        ground.sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    let own = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        of("Private_Dirty:") + of("Private_Clean:")
    };
    let each: Vec<u64> = pids.lines().map(own).collect();
    each.iter().sum::<u64>() / each.len().max(1) as u64
}

fn tenant(name: &str) -> RowChange {
    let text = |text: &str| Value::Text(text.to_owned());
    let number = Value::Integer;
    let row = vec![text(name), number(1), Value::Null, number(1), Value::Null, Value::Null, number(0)];
    RowChange { table: Table::named("tenants").expect("shared"), key: vec![text(name)], row: Some(row) }
}

/// Processor time of a round of leases, microseconds: every machine asks in turn, for limits that all share.
fn round_cost(ground: &Ground, machines: &[Stub], asks: u8) -> f64 {
    const ROUNDS: u64 = 200;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = |number: u8| LeaseAsk {
        pool: PoolName { holder: vec![b'k', number], quantity: Quantity::Money(3), epoch: 0 },
        ends: i64::MAX,
        limit: 1_000_000_000_000,
        mine: Mine { used: 0, have: 0, want: 1_000 },
        is_full: false,
    };
    let mut begun = Duration::ZERO;
    for turn in 0..ROUNDS + 20 {
        if turn == 20 {
            begun = cpu(ground);
        }
        let place = turn as usize % machines.len();
        let round = Round {
            machine: (place as u128 + 1).to_be_bytes(),
            incarnation: [asks; 16],
            name: "gw".to_owned(),
            turn: turn + 1,
            claims: true,
            knows: 0,
            peers: machines.len() as u64,
            is_bound: false,
            asks: (0..asks).map(ask).collect(),
        };
        runtime.block_on(machines[place].fleet.round(round, false)).expect("taken");
    }
    cpu(ground).saturating_sub(begun).as_secs_f64() * 1e6 / ROUNDS as f64
}

#[test]
#[ignore = "a measurement"]
fn what_a_machine_costs_the_database() {
    const CHANGES: u32 = 20;
    /// Looks are planned anew five times, five seconds apart, before their plan is kept.
    const SETTLED: Duration = Duration::from_secs(26);
    const REST: Duration = Duration::from_secs(10);
    println!(
        "machines | private memory of a connection, KiB | idle, us of processor a machine and second | a change, us | of it a machine, us | until all have it, ms"
    );
    for count in [1_u32, 10, 100] {
        let more = |cluster: fleet::PostgresBuilder| cluster.setting("max_connections = 1000");
        let Some(ground) = or_skip(Ground::builder(1).postgres_with(more).start()) else { return };
        let url = ground.database().url();
        let mut machines: Vec<Stub> = (0..count).map(|_| Stub::join(&url)).collect();
        std::thread::sleep(SETTLED);
        let (before, began) = (cpu(&ground), Instant::now());
        std::thread::sleep(REST);
        let idle =
            cpu(&ground).saturating_sub(before).as_secs_f64() * 1e6 / began.elapsed().as_secs_f64() / f64::from(count);
        let private = private(&ground);
        let mut times = Vec::new();
        let mut before = cpu(&ground);
        // The first ones make connections, which later ones find.
        for change in 0..CHANGES + 3 {
            if change == 3 {
                before = cpu(&ground);
            }
            let (began, at) = (Instant::now(), machines[0].at);
            let next = machines[0].fleet.commit(at, &[tenant(&format!("t{change}"))]).expect("taken");
            machines[0].at = next;
            while machines.iter_mut().any(|machine| machine.follow() < next) {
                std::thread::sleep(Duration::from_micros(200));
            }
            times.push(began.elapsed());
        }
        let change = cpu(&ground).saturating_sub(before).as_secs_f64() * 1e6 / f64::from(CHANGES);
        times.drain(..3);
        times.sort_unstable();
        let median = times[times.len() / 2].as_secs_f64() * 1e3;
        let share = change / f64::from(count);
        println!("{count} | {private} | {idle:.1} | {change:.0} | {share:.0} | {median:.1}");
        assert!(machines.iter().all(|machine| machine.fleet.standing().is_reachable));
        for asks in [0, 1, 20] {
            println!("  a round with {asks} limits: {:.0} us of processor", round_cost(&ground, &machines, asks));
        }
    }
}

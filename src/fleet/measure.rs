//! What one more machine costs the database: a measurement for `docs/fleet.md`, not a test.
//!
//! Real clients of this module, many in one process, against a cluster on this machine whose processes are looked at in `/proc`.

use super::testing::{database, place};
use super::{Fleet, Standing};
use crate::fleet::connect::Connector;
use crate::store::{News, RowChange, Shared, Table, Value};
use std::fs;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A machine without a gateway: it says how far it is, as one would.
struct Stub {
    fleet: Fleet,
    news: mpsc::UnboundedReceiver<News>,
    at: u64,
}

/// The processes of the cluster that serve machines.
struct Backends {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
    name: String,
}

impl Stub {
    fn join(url: &str) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let fleet = Fleet::start(&place(url), sender, fastrand::u128(..).to_be_bytes()).expect("a thread");
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

impl Backends {
    fn of(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
        let client = runtime.block_on(async { Connector::new(&place(url)).expect("a URL").listen().await });
        let name = url.rsplit_once('/').expect("a database is named").1.to_owned();
        Self { runtime, client: client.expect("it answers").client, name }
    }

    fn pids(&self) -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()";
        let rows = self.runtime.block_on(self.client.query(sql, &[&self.name])).expect("answered");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Processor time of all of them, and of those that lend a hand (writer of the log, checkpointer).
    fn cpu(&self) -> Duration {
        let own = self.pids();
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname IS NULL";
        let rows = self.runtime.block_on(self.client.query(sql, &[])).expect("answered");
        own.into_iter().chain(rows.iter().map(|row| row.get(0))).map(nanoseconds).map(Duration::from_nanos).sum()
    }

    /// Memory that one of them alone has, in kilobytes: the mean.
    fn private(&self) -> u64 {
        let pids = self.pids();
        let own = |pid: &i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let of = |name: &str| -> u64 {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
                line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
            };
            of("Private_Dirty:") + of("Private_Clean:")
        };
        pids.iter().map(own).sum::<u64>() / pids.len().max(1) as u64
    }
}

/// `man 5 proc`: nanoseconds on a processor are the first field of `schedstat`.
fn nanoseconds(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn tenant(name: &str) -> RowChange {
    let text = |text: &str| Value::Text(text.to_owned());
    let number = Value::Integer;
    let row = vec![text(name), number(1), Value::Null, number(1), Value::Null, Value::Null, number(0)];
    RowChange { table: Table::named("tenants").expect("shared"), key: vec![text(name)], row: Some(row) }
}

#[test]
#[ignore = "a measurement: needs IGRIS_TEST_STORE_URL of a cluster on this machine that takes 1000 connections"]
fn what_a_machine_costs_the_database() {
    const CHANGES: u32 = 20;
    const REST: Duration = Duration::from_secs(20);
    let cluster = std::env::var("IGRIS_TEST_STORE_URL").expect("IGRIS_TEST_STORE_URL names a cluster");
    println!(
        "machines | private memory of a connection, KiB | idle, us of processor a machine and second | a change, us | of it a machine, us | until all have it, ms"
    );
    for count in [1_u32, 10, 100, 300] {
        let url = database(&cluster, &format!("cost_{count}_{}", std::process::id()));
        let mut machines: Vec<Stub> = (0..count).map(|_| Stub::join(&url)).collect();
        let backends = Backends::of(&url);
        std::thread::sleep(Duration::from_secs(3));
        let (before, began) = (backends.cpu(), Instant::now());
        std::thread::sleep(REST);
        let idle = (backends.cpu() - before).as_secs_f64() * 1e6 / began.elapsed().as_secs_f64() / f64::from(count);
        let private = backends.private();
        let mut times = Vec::new();
        let before = backends.cpu();
        for change in 0..CHANGES {
            let began = Instant::now();
            let at = machines[0].at;
            let next = machines[0].fleet.commit(at, &[tenant(&format!("t{change}"))]).expect("taken");
            machines[0].at = next;
            while machines.iter_mut().any(|machine| machine.follow() < next) {
                std::thread::sleep(Duration::from_micros(200));
            }
            times.push(began.elapsed());
        }
        let change = (backends.cpu() - before).as_secs_f64() * 1e6 / f64::from(CHANGES);
        times.sort_unstable();
        let median = times[times.len() / 2].as_secs_f64() * 1e3;
        let share = change / f64::from(count);
        println!("{count} | {private} | {idle:.1} | {change:.0} | {share:.0} | {median:.1}");
        assert!(machines.iter().all(|machine| matches!(machine.fleet.standing(), Standing { is_reachable: true, .. })));
    }
}

//! One machine of a fleet: a gateway that stays reachable for the stand's clients over its restarts.

use crate::support::{Client, Gateway, Namespace};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Clock ticks in `/proc/PID/stat` (`man 5 proc`; `getconf CLK_TCK` is 100 on every Linux that we run on).
const TICK: Duration = Duration::from_millis(10);

/// Where a machine takes requests: another port after each restart.
#[derive(Debug)]
pub struct Door {
    namespace: Option<Namespace>,
    address: Mutex<SocketAddr>,
}

impl Door {
    /// A new connection of a client on that machine.
    pub fn connect(&self) -> io::Result<Client> {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.namespace {
            Some(namespace) => namespace.within(|| Client::try_connect(address)),
            None => Client::try_connect(address),
        }
    }
}

/// A gateway on its machine; ended on drop.
pub struct Machine {
    /// Counted from 0.
    pub number: usize,
    gateway: Gateway,
    door: Arc<Door>,
}

impl Machine {
    /// A gateway that runs, with the namespace that it runs in.
    pub fn new(number: usize, namespace: Option<Namespace>, gateway: Gateway) -> Self {
        let door = Arc::new(Door { namespace, address: Mutex::new(gateway.address()) });
        Self { number, gateway, door }
    }

    /// Where its clients find it.
    pub fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// Kills it without warning (SIGKILL); [`Machine::restart`] starts it again.
    pub fn kill(&mut self) {
        self.gateway.kill();
    }

    /// Kills it if it runs, starts it again on the state it left, and waits until it is ready.
    pub fn restart(&mut self) {
        self.gateway.restart();
        *self.door.address.lock().unwrap_or_else(PoisonError::into_inner) = self.gateway.address();
    }

    /// Asks it to end (SIGTERM), and says whether it did in time.
    pub fn stop(&mut self, patience: Duration) -> bool {
        self.gateway.signal("TERM");
        self.gateway.wait(patience).is_some()
    }

    /// Processor time that its process has used since its start.
    pub fn cpu(&self) -> Duration {
        let line = fs::read_to_string(format!("/proc/{}/stat", self.gateway.pid())).expect("it runs");
        // The second field is a name in parentheses that may hold anything.
        let fields = line.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
        TICK * ticks.sum()
    }

    /// Everything that a gateway can, for what changes it.
    pub fn gateway_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }
}

impl Deref for Machine {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// Waits until the answer is yes on every machine, all asked at the same time, and says how long the last one took; fails the test when
/// one does not come in time.
#[track_caller]
pub fn seen_by_all(
    machines: &[Machine],
    patience: Duration,
    what: &str,
    seen: impl Fn(&Machine) -> bool + Sync,
) -> Duration {
    let began = Instant::now();
    let watch = |machine: &Machine| {
        while !seen(machine) {
            if began.elapsed() > patience {
                return None;
            }
            thread::sleep(Duration::from_millis(2));
        }
        Some(began.elapsed())
    };
    let times: Vec<Option<Duration>> = thread::scope(|scope| {
        let watch = &watch;
        let watchers: Vec<_> = machines.iter().map(|machine| scope.spawn(move || watch(machine))).collect();
        watchers.into_iter().map(|watcher| watcher.join().expect("asking does not panic")).collect()
    });
    let late: Vec<usize> = (0..times.len()).filter(|number| times[*number].is_none()).collect();
    assert!(late.is_empty(), "not within {patience:?} on machines {late:?}: {what}");
    times.into_iter().flatten().max().unwrap_or_default()
}

//! A network of several machines on one: a namespace each, and a hub with two bridges that joins them.
//!
//! ```text
//!            hub:  fleet 10.77.1.1 (the database)      world 10.77.2.1 (providers)
//!                    |                                   |
//! machine n:       fleet 10.77.1.(10+n)                world 10.77.2.(10+n)          lo 127.0.0.1 (its own clients)
//! ```
//!
//! Two networks, so that a machine can lose its database and keep its providers. A partition is a rule of nftables inside of the
//! machine that drops everything on one of its links, both ways. The same addresses serve in every such network: nothing of it is seen
//! outside. All is removed on drop; what a killed test process left is removed by the next one.

use crate::support::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One of the two links of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To the database and to the other machines.
    Fleet,
    /// To the providers.
    World,
}

impl Link {
    fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::World => "world",
        }
    }

    fn address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, if self == Self::Fleet { 1 } else { 2 }, host)
    }
}

const LINKS: [Link; 2] = [Link::Fleet, Link::World];
/// Host numbers of the hub and of machine 0.
const HUB: u8 = 1;
const FIRST: u8 = 10;
const PREFIX: &str = "igris-";

/// A hub and its machines; removed on drop, with every process that still runs inside.
pub struct Net {
    hub: Namespace,
    machines: Vec<Namespace>,
}

impl Net {
    /// Makes a network of so many machines.
    ///
    /// # Errors
    /// One sentence why a test must be skipped: this machine or this user cannot make namespaces, bridges or rules.
    pub fn of(machines: u8) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let named = |end: &str| Namespace::named(&format!("{prefix}-{end}"));
        // Whole from the start, so that a failure half way removes what there is.
        let net =
            Self { hub: named("hub"), machines: (0..machines).map(|number| named(&format!("m{number}"))).collect() };
        net.make().map_err(|trouble| format!("no network of namespaces can be made here: {trouble}"))?;
        Ok(net)
    }

    /// The namespace that the database and the providers live in.
    pub fn hub(&self) -> &Namespace {
        &self.hub
    }

    /// The hub's address on one of the networks: [`Link::Fleet`] for the database, [`Link::World`] for providers.
    pub fn hub_address(&self, link: Link) -> IpAddr {
        IpAddr::V4(link.address(HUB))
    }

    /// The namespace of a machine, counted from 0.
    pub fn machine(&self, number: usize) -> &Namespace {
        &self.machines[number]
    }

    /// A machine's address on one of the networks.
    pub fn address(&self, number: usize, link: Link) -> IpAddr {
        IpAddr::V4(link.address(host(number)))
    }

    /// Cuts a machine off from the database and from the other machines; its providers stay.
    pub fn partition(&self, machine: usize) {
        self.drop_on(machine, Link::Fleet);
    }

    /// Cuts one link of a machine: what goes out and what comes in is dropped, and nobody is told.
    pub fn drop_on(&self, machine: usize, link: Link) {
        let name = link.name();
        let rules = format!(
            "table inet cut_{name} {{\n\
             chain in {{ type filter hook input priority 0; iifname \"{name}\" drop; }}\n\
             chain out {{ type filter hook output priority 0; oifname \"{name}\" drop; }}\n}}\n"
        );
        self.nft(machine, &rules).unwrap_or_else(|trouble| panic!("nft: {trouble}"));
    }

    /// Lifts every cut of a machine.
    pub fn heal(&self, machine: usize) {
        self.nft(machine, "flush ruleset\n").unwrap_or_else(|trouble| panic!("nft: {trouble}"));
    }

    fn nft(&self, machine: usize, rules: &str) -> Result<(), String> {
        fed(self.machine(machine).command("nft").args(["--file", "-"]), rules)
    }

    fn make(&self) -> Result<(), String> {
        for namespace in self.all() {
            ran(Command::new("ip").args(["netns", "add", namespace.name()]))?;
        }
        let mut hub = "link set lo up\n".to_owned();
        for link in LINKS {
            let (name, address) = (link.name(), link.address(HUB));
            hub += &format!("link add {name} type bridge\naddress add {address}/24 dev {name}\nlink set {name} up\n");
            for (number, machine) in self.machines.iter().enumerate() {
                let end = format!("{name}{number}");
                hub += &format!(
                    "link add {end} type veth peer name {name} netns {}\nlink set {end} master {name} up\n",
                    machine.name()
                );
            }
        }
        fed(Command::new("ip").args(["-n", self.hub.name(), "-batch", "-"]), &hub)?;
        for (number, machine) in self.machines.iter().enumerate() {
            let mut lines = "link set lo up\n".to_owned();
            for link in LINKS {
                let (name, address) = (link.name(), link.address(host(number)));
                lines += &format!("address add {address}/24 dev {name}\nlink set {name} up\n");
            }
            fed(Command::new("ip").args(["-n", machine.name(), "-batch", "-"]), &lines)?;
            self.nft(number, "flush ruleset\n")?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        self.machines.iter().chain([&self.hub])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.all().for_each(|namespace| remove(namespace.name()));
    }
}

fn host(number: usize) -> u8 {
    FIRST + u8::try_from(number).expect("a network has few machines")
}

/// Ends what still runs inside, by its ids, and removes the namespace; its links go with it.
fn remove(name: &str) {
    if !Path::new("/run/netns").join(name).exists() {
        return;
    }
    let inside = Command::new("ip").args(["netns", "pids", name]).output().map(|output| output.stdout);
    let own = i32::try_from(std::process::id()).expect("a process id");
    for pid in String::from_utf8_lossy(&inside.unwrap_or_default()).lines().filter_map(|line| line.trim().parse().ok())
    {
        if let (true, Some(pid)) = (pid != own, Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

/// Removes the namespaces of test processes that are gone.
fn remove_leftovers() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn ran(command: &mut Command) -> Result<(), String> {
    fed(command, "")
}

/// Runs a program to its end on this input.
fn fed(command: &mut Command, input: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    // A program that ends before it has read everything says so by its status.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("`{name}`: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("`{name}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

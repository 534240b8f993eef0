//! A disk that is full or does not sync: nothing new is admitted while that lasts, nothing is lost, and when it is well again the gateway
//! goes on by itself and the books balance (rule L8).
//!
//! The faults are injected through the ledger's one seam to the disk, in a gateway within this process; a real full disk is a small tmpfs,
//! where we may mount one.

// What the other suite uses, too.
#[allow(dead_code)]
mod balance {
    pub mod audit;
    pub mod clients;
    pub mod house;
}
mod support;

use balance::audit;
use balance::clients::Clients;
use balance::house::{House, TENANTS};
use igris::app::{self, ServeOptions};
use igris::ledger::FaultyDisk;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use support::{ACCESS_KEY, BOOKS_KEY, Client, INFERENCE_KEY, SOON, STRANGER_KEY, chat_of, post, wait_until};

const CLIENTS: u64 = 4;
/// Requests of the crowd while the disk fails and is well again.
const REQUESTS: u64 = 300;
/// What is left on the tmpfs for segments: the reserve of 64 MiB never fits beside it.
const SPACE: u64 = 40 * 1024 * 1024;

/// A gateway in a thread of this process, on the state of one that ran as a child.
struct Inside {
    address: SocketAddr,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Inside {
    fn start(home: &Path, disk: &FaultyDisk) -> Self {
        let options = ServeOptions {
            config: Some(home.join("igris.toml")),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            data_dir: home.join("data"),
            workers: Some(1),
            insecure_dumps: true,
            ledger_disk: Some(Arc::new(disk.clone())),
            ..ServeOptions::default()
        };
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let running = app::start(options, environment)?;
            tell.send(running.addresses[0]).expect("somebody waits");
            running.wait()
        });
        let address = told.recv_timeout(SOON).expect("it starts");
        Self { address, thread }
    }

    /// Ends it in order.
    fn stop(self, house: &House) {
        assert!(matches!(house.gateway.admin_ask("POST", "/drain", "").status, 200..=204));
        self.thread.join().expect("it does not panic").expect("it ends well");
    }
}

/// What the child finds in its environment.
fn environment(name: &str) -> Option<String> {
    let key = match name {
        "IGRIS_TEST_APP_KEY" => ACCESS_KEY,
        "IGRIS_TEST_NARROW_KEY" => INFERENCE_KEY,
        "IGRIS_TEST_BOOKS_KEY" => BOOKS_KEY,
        "IGRIS_TEST_STRANGER_KEY" => STRANGER_KEY,
        "IGRIS_TEST_THIRD_KEY" => TENANTS[2].access_key,
        _ => return std::env::var(name).ok(),
    };
    Some(key.to_owned())
}

fn status(address: SocketAddr) -> u16 {
    let Ok(mut client) = Client::try_connect(address) else { return 0 };
    client.send(&post(&chat_of("any", "sim:tokens=2 hello", "")));
    client.try_answer().map_or(0, |answer| answer.status)
}

fn seed() -> u64 {
    let seed = std::env::var("IGRIS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("IGRIS_SEED={seed}");
    seed
}

/// Lets a crowd ask while `trouble` comes and goes.
fn under_load(seed: u64, address: SocketAddr, trouble: impl FnOnce()) {
    let clients = Clients::new(seed, CLIENTS, REQUESTS, address);
    std::thread::scope(|scope| {
        let crowd = scope.spawn(|| clients.run());
        trouble();
        crowd.join().expect("no client panics");
    });
    println!("{:?}", clients.sums);
    assert!(clients.sums.answered.load(Ordering::Relaxed) > 0, "it went on");
}

fn ends(what: &str, address: SocketAddr, wanted: u16) {
    wait_until(SOON, what, || status(address) == wanted);
}

#[test]
fn while_syncs_fail_nothing_is_admitted_and_nothing_is_lost() {
    let seed = seed();
    let mut house = House::new(seed, |builder| builder.config_toml("[ledger]\ndurability = \"power\"\n"));
    house.gateway.kill();
    let disk = FaultyDisk::new();
    let inside = Inside::start(house.gateway.home(), &disk);
    under_load(seed, inside.address, || {
        for failures in [1, u64::MAX] {
            std::thread::sleep(Duration::from_millis(300));
            disk.fail_syncs(failures);
            if failures > 1 {
                ends("requests are refused while no sync succeeds", inside.address, 503);
                disk.fail_syncs(0);
            }
            ends("it goes on once a sync succeeds", inside.address, 200);
        }
    });
    inside.stop(&house);
    audit::balance(&mut house);
}

#[test]
fn without_space_for_the_reserve_nothing_is_admitted() {
    let seed = seed();
    let mut house = House::new(seed, |builder| builder);
    house.gateway.kill();
    let disk = FaultyDisk::new();
    disk.set_space(SPACE);
    let inside = Inside::start(house.gateway.home(), &disk);
    ends("requests are refused while the reserve finds no space", inside.address, 503);
    disk.set_space(u64::MAX - 1);
    ends("it goes on once there is space", inside.address, 200);
    under_load(seed, inside.address, || {});
    inside.stop(&house);
    audit::balance(&mut house);
}

/// A tmpfs of its own, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    /// Says why there is none.
    fn mount(mebibytes: u64) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("igris-small-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let options = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        let mounted = mounted.map_err(|error| format!("there is no mount: {error}"))?;
        match mounted.status.success() {
            true => Ok(Self(folder)),
            false => Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()),
        }
    }

    /// Takes all the space there is but for so many bytes.
    fn fill(&self, but: u64) {
        let name = self.0.join("filler");
        let mut file = std::fs::File::create(&name).expect("a new file");
        let room = vec![0_u8; 64 * 1024];
        while std::io::Write::write_all(&mut file, &room).is_ok() {}
        let length = file.metadata().expect("an open file").len();
        file.set_len(length.saturating_sub(but)).expect("a file can be cut");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_disk_is_survived() {
    let small = match Small::mount(128) {
        Ok(small) => small,
        Err(why) => {
            return println!("skipped: a full disk needs one that can be filled, and no tmpfs can be mounted: {why}");
        }
    };
    small.fill(SPACE);
    let seed = seed();
    // The keys of the other tenants come in while there is room: their requests go to nobody.
    let ledger = format!("[ledger]\ndirectory = \"{}/ledger\"\n", small.0.display());
    let mut house = House::new(seed, |builder| builder.config_toml(&ledger));
    ends("requests are refused while the reserve finds no space", house.gateway.address(), 503);
    small.free();
    ends("it goes on once there is space", house.gateway.address(), 200);
    let address = house.gateway.address();
    under_load(seed, address, || small.fill(0));
    small.free();
    ends("it goes on", address, 200);
    audit::balance_at(&mut house, &small.0.join("ledger"));
}

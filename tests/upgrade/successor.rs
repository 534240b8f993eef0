//! A successor that speaks the protocol up to a step and is then killed: this test binary, started again by a script.

use igris::handover::{Channel, Message, Prepared, adopted};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Where it can die: after what it heard, or after what it said.
pub const STEPS: [&str; 6] = ["offered", "prepared", "store-free", "ready", "take", "accepting"];

const VARIABLE: &str = "IGRIS_TEST_DIES_AT";

/// The shell script that plays it.
pub fn program(step: &str) -> String {
    let own = std::env::current_exe().expect("a test binary has a path");
    format!("export {VARIABLE}={step}\nexec {} --exact successor::plays_a_successor --nocapture", own.display())
}

/// Does nothing when it runs as a test.
#[test]
fn plays_a_successor() {
    let Ok(step) = std::env::var(VARIABLE) else { return };
    let die_at = |here: &str| {
        if step == here {
            let _ =
                std::process::Command::new("sh").args(["-c", &format!("kill -KILL {}", std::process::id())]).status();
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
    let mut channel = Channel::over(UnixStream::from(stdin)).expect("a channel");
    let hear = |channel: &mut Channel| {
        channel.receive(Instant::now() + Duration::from_secs(20), &mut || None).expect("the old process speaks")
    };
    let Message::Offer(offer) = hear(&mut channel) else { panic!("no offer") };
    let sockets = adopted(offer).expect("sockets");
    die_at("offered");
    let prepared = Prepared { version: "test".to_owned(), pid: std::process::id() };
    channel.send(&Message::Prepared(prepared)).expect("sent");
    die_at("prepared");
    assert_eq!(hear(&mut channel), Message::StoreFree);
    die_at("store-free");
    channel.send(&Message::Ready).expect("sent");
    die_at("ready");
    assert_eq!(hear(&mut channel), Message::Take);
    die_at("take");
    // It even held the sockets for a while.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!sockets.is_empty());
    die_at("accepting");
}

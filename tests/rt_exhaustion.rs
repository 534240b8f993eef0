//! Out of descriptors: the listener closes what it cannot keep, pauses, does not spin, and goes on when there are some again (rule O4).
//!
//! A file of its own, for it lowers the limit of the whole process.

use std::fs::File;
use std::io::{Read, Seek};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use igris::rt::{self, Driver, Listener, Stop};

#[allow(unsafe_code)] // setrlimit exists only in the C library.
fn limit_descriptors(n: u64) {
    let limit = libc::rlimit { rlim_cur: n, rlim_max: n };
    // SAFETY: the kernel reads the struct during the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// Processor time of the process, in clock ticks of a hundredth of a second. From a file opened earlier, for there are no descriptors.
fn processor_ticks(stat: &mut File) -> u64 {
    let mut text = String::new();
    stat.rewind().expect("rewind");
    stat.read_to_string(&mut text).expect("stat");
    let stat = text;
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

async fn runs_out_and_recovers() {
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).expect("bind");
    let stop = Stop::new();
    let mut stat = File::open("/proc/self/stat").expect("stat");
    let mut waiting = TcpStream::connect(listener.local_addr()).expect("connect");
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(hoard.len() > 10);
    let (ticks, begun) = (processor_ticks(&mut stat), rt::now());
    let accepted = rt::with_deadline(begun + Duration::from_millis(350), listener.accept(&stop)).await;
    assert!(accepted.is_err(), "there was no descriptor to keep the connection with");
    assert!(processor_ticks(&mut stat) - ticks < 10, "it spun");
    // The one that waited was told: closed, not left hanging.
    waiting.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
    let told = waiting.read(&mut [0; 1]);
    assert!(!matches!(&told, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "left hanging");
    drop(waiting);
    hoard.clear();
    let client = TcpStream::connect(listener.local_addr()).expect("connect");
    let accepted = rt::with_deadline(rt::now() + Duration::from_secs(2), listener.accept(&stop)).await;
    assert!(accepted.expect("in time").expect("not stopped").is_ok());
    drop(client);
}

#[test]
fn a_listener_out_of_descriptors_sheds_pauses_and_recovers() {
    let uring = rt::resolve(rt::DriverChoice::IoUring);
    limit_descriptors(128);
    rt::block_on(Driver::Epoll, runs_out_and_recovers()).expect("epoll");
    if let Ok(driver) = uring {
        rt::block_on(driver, runs_out_and_recovers()).expect("io_uring");
    }
}

//! What a request costs in allocations: the whole gateway in this process, counted on the thread that serves, once it is warm.
//!
//! The bounds below are a ratchet: they only fall, and a request that passes as it is allocates nothing; half of one is what the core's own ticks
//! may take beside a slow one. Authentication, limits, journal,
//! metering and metrics are all on. A row above its bound fails the test;
//! who makes a row smaller lowers its bound.
//!
//! `IGRIS_ALLOCATIONS=who cargo test --test allocations -- --nocapture` says who allocates: for each place the count a request, with the
//! functions above it.

mod support;

use igris::app::{self, ServeOptions};
use igris_load::Simulator;
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use support::{ACCESS_KEY, Client, INFERENCE_KEY, SOON, bare, bearer, chat, post_with, provider_key, stream_of};

/// One kind of request, and the allocations that it may make, in hundredths.
struct Row {
    what: &'static str,
    bound: u64,
}

const UNARY: Row = Row { what: "a unary request", bound: 50 };
const LIMITED: Row = Row { what: "a unary request of a key with limits", bound: 1_50 };
const STREAM: Row = Row { what: "a stream, but for its events", bound: 11_00 };
const EVENT: Row = Row { what: "an event of a stream", bound: 20 };

/// Requests before the count begins: pools, tables and histograms have their size then, and the core has as many decisions as it keeps, so
/// that the memory of those goes round.
const WARM: usize = 1_500;
/// After them, until the control plane has looked at all reports and given their memory back.
const LOOK: Duration = Duration::from_millis(500);
/// Requests that are counted; what the ticks of the core allocate meanwhile is a few hundredths of each.
const COUNTED: usize = 300;
/// Streams that are counted, of either length.
const STREAMS: usize = 40;
/// Events of a short stream and of a long one.
const EVENTS: [usize; 2] = [20, 220];
/// Requests whose allocations are told one by one.
const TOLD: usize = 10;
/// What the data plane's only thread is called.
const WORKER: &[u8] = b"igris-0\0";

// ---- Counting ---------------------------------------------------------------------------------------------------------------

/// Counts the allocations of the data plane's thread while it is asked to.
struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static TELLS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static PLACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this is the thread that counts; `None` until it first allocates while the count is on.
    static SERVES: Cell<Option<bool>> = const { Cell::new(None) };
    /// Set while an allocation is noted: what noting it allocates is nobody's.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

#[allow(unsafe_code)] // The name of a thread, asked of the kernel so that asking allocates nothing.
fn is_worker() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: `PR_GET_NAME` writes at most 16 bytes, the closing zero included, into the buffer it is given (prctl(2)).
    let told = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    told == 0 && name.starts_with(WORKER)
}

fn note(size: usize) {
    if !ON.load(Ordering::Relaxed) {
        return;
    }
    let _ = SERVES.try_with(|serves| {
        if serves.get().is_none() {
            serves.set(Some(is_worker()));
        }
        if serves.get() != Some(true) || NOTING.get() {
            return;
        }
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
        if TELLS.load(Ordering::Relaxed) {
            NOTING.set(true);
            PLACES.lock().expect("nobody panics while it is held").push(Backtrace::force_capture());
            NOTING.set(false);
        }
    });
}

#[allow(unsafe_code)] // A global allocator is an unsafe trait.
// SAFETY: every call goes to the system allocator unchanged; what is noted beside it never enters the allocator for the same thread twice.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Allocations and bytes of the data plane's thread while `work` runs.
fn counted(work: impl FnOnce()) -> (u64, u64) {
    let before = (ALLOCATIONS.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst));
    ON.store(true, Ordering::SeqCst);
    work();
    ON.store(false, Ordering::SeqCst);
    (ALLOCATIONS.load(Ordering::SeqCst) - before.0, BYTES.load(Ordering::SeqCst) - before.1)
}

// ---- The gateway ------------------------------------------------------------------------------------------------------------

/// A gateway with one core, in a thread of this process, on a state folder of its own.
struct Inside {
    home: PathBuf,
    address: SocketAddr,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Inside {
    fn start(simulator: &Simulator) -> Self {
        let home = std::env::temp_dir().join(format!("igris-allocations-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        DirBuilder::new().mode(0o700).create(&home).expect("the temporary folder can be written to");
        for (name, content) in [
            ("provider.key", provider_key("openai")),
            ("plain.key", ACCESS_KEY.to_owned()),
            ("limited.key", INFERENCE_KEY.to_owned()),
            ("igris.toml", configuration(&home, simulator)),
        ] {
            let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(home.join(name));
            file.and_then(|mut file| file.write_all(content.as_bytes())).expect("a new folder can be written to");
        }
        let options = ServeOptions {
            config: Some(home.join("igris.toml")),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            data_dir: home.join("data"),
            workers: Some(1),
            insecure_dumps: true,
            ..ServeOptions::default()
        };
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let running = app::start(options, |name| std::env::var(name).ok())?;
            tell.send(running.addresses[0]).expect("somebody waits");
            running.wait()
        });
        let address = told.recv_timeout(SOON).expect("it starts");
        Self { home, address, thread: Some(thread) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let drained = Client::unix(&self.home.join("admin.sock")).map(|mut admin| {
            admin.send(&bare("POST", "/drain", "Connection: close\r\nContent-Length: 0\r\n"));
            admin.try_answer().is_ok()
        });
        if let (Ok(true), Some(thread)) = (drained, self.thread.take()) {
            let _ = thread.join();
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn configuration(home: &Path, simulator: &Simulator) -> String {
    let (home, url) = (home.display(), simulator.base_url());
    let limits =
        r#"requests_per_minute = 1_000_000, tokens_per_minute = "1000M", concurrent = 64, budget = "$100000/month""#;
    format!(
        r#"version = 1
[admin]
socket = "{home}/admin.sock"
[[providers]]
name = "openai"
base_url = "{url}"
allow_private_address = true
api_key = {{ file = "{home}/provider.key" }}
[[tenants]]
id = "default"
[[access_keys]]
name = "plain"
tenant = "default"
key = {{ file = "{home}/plain.key" }}
[[access_keys]]
name = "limited"
tenant = "default"
key = {{ file = "{home}/limited.key" }}
limits = {{ {limits} }}
"#
    )
}

// ---- Asking -----------------------------------------------------------------------------------------------------------------

fn ask(client: &mut Client, request: &[u8], times: usize) {
    for _ in 0..times {
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.whole), (200, true), "{}", String::from_utf8_lossy(&answer.body));
        client.received.clear();
    }
}

fn unary(key: &str) -> Vec<u8> {
    post_with("/v1/chat/completions", &bearer(key), chat("sim:tokens=64 What does an allocation cost?").as_bytes())
}

fn stream(events: usize) -> Vec<u8> {
    let body = stream_of(&format!("sim:tokens={events} Count."), "");
    post_with("/v1/chat/completions", &bearer(ACCESS_KEY), body.as_bytes())
}

/// Allocations a request in hundredths, after warm-up.
fn measure(client: &mut Client, request: &[u8], times: usize) -> u64 {
    ask(client, request, WARM.min(4 * times));
    thread::sleep(LOOK);
    let (allocations, bytes) = counted(|| ask(client, request, times));
    println!("{times} requests: {allocations} allocations, {bytes} bytes");
    allocations * 100 / times as u64
}

fn judge(row: &Row, found: u64, failed: &mut Vec<String>) {
    let said = format!("{}: {}.{:02} allocations", row.what, found / 100, found % 100);
    println!("{said}, bound {}.{:02}", row.bound / 100, row.bound % 100);
    if found > row.bound {
        failed.push(format!("{said}, and {}.{:02} are the most", row.bound / 100, row.bound % 100));
    }
}

// ---- Who allocates ----------------------------------------------------------------------------------------------------------

/// Prints the places of `times` requests, the busiest first.
fn tell(what: &str, client: &mut Client, request: &[u8], times: usize) {
    TELLS.store(true, Ordering::SeqCst);
    counted(|| ask(client, request, times));
    TELLS.store(false, Ordering::SeqCst);
    let traces = std::mem::take(&mut *PLACES.lock().expect("nobody panics while it is held"));
    let mut places: HashMap<String, usize> = HashMap::new();
    traces.iter().for_each(|trace| *places.entry(place_of(trace)).or_default() += 1);
    let mut places: Vec<(String, usize)> = places.into_iter().collect();
    places.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    println!("\n{what}: {} allocations in {times} requests, by place", traces.len());
    for (place, count) in places {
        println!("{:>7.2}  {place}", count as f64 / times as f64);
    }
}

/// The innermost functions of the gateway above an allocation.
fn place_of(trace: &Backtrace) -> String {
    let text = trace.to_string();
    let names = text.lines().filter_map(|line| line.trim_start().split_once(": ").map(|(_, name)| name));
    let ours: Vec<&str> = names.filter(|name| name.contains("igris::")).take(4).collect();
    ours.join(" < ")
}

#[test]
fn a_warm_request_allocates_no_more_than_its_bound() {
    let simulator = Simulator::builder().name("openai").keys([provider_key("openai")]).models(["gpt-4o"]);
    let simulator = simulator.counters_only().start().expect("a loopback port");
    let inside = Inside::start(&simulator);
    let mut client = Client::connect(inside.address);
    let mut failed = Vec::new();
    ask(&mut client, &unary(ACCESS_KEY), WARM);
    thread::sleep(LOOK);
    if std::env::var("IGRIS_ALLOCATIONS").is_ok_and(|wish| wish == "who") {
        tell(UNARY.what, &mut client, &unary(ACCESS_KEY), TOLD);
        ask(&mut client, &unary(INFERENCE_KEY), WARM);
        tell(LIMITED.what, &mut client, &unary(INFERENCE_KEY), TOLD);
        ask(&mut client, &stream(EVENTS[1]), TOLD);
        tell("a stream of many events", &mut client, &stream(EVENTS[1]), TOLD);
    }
    judge(&UNARY, measure(&mut client, &unary(ACCESS_KEY), COUNTED), &mut failed);
    judge(&LIMITED, measure(&mut client, &unary(INFERENCE_KEY), COUNTED), &mut failed);
    let [short, long] = EVENTS.map(|events| measure(&mut client, &stream(events), STREAMS));
    let event = long.saturating_sub(short) / (EVENTS[1] - EVENTS[0]) as u64;
    judge(&STREAM, short.saturating_sub(event * EVENTS[0] as u64), &mut failed);
    judge(&EVENT, event, &mut failed);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

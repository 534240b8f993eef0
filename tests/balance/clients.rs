//! Clients of all tenants at once: whole answers and streams, chats and messages, races, and one in ten that hangs up in the middle.
//!
//! Each has its own dice, thrown from the seed, so that a run asks the same again; what the machine makes of it is its own. A client whose
//! connection is refused, because nobody is there just now, comes again: that was no request.

use super::house::TENANTS;
use crate::support::{bearer, post_with};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One in so many clients hangs up.
const HANGS_UP: u32 = 10;
/// Nothing takes longer than this; a provider that stalls is given up before.
const PATIENCE: Duration = Duration::from_secs(10);

/// The crowd, and where it turns to.
pub struct Clients {
    seed: u64,
    count: u64,
    address: RwLock<SocketAddr>,
    left: AtomicU64,
    pub sums: Sums,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Sums {
    /// Written to a connection.
    pub sent: AtomicU64,
    /// Answered with 200.
    pub answered: AtomicU64,
    /// Refused for want of something that comes back: 503.
    pub unavailable: AtomicU64,
    /// Other answers.
    pub failed: AtomicU64,
    /// Without an answer: the process was killed.
    pub lost: AtomicU64,
    /// Given up by the client.
    pub hung_up: AtomicU64,
}

/// Where a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Never,
    BeforeTheHead(Duration),
    After { bytes: usize },
}

impl Clients {
    /// So many clients that will send so many requests together.
    pub fn new(seed: u64, count: u64, requests: u64, address: SocketAddr) -> Self {
        Self { seed, count, address: RwLock::new(address), left: AtomicU64::new(requests), sums: Sums::default() }
    }

    /// The gateway is elsewhere now.
    pub fn turn_to(&self, address: SocketAddr) {
        *self.address.write().expect("nobody panics over it") = address;
    }

    /// Sends everything.
    pub fn run(&self) {
        std::thread::scope(|scope| {
            for number in 0..self.count {
                scope.spawn(move || self.client(number));
            }
        });
    }

    fn client(&self, number: u64) {
        let mut dice = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        while self.take_one() {
            let request = request(&mut dice);
            let leaves = match dice.u32(0..HANGS_UP * 2) {
                0 => Leaves::BeforeTheHead(Duration::from_micros(dice.u64(0..15_000))),
                1 => Leaves::After { bytes: dice.usize(1..1_500) },
                _ => Leaves::Never,
            };
            let mut connection = self.connect();
            self.add(&self.sums.sent);
            self.add(match ask(&mut connection, &request, leaves) {
                Some(200) => &self.sums.answered,
                Some(503) => &self.sums.unavailable,
                Some(_) => &self.sums.failed,
                None if matches!(leaves, Leaves::Never) => &self.sums.lost,
                None => &self.sums.hung_up,
            });
        }
    }

    fn take_one(&self) -> bool {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok()
    }

    fn connect(&self) -> TcpStream {
        loop {
            let address = *self.address.read().expect("nobody panics over it");
            if let Ok(connection) = TcpStream::connect_timeout(&address, PATIENCE) {
                connection.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
                connection.set_nodelay(true).expect("a socket");
                return connection;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn add(&self, sum: &AtomicU64) {
        sum.fetch_add(1, Ordering::Relaxed);
    }
}

/// The status, if the client stayed long enough to hear it and somebody lived to say it.
fn ask(connection: &mut TcpStream, request: &[u8], leaves: Leaves) -> Option<u16> {
    connection.write_all(request).ok()?;
    let enough = match leaves {
        Leaves::BeforeTheHead(after) => {
            std::thread::sleep(after);
            return None;
        }
        Leaves::After { bytes } => bytes,
        Leaves::Never => usize::MAX,
    };
    let (mut head, mut room, mut read) = (Vec::new(), [0; 4096], 0);
    loop {
        let got = connection.read(&mut room).ok()?;
        if head.len() < 12 {
            head.extend_from_slice(&room[..got]);
        }
        read += got;
        if got == 0 {
            break;
        }
        if read >= enough {
            return None;
        }
    }
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn request(dice: &mut fastrand::Rng) -> Vec<u8> {
    let tenant = TENANTS[dice.usize(0..TENANTS.len())];
    let (tokens, gap) = (dice.u32(1..40), dice.u32(0..3));
    let words = "word ".repeat(dice.usize(1..40));
    let prompt = format!("sim:tokens={tokens};gap={gap}ms {words}");
    let stream = if dice.bool() { ",\"stream\":true" } else { "" };
    // What no price list has cannot be raced for money, so that a race is among those that have a price.
    let (path, model, members) = match dice.u32(0..10) {
        0..3 => ("/v1/messages", "claude", ",\"max_tokens\":500"),
        3..6 => ("/v1/chat/completions", "late", ""),
        6 => ("/v1/chat/completions", "any", ",\"speculative_mode\":\"latency\""),
        _ => ("/v1/chat/completions", "any", ""),
    };
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}"}}]{members}{stream}}}"#);
    let fields = format!("{}Connection: close\r\n", bearer(tenant.access_key));
    post_with(path, &fields, body.as_bytes())
}

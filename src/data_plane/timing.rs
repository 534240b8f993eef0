//! Where an exchange's own time goes, phase by phase: for explanations, and for the receipt that a client may ask for.
//!
//! One reading of the clock ends a phase and begins the next. An exchange that one provider answers in one piece reads it eight times, each
//! where a figure that people see begins or ends; all else in a turn of a connection's task goes by the latest of them
//! ([`rt::coarse_now`](crate::rt::coarse_now)), and wall time by the same ([`rt::wall`](crate::rt::wall)):
//!
//! ```text
//!   head there ─ auth ─ (body) ─ parse ─ plan ─ sent ─ answered ─ (body) ─ leaving ─ left
//! ```
//!
//! What can be told apart only at a price is not: the time after planning that
//! is neither waiting for providers nor sending to the client is one phase, in which requests and answers are written and said again.

use super::attempt::Answer;
use super::exchange::Exchange;
use super::reply::FieldValue;
use crate::http::head::{KnownField, RequestHead};
use crate::routing::decision::Phases;
use std::time::{Duration, Instant};

/// The header field that asks for a receipt.
const WISH: &str = "x-igris-timing";

/// A phase that ends with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lap {
    /// Finding the access key.
    Auth,
    /// Reading the body.
    Read,
    /// Understanding it.
    Parse,
    /// Ordering the candidates.
    Plan,
}

/// One exchange's clock.
#[derive(Debug)]
pub struct Clock {
    /// When the phase under way began.
    mark: Instant,
    queue: Duration,
    laps: [Duration; 4],
    /// How long the latest answer took: connecting, TLS in it, and from the request's first byte to the answer's.
    answer: Option<[Duration; 3]>,
    /// Whether the client wants to be told.
    wished: bool,
}

/// Whether a request asks for a receipt.
pub fn is_wished(head: &RequestHead, bytes: &[u8]) -> bool {
    // Most requests have no field of ours at all.
    head.find(bytes, KnownField::Igris).is_some()
        && head.fields(bytes).any(|field| {
            field.known == KnownField::Igris
                && field.name.eq_ignore_ascii_case(WISH)
                && matches!(field.value, b"1" | b"true")
        })
}

// === impl Clock ===

impl Clock {
    /// Starts with a parsed head; `arrived` is when its first bytes were there.
    pub fn start(arrived: Instant, now: Instant, wished: bool) -> Self {
        let queue = now.saturating_duration_since(arrived);
        Self { mark: now, queue, laps: [Duration::ZERO; 4], answer: None, wished }
    }

    /// Ends a phase at `now`.
    #[inline]
    pub fn mark(&mut self, lap: Lap, now: Instant) {
        self.laps[lap as usize] = now.saturating_duration_since(self.mark);
        self.mark = now;
    }

    /// The head of an answer is there.
    pub fn answered(&mut self, answer: &Answer) {
        self.answer = Some([answer.connecting, answer.upstream.tls, answer.waited]);
    }

    /// What a client that asked is told; nothing for any other.
    pub fn receipt(&self, exchange: &Exchange<'_>) -> Option<Receipt<'_>> {
        self.wished.then(|| Receipt { clock: self, own_us: exchange.overhead_us() })
    }

    /// What of an exchange that took `whole` was our own: neither `waited` for providers, nor reading from the client, nor `flushed` to it.
    pub fn own(&self, whole: Duration, waited: Duration, flushed: Duration) -> Duration {
        whole.saturating_sub(self.laps[Lap::Read as usize] + waited + flushed)
    }

    /// All phases of an exchange that took `whole`, `waited` for providers and `flushed` to the client.
    pub fn phases(&self, whole: Duration, waited: Duration, flushed: Duration) -> Phases {
        let [auth, read, parse, plan] = self.laps;
        let elsewhere = auth + read + parse + plan + waited + flushed;
        Phases {
            queue_us: micros(self.queue),
            auth_us: micros(auth),
            read_us: micros(read),
            parse_us: micros(parse),
            plan_us: micros(plan),
            translate_us: micros(whole.saturating_sub(elsewhere)),
            flush_us: micros(flushed),
        }
    }
}

/// The phases known so far, as the value of a `server-timing` field (<https://www.w3.org/TR/server-timing/>): milliseconds.
#[derive(Clone, Copy)]
pub struct Receipt<'a> {
    clock: &'a Clock,
    /// Our own time so far, microseconds.
    own_us: u64,
}

impl FieldValue for Receipt<'_> {
    fn append(&self, out: &mut Vec<u8>) {
        let Clock { queue, laps: [auth, read, parse, plan], answer, .. } = self.clock;
        for (name, phase) in [("queue", queue), ("auth", auth), ("read", read), ("parse", parse), ("plan", plan)] {
            entry(out, name, micros(*phase).into());
            out.extend_from_slice(b", ");
        }
        let answer = answer.iter().flat_map(|known| ["connect", "tls", "ttfb"].into_iter().zip(known));
        for (name, phase) in answer {
            entry(out, name, micros(*phase).into());
            out.extend_from_slice(b", ");
        }
        entry(out, "igris", self.own_us);
    }
}

fn entry(out: &mut Vec<u8>, name: &str, us: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b";dur=");
    (us / 1_000).append(out);
    let thousandths = us % 1_000;
    let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10].map(|digit| b'0' + digit as u8);
    out.push(b'.');
    out.extend_from_slice(&digits);
}

/// Whole microseconds, to the nearest.
pub fn micros(duration: Duration) -> u32 {
    let micros = u64::from((duration.subsec_nanos() + 500) / 1_000).saturating_add(of_seconds(duration));
    u32::try_from(micros).unwrap_or(u32::MAX)
}

/// Whole microseconds that have passed. [`Duration::as_micros`] reckons in 128 bits.
pub fn whole_micros(duration: Duration) -> u64 {
    u64::from(duration.subsec_micros()).saturating_add(of_seconds(duration))
}

/// Whole milliseconds that have passed.
pub fn whole_millis(duration: Duration) -> u64 {
    u64::from(duration.subsec_millis()).saturating_add(duration.as_secs().saturating_mul(1_000))
}

fn of_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_an_exchange_add_up_to_it() {
        let now = Instant::now();
        let mut clock = Clock::start(now, now + Duration::from_micros(7), false);
        clock.laps = [1, 20, 3, 4].map(Duration::from_micros);
        let micros = Duration::from_micros;
        let phases = clock.phases(micros(1_000), micros(700), micros(52));
        let Phases { queue_us, auth_us, read_us, parse_us, plan_us, translate_us, flush_us } = phases;
        assert_eq!((queue_us, auth_us, read_us, parse_us, plan_us), (7, 1, 20, 3, 4));
        assert_eq!(auth_us + read_us + parse_us + plan_us + translate_us + flush_us + 700, 1_000);
        assert_eq!(clock.own(micros(1_000), micros(700), micros(52)), micros(1_000 - 20 - 700 - 52));
        assert_eq!(clock.own(micros(1_000), micros(1_700), micros(52)), Duration::ZERO);
        // Waits of a race overlap: the rest is never less than nothing.
        assert_eq!(clock.phases(micros(1_000), micros(1_900), micros(52)).translate_us, 0);
    }

    #[test]
    fn a_receipt_is_a_list_of_durations() {
        let now = Instant::now();
        let mut clock = Clock::start(now, now, true);
        clock.laps = [800, 20_400, 3_000, 4_500].map(Duration::from_nanos);
        clock.answer = Some([Duration::from_millis(12), Duration::from_millis(8), Duration::from_micros(340_005)]);
        let mut text = Vec::new();
        Receipt { clock: &clock, own_us: 61 }.append(&mut text);
        assert_eq!(
            String::from_utf8_lossy(&text),
            "queue;dur=0.000, auth;dur=0.001, read;dur=0.020, parse;dur=0.003, plan;dur=0.005, connect;dur=12.000, \
             tls;dur=8.000, ttfb;dur=340.005, igris;dur=0.061"
        );
    }
}

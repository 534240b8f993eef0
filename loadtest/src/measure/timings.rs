//! Sums and histograms of requests: what a second, a share, a tenant and a whole run each have one of.
//!
//! A histogram has three digits from 100 ns to an hour and one size, whatever is recorded.

use super::Outcome;
use crate::engine::Done;
use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// The shortest time that is told apart from nothing, nanoseconds.
const NANOS_MIN: u64 = 100;
/// The longest time that is told apart from longer ones, nanoseconds: one hour.
pub(crate) const NANOS_MAX: u64 = 3_600_000_000_000;
/// Digits that are kept of every time.
const DIGITS: u8 = 3;

/// An empty histogram of nanoseconds as all of a result's are: three digits, 100 ns to an hour.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS).expect("constant bounds are valid")
}

/// Adds what one histogram holds to another, whatever the bounds of either; what is beyond an hour counts as an hour.
pub fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) {
    if part.is_empty() {
        return;
    }
    let alike = part.low() == sum.low() && part.high() == sum.high() && part.sigfig() == sum.sigfig();
    if !alike || sum.add(part).is_err() {
        for step in part.iter_recorded() {
            sum.saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
    }
}

/// Histograms of requests that ended `ok`, nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Timings {
    /// Planned instant to first token.
    pub ttft: Histogram<u64>,
    /// Planned instant to last byte.
    pub e2e: Histogram<u64>,
    /// Between events with generated tokens of one stream, however the stream ended; known for seconds and for the whole run.
    pub gap: Histogram<u64>,
    /// First to last token, by true token counts: (last_token - first_token) / (output_tokens - 1).
    pub tpot: Histogram<u64>,
    /// Planned instant to first byte sent: the tester's lateness and the wait for a connection, contained in `ttft` and `e2e`.
    pub send_delay: Histogram<u64>,
    /// Send to first token.
    pub service_ttft: Histogram<u64>,
    /// Send to last byte.
    pub service: Histogram<u64>,
    /// What the gateway says its own time was.
    pub overhead: Histogram<u64>,
    /// Opening of a connection, TLS included.
    pub connect: Histogram<u64>,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ttft: histogram(),
            e2e: histogram(),
            gap: histogram(),
            tpot: histogram(),
            send_delay: histogram(),
            service_ttft: histogram(),
            service: histogram(),
            overhead: histogram(),
            connect: histogram(),
        }
    }
}

impl Timings {
    /// Names in reports, in their order there.
    pub const NAMES: [&'static str; 9] =
        ["ttft", "e2e", "event_gap", "tpot", "send_delay", "service_ttft", "service", "gateway_overhead", "connect"];

    /// All of them, as [`Self::NAMES`] names them.
    pub fn all(&self) -> [&Histogram<u64>; 9] {
        [
            &self.ttft,
            &self.e2e,
            &self.gap,
            &self.tpot,
            &self.send_delay,
            &self.service_ttft,
            &self.service,
            &self.overhead,
            &self.connect,
        ]
    }

    /// The same to write to.
    pub fn all_mut(&mut self) -> [&mut Histogram<u64>; 9] {
        [
            &mut self.ttft,
            &mut self.e2e,
            &mut self.gap,
            &mut self.tpot,
            &mut self.send_delay,
            &mut self.service_ttft,
            &mut self.service,
            &mut self.overhead,
            &mut self.connect,
        ]
    }

    /// Adds what another holds.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.all_mut().into_iter().zip(other.all()) {
            add(sum, part);
        }
    }

    /// Records one answer that ended `ok`.
    pub(super) fn record(&mut self, done: &Done<'_>, tpot: Option<u64>) {
        let since = |from: u64, to: u64| to.saturating_sub(from);
        if let Some(token) = done.first_token {
            self.ttft.saturating_record(since(done.planned, token));
        }
        self.e2e.saturating_record(since(done.planned, done.ended));
        if let Some(sent) = done.sent {
            self.send_delay.saturating_record(since(done.planned, sent));
            self.service.saturating_record(since(sent, done.ended));
            if let Some(token) = done.first_token {
                self.service_ttft.saturating_record(since(sent, token));
            }
        }
        if let Some(nanos) = tpot {
            self.tpot.saturating_record(nanos);
        }
        if let Some(micros) = done.overhead_us {
            self.overhead.saturating_record(micros.saturating_mul(1000));
        }
        if let Some(nanos) = done.connect_ns {
            self.connect.saturating_record(nanos);
        }
    }
}

/// Sums, each over requests that count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sums {
    /// By [`Outcome::ALL`]; in JSON by name.
    #[serde(serialize_with = "write_outcomes", deserialize_with = "read_outcomes")]
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Ended `ok` and held every objective.
    pub good: u64,
    /// Events of streams.
    pub events: u64,
    /// Events with generated tokens.
    pub generated: u64,
    /// Input tokens that answers stated.
    pub input_tokens: u64,
    /// Output tokens that answers stated.
    pub output_tokens: u64,
    /// Answers that stated output tokens.
    pub with_usage: u64,
    /// Output tokens that streams stated, for [`Self::tokens_per_event`].
    pub streamed_tokens: u64,
    /// Events with generated tokens of those same streams.
    pub streamed_events: u64,
    /// Streams whose `tpot` took events for tokens, since they stated none.
    pub tpot_by_events: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Connections opened.
    #[serde(rename = "connections_opened")]
    pub connections: u64,
    /// Answers compared with what they must be.
    pub verified: u64,
}

impl Sums {
    /// Requests that ended.
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Requests that ended so.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Requests that did not end `ok`.
    pub fn failed(&self) -> u64 {
        self.total() - self.ended(Outcome::Ok)
    }

    /// True output tokens for each event that brought some; `None` where no stream stated its tokens.
    pub fn tokens_per_event(&self) -> Option<f64> {
        (self.streamed_events > 0 && self.streamed_tokens > 0)
            .then(|| self.streamed_tokens as f64 / self.streamed_events as f64)
    }

    /// Adds what another holds.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += part;
        }
        self.good += other.good;
        self.events += other.events;
        self.generated += other.generated;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.with_usage += other.with_usage;
        self.streamed_tokens += other.streamed_tokens;
        self.streamed_events += other.streamed_events;
        self.tpot_by_events += other.tpot_by_events;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.connections += other.connections;
        self.verified += other.verified;
    }

    /// Counts one request.
    pub(super) fn count(&mut self, done: &Done<'_>, good: bool, tpot_by_events: bool) {
        self.outcomes[done.outcome as usize] += 1;
        self.good += u64::from(good);
        self.events += u64::from(done.events);
        self.generated += u64::from(done.generated);
        self.input_tokens += done.input_tokens.unwrap_or(0);
        if let Some(tokens) = done.output_tokens {
            self.output_tokens += tokens;
            self.with_usage += 1;
            if done.generated > 0 {
                self.streamed_tokens += tokens;
                self.streamed_events += u64::from(done.generated);
            }
        }
        self.tpot_by_events += u64::from(tpot_by_events);
        self.bytes_out += done.bytes_out;
        self.bytes_in += done.bytes_in;
        self.connections += u64::from(done.connect_ns.is_some());
        self.verified += u64::from(done.verified);
    }
}

/// Time per output token of one stream, nanoseconds, and whether its events had to stand for its tokens.
///
/// `None` without two events that brought tokens, or with fewer than two tokens: there is no time between them.
pub(super) fn tpot(done: &Done<'_>) -> Option<(u64, bool)> {
    let (first, last) = (done.first_token?, done.last_token?);
    if done.generated < 2 {
        return None;
    }
    let (tokens, by_events) = match done.output_tokens {
        Some(tokens) => (tokens, false),
        None => (u64::from(done.generated), true),
    };
    (tokens >= 2).then(|| (last.saturating_sub(first) / (tokens - 1), by_events))
}

fn write_outcomes<S: Serializer>(counts: &[u64; Outcome::ALL.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Outcome::ALL.iter().map(|outcome| (outcome.name(), counts[*outcome as usize])))
}

fn read_outcomes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u64; Outcome::ALL.len()], D::Error> {
    let named = BTreeMap::<String, u64>::deserialize(deserializer)?;
    Ok(Outcome::ALL.map(|outcome| named.get(outcome.name()).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_other_bounds_are_added_all_the_same() {
        let mut sum = histogram();
        let mut part = Histogram::<u64>::new(2).expect("two digits");
        part.record(5_000_000).expect("it grows");
        part.record(2 * NANOS_MAX).expect("it grows");
        add(&mut sum, &part);
        assert_eq!((sum.len(), sum.count_between(4_900_000, 5_100_000)), (2, 1));
        assert!(sum.max() >= NANOS_MAX);
    }

    #[test]
    fn sums_survive_json_by_name() {
        let sums = Sums { good: 3, connections: 2, ..Sums::default() };
        let text = serde_json::to_value(&sums).expect("plain numbers");
        assert_eq!((&text["connections_opened"], &text["outcomes"]["rate_limited"]), (&2.into(), &0.into()));
        assert_eq!(serde_json::from_value::<Sums>(text).expect("what was written"), sums);
    }
}

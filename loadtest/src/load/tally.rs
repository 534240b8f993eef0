//! What became of the requests: one outcome each, and histograms of those that went well.

use super::client::{Response, Trouble};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 200, whole, and as expected where that was checked.
    Ok,
    /// Whole, but not the bytes that were expected.
    Mismatch,
    /// 429.
    RateLimited,
    /// Another 4xx.
    Refused,
    /// 5xx.
    ServerError,
    /// Another status that is not 200.
    OtherStatus,
    /// No connection.
    Connect,
    /// Closed before the answer began.
    Closed,
    /// Cut off inside the answer.
    Truncated,
    /// Not HTTP.
    Malformed,
    /// An error event inside a stream.
    StreamError,
    /// Not whole in time.
    Timeout,
}

impl Ending {
    /// All endings, in the order of reports.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Mismatch,
        Self::RateLimited,
        Self::Refused,
        Self::ServerError,
        Self::OtherStatus,
        Self::Connect,
        Self::Closed,
        Self::Truncated,
        Self::Malformed,
        Self::StreamError,
        Self::Timeout,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Mismatch => "mismatch",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::OtherStatus => "other_status",
            Self::Connect => "connect_failed",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::StreamError => "stream_error",
            Self::Timeout => "timeout",
        }
    }

    /// The ending that a status means.
    pub fn of_status(status: u16) -> Self {
        match status {
            200 => Self::Ok,
            429 => Self::RateLimited,
            400..500 => Self::Refused,
            500..600 => Self::ServerError,
            _ => Self::OtherStatus,
        }
    }
}

impl From<&Trouble> for Ending {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Connect => Self::Connect,
            Trouble::Closed => Self::Closed,
            Trouble::Truncated => Self::Truncated,
            Trouble::Malformed(_) => Self::Malformed,
            Trouble::StreamError => Self::StreamError,
        }
    }
}

/// Sums and histograms of one run. Histograms hold nanoseconds and know only requests that ended `ok`.
pub struct Tally {
    /// Requests by [`Ending::ALL`].
    pub endings: [u64; Ending::ALL.len()],
    /// From the planned instant to the first token.
    pub ttft: Histogram<u64>,
    /// From the planned instant to the last byte.
    pub e2e: Histogram<u64>,
    /// From the planned instant to the moment the request left: the tester's own lateness, contained in both above.
    pub send_delay: Histogram<u64>,
    /// Between data events of one stream.
    pub event_gap: Histogram<u64>,
    /// What the gateway says its own time was.
    pub overhead: Histogram<u64>,
    /// Data events.
    pub events: u64,
    /// Body bytes.
    pub body_bytes: u64,
    /// Connections opened.
    pub connections: u64,
    /// Answers compared with what was expected.
    pub verified: u64,
    /// What the first few failures looked like.
    pub samples: Vec<String>,
}

/// The longest latency that is told apart from longer ones: one hour.
const NANOS_MAX: u64 = 3_600_000_000_000;
/// Failures described in words.
const SAMPLES_MAX: usize = 8;

impl Default for Tally {
    fn default() -> Self {
        // Three digits from 100 ns to an hour; the bounds are constants that the library accepts.
        let histogram = || Histogram::new_with_bounds(100, NANOS_MAX, 3).expect("constant bounds are valid");
        Self {
            endings: [0; Ending::ALL.len()],
            ttft: histogram(),
            e2e: histogram(),
            send_delay: histogram(),
            event_gap: histogram(),
            overhead: histogram(),
            events: 0,
            body_bytes: 0,
            connections: 0,
            verified: 0,
            samples: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts one request.
    pub fn count(&mut self, ending: Ending) {
        self.endings[ending as usize] += 1;
    }

    /// Counts one request that went well, from the instant it was planned for.
    pub fn count_ok(&mut self, planned: Instant, sent: Instant, response: &Response) {
        self.count(Ending::Ok);
        record(&mut self.ttft, response.first_token.saturating_duration_since(planned));
        record(&mut self.e2e, response.end.saturating_duration_since(planned));
        record(&mut self.send_delay, sent.saturating_duration_since(planned));
        for gap in &response.gaps_us {
            record(&mut self.event_gap, Duration::from_micros(*gap));
        }
        if let Some(overhead) = response.overhead_us {
            record(&mut self.overhead, Duration::from_micros(overhead));
        }
        self.events += response.events;
        self.body_bytes += response.body_bytes;
    }

    /// Keeps a description of a failure, if there is room for one more.
    pub fn sample(&mut self, describe: impl FnOnce() -> String) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(describe());
        }
    }

    /// Requests that ended so.
    pub fn ended(&self, ending: Ending) -> u64 {
        self.endings[ending as usize]
    }

    /// Requests that ended.
    pub fn total(&self) -> u64 {
        self.endings.iter().sum()
    }
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX);
    histogram.saturating_record(nanos);
}

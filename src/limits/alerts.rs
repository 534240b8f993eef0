//! Bounds of budgets, alerts and webhooks.

use std::time::Duration;

/// Percentages of a budget at which somebody is told, unless something else is said.
pub const ALERT_THRESHOLDS: [u16; 3] = [75, 90, 100];
/// Thresholds of one budget: more say nothing new.
pub const ALERT_THRESHOLDS_MAX: usize = 10;
/// The highest percentage: a soft budget may be overrun ten times before nobody is told any more.
pub const ALERT_PERCENT_MAX: u16 = 1_000;
/// How often thresholds are looked at. Budgets stop requests without it; this is for people.
pub const ALERT_TICK: Duration = Duration::from_millis(500);
/// How long a holder is looked at after its last attempt: what cores hold in advance is told within [`LEASE_IDLE`](super::LEASE_IDLE).
pub const ALERT_LINGER: Duration = Duration::from_secs(5);
/// Alerts in one answer unless something else is asked for.
pub const ALERT_PAGE_ROWS: u32 = 100;
/// Alerts in one answer: a page takes a few hundred kilobytes at most.
pub const ALERT_PAGE_ROWS_MAX: u32 = 500;
/// How long an alert that is over is kept.
pub const ALERTS_KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How often what is too old is forgotten.
pub const ALERTS_FORGOTTEN_EVERY: Duration = Duration::from_secs(3_600);

const _: () = assert!(ALERT_LINGER.as_millis() > 10 * super::LEASE_IDLE.as_millis());
const _: () = assert!(ALERT_PAGE_ROWS <= ALERT_PAGE_ROWS_MAX);

// ---- What is unusual --------------------------------------------------------------------------------------------------------

/// The robust z-score from which on something is unusual. Of normal figures one in a milliard is; real ones have heavier tails.
pub const UNUSUAL_SCORE: f64 = 6.0;
/// Below it too much is unusual to be read.
pub const UNUSUAL_SCORE_LEAST: f64 = 3.0;
/// Above it nothing ever is.
pub const UNUSUAL_SCORE_CEILING: f64 = 100.0;
/// An alert is over when its score, over a whole hour, is below this share of the one that raises it.
pub const UNUSUAL_RESOLVED_AT: f64 = 0.5;
/// Spending of one hour below which nothing is unusual: one dollar, picodollars.
pub const UNUSUAL_SPEND_PICO: i128 = 1_000_000_000_000;
/// How long after an alert nothing more is told of the same thing.
pub const UNUSUAL_COOL_DOWN: Duration = Duration::from_secs(6 * 3_600);
/// The shortest cool-down.
pub const UNUSUAL_COOL_DOWN_LEAST: Duration = Duration::from_secs(60);
/// The longest one.
pub const UNUSUAL_COOL_DOWN_CEILING: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Days that the present hour is compared with: two weeks have ten working days, so that the median is one.
pub const UNUSUAL_DAYS: u64 = 14;
/// Hours since the first use below which nothing is known: a week has working days and others.
pub const UNUSUAL_HOURS_MIN: u64 = 7 * 24;
/// Attempts in an hour below which its share of failures says nothing.
pub const UNUSUAL_ATTEMPTS_MIN: u64 = 20;
/// Attempts in an hour of the past from which on its share of failures counts.
pub const UNUSUAL_ATTEMPTS_PAST_MIN: u64 = 5;
/// Hours of the past with enough attempts that a share of failures is compared with.
pub const UNUSUAL_RATES_MIN: usize = 24;
/// Things whose hours are kept in mind at a time; of an estate with more active ones the others are not watched in that hour.
pub const UNUSUAL_WATCHED_MAX: usize = 20_000;
/// Histories that are read from the books by one look: each is a few hundred lines.
pub const UNUSUAL_READ_PER_LOOK: usize = 32;
/// Alerts of the past that are read for whom they were about.
pub const UNUSUAL_TOLD_READ: u32 = 1_000;
/// How often what is unusual is looked for.
pub const UNUSUAL_TICK: Duration = Duration::from_secs(5);

// ---- Webhooks ---------------------------------------------------------------------------------------------------------------

/// Webhooks of the configuration.
pub const WEBHOOKS_CONFIGURED_MAX: usize = 100;
/// Webhooks of one tenant.
pub const WEBHOOKS_PER_TENANT_MAX: usize = 10;
/// Bytes of a webhook's URL.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;
/// How often messages that are due are looked for.
pub const WEBHOOK_TICK: Duration = Duration::from_millis(500);
/// Messages under way at a time, over all receivers; each receiver gets one at a time.
pub const WEBHOOK_SENDS_MAX: usize = 256;
/// Messages under way at a time to the receivers of one tenant.
pub const WEBHOOK_SENDS_PER_TENANT_MAX: usize = 4;
/// How long one message may take; the specification advises 15 to 30 s.
pub const WEBHOOK_DEADLINE: Duration = Duration::from_secs(15);
/// Pauses before each further try, with jitter of a fifth: about a day in all, then the message is dead.
pub const WEBHOOK_PAUSES: [Duration; 11] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(4 * 3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(10 * 3_600),
];
/// Messages to one webhook that wait or lie there before a test message is refused.
pub const WEBHOOK_TESTS_WAITING_MAX: u32 = 20;
/// How long the secret before signs too after a rotation.
pub const WEBHOOK_OVERLAP: Duration = Duration::from_secs(24 * 3_600);
/// Messages in one answer.
pub const WEBHOOK_PAGE_ROWS: u32 = 100;
/// Sorts of trouble of the gateway's own that wait to be told.
pub const TROUBLES_WAITING_MAX: usize = 64;
/// How long the same trouble is not told again.
pub const TROUBLE_QUIET: Duration = Duration::from_secs(24 * 3_600);

//! Bounds of the dashboard.

use super::*;

/// Sessions at a time: more people than ever look at one gateway. Beyond it the most silent one ends.
pub const SESSIONS_MAX: usize = 64;
/// A session without a request ends after this: a page that is open asks all the time.
pub const SESSION_IDLE: Duration = Duration::from_secs(3_600);
/// A session ends after this in any case: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3_600);
/// The window in which wrong tokens are counted.
pub const GUESSES_WINDOW: Duration = Duration::from_secs(60);
/// Wrong tokens from one address in a window: a person who pastes the wrong line.
pub const GUESSES_EACH: u32 = 8;
/// Wrong tokens from all addresses in a window.
pub const GUESSES_IN_ALL: u32 = 64;
/// Addresses that are counted apart in a window; further ones wait for the next.
pub const GUESSERS_MAX: usize = 256;
/// Names under which the dashboard may be reached beside addresses and `localhost`.
pub const HOSTS_MAX: usize = 16;
/// Bytes of one report of a browser that are looked at.
pub const POLICY_REPORT_BYTES_MAX: usize = 16 * 1024;
/// Time between two points of the series that a freshly opened page shows.
pub const SERIES_STEP: Duration = Duration::from_secs(5);
/// Points of the series: an hour.
pub const SERIES_POINTS: usize = 720;
/// Providers that have a series of their own; further ones are in the sums alone.
pub const SERIES_PROVIDERS_MAX: usize = 32;

const _: () = assert!(GUESSES_EACH < GUESSES_IN_ALL, "one address must not shut all others out");
const _: () = assert!(SESSION_IDLE.as_secs() < SESSION_LIFETIME.as_secs());

//! Bounds of usage, costs and forecasts.

use std::ffi::c_int;
use std::time::Duration;

/// How long one question about the books may run. Less than the data plane waits for the control plane, so that its asker hears why.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Questions about the books that run at a time; each has a thread and a cache of its own. More wait, within their deadline.
pub const QUESTIONS_AT_ONCE: usize = 2;
/// Steps of SQLite's machine between two looks at the clock: well below a millisecond.
pub const STOP_CHECK_STEPS: c_int = 10_000;
/// Whole days from which on the table of days is read: below that, hours are few, and the answer needs no second table.
pub const DAYS_FROM: u64 = 3;
/// Lines of one answer, unless the question says fewer.
pub const ROWS_DEFAULT: u64 = 1_000;
/// Lines of one answer at most: about two megabytes of JSON.
pub const ROWS_MAX: u64 = 5_000;
/// Lines that may be skipped: what comes later is not looked at by people, and each page adds up everything before it again.
pub const SKIP_MAX: u64 = 1_000_000;
/// Hours that one question may span: ten years.
pub const SPAN_HOURS_MAX: u64 = 10 * 366 * 24;
/// Names in each `by_…` of a usage page; the costliest are named and the others are one.
pub const NAMES_MAX: usize = 1_000;
/// Lines that a usage page is folded from; beyond that the shares of the least are left out of `by_…`, never of the totals.
pub const FOLD_ROWS_MAX: u64 = 200_000;
/// Names whose share of a forecast is told.
pub const SHARES_MAX: u64 = 100;
/// Days of history that a forecast looks at, for its backtest too: a little over a year.
pub const HISTORY_DAYS: u64 = 400;

const _: () = assert!(DEADLINE.as_secs() < super::CONTROL_DEADLINE.as_secs());
const _: () = assert!(ROWS_DEFAULT <= ROWS_MAX);

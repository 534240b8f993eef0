//! `[rollout]`: how a new configuration is watched after it was applied, and when it is taken back by itself.
//!
//! The section belongs to the configuration that is applied: a file says how it wants to be tried. Absent, there is no trial.

use super::leaf::{count, duration, percent};
use super::problem::Findings;
use super::raw;
use crate::limits::{
    ROLLOUT_ERROR_RATE, ROLLOUT_REQUESTS_MIN, ROLLOUT_REQUESTS_MIN_CEILING, ROLLOUT_WATCH_CEILING, ROLLOUT_WATCH_LEAST,
};
use std::time::Duration;

/// What a trial looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollout {
    /// How long requests are watched; `None`: no trial unless whoever applies it asks for one.
    pub watch: Option<Duration>,
    /// Failed share of requests, above the share before, that ends the trial.
    pub error_rate: f64,
    /// Requests below which nothing is concluded.
    pub requests_min: u64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { watch: None, error_rate: ROLLOUT_ERROR_RATE, requests_min: ROLLOUT_REQUESTS_MIN }
    }
}

/// The section as meant.
pub(super) fn rollout(raw: Option<raw::Rollout>, findings: &mut Findings) -> Rollout {
    let usual = Rollout::default();
    let Some(raw) = raw else { return usual };
    if raw.watch.is_none() {
        findings.error(raw.at, "`[rollout]` has no `watch`", "add `watch = \"30s\"`, or remove the section");
    }
    let rate = percent(0.001, 1.0);
    let requests = count(1, ROLLOUT_REQUESTS_MIN_CEILING);
    Rollout {
        watch: findings.value("watch", raw.watch, duration(ROLLOUT_WATCH_LEAST, ROLLOUT_WATCH_CEILING)),
        error_rate: findings.value("error_rate", raw.error_rate, rate).unwrap_or(usual.error_rate),
        requests_min: findings.value("min_requests", raw.min_requests, requests).unwrap_or(usual.requests_min),
    }
}

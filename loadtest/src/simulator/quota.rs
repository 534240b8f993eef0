//! A limit of requests that is really kept, and what the head of every answer says of it.
//!
//! A bucket for every key and model, full at first, that fills up again bit by bit as OpenAI's and Anthropic's do. A request that finds it
//! empty gets the surface's 429 with `retry-after`, and the bucket is no emptier for it.

use super::surface::Surface;
use super::truth::unix_ms;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many requests a key may make of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// So many at once.
    pub requests: u32,
    /// An empty bucket is full again after so long.
    pub refill: Duration,
}

/// How a bucket stands after a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    limit: u32,
    remaining: u32,
    /// Until it is full.
    reset: Duration,
    /// Until there is one more, if the request found none.
    pub(super) wait: Option<Duration>,
}

/// All buckets, each with what is in it and when that was so.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    levels: Mutex<HashMap<(String, String), (f64, Instant)>>,
}

impl Buckets {
    /// Takes one request out of a bucket.
    pub(super) fn take(&self, quota: Quota, key: &str, model: &str, now: Instant) -> Standing {
        let full = f64::from(quota.requests);
        let seconds_each = quota.refill.as_secs_f64() / full.max(1.0);
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = levels.entry((key.to_owned(), model.to_owned())).or_insert((full, now));
        let back = now.saturating_duration_since(entry.1).as_secs_f64() / seconds_each.max(1e-9);
        *entry = ((entry.0 + back).min(full), now);
        let wait = (entry.0 < 1.0).then(|| Duration::from_secs_f64((1.0 - entry.0) * seconds_each));
        if wait.is_none() {
            entry.0 -= 1.0;
        }
        let reset = Duration::from_secs_f64((full - entry.0) * seconds_each);
        Standing { limit: quota.requests, remaining: entry.0 as u32, reset, wait }
    }
}

/// Appends what a head says of its limits: of a kept one, or the usual figures of a provider with plenty.
pub(super) fn write_fields(surface: Surface, standing: Option<&Standing>, out: &mut Vec<u8>) {
    let _ = match (surface, standing) {
        (Surface::OpenAi | Surface::Compatible, None) => write!(
            out,
            "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n\
             x-ratelimit-reset-requests: 6ms\r\n"
        ),
        (Surface::OpenAi | Surface::Compatible | Surface::Azure, Some(standing)) => write!(
            out,
            "x-ratelimit-limit-requests: {}\r\nx-ratelimit-remaining-requests: {}\r\n\
             x-ratelimit-reset-requests: {}ms\r\n",
            standing.limit,
            standing.remaining,
            standing.reset.as_millis() + 1,
        ),
        (Surface::Anthropic, standing) => {
            let (limit, remaining, reset) = standing.map_or((4000, 3999, Duration::from_secs(1)), |standing| {
                (standing.limit, standing.remaining, standing.reset)
            });
            let reset = super::text::utc((unix_ms() + reset.as_millis() as u64).div_ceil(1000));
            write!(
                out,
                "anthropic-ratelimit-requests-limit: {limit}\r\nanthropic-ratelimit-requests-remaining: {remaining}\r\n\
                 anthropic-ratelimit-requests-reset: {reset}\r\nanthropic-ratelimit-tokens-limit: 2000000\r\n\
                 anthropic-ratelimit-tokens-remaining: 1999000\r\nanthropic-ratelimit-tokens-reset: {reset}\r\n"
            )
        }
        (Surface::Azure, None) => {
            write!(out, "x-ratelimit-remaining-requests: 99\r\nx-ratelimit-remaining-tokens: 99000\r\n")
        }
        (Surface::Bedrock | Surface::Cohere | Surface::Gemini, _) => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_runs_dry_and_fills_up_again() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let quota = Quota { requests: 2, refill: Duration::from_secs(4) };
        let take = |after| buckets.take(quota, "k", "m", now + Duration::from_secs(after));
        assert_eq!((take(0).remaining, take(0).remaining), (1, 0));
        let empty = take(1);
        assert_eq!(
            (empty.remaining, empty.wait, empty.reset),
            (0, Some(Duration::from_secs(1)), Duration::from_secs(3))
        );
        assert_eq!((take(2).wait, take(2).wait), (None, Some(Duration::from_secs(2))));
        assert_eq!(buckets.take(quota, "k", "another", now).wait, None);
    }
}

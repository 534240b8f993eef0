//! Limits of requests and of tokens that are really kept, and what the head of every answer says of them.
//!
//! A bucket of each for every key and model, full at first, that fills up again bit by bit as OpenAI's and Anthropic's do. A request costs
//! one request, and the tokens of its prompt and of its answer, which the simulator knows beforehand. One that finds too little in either
//! gets the surface's 429 with `retry-after`, and the buckets are no emptier for it.

use super::surface::Surface;
use super::truth::unix_ms;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much a key may ask of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// So many requests at once; 0 for no limit.
    pub requests: u32,
    /// So many tokens at once, of prompts and answers together; 0 for no limit.
    pub tokens: u32,
    /// An empty bucket is full again after so long.
    pub refill: Duration,
}

/// How a bucket stands after a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Until it is full.
    pub(super) reset: Duration,
    /// Until there is enough, if the request found too little; for ever where it asks more than the bucket holds.
    pub(super) wait: Option<Duration>,
}

/// How both buckets stand after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) requests: Option<Level>,
    pub(super) tokens: Option<Level>,
}

/// A bucket: what is in it, and when that was so.
type Bucket = Option<(f64, Instant)>;

/// All buckets: of requests and of tokens, by key and model.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    levels: Mutex<HashMap<(String, String), [Bucket; 2]>>,
}

/// Keys and models with buckets of their own; beyond that all are forgotten, and are full again.
const BUCKETS_MAX: usize = 65_536;
/// A wait that no patience survives.
pub(super) const FOR_EVER: Duration = Duration::MAX;

impl Standing {
    /// The wait of a request that found too little; [`FOR_EVER`] if no waiting helps.
    pub(super) fn wait(&self) -> Option<Duration> {
        let waits = [self.requests, self.tokens].into_iter().flatten().filter_map(|level| level.wait);
        waits.max()
    }

    /// The bucket of tokens, if that is what was too empty.
    pub(super) fn short_of_tokens(&self) -> Option<&Level> {
        let has_requests = self.requests.is_none_or(|level| level.wait.is_none());
        self.tokens.as_ref().filter(|level| has_requests && level.wait.is_some())
    }
}

impl Buckets {
    /// Takes one request and its tokens out of the buckets, or nothing where there is too little of either.
    pub(super) fn take(&self, quota: Quota, key: &str, model: &str, tokens: u32, now: Instant) -> Standing {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() >= BUCKETS_MAX {
            levels.clear();
        }
        let [requests, all_tokens] = levels.entry((key.to_owned(), model.to_owned())).or_default();
        let mut one = Share::of(quota.requests, quota.refill, requests, 1, now);
        let mut many = Share::of(quota.tokens, quota.refill, all_tokens, tokens, now);
        if [&one, &many].into_iter().flatten().all(Share::suffices) {
            one.iter_mut().chain(&mut many).for_each(Share::take);
        }
        Standing { requests: one.map(|share| share.level()), tokens: many.map(|share| share.level()) }
    }
}

/// A bucket that a request draws on.
struct Share<'a> {
    limit: u32,
    seconds_each: f64,
    cost: f64,
    level: &'a mut f64,
    taken: bool,
}

impl<'a> Share<'a> {
    fn of(limit: u32, refill: Duration, bucket: &'a mut Bucket, cost: u32, now: Instant) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        let full = f64::from(limit);
        let seconds_each = refill.as_secs_f64() / full;
        let (level, since) = bucket.get_or_insert((full, now));
        // Another thread may have read its clock a moment later and come first.
        let now = now.max(*since);
        let back = now.saturating_duration_since(*since).as_secs_f64() / seconds_each.max(1e-9);
        (*level, *since) = ((*level + back).min(full), now);
        Some(Self { limit, seconds_each, cost: cost.into(), level, taken: false })
    }

    fn suffices(&self) -> bool {
        *self.level >= self.cost
    }

    fn take(&mut self) {
        *self.level -= self.cost;
        self.taken = true;
    }

    fn level(self) -> Level {
        let missing = self.cost - *self.level;
        let wait = (!self.taken && missing > 0.0).then(|| {
            let never = self.cost > f64::from(self.limit);
            if never { FOR_EVER } else { Duration::try_from_secs_f64(missing * self.seconds_each).unwrap_or(FOR_EVER) }
        });
        let reset = Duration::try_from_secs_f64((f64::from(self.limit) - *self.level) * self.seconds_each);
        Level { limit: self.limit, remaining: *self.level as u32, reset: reset.unwrap_or_default(), wait }
    }
}

/// Appends what a head says of its limits: of kept ones, or the usual figures of a provider with plenty.
pub(super) fn write_fields(surface: Surface, standing: Option<&Standing>, out: &mut Vec<u8>) {
    let (requests, tokens) = standing.map_or((None, None), |standing| (standing.requests, standing.tokens));
    match surface {
        Surface::OpenAi | Surface::Compatible | Surface::Azure => write_openai(surface, requests, tokens, out),
        Surface::Anthropic => write_anthropic(requests, tokens, out),
        Surface::Bedrock | Surface::Cohere | Surface::Gemini => {}
    }
}

fn write_openai(surface: Surface, requests: Option<Level>, tokens: Option<Level>, out: &mut Vec<u8>) {
    match (surface, requests, tokens) {
        (Surface::Azure, None, None) => {
            out.extend_from_slice(b"x-ratelimit-remaining-requests: 99\r\nx-ratelimit-remaining-tokens: 99000\r\n");
        }
        (_, None, None) => out.extend_from_slice(
            b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n\
              x-ratelimit-reset-requests: 6ms\r\n",
        ),
        _ => {
            let named = [("requests", requests), ("tokens", tokens)];
            for (name, level) in named.into_iter().filter_map(|(name, level)| Some((name, level?))) {
                let _ = write!(
                    out,
                    "x-ratelimit-limit-{name}: {}\r\nx-ratelimit-remaining-{name}: {}\r\n\
                     x-ratelimit-reset-{name}: {}ms\r\n",
                    level.limit,
                    level.remaining,
                    level.reset.as_millis() + 1,
                );
            }
        }
    }
}

fn write_anthropic(requests: Option<Level>, tokens: Option<Level>, out: &mut Vec<u8>) {
    let plenty = |limit, remaining| Level { limit, remaining, reset: Duration::from_secs(1), wait: None };
    let requests = requests.unwrap_or_else(|| plenty(4_000, 3_999));
    // Without a limit of their own, tokens are as full as the requests.
    let tokens = tokens.unwrap_or(Level { reset: requests.reset, ..plenty(2_000_000, 1_999_000) });
    let now = unix_ms();
    for (name, level) in [("requests", requests), ("tokens", tokens)] {
        let reset = super::text::utc((now + level.reset.as_millis() as u64).div_ceil(1000));
        let _ = write!(
            out,
            "anthropic-ratelimit-{name}-limit: {}\r\nanthropic-ratelimit-{name}-remaining: {}\r\n\
             anthropic-ratelimit-{name}-reset: {reset}\r\n",
            level.limit, level.remaining,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_runs_dry_and_fills_up_again() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let quota = Quota { requests: 2, tokens: 0, refill: 4 * SECOND };
        let take =
            |after| buckets.take(quota, "k", "m", 9, now + Duration::from_secs(after)).requests.expect("a limit");
        assert_eq!((take(0).remaining, take(0).remaining), (1, 0));
        let empty = take(1);
        assert_eq!((empty.remaining, empty.wait, empty.reset), (0, Some(SECOND), 3 * SECOND));
        assert_eq!((take(2).wait, take(2).wait), (None, Some(2 * SECOND)));
        assert_eq!(buckets.take(quota, "k", "another", 9, now).wait(), None);
    }

    #[test]
    fn tokens_and_requests_are_taken_together_or_not_at_all() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let quota = Quota { requests: 10, tokens: 60, refill: 60 * SECOND };
        let left =
            |standing: Standing| [standing.requests, standing.tokens].map(|level| level.expect("a limit").remaining);
        assert_eq!(left(buckets.take(quota, "k", "m", 50, now)), [9, 10]);
        let short = buckets.take(quota, "k", "m", 30, now);
        assert_eq!((left(short), short.wait()), ([9, 10], Some(20 * SECOND)));
        assert_eq!(short.short_of_tokens().map(|level| level.limit), Some(60));
        assert_eq!(
            left(buckets.take(quota, "k", "m", 30, now + 20 * SECOND)),
            [9, 0],
            "three came back, one was taken"
        );
        assert_eq!(buckets.take(quota, "k", "m", 61, now).wait(), Some(FOR_EVER), "more than the bucket holds");
    }

    #[test]
    fn heads_tell_the_limits_in_their_providers_words() {
        let level = |limit| Some(Level { limit, remaining: 1, reset: SECOND, wait: None });
        let told = |surface, standing: Standing| {
            let mut out = Vec::new();
            write_fields(surface, Some(&standing), &mut out);
            String::from_utf8(out).expect("text")
        };
        let both = Standing { requests: level(7), tokens: level(900) };
        let openai = told(Surface::OpenAi, both);
        assert!(
            openai.contains("x-ratelimit-limit-requests: 7\r\n")
                && openai.contains("x-ratelimit-limit-tokens: 900\r\n")
        );
        let anthropic = told(Surface::Anthropic, both);
        for line in ["requests-limit: 7", "requests-remaining: 1", "tokens-limit: 900", "tokens-remaining: 1"] {
            assert!(anthropic.contains(&format!("anthropic-ratelimit-{line}\r\n")), "{anthropic}");
        }
        assert_eq!(told(Surface::Gemini, both), "");
        assert!(!told(Surface::Azure, Standing { requests: level(7), tokens: None }).contains("tokens"));
    }
}

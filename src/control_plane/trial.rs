//! A configuration on trial: watched for a while after it was applied, and taken back by itself if requests begin to fail.
//!
//! ```text
//!  Idle --applied with a watch--> Watching --time is up--------------------> Idle: it stays
//!                                    |-------accepted by hand--------------> Idle: it stays
//!                                    '--too many failed, or by hand--> TakingBack --applied--> Idle: the one before is live again
//! ```
//!
//! What counts is what clients saw: the last attempt of each exchange, and exchanges that could not be served at all. What the client
//! itself did wrong, and what it did not wait for, does not count. The failed share is compared with the share of the same time before.
//! A second change is refused while one is on trial, so that there is never a doubt about what is gone back to.

use super::inputs::{self, Inputs};
use super::reload::Estate;
use super::signed::Entry;
use super::supply::Ending;
use super::{Control, ControlError};
use crate::config::{Config, Rollout};
use crate::domain::clock::UnixMillis;
use crate::limits::{ROLLOUT_SETTLE, ROLLOUT_WATCH_CEILING, ROLLOUT_WATCH_LEAST};
use crate::report::{AttemptReport, Outcome};
use crate::snapshot::ConfigStamp;
use crate::store::{AuditEntry, Reverted, StoreError};
use crate::vault::signature::TrustSet;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How a trial is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    watch: Duration,
    error_rate: f64,
    requests_min: u64,
}

/// Exchanges by how they came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    answered: u64,
    failed: u64,
}

/// What is being watched, and what was counted before.
#[derive(Default)]
pub(super) struct Trial {
    state: State,
    /// Everything since start.
    all: Tally,
    /// The same once a second, the oldest first, as far back as a trial may look.
    past: VecDeque<(Instant, Tally)>,
    /// Unserved exchanges at the last look.
    unserved: u64,
    last: Option<Ended>,
    reverts: u64,
    /// Whether it was said that the end could not be stored.
    told: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Watching(Box<Watching>),
    /// It failed, and the store has not taken it back yet.
    TakingBack(Box<Watching>, String),
}

struct Watching {
    stamp: ConfigStamp,
    terms: Terms,
    /// From here on it counts.
    since: Instant,
    ends: Instant,
    /// Failed share before.
    before: f64,
    seen: Tally,
    fallback: Fallback,
}

/// What to go back to, with all that it refers to.
pub(super) struct Fallback {
    pub(super) config: Config,
    pub(super) stamp: ConfigStamp,
    pub(super) inputs: Inputs,
    pub(super) trust: Option<TrustSet>,
}

/// How the last trial ended.
struct Ended {
    version: u64,
    digest: String,
    stayed: bool,
    why: String,
    at: UnixMillis,
}

/// What the figures say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Stays(String),
    Fails(String),
}

// === impl Terms ===

impl Terms {
    /// How a configuration is to be tried: as it says, for as long as whoever applies it says. `None`: not at all.
    pub(super) fn of(config: &Config, watch: Option<Duration>) -> Option<Self> {
        let Rollout { watch: own, error_rate, requests_min } = config.rollout;
        let watch = watch.or(own).filter(|watch| !watch.is_zero())?;
        Some(Self { watch: watch.clamp(ROLLOUT_WATCH_LEAST, ROLLOUT_WATCH_CEILING), error_rate, requests_min })
    }

    /// The same for the store.
    pub(super) fn watch_ms(&self) -> u64 {
        u64::try_from(self.watch.as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Tally ===

impl Tally {
    fn requests(self) -> u64 {
        self.answered.saturating_add(self.failed)
    }

    fn share(self) -> f64 {
        if self.requests() == 0 { 0.0 } else { self.failed as f64 / self.requests() as f64 }
    }

    fn since(self, before: Self) -> Self {
        let answered = self.answered.saturating_sub(before.answered);
        Self { answered, failed: self.failed.saturating_sub(before.failed) }
    }

    fn add(&mut self, failed: bool) {
        let field = if failed { &mut self.failed } else { &mut self.answered };
        *field = field.saturating_add(1);
    }
}

/// Whether the exchange that this attempt ended came to nothing for a reason that is not the client's; `None`: it says nothing.
fn came_to_nothing(report: &AttemptReport) -> Option<bool> {
    if !report.last {
        return None;
    }
    match report.outcome {
        Outcome::Completed => Some(false),
        Outcome::ClientGone | Outcome::Superseded | Outcome::Interrupted => None,
        // The provider speaks of the request. A model that it does not know, and a key that it refuses, are the configuration's.
        Outcome::Refused if matches!(report.status, 400 | 405 | 409 | 413 | 415 | 422) => None,
        Outcome::Refused | Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken => Some(true),
    }
}

// === impl Trial ===

impl Trial {
    /// Takes in how an attempt came out; what began before the configuration was live is not held against it.
    pub(super) fn count(&mut self, report: &AttemptReport, now: Instant) {
        let Some(failed) = came_to_nothing(report) else { return };
        self.all.add(failed);
        if let State::Watching(watching) = &mut self.state {
            let took = Duration::from_micros(u64::from(report.total_us));
            if now.checked_sub(took).is_some_and(|begun| begun >= watching.since) {
                watching.seen.add(failed);
            }
        }
    }

    /// Takes in how many exchanges could not be served since start, and keeps the sums of each second.
    fn sample(&mut self, now: Instant, unserved: u64) {
        let more = unserved.saturating_sub(self.unserved);
        self.unserved = unserved;
        self.all.failed = self.all.failed.saturating_add(more);
        if let State::Watching(watching) = &mut self.state
            && now >= watching.since
        {
            watching.seen.failed = watching.seen.failed.saturating_add(more);
        }
        if self.past.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= Duration::from_secs(1)) {
            self.past.push_back((now, self.all));
        }
        let old = |at: Instant| now.saturating_duration_since(at) > ROLLOUT_WATCH_CEILING;
        while self.past.front().is_some_and(|(at, _)| old(*at)) {
            self.past.pop_front();
        }
    }

    /// Watches from now on.
    fn begin(&mut self, stamp: ConfigStamp, terms: Terms, fallback: Fallback, (now, settle): (Instant, Duration)) {
        let from = now.checked_sub(terms.watch);
        let old = self.past.iter().find(|(at, _)| from.is_none_or(|from| *at >= from));
        let before = self.all.since(old.map_or(self.all, |(_, tally)| *tally)).share();
        let since = now + settle;
        let ends = since + terms.watch;
        let seen = Tally::default();
        self.state = State::Watching(Box::new(Watching { stamp, terms, since, ends, before, seen, fallback }));
    }

    fn verdict(&self, now: Instant) -> Verdict {
        let watching = match &self.state {
            State::Idle => return Verdict::Wait,
            State::TakingBack(_, why) => return Verdict::Fails(why.clone()),
            State::Watching(watching) => watching,
        };
        let (seen, before) = (watching.seen, watching.before);
        let enough = seen.requests() >= watching.terms.requests_min;
        let said = || {
            let (failed, requests) = (seen.failed, seen.requests());
            format!("{failed} of {requests} requests failed, {:.1} % before", before * 100.0)
        };
        if enough && seen.share() > before + watching.terms.error_rate {
            return Verdict::Fails(said());
        }
        if now < watching.ends {
            return Verdict::Wait;
        }
        Verdict::Stays(if enough { said() } else { format!("{}; too few to judge", said()) })
    }

    /// Configurations taken back since start.
    pub(super) fn reverts(&self) -> u64 {
        self.reverts
    }

    /// Whether a configuration is on trial.
    pub(super) fn is_on(&self) -> bool {
        self.watching().is_some()
    }

    /// Ends because of what another machine did to the configuration of all. Answers the version that was on trial, if one was.
    pub(super) fn give_way(&mut self, stayed: bool, why: &str, now: UnixMillis) -> Option<u64> {
        let ConfigStamp { version, digest } = self.watching()?.stamp.clone();
        self.state = State::Idle;
        self.last = Some(Ended { version, digest, stayed, why: why.to_owned(), at: now });
        Some(version)
    }

    fn watching(&self) -> Option<&Watching> {
        match &self.state {
            State::Idle => None,
            State::Watching(watching) | State::TakingBack(watching, _) => Some(watching),
        }
    }
}

impl Control {
    /// Refuses another configuration while one is on trial.
    ///
    /// # Errors
    /// [`ControlError::Conflict`].
    pub(super) fn not_while_on_trial(&self, stamp: &ConfigStamp) -> Result<(), ControlError> {
        let Some(watching) = self.trial.watching().filter(|watching| watching.stamp != *stamp) else { return Ok(()) };
        let left = watching.ends.saturating_duration_since(Instant::now()).as_secs();
        Err(ControlError::Conflict(format!(
            "version {} is on trial for {left} s more; wait, or end that with POST /rollout/accept or /rollout/revert",
            watching.stamp.version
        )))
    }

    /// What there is to go back to, read before anything changes: the live configuration with all that it refers to.
    ///
    /// # Errors
    /// [`ControlError::Config`]: it could not be taken back later.
    pub(super) fn fallback(&self) -> Result<Fallback, ControlError> {
        let inputs = inputs::gather(&self.config, &self.env, self.live.listener.as_ref()).map_err(|error| {
            let mut lines = vec![
                "the running configuration could not be gone back to, so that there can be no trial; repair this, or apply without \
                 one (`watch=0s`)"
                    .to_owned(),
            ];
            lines.extend(error.lines());
            ControlError::Config(lines)
        })?;
        let (config, stamp) = (self.config.clone(), self.stamp.clone());
        Ok(Fallback { config, stamp, inputs, trust: self.standing.trust().cloned() })
    }

    /// Puts the live configuration on trial.
    pub(super) fn begin_trial(&mut self, terms: Terms, fallback: Fallback) {
        self.try_out(terms, fallback, Duration::ZERO);
    }

    /// Goes on with a trial that a restart interrupted.
    pub(super) fn resume_trial(&mut self, resumed: super::choice::Resumed) {
        let super::choice::Resumed { terms, config, stamp, trust } = resumed;
        match inputs::gather(&config, &self.env, self.live.listener.as_ref()) {
            Ok(inputs) => self.try_out(terms, Fallback { config, stamp, inputs, trust }, ROLLOUT_SETTLE),
            Err(error) => {
                self.note("config", format!("the trial cannot go on, the one before cannot be read: {error}"))
            }
        }
    }

    fn try_out(&mut self, terms: Terms, fallback: Fallback, settle: Duration) {
        // What waits was done under the configuration before. Should the store refuse it, the next tick says so and tries again.
        let _ = self.ingest();
        let now = Instant::now();
        self.trial.sample(now, self.unserved());
        self.trial.begin(self.stamp.clone(), terms, fallback, (now, settle));
        let (version, seconds) = (self.stamp.version, terms.watch.as_secs());
        self.note("config", format!("configuration version {version} is on trial for {seconds} s"));
    }

    /// Ends the trial that is due, one way or the other.
    pub(super) fn judge_trial(&mut self, now: UnixMillis) {
        let instant = Instant::now();
        self.watch_expiry(now, instant);
        self.trial.sample(instant, self.unserved());
        let done = match self.trial.verdict(instant) {
            Verdict::Wait => return,
            Verdict::Stays(why) => self.accept_trial("trial", why),
            Verdict::Fails(why) => self.take_back("trial", why),
        };
        // Said once: the next tick tries again until it works.
        let told = std::mem::replace(&mut self.trial.told, done.is_err());
        if let (Err(error), false) = (done, told) {
            self.note("alarm", format!("the end of the trial could not be stored: {error}"));
        }
    }

    /// Ends the trial by hand.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] without one; as the store.
    pub fn end_trial(&mut self, who: &str, stays: bool) -> Result<Value, ControlError> {
        if self.trial.watching().is_none() {
            return Err(ControlError::Conflict("no configuration is on trial; see GET /rollout".to_owned()));
        }
        let why = format!("by {who}");
        if stays { self.accept_trial(who, why) } else { self.take_back(who, why) }?;
        self.publish()?;
        Ok(self.rollout_status())
    }

    fn accept_trial(&mut self, who: &str, why: String) -> Result<(), ControlError> {
        let Some(Watching { stamp, .. }) = self.trial.watching() else { return Ok(()) };
        let (stamp, now) = (stamp.clone(), self.now());
        let version = stamp.version.to_string();
        if self.is_canary() {
            self.confirm_for_all(who, &stamp.digest)?;
        } else {
            let (what, target) = ("config.confirm", stamp.digest.as_str());
            let audit = AuditEntry { at: now, tenant: None, who, what, target, before: &version, after: &version };
            self.store.all_or_nothing(|store| {
                store.admin().confirm_config(&stamp.digest)?;
                store.admin().append_audit(&audit)?;
                Ok::<_, StoreError>(())
            })?;
        }
        self.note("config", format!("configuration version {version} stays: {why}"));
        self.trial.state = State::Idle;
        self.trial.last = Some(Ended { version: stamp.version, digest: stamp.digest, stayed: true, why, at: now });
        Ok(())
    }

    /// The configuration before, whole, as if it were applied; and this one never again.
    fn take_back(&mut self, who: &str, why: String) -> Result<(), ControlError> {
        let (State::Watching(watching) | State::TakingBack(watching, _)) = std::mem::take(&mut self.trial.state) else {
            return Ok(());
        };
        let (now, stamp) = (self.now(), watching.stamp.clone());
        let Fallback { config, stamp: before, inputs, trust } = &watching.fallback;
        let reverted = Reverted { digest: stamp.digest.clone(), version: stamp.version, why: why.clone(), at: now };
        let stored = trust.as_ref().and_then(|trust| self.standing.stored(trust.line()));
        let entry = Entry { trust: stored, ..Entry::default() };
        let estate = match self.is_fleet_config_refused() {
            // What the estate holds is the fleet's by now, and not this machine's to bring in step.
            true => Estate::AsItIs,
            false => Estate::Settled { who, what: "config.revert", ending: Ending::Now },
        };
        let done = self.put_live(config.clone(), before.clone(), inputs, estate, |store| {
            store.admin().revert_config(&reverted)?;
            entry.write(store, now)
        });
        if let Err(error) = done {
            self.trial.state = State::TakingBack(watching, why);
            return Err(error);
        }
        self.standing.turn_to(trust.clone());
        let (bad, good) = (stamp.version, before.version);
        let said = format!("configuration version {bad} was taken back ({why}); version {good} is live again");
        self.warnings = vec![said.clone()];
        self.note("alarm", said);
        self.trial.reverts = self.trial.reverts.saturating_add(1);
        self.trial.last = Some(Ended { version: bad, digest: stamp.digest, stayed: false, why, at: now });
        Ok(())
    }

    /// Exchanges that nobody could be asked for, over all cores since start.
    fn unserved(&self) -> u64 {
        self.reports.iter().map(|core| core.gauges.unserved.load(Ordering::Relaxed)).sum()
    }

    /// Whether a configuration is on trial, how it does, and how the last trial ended.
    pub fn rollout_status(&self) -> Value {
        let trial = self.trial.watching().map(|watching| {
            let Watching { stamp, terms, ends, before, seen, fallback, .. } = watching;
            json!({
                "version": stamp.version,
                "digest": stamp.digest,
                "seconds_left": ends.saturating_duration_since(Instant::now()).as_secs(),
                "requests": seen.requests(),
                "failed": seen.failed,
                "failed_share_before": before,
                "error_rate": terms.error_rate,
                "min_requests": terms.requests_min,
                "falls_back_to": fallback.stamp.version,
            })
        });
        let last = self.trial.last.as_ref().map(|ended| {
            json!({
                "version": ended.version,
                "digest": ended.digest,
                "outcome": if ended.stayed { "stayed" } else { "reverted" },
                "why": ended.why,
                "at": ended.at.to_rfc3339(),
            })
        });
        json!({ "on_trial": trial, "last": last, "reverts": self.trial.reverts })
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;

//! Watching every access key and provider key for hours that are unusual, in what they cost and in what fails.
//!
//! The present hour is counted in memory as attempts come in; the past it is compared with is read from the books once an hour, a few keys
//! at a look. Spending is compared with the same hour of the day over the last two weeks, the share of failures with all their hours. A part of an hour can only be too little: it raises an alert and never ends one.

use super::raise::Raised;
use super::unusual::{Measure, Score, Standing, Terms, Turn, Usual};
use crate::control_plane::Control;
use crate::domain::alert::AlertKind;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, CredentialId, TENANT_DEFAULT, TenantId};
use crate::domain::id_hash::IdHash;
use crate::domain::money::Money;
use crate::limits::alerts::{
    UNUSUAL_ATTEMPTS_MIN, UNUSUAL_ATTEMPTS_PAST_MIN, UNUSUAL_DAYS, UNUSUAL_HOURS_MIN, UNUSUAL_RATES_MIN,
    UNUSUAL_READ_PER_LOOK, UNUSUAL_TICK, UNUSUAL_TOLD_READ, UNUSUAL_WATCHED_MAX,
};
use crate::report::{AttemptReport, Outcome};
use crate::store::{AlertFilter, AlertRow, HourSum, Store, StoreError, UsageRow};
use serde_json::json;
use std::collections::HashMap;
use std::time::Instant;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    /// What a client shows us.
    AccessKey(AccessKeyId),
    /// What we show a provider.
    Credential(CredentialId),
}

/// What is known of the hours of many.
#[derive(Default)]
pub(super) struct Watch {
    series: HashMap<Subject, Series, IdHash>,
    standings: HashMap<(Subject, Measure), Standing>,
    looked: Option<Instant>,
}

/// The present hour of one.
struct Series {
    tenant: TenantId,
    now: HourSum,
    /// `None`: neither the past nor what the books have of this hour was read.
    past: Option<Past>,
}

/// What a figure of one hour is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Past {
    spend: Option<Usual>,
    errors: Option<Usual>,
}

// === impl Subject ===

impl Subject {
    /// As an alert names it, with what is measured.
    fn name(self, measure: Measure) -> String {
        match self {
            Self::AccessKey(id) => format!("{id}/{}", measure.name()),
            Self::Credential(id) => format!("{id}/{}", measure.name()),
        }
    }

    fn parse(text: &str) -> Option<(Self, Measure)> {
        let (id, word) = text.split_once('/')?;
        let measure = Measure::ALL.into_iter().find(|measure| measure.name() == word)?;
        let key = AccessKeyId::parse(id).map(Self::AccessKey);
        Some((key.or_else(|| CredentialId::parse(id).map(Self::Credential))?, measure))
    }

    fn hours(self, store: &mut Store, from: u64) -> Result<Vec<HourSum>, StoreError> {
        match self {
            Self::AccessKey(id) => store.admin().hours_of_access_key(id, from),
            Self::Credential(id) => store.admin().hours_of_credential(id, from),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Goes on with what was told, where machines share what is told: by this one.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn open(store: &mut Store, machine: Option<&str>) -> Result<Self, StoreError> {
        let mut watch = Self::default();
        for (named, row) in told(store)? {
            let since = row.resolved.is_none().then_some(row.created).filter(|_| is_by(&row, machine));
            watch.standings.insert(named, Standing { since, told: Some(row.created) });
            if since.is_some() {
                watch.follow(named.0, &row.tenant, UsageRow::hour_of(row.created));
            }
        }
        Ok(watch)
    }

    /// Takes in what was told by other machines: it is not told again before it has cooled down, and is theirs to end, since each machine
    /// sees its own part of what is spent.
    ///
    /// # Errors
    /// As the store.
    pub(super) fn follow_others(&mut self, store: &mut Store) -> Result<(), StoreError> {
        for (named, row) in told(store)? {
            let standing = self.standings.entry(named).or_default();
            standing.told = standing.told.max(Some(row.created));
        }
        Ok(())
    }

    /// Takes in an attempt, once it is in the books.
    pub(in crate::control_plane) fn count(&mut self, report: &AttemptReport) {
        let hour = UsageRow::hour_of(report.started);
        let failed =
            matches!(report.outcome, Outcome::Refused | Outcome::Unreachable | Outcome::TimedOut | Outcome::Broken);
        let key = Some(Subject::AccessKey(report.access_key));
        for subject in [key, report.credential.map(Subject::Credential)].into_iter().flatten() {
            let Some(series) = self.follow(subject, &report.tenant, hour) else { continue };
            // Before its past was read, the books have it, and are read with it.
            if series.now.hour == hour && series.past.is_some() {
                series.now.cost += report.cost.unwrap_or_default();
                series.now.attempts += 1;
                series.now.failed += u64::from(failed);
            }
        }
    }

    /// Reads everything anew at the next look: another process added to the books.
    pub(in crate::control_plane) fn reread(&mut self) {
        self.series.values_mut().for_each(|series| series.past = None);
    }

    pub(super) fn forget_tenant(&mut self, tenant: &TenantId) {
        self.series.retain(|_, series| series.tenant != *tenant);
    }

    fn follow(&mut self, subject: Subject, tenant: &TenantId, hour: u64) -> Option<&mut Series> {
        if self.series.len() >= UNUSUAL_WATCHED_MAX {
            return self.series.get_mut(&subject);
        }
        let now = HourSum { hour, ..HourSum::default() };
        Some(self.series.entry(subject).or_insert_with(|| Series { tenant: tenant.clone(), now, past: None }))
    }

    fn is_unusual(&self, subject: Subject) -> bool {
        let standing = |measure| self.standings.get(&(subject, measure));
        Measure::ALL.into_iter().filter_map(standing).any(|standing| standing.since.is_some())
    }
}

// === impl Series ===

impl Series {
    /// Reads from the books what an hour is compared with, and what they have of it.
    fn read(&mut self, subject: Subject, store: &mut Store, hour: u64) -> Result<(), StoreError> {
        let hours = subject.hours(store, hour.saturating_sub(24 * UNUSUAL_DAYS))?;
        if let Subject::Credential(id) = subject {
            let owner = store.admin().tenant_of_credential(id)?;
            self.tenant = owner.unwrap_or_else(|| TenantId::new(TENANT_DEFAULT));
        }
        let present = hours.iter().find(|sum| sum.hour == hour);
        self.now = present.copied().unwrap_or(HourSum { hour, ..HourSum::default() });
        self.past = Some(Past::of(&hours, hour));
        Ok(())
    }
}

// === impl Past ===

impl Past {
    /// What an hour is compared with, of hours before it, rising. Hours without a line count as nothing spent, from the first one on.
    pub(super) fn of(hours: &[HourSum], hour: u64) -> Self {
        let before: Vec<&HourSum> = hours.iter().filter(|past| past.hour < hour).collect();
        let Some(first) = before.first().map(|first| first.hour) else { return Self::default() };
        if hour - first < UNUSUAL_HOURS_MIN {
            return Self::default();
        }
        let cost =
            |hour: u64| before.binary_search_by_key(&hour, |past| past.hour).ok().and_then(|place| before.get(place));
        // Not with the hours beside it: traffic that begins at eight would make every eight o'clock unusual.
        let same = (1..=UNUSUAL_DAYS).filter_map(|day| hour.checked_sub(24 * day)).filter(|past| *past >= first);
        let spend: Vec<f64> = same.map(|past| cost(past).map_or(0.0, |past| past.cost.to_usd())).collect();
        let counted = before.iter().filter(|past| past.attempts >= UNUSUAL_ATTEMPTS_PAST_MIN);
        let errors: Vec<f64> = counted.map(|past| share(past)).collect();
        let is_enough = errors.len() >= UNUSUAL_RATES_MIN;
        Self { spend: Usual::of(&spend), errors: Usual::of(&errors).filter(|_| is_enough) }
    }

    /// How unusual an hour is; `None` where nothing can be said, or there is too little of it to matter.
    pub(super) fn score(&self, measure: Measure, now: &HourSum, min_spend: Money) -> Option<Score> {
        match measure {
            Measure::Spend if now.cost < min_spend => None,
            Measure::Spend => self.spend?.score(measure, now.cost.to_usd()),
            Measure::Errors if now.attempts < UNUSUAL_ATTEMPTS_MIN => None,
            Measure::Errors => self.errors?.score(measure, share(now)),
        }
    }
}

/// Counts are far below what a double holds exactly.
fn share(hour: &HourSum) -> f64 {
    if hour.attempts == 0 { 0.0 } else { hour.failed as f64 / hour.attempts as f64 }
}

// === impl Control ===

impl Control {
    /// Looks for what is unusual, if it is time.
    pub(super) fn watch_unusual(&mut self, now: UnixMillis, instant: Instant) -> Result<(), StoreError> {
        let recent = |looked| instant.saturating_duration_since(looked) < UNUSUAL_TICK;
        if !self.config.alerts.unusual || self.alerts.watch.looked.is_some_and(recent) {
            return Ok(());
        }
        self.alerts.watch.looked = Some(instant);
        self.end_hours(now)?;
        self.read_past(now)?;
        let subjects: Vec<Subject> = self.alerts.watch.series.keys().copied().collect();
        subjects.into_iter().try_for_each(|subject| self.judge(subject, false, now))
    }

    /// Judges hours that are over. Who was idle since and is not unusual is watched again when it does something.
    fn end_hours(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        let hour = UsageRow::hour_of(now);
        let over = self.alerts.watch.series.iter().filter(|(_, series)| series.now.hour < hour);
        let over: Vec<Subject> = over.map(|(subject, _)| *subject).collect();
        for subject in over {
            self.read_whole(subject)?;
            self.judge(subject, true, now)?;
            let watch = &mut self.alerts.watch;
            let goes_on = watch.is_unusual(subject);
            match watch.series.get_mut(&subject) {
                Some(series) if goes_on => (series.now, series.past) = (HourSum { hour, ..HourSum::default() }, None),
                _ => drop(watch.series.remove(&subject)),
            }
        }
        Ok(())
    }

    /// Reads an hour that was unusual from the books, where a restart forgot it: what is not known must not pass for usual.
    fn read_whole(&mut self, subject: Subject) -> Result<(), StoreError> {
        let Self { alerts, store, .. } = self;
        let is_unusual = alerts.watch.is_unusual(subject);
        let series = alerts.watch.series.get_mut(&subject).filter(|series| is_unusual && series.past.is_none());
        series.map_or(Ok(()), |series| series.read(subject, store, series.now.hour))
    }

    /// Reads the past of those whose it was not read yet, and what the books have of the present hour.
    fn read_past(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        let hour = UsageRow::hour_of(now);
        let Self { alerts, store, .. } = self;
        let unread = alerts.watch.series.iter_mut().filter(|(_, series)| series.past.is_none());
        for (subject, series) in unread.take(UNUSUAL_READ_PER_LOOK) {
            series.read(*subject, store, hour)?;
        }
        Ok(())
    }

    fn judge(&mut self, subject: Subject, is_whole: bool, now: UnixMillis) -> Result<(), StoreError> {
        let (raise_at, cool_down) = (self.config.alerts.sensitivity, self.config.alerts.cool_down);
        for measure in Measure::ALL {
            let Some(series) = self.alerts.watch.series.get(&subject) else { return Ok(()) };
            let (tenant, hour) = (series.tenant.clone(), series.now);
            let found = series.past.as_ref().and_then(|past| past.score(measure, &hour, self.config.alerts.min_spend));
            let before = self.alerts.watch.standings.get(&(subject, measure)).copied().unwrap_or_default();
            if found.is_none() && before.since.is_none() {
                continue;
            }
            // Too little to say anything of is usual.
            let figure = found.map_or(0.0, |found| found.score);
            let mut standing = before;
            let turn = standing.step(figure, is_whole, Terms { raise_at, cool_down }, now);
            match (turn, found) {
                (Turn::Raise, Some(found)) => {
                    self.raise(raised(subject, &tenant, measure, &found, &hour, now), now, |_| Ok(()))?;
                }
                (Turn::Resolve, _) => {
                    let name = subject.name(measure);
                    self.store.resolve_alerts(&tenant, AlertKind::Anomaly.name(), &name, now)?;
                    let data =
                        json!({ "type": "anomaly", "tenant": tenant.as_str(), "subject": name, "resolved": true });
                    self.events.note_with(now, "alert", format!("{name} of tenant {tenant} is as usual again"), data);
                }
                _ => {}
            }
            if standing != before {
                self.alerts.watch.standings.insert((subject, measure), standing);
            }
        }
        Ok(())
    }
}

/// An alert, and what it was about.
type Told = ((Subject, Measure), AlertRow);

/// What was told lately, the oldest first.
fn told(store: &mut Store) -> Result<Vec<Told>, StoreError> {
    let kind = Some(AlertKind::Anomaly.name().to_owned());
    let rows = store.admin().alerts(&AlertFilter { kind, most: UNUSUAL_TOLD_READ, ..AlertFilter::default() })?;
    Ok(rows.into_iter().rev().filter_map(|row| Some((Subject::parse(&row.subject)?, row))).collect())
}

/// Whether a machine told it; what names no machine was told by the only one there is.
fn is_by(row: &AlertRow, machine: Option<&str>) -> bool {
    let data: serde_json::Value = serde_json::from_str(&row.data).unwrap_or_default();
    machine.is_none() || data["machine"].as_str().is_none_or(|teller| Some(teller) == machine)
}

fn raised(
    subject: Subject,
    tenant: &TenantId,
    measure: Measure,
    found: &Score,
    hour: &HourSum,
    now: UnixMillis,
) -> Raised {
    let (scope, id, whose) = match subject {
        Subject::AccessKey(id) => ("access_key", id.to_string(), "access key"),
        Subject::Credential(id) => ("provider_key", id.to_string(), "provider key"),
    };
    let Score { figure, expected, score } = *found;
    let since = UnixMillis(hour.hour * 3_600_000).to_rfc3339();
    let what = match measure {
        Measure::Spend => format!("has cost ${figure:.2} since {since}, where ${expected:.2} an hour is usual"),
        Measure::Errors => format!(
            "has had {:.0} % of {} attempts fail since {since}, where {:.1} % is usual",
            100.0 * figure,
            hour.attempts,
            100.0 * expected
        ),
    };
    let sentence = format!("{whose} {id} of tenant {tenant} {what} (score {score:.1}); see whether that is meant");
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let data = json!({
        "scope": scope,
        "id": id,
        "measure": measure.name(),
        "unit": match measure { Measure::Spend => "usd_per_hour", Measure::Errors => "share" },
        "figure": rounded(figure),
        "expected": rounded(expected),
        "score": rounded(score),
        "attempts": hour.attempts,
        "since": since,
        "seen_at": now.to_rfc3339(),
    });
    let (tenant, subject) = (tenant.clone(), subject.name(measure));
    Raised { kind: AlertKind::Anomaly, tenant, subject, sentence, data, lasts: true }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;

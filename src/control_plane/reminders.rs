//! Provider keys that grow old: looked at now and then, shown in status and metrics, and said once a day.
//!
//! No provider lets us make a new key by ourselves, so that nothing here rotates; it tells a person in time.

use super::alerts::Aged;
use super::{Control, CredentialView, day_of};
use crate::config::Rotation;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::limits::{KEY_AGE_INTERVAL, KEYS_REMINDED_MAX};
use crate::store::{CredentialState, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was found at the last look.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    looked: Option<Instant>,
    /// The day for which was reminded, since the Unix epoch.
    day: Option<u64>,
    /// By provider: names of ours, so that the labels of metrics are bounded.
    ages: BTreeMap<ProviderId, Ages>,
}

/// The keys of one provider, over all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ages {
    oldest_days: u64,
    due: usize,
    too_old: usize,
}

/// A key that is to be rotated.
struct Due {
    tenant: TenantId,
    provider: ProviderId,
    id: CredentialId,
    days: u64,
    too_old: bool,
}

impl Control {
    /// Looks at the ages if it is time, and says what is due if that was not said today.
    pub(super) fn remind_of_old_keys(&mut self, now: UnixMillis, instant: Instant) {
        let recent = |looked| instant.saturating_duration_since(looked) < KEY_AGE_INTERVAL;
        let today = Some(day_of(now));
        if self.reminders.looked.is_some_and(recent) && self.reminders.day == today {
            return;
        }
        // A store that cannot be read is said by the books; the next look is as good.
        let Ok((ages, due)) = self.ages_of_keys(now) else { return };
        let said = std::mem::replace(&mut self.reminders, Reminders { looked: Some(instant), day: today, ages }).day;
        let aged = due.iter().map(|due| Aged {
            tenant: &due.tenant,
            provider: &due.provider,
            id: due.id,
            days: due.days,
            too_old: due.too_old,
        });
        let aged: Vec<Aged<'_>> = aged.collect();
        // What cannot be written down now is told at the next look.
        let _ = self.tell_of_ages(&aged, now);
        if said == today {
            return;
        }
        for Due { tenant, provider, id, days, too_old } in due.iter().take(KEYS_REMINDED_MAX) {
            let (kind, what) = match too_old {
                true => ("alarm", "older than `rotation.max_age` allows"),
                false => ("rotation", "due for rotation"),
            };
            let text = format!(
                "{id} of provider `{provider}`, tenant {tenant}, is {days} days old and {what}; make a new key at the provider and rotate"
            );
            // Its alert says the rest: an alarm here would be told twice.
            self.events.note(now, kind, text);
        }
        let more = due.len().saturating_sub(KEYS_REMINDED_MAX);
        if more > 0 {
            self.note(
                "rotation",
                format!("{more} more provider keys are due for rotation; list a tenant's keys to see them"),
            );
        }
    }

    /// The ages of keys in use by provider, and those that are due, the too old ones first.
    fn ages_of_keys(&mut self, now: UnixMillis) -> Result<(BTreeMap<ProviderId, Ages>, Vec<Due>), StoreError> {
        let terms = self.config.rotation;
        let (mut ages, mut due) = (BTreeMap::<ProviderId, Ages>::new(), Vec::new());
        let rotations = &self.rotations;
        self.store.admin().for_each_credential(None, |tenant, _, row| {
            if row.state != CredentialState::Active {
                return Ok::<(), StoreError>(());
            }
            let age = age(row.created, now);
            let found = ages.entry(row.provider.clone()).or_default();
            found.oldest_days = found.oldest_days.max(days(age));
            let (is_due, too_old) = judged(age, terms);
            if is_due && !rotations.is_in_question(row.id) {
                found.due += 1;
                found.too_old += usize::from(too_old);
                let (tenant, provider, id, days) = (tenant.clone(), row.provider, row.id, days(age));
                due.push(Due { tenant, provider, id, days, too_old });
            }
            Ok(())
        })?;
        due.sort_by_key(|due| (!due.too_old, std::cmp::Reverse(due.days)));
        Ok((ages, due))
    }

    /// Writes the ages into views of keys.
    pub(super) fn mark_ages(&self, views: &mut [CredentialView]) {
        let now = self.now();
        for view in views {
            let age = age(view.created, now);
            view.age_days = days(age);
            let in_use = matches!(view.status, "active" | "fallback") && view.rotation_id.is_none();
            view.rotation_due = in_use && judged(age, self.config.rotation).0;
        }
    }

    /// For `GET /status`: rotations by state, and what is due.
    pub(super) fn rotation_status(&self) -> Value {
        let counts = self.rotations.counts().map(|(state, count)| (state.to_owned(), Value::from(count)));
        let mut status: serde_json::Map<String, Value> = counts.into_iter().collect();
        let ages = self.reminders.ages.values();
        let due: usize = ages.clone().map(|ages| ages.due).sum();
        let too_old: usize = ages.clone().map(|ages| ages.too_old).sum();
        let oldest = ages.map(|ages| ages.oldest_days).max().unwrap_or(0);
        status.insert("keys".to_owned(), json!({ "due": due, "too_old": too_old, "oldest_days": oldest }));
        Value::Object(status)
    }
}

impl Reminders {
    /// Providers with the age of the oldest key in use, days, and how many keys are due.
    pub(super) fn key_ages(&self) -> impl Iterator<Item = (&str, u64, usize)> {
        self.ages.iter().map(|(provider, ages)| (provider.as_str(), ages.oldest_days, ages.due))
    }
}

/// A key that seems to come from the future is new.
fn age(created: UnixMillis, now: UnixMillis) -> Duration {
    Duration::from_millis(now.0.saturating_sub(created.0))
}

fn days(age: Duration) -> u64 {
    age.as_secs() / 86_400
}

/// Whether it is to be rotated, and whether that should have been done long ago.
fn judged(age: Duration, terms: Rotation) -> (bool, bool) {
    let reached = |limit: Option<Duration>| limit.is_some_and(|limit| age >= limit);
    let too_old = reached(terms.max_age);
    (too_old || reached(terms.remind_after), too_old)
}

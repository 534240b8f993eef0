//! Breakers as people see and move them: the list, the owner's word, and an event for each change.
//!
//! The control plane reads the board that the cores write, and writes only what the owner says. It decides nothing of its own here.

use super::{Control, ControlError};
use crate::board::{Halts, Scope};
use crate::domain::id::ProviderId;
use crate::limits::BREAKER_NOTES_MAX;
use crate::routing::breaker::Breaker;
use crate::store::AuditEntry;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Instant;

/// What the owner may do with the breaker of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerMove {
    /// Halt the provider until told otherwise.
    Open,
    /// Let it be asked again, at once.
    Close,
    /// The same, and forget the failures that were counted.
    Reset,
}

impl BreakerMove {
    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "open" => Some(Self::Open),
            "close" => Some(Self::Close),
            "reset" => Some(Self::Reset),
            _ => None,
        }
    }

    /// What the audit log calls it.
    const fn deed(self) -> &'static str {
        match self {
            Self::Open => "breaker.open",
            Self::Close => "breaker.close",
            Self::Reset => "breaker.reset",
        }
    }
}

/// A breaker as shown: one of each provider, and one of each lane whose breaker is not closed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreakerView {
    /// The provider.
    pub provider: String,
    /// The model, where it is a lane's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The credential, where it is a lane's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// `closed`, `open`, `half_open`, `probing`, or `forced`.
    pub state: &'static str,
    /// What opened it: `failures`, `unreachable`, or `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// Seconds until a probe may pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_in_s: Option<f64>,
    /// Probes that have failed since it opened.
    pub failed_probes: u32,
}

/// The breakers as they stood at the last look.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The ones that were not closed.
    open: BTreeSet<Scope>,
}

impl Control {
    /// The breakers: of every provider, and of the lanes whose breakers are not closed.
    pub fn breakers(&self) -> Vec<BreakerView> {
        let (halts, now) = (self.board.halts(), Instant::now());
        let providers = self.configured.iter().map(|provider| &provider.config.id);
        let mut views: Vec<BreakerView> = providers.map(|id| provider_view(&halts, id, now)).collect();
        let mut lanes: Vec<(&Scope, Breaker)> =
            halts.breakers(now).filter(|(scope, _)| matches!(scope, Scope::Lane(_))).collect();
        lanes.sort_by_key(|(scope, _)| *scope);
        views.extend(lanes.into_iter().filter_map(|(scope, breaker)| match scope {
            Scope::Lane(lane) => Some(BreakerView {
                model: Some(lane.model.to_string()),
                credential: lane.credential.map(|id| id.to_string()),
                ..view(&lane.provider, breaker, now)
            }),
            _ => None,
        }));
        views
    }

    /// Moves the breaker of a configured provider, by its name or an alias; it holds on every core at its next request.
    ///
    /// # Errors
    /// No such provider is configured, or the store refuses the audit entry; then nothing is moved.
    pub fn move_breaker(&mut self, who: &str, provider: &str, to: BreakerMove) -> Result<BreakerView, ControlError> {
        let found = self.configured_named(provider).map(|provider| provider.config.id.clone());
        let id = found.ok_or_else(|| {
            ControlError::NotFound("no provider of that name is configured; see GET /providers".into())
        })?;
        let before = provider_view(&self.board.halts(), &id, Instant::now()).state;
        let after = if to == BreakerMove::Open { "forced" } else { "closed" };
        let at = self.now();
        let entry = AuditEntry { at, tenant: None, who, what: to.deed(), target: id.as_str(), before, after };
        self.store.admin().append_audit(&entry)?;
        match to {
            BreakerMove::Open => self.board.force(&id),
            BreakerMove::Close => self.board.release(&id, false),
            BreakerMove::Reset => self.board.release(&id, true),
        }
        self.note("breaker", format!("{} {id} by {who}", to.deed()));
        // The owner knows: no further event says the same.
        self.watched.open = open_now(&self.board.halts(), Instant::now());
        Ok(provider_view(&self.board.halts(), &id, Instant::now()))
    }

    /// Notes what opened and closed since the last look.
    pub(super) fn watch_breakers(&mut self) {
        let (halts, now) = (self.board.halts(), Instant::now());
        if halts.is_empty() && self.watched.open.is_empty() {
            return;
        }
        let open = open_now(&halts, now);
        let (opened, closed) = (open.difference(&self.watched.open), self.watched.open.difference(&open));
        let mut notes: Vec<String> = opened.filter_map(|scope| opened_note(&halts, scope, now)).collect();
        notes.extend(closed.map(|scope| format!("the breaker of {} is closed: it is asked again", named(scope))));
        let more = notes.len().saturating_sub(BREAKER_NOTES_MAX);
        notes.truncate(BREAKER_NOTES_MAX);
        if more > 0 {
            notes.push(format!("{more} more breakers opened or closed; see GET /breakers"));
        }
        self.watched.open = open;
        self.note_all("breaker", notes);
    }
}

fn provider_view(halts: &Halts, id: &ProviderId, now: Instant) -> BreakerView {
    let breaker = halts.breaker(&Scope::Provider(id.clone()), now);
    match halts.is_forced(id) {
        true => BreakerView { state: "forced", cause: Some("operator"), probe_in_s: None, ..view(id, breaker, now) },
        false => view(id, breaker, now),
    }
}

fn view(provider: &ProviderId, breaker: Breaker, now: Instant) -> BreakerView {
    let opening = breaker.opening();
    BreakerView {
        provider: provider.to_string(),
        model: None,
        credential: None,
        state: breaker.as_str(),
        cause: opening.map(|opening| opening.cause.as_str()),
        probe_in_s: opening.map(|opening| opening.left(now).as_secs_f64()),
        failed_probes: opening.map_or(0, |opening| opening.failed_probes),
    }
}

/// Every scope that is not closed.
fn open_now(halts: &Halts, now: Instant) -> BTreeSet<Scope> {
    let breakers = halts.breakers(now).map(|(scope, _)| scope.clone());
    breakers.chain(halts.forced().cloned().map(Scope::Provider)).collect()
}

fn opened_note(halts: &Halts, scope: &Scope, now: Instant) -> Option<String> {
    let breaker = halts.breaker(scope, now);
    let opening = breaker.opening()?;
    let (cause, seconds) = (opening.cause.as_str(), opening.left(now).as_secs_f64());
    Some(format!(
        "the breaker of {} is open ({cause}): others go first, a probe may pass in {seconds:.1} s",
        named(scope)
    ))
}

fn named(scope: &Scope) -> String {
    match scope {
        Scope::Provider(provider) => format!("provider `{provider}`"),
        Scope::Credential(credential) => credential.to_string(),
        Scope::Lane(lane) => match lane.credential {
            Some(credential) => format!("{} at `{}` with {credential}", lane.model, lane.provider),
            None => format!("{} at `{}`", lane.model, lane.provider),
        },
    }
}

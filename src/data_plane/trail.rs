//! What the failures of one exchange rule out, and what the client hears when nothing is left to try.

use super::fault::{Fault, Tried};
use super::plan::Candidate;
use crate::chat::fault::{Elsewhere, FaultClass, SameKey, UpstreamFault};
use crate::chat::request;
use crate::domain::id::{CredentialId, ProviderId};
use crate::limits;
use crate::report::Outcome;
use crate::routing::terms::Repeat;
use crate::snapshot::{Provider, ProviderIx};
use std::sync::Arc;
use std::time::Duration;

/// A failure, and what the client needs if it turns out to be the last.
pub struct Refusal {
    /// What it was.
    pub fault: UpstreamFault,
    /// The provider's status; 0 if none came.
    pub status: u16,
    /// The member of the request that the provider blames.
    pub param: Option<String>,
}

/// How far a try got, which decides whether the same may be tried again (rule Q1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing of it left.
    Unsent,
    /// The provider sent it away without working on it.
    Refused,
    /// The provider failed at it, or broke off.
    Failed,
    /// It may still be worked on, and billed.
    Late,
}

/// What the failures so far rule out. Nearly every exchange has none, so what is known of them lies apart.
#[derive(Default)]
pub struct Trail {
    failures: Option<Box<Failures>>,
    /// Which failures the tenant wants repeated.
    repeat: Repeat,
    /// Whether nothing more is to be tried.
    pub over: bool,
    /// Whether the call is the provider's own: then its refusals are its own, too.
    is_carried: bool,
}

/// What has failed, and candidates that could not be asked.
#[derive(Default)]
struct Failures {
    tried: Vec<Tried>,
    last: Option<Refusal>,
    classes: Vec<FaultClass>,
    retry_after: Option<Duration>,
    /// Provider and model that failed last, if another key of that provider may do better.
    sibling_of: Option<(ProviderIx, Arc<str>)>,
    /// How many keys were refused.
    keys_refused: u32,
    dead_providers: Vec<ProviderIx>,
    dead_credentials: Vec<CredentialId>,
    dead_models: Vec<(ProviderIx, Arc<str>)>,
    /// The prompt is too long for a window of so many tokens.
    window_exceeded: Option<u64>,
    /// The provider that failed last, if trying again because of it needs a budget (rule Q2).
    charged: Option<ProviderId>,
    /// Whether the last failure may be gone after a moment.
    may_pass: bool,
    /// Why candidates could not be asked at all, the first of them.
    unsuited: Option<request::Refusal>,
    /// How many of them broke off.
    broken: usize,
}

impl From<UpstreamFault> for Refusal {
    fn from(fault: UpstreamFault) -> Self {
        Self { fault, status: 0, param: None }
    }
}

// === impl Trail ===

impl Trail {
    /// Nothing has failed; `is_carried` says that the call is the provider's own.
    pub fn of(is_carried: bool, repeat: Repeat) -> Self {
        Self { is_carried, repeat, ..Self::default() }
    }

    /// Whether a candidate would fail as one before it did.
    pub fn rules_out(&self, candidate: &Candidate) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.rule_out(candidate))
    }

    /// Whether a candidate has another key for what failed last, and that is worth more than another provider: the provider lives.
    pub fn is_sibling(&self, candidate: &Candidate) -> bool {
        let target = &candidate.target;
        let sibling_of = self.failures.as_ref().and_then(|failures| failures.sibling_of.as_ref());
        sibling_of.is_some_and(|(provider, model)| *provider == target.provider && *model == target.model)
    }

    /// Whether what failed last may do better with another key of its provider.
    pub fn wants_sibling(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.sibling_of.is_some())
    }

    /// How many keys were refused so far. Trying another one repeats no work, so an owner who allows no retries has not ruled that out.
    pub fn keys_refused(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.keys_refused)
    }

    /// Whether anything has failed.
    pub fn has_failures(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.last.is_some())
    }

    /// The provider that failed last, if trying again because of it needs a budget. What was not sent, and what was refused for the
    /// sake of a key, cost the provider no work.
    pub fn charged(&self) -> Option<&ProviderId> {
        self.failures.as_ref().and_then(|failures| failures.charged.as_ref())
    }

    /// Whether the last failure may be gone after a moment, so that the same provider may be asked again if there is no other.
    pub fn may_pass(&self) -> bool {
        !self.over && self.failures.as_ref().is_some_and(|failures| failures.may_pass)
    }

    /// Takes a failure in. `is_large` says that the request cannot be sent twice.
    pub fn note(
        &mut self,
        candidate: &Candidate,
        provider: &Provider,
        refusal: Refusal,
        outcome: Outcome,
        is_large: bool,
    ) {
        let class = refusal.fault.class;
        let reach = reach(outcome, class);
        let failures = self.failures.get_or_insert_default();
        self.over |= failures.exclude(candidate, class);
        let target = &candidate.target;
        failures.sibling_of = class.again().other_key.then(|| (target.provider, target.model.clone()));
        failures.keys_refused += u32::from(is_about_the_key(class));
        failures.broken += usize::from(outcome == Outcome::Broken);
        self.over |= is_large && reach != Reach::Unsent;
        self.over |= class.again().other_provider == Elsewhere::Never;
        self.over |= match self.repeat {
            Repeat::Refused => matches!(reach, Reach::Failed | Reach::Late),
            Repeat::Errors => reach == Reach::Late,
            Repeat::All => false,
        };
        let is_free = reach == Reach::Unsent || is_about_the_key(class);
        failures.charged = (!is_free).then(|| provider.id.clone());
        failures.may_pass =
            reach != Reach::Unsent && (outcome == Outcome::Broken || class.again().same_key == SameKey::AfterBackoff);
        failures.tried.push(Tried { provider: provider.id.as_str().to_owned(), why: class.as_str() });
        failures.classes.push(class);
        failures.retry_after = match (failures.retry_after, refusal.fault.retry_after) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        failures.last = Some(refusal);
    }

    /// A stream broke off after the client had a part of it: whoever goes on repeats no work, so this alone ends nothing.
    pub fn note_interrupted(&mut self, candidate: &Candidate, provider: &Provider) {
        let fault = UpstreamFault::without_answer(FaultClass::ServerError, "the provider's stream broke off");
        let was_over = self.over;
        self.note(candidate, provider, fault.into(), Outcome::Broken, false);
        self.over = was_over;
        self.failures.get_or_insert_default().may_pass = false;
    }

    /// A candidate whose format has no words for the request; the first of them is told if nobody is left.
    pub fn note_unsuited(&mut self, refusal: &request::Refusal) {
        self.failures.get_or_insert_default().unsuited.get_or_insert_with(|| refusal.clone());
    }

    /// A candidate that its owner halted: not asked, but told of.
    pub fn note_forbidden(&mut self, candidate: &Candidate) {
        let provider = candidate.lane.provider.as_str();
        let tried = &mut self.failures.get_or_insert_default().tried;
        if !tried.iter().any(|tried| tried.provider == provider) {
            tried.push(Tried { provider: provider.to_owned(), why: "halted by the operator" });
        }
    }

    /// What the client hears.
    pub fn verdict(self) -> Fault {
        self.failures.unwrap_or_default().verdict(self.is_carried)
    }
}

// === impl Failures ===

impl Failures {
    fn rule_out(&self, candidate: &Candidate) -> bool {
        let target = &candidate.target;
        let dead_credential =
            candidate.credential.as_ref().is_some_and(|credential| self.dead_credentials.contains(&credential.id));
        let too_small = |exceeded| target.abilities.context_window.is_none_or(|window| window <= exceeded);
        dead_credential
            || self.dead_providers.contains(&target.provider)
            || self.dead_models.iter().any(|(provider, model)| *provider == target.provider && *model == target.model)
            || self.window_exceeded.is_some_and(too_small)
    }

    /// Rules out what would fail in the same way; whether that is everything.
    fn exclude(&mut self, candidate: &Candidate, class: FaultClass) -> bool {
        let target = &candidate.target;
        if let Some(credential) = &candidate.credential
            && !matches!(class, FaultClass::ContextTooLong | FaultClass::ModelNotFound)
        {
            self.dead_credentials.push(credential.id);
        }
        match class {
            // Another model of the same provider may have the room, with the same key.
            FaultClass::ContextTooLong => match target.abilities.context_window {
                Some(window) => {
                    self.window_exceeded = Some(self.window_exceeded.map_or(window, |known| known.max(window)));
                }
                // Nothing to compare with.
                None => return true,
            },
            FaultClass::ModelNotFound => self.dead_models.push((target.provider, target.model.clone())),
            _ if !class.again().other_key => self.dead_providers.push(target.provider),
            _ => {}
        }
        false
    }

    fn verdict(self, is_carried: bool) -> Fault {
        let Some(last) = self.last else {
            return match self.unsuited {
                Some(request::Refusal { param, message }) => Fault::InvalidRequest { message, param: Some(param) },
                None => Fault::AllUnavailable { tried: self.tried },
            };
        };
        let all = |class: FaultClass| self.classes.iter().all(|seen| *seen == class);
        let keys_refused =
            self.classes.iter().all(|class| matches!(class, FaultClass::BadKey | FaultClass::NoPermission));
        if keys_refused {
            let provider = self.tried.last().map(|tried| tried.provider.clone()).unwrap_or_default();
            return Fault::ProviderAuthentication { provider };
        }
        if all(FaultClass::RateLimit) {
            let wait = self.retry_after.unwrap_or(limits::RETRY_AFTER_UNKNOWN);
            return Fault::RateLimited { retry_after_s: wait.as_secs_f64().ceil() as u64 };
        }
        if self.broken == self.classes.len() {
            let provider = self.tried.last().map(|tried| tried.provider.clone()).unwrap_or_default();
            return Fault::UpstreamBroken { provider };
        }
        match last.fault.class {
            FaultClass::Timeout => Fault::UpstreamTimeout,
            _ if is_carried && speaks_of_request(last.status) => refused_as(last.status, last),
            FaultClass::BadRequest | FaultClass::ContextTooLong | FaultClass::ContentFilter => refused_as(400, last),
            FaultClass::ModelNotFound => refused_as(404, last),
            _ => Fault::AllUnavailable { tried: self.tried },
        }
    }
}

/// Whether a failure is about the key that was shown, and not about the provider or the request: nobody worked on it.
pub fn is_about_the_key(class: FaultClass) -> bool {
    matches!(class, FaultClass::BadKey | FaultClass::NoPermission | FaultClass::NoCredit)
}

fn reach(outcome: Outcome, class: FaultClass) -> Reach {
    match (outcome, class) {
        (Outcome::Unreachable, _) => Reach::Unsent,
        (Outcome::TimedOut, _) | (_, FaultClass::Timeout) => Reach::Late,
        (Outcome::Broken, _) | (_, FaultClass::ServerError | FaultClass::Unknown) => Reach::Failed,
        _ => Reach::Refused,
    }
}

/// Whether a refusal with this status is about what was asked, and not about our key, our money or our rate.
fn speaks_of_request(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401..=403 | 407 | 408 | 429)
}

/// The provider's own refusal, with its own status where that speaks of the request and not of our key or our rate.
fn refused_as(usual: u16, refusal: Refusal) -> Fault {
    let Refusal { fault, status, param } = refusal;
    let status = if matches!(status, 400 | 404 | 405 | 409 | 410 | 413 | 415 | 422) { status } else { usual };
    // A bare number, Google's status or a vendor's own catalogue, tells a client less than the class.
    let code = fault.code.filter(|code| !code.bytes().all(|byte| byte.is_ascii_digit()));
    Fault::Refused { status, class: fault.class, message: fault.message, code, param }
}

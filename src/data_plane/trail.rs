//! What the failures of one exchange rule out, and what the client hears when nothing is left to try.

use super::fault::{Fault, Tried};
use super::plan::Candidate;
use crate::chat::fault::{Elsewhere, FaultClass, UpstreamFault};
use crate::chat::request;
use crate::domain::id::CredentialId;
use crate::limits;
use crate::snapshot::{Provider, ProviderIx};
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

/// What the failures so far rule out.
#[derive(Default)]
pub struct Trail {
    tried: Vec<Tried>,
    last: Option<Refusal>,
    classes: Vec<FaultClass>,
    retry_after: Option<Duration>,
    dead_providers: Vec<ProviderIx>,
    dead_credentials: Vec<CredentialId>,
    /// Why candidates could not be asked at all, the first of them.
    pub unsuited: Option<request::Refusal>,
    /// How many of them broke off.
    pub broken: usize,
    /// Whether nothing more is to be tried.
    pub over: bool,
    /// Whether the call is the provider's own: then its refusals are its own, too.
    is_carried: bool,
}

impl From<UpstreamFault> for Refusal {
    fn from(fault: UpstreamFault) -> Self {
        Self { fault, status: 0, param: None }
    }
}

// === impl Trail ===

impl Trail {
    /// Nothing has failed; `is_carried` says that the call is the provider's own.
    pub fn of(is_carried: bool) -> Self {
        Self { is_carried, ..Self::default() }
    }

    /// Whether a candidate would fail as one before it did.
    pub fn rules_out(&self, candidate: &Candidate) -> bool {
        let dead_credential =
            candidate.credential.as_ref().is_some_and(|credential| self.dead_credentials.contains(&credential.id));
        dead_credential || self.dead_providers.contains(&candidate.target.provider)
    }

    /// Takes a failure in.
    pub fn note(&mut self, candidate: &Candidate, provider: &Provider, refusal: Refusal) {
        let fault = &refusal.fault;
        let again = fault.class.again();
        if let Some(credential) = &candidate.credential {
            self.dead_credentials.push(credential.id);
        }
        if !again.other_key {
            self.dead_providers.push(candidate.target.provider);
        }
        // Without window sizes to compare, a prompt that is too long for one model is answered as such.
        self.over |= again.other_provider != Elsewhere::Any || is_uncertain(fault.class);
        self.tried.push(Tried { provider: provider.id.as_str().to_owned(), why: fault.class.as_str() });
        self.classes.push(fault.class);
        self.retry_after = match (self.retry_after, fault.retry_after) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        self.last = Some(refusal);
    }

    /// What the client hears.
    pub fn verdict(self) -> Fault {
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
            _ if self.is_carried && speaks_of_request(last.status) => refused_as(last.status, last),
            FaultClass::BadRequest | FaultClass::ContextTooLong | FaultClass::ContentFilter => refused_as(400, last),
            FaultClass::ModelNotFound => refused_as(404, last),
            _ => Fault::AllUnavailable { tried: self.tried },
        }
    }
}

/// Whether the provider may have done the work, and bill it, although no answer came (rule Q1).
fn is_uncertain(class: FaultClass) -> bool {
    matches!(class, FaultClass::Timeout)
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

//! Faults: failures as the caller sees them, each with its status, its stable code and one sentence of remedy.
//!
//! Codes are the contract's. No fault carries text of a provider that has not passed the scrubber, and none can carry a credential:
//! the type that holds one does not print (rules R3, X7).

use crate::chat::fault::FaultClass;
use crate::domain::clock::UnixMillis;
use crate::domain::limit::LimitKind;
use crate::domain::money::Money;
use crate::domain::pressure::ShedReason;
use std::borrow::Cow;

/// Why an exchange has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The head of the request breaks HTTP; whatever follows on this connection cannot be trusted.
    Malformed { status: u16, remedy: Cow<'static, str> },
    /// No access key, an unknown one, an expired one or several at once: one answer for all (rules V11, H21).
    InvalidAccessKey { why: KeyTrouble },
    /// The access key lacks a scope.
    ScopeMissing { needs: &'static str },
    /// The request makes no sense; `param` names the member.
    InvalidRequest { message: Cow<'static, str>, param: Option<Cow<'static, str>> },
    /// The body is larger than configured.
    RequestTooLarge { max: u64 },
    /// The body came too slowly.
    RequestTimeout,
    /// A compressed request body (rule H19).
    UnsupportedEncoding,
    /// No such path here.
    UnknownPath { path: String },
    /// The path exists, for another method.
    MethodNotAllowed { allow: &'static str },
    /// Nobody serves this model.
    ModelNotFound { model: String, near: Vec<String> },
    /// The access key may not use it.
    ModelNotAllowed { model: String },
    /// We are at a limit of our own.
    Overloaded,
    /// Turned away before anything was done for it.
    Shed { reason: ShedReason, retry_after_s: u64 },
    /// The same request is at work under the same `Idempotency-Key` (rule Q5).
    IdempotencyConflict,
    /// The `Idempotency-Key` was given to another request (rule Q5).
    IdempotencyKeyReused,
    /// A provider refused every credential we had.
    ProviderAuthentication { provider: String },
    /// The access key may not be used for this kind of task.
    EndpointNotAllowed { endpoint: &'static str },
    /// The access key may not be shown from this address.
    SourceNotAllowed,
    /// What is asked for lies in a provider's account that is not the tenant's own.
    AccountNotOwn { provider: String },
    /// The access key, or its tenant, has used up what it may do in a while.
    LimitReached { what: &'static str, whose: &'static str, limit: u64, retry_after_s: u64 },
    /// The access key, or its tenant, has spent its budget.
    BudgetExceeded { budget: String, whose: &'static str, left: Money, needed: Money, resets_at: Option<UnixMillis> },
    /// This machine has used what it leased of a limit that several machines share. `waits`: a lease may come any moment.
    LeaseUsed { kind: LimitKind, whose: &'static str, retry_after_s: u64, is_alone: bool, waits: bool },
    /// The database that machines share has not been reached for too long, and limits are to be kept. `waits`: it was not tried yet.
    LeaseOver { whose: &'static str, waits: bool },
    /// Every provider we could use asks us to wait.
    RateLimited { retry_after_s: u64 },
    /// Nobody could answer.
    AllUnavailable { tried: Vec<Tried> },
    /// No first byte in time.
    UpstreamTimeout,
    /// What came back was no HTTP, or broke off before it was an answer (rule H16).
    UpstreamBroken { provider: String },
    /// The provider refused the request itself: its words, scrubbed, with its status.
    Refused { status: u16, class: FaultClass, message: String, code: Option<String>, param: Option<String> },
    /// The control plane did not answer.
    ControlUnavailable,
}

/// One failed attempt, for the explanation of [`Fault::AllUnavailable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Which provider.
    pub provider: String,
    /// In a word.
    pub why: &'static str,
}

/// What is wrong with the access key, as far as the caller may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTrouble {
    /// None came.
    Missing,
    /// Unknown, revoked or expired: indistinguishable on purpose.
    Unknown,
    /// More than one came.
    Several,
    /// It came in the URL, where logs would keep it.
    InUrl,
}

impl Fault {
    /// Shorthand for a plain invalid request.
    pub fn invalid(message: impl Into<Cow<'static, str>>, param: Option<&'static str>) -> Self {
        Fault::InvalidRequest { message: message.into(), param: param.map(Cow::Borrowed) }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Fault::Malformed { status, .. } | Fault::Refused { status, .. } => *status,
            Fault::InvalidAccessKey { .. } => 401,
            Fault::ScopeMissing { .. }
            | Fault::ModelNotAllowed { .. }
            | Fault::EndpointNotAllowed { .. }
            | Fault::SourceNotAllowed
            | Fault::AccountNotOwn { .. } => 403,
            Fault::BudgetExceeded { .. } | Fault::LeaseUsed { kind: LimitKind::Budget, .. } => 402,
            Fault::InvalidRequest { .. } => 400,
            Fault::RequestTooLarge { .. } => 413,
            Fault::RequestTimeout => 408,
            Fault::IdempotencyConflict => 409,
            Fault::IdempotencyKeyReused => 422,
            Fault::UnsupportedEncoding => 415,
            Fault::UnknownPath { .. } | Fault::ModelNotFound { .. } => 404,
            Fault::MethodNotAllowed { .. } => 405,
            Fault::Overloaded
            | Fault::Shed { .. }
            | Fault::AllUnavailable { .. }
            | Fault::ControlUnavailable
            | Fault::LeaseOver { .. } => 503,
            Fault::ProviderAuthentication { .. } | Fault::UpstreamBroken { .. } => 502,
            Fault::RateLimited { .. } | Fault::LimitReached { .. } | Fault::LeaseUsed { .. } => 429,
            Fault::UpstreamTimeout => 504,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Fault::Malformed { .. }
            | Fault::InvalidRequest { .. }
            | Fault::UnsupportedEncoding
            | Fault::RequestTimeout => "invalid_request",
            Fault::InvalidAccessKey { .. } => "invalid_api_key",
            Fault::ScopeMissing { .. } => "insufficient_scope",
            Fault::RequestTooLarge { .. } => "request_too_large",
            Fault::UnknownPath { .. } => "not_found",
            Fault::MethodNotAllowed { .. } => "method_not_allowed",
            Fault::ModelNotFound { .. } => "model_not_found",
            Fault::ModelNotAllowed { .. } => "model_not_allowed",
            Fault::Overloaded | Fault::Shed { .. } => "overloaded",
            Fault::IdempotencyConflict => "idempotency_conflict",
            Fault::IdempotencyKeyReused => "idempotency_key_reused",
            Fault::ProviderAuthentication { .. } => "provider_authentication_failed",
            Fault::EndpointNotAllowed { .. } => "endpoint_not_allowed",
            Fault::SourceNotAllowed => "source_not_allowed",
            Fault::AccountNotOwn { .. } => "provider_key_required",
            Fault::BudgetExceeded { .. } | Fault::LeaseUsed { kind: LimitKind::Budget, .. } => "budget_exceeded",
            Fault::RateLimited { .. } | Fault::LimitReached { .. } | Fault::LeaseUsed { .. } => "rate_limit_exceeded",
            Fault::LeaseOver { .. } => "limits_unknown",
            Fault::AllUnavailable { .. } => "all_providers_unavailable",
            Fault::UpstreamTimeout => "upstream_timeout",
            Fault::UpstreamBroken { .. } => "upstream_broken",
            Fault::Refused { code, class, .. } => code.as_deref().unwrap_or(class.as_str()),
            Fault::ControlUnavailable => "control_plane_unavailable",
        }
    }

    /// The `type` of the OpenAI error object (<https://platform.openai.com/docs/guides/error-codes>, read 2026-11-23).
    pub fn kind(&self) -> &'static str {
        match self.status() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// The member of the request that is to blame.
    pub fn param(&self) -> Option<&str> {
        match self {
            Fault::InvalidRequest { param, .. } => param.as_deref(),
            Fault::Refused { param, .. } => param.as_deref(),
            Fault::ModelNotFound { .. } | Fault::ModelNotAllowed { .. } => Some("model"),
            _ => None,
        }
    }

    /// Seconds to wait, where waiting helps.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Fault::RateLimited { retry_after_s }
            | Fault::Shed { retry_after_s, .. }
            | Fault::LimitReached { retry_after_s, .. } => Some(*retry_after_s),
            Fault::Overloaded | Fault::ControlUnavailable | Fault::IdempotencyConflict => Some(1),
            Fault::AllUnavailable { .. } | Fault::LeaseOver { .. } => Some(5),
            // Alone, a machine gets no more of a budget.
            Fault::LeaseUsed { kind: LimitKind::Budget, is_alone: true, .. } => None,
            Fault::LeaseUsed { retry_after_s, .. } => Some(*retry_after_s),
            _ => None,
        }
    }

    /// Whether a client may send the request again by itself: what nobody has tried yet, or what will have its answer soon.
    pub fn may_repeat(&self) -> bool {
        match self {
            Fault::LeaseUsed { kind, .. } => *kind != LimitKind::Budget,
            Fault::Shed { .. } | Fault::LimitReached { .. } | Fault::LeaseOver { .. } | Fault::IdempotencyConflict => {
                true
            }
            _ => false,
        }
    }

    /// Whether, where no provider was asked, it is because there was none to ask: what a configuration that lost its routes, providers
    /// or keys looks like.
    pub fn is_unserved(&self) -> bool {
        matches!(
            self,
            Fault::ModelNotFound { .. } | Fault::AllUnavailable { .. } | Fault::ProviderAuthentication { .. }
        )
    }

    /// Whether the connection must not be used again after it.
    pub fn closes(&self) -> bool {
        matches!(self, Fault::Malformed { .. } | Fault::RequestTimeout | Fault::RequestTooLarge { .. })
    }

    /// One sentence for a person, remedy included.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Fault::Malformed { remedy, .. } => Cow::Borrowed(remedy.as_ref()),
            Fault::InvalidAccessKey { why } => Cow::Borrowed(why.message()),
            Fault::ScopeMissing { needs } => {
                format!("This access key lacks the scope `{needs}`; ask the operator for a key that has it.").into()
            }
            Fault::InvalidRequest { message, .. } => Cow::Borrowed(message.as_ref()),
            Fault::RequestTooLarge { max } => {
                format!("The request body is larger than {max} bytes; send less or raise `server.limits.body_bytes`.")
                    .into()
            }
            Fault::RequestTimeout => "The request body arrived too slowly; send it again.".into(),
            Fault::UnsupportedEncoding => "Compressed request bodies are not accepted; send plain JSON.".into(),
            Fault::UnknownPath { path } => unknown_path(path).into(),
            Fault::MethodNotAllowed { allow } => format!("This path answers {allow} only; use that method.").into(),
            Fault::ModelNotFound { model, near } => model_not_found(model, near).into(),
            Fault::ModelNotAllowed { model } => {
                format!("This access key may not use the model `{model}`; see GET /v1/models for what it may use.")
                    .into()
            }
            Fault::Overloaded => "The gateway is at capacity; retry after a moment.".into(),
            Fault::Shed { reason, retry_after_s } => shed(*reason, *retry_after_s).into(),
            Fault::IdempotencyConflict => {
                "A request with this Idempotency-Key is at work; send it again in a second for its answer.".into()
            }
            Fault::IdempotencyKeyReused => {
                "This Idempotency-Key was used for another request; use a new key, or send what was sent before.".into()
            }
            Fault::ProviderAuthentication { provider } => format!(
                "Provider authentication failed: {provider} refused every key the gateway holds for it; add or rotate its provider key."
            )
            .into(),
            Fault::EndpointNotAllowed { endpoint } => format!(
                "This access key may not ask for {endpoint}; ask the operator for a key whose `endpoints` name it."
            )
            .into(),
            Fault::SourceNotAllowed => {
                "This access key may not be used from this address; ask the operator to add it to its `sources`.".into()
            }
            Fault::AccountNotOwn { provider } => format!(
                "Files, batches, stored responses and passthrough calls reach a whole account at {provider}, and this tenant has none of \
                 its own there; add a provider key of its own."
            )
            .into(),
            Fault::LimitReached { what, whose, limit, retry_after_s } => format!(
                "The limit of {whose}, {limit} {what}, is reached; retry after {retry_after_s} s, or ask for a higher one."
            )
            .into(),
            Fault::BudgetExceeded { budget, whose, left, needed, resets_at } => {
                budget_exceeded(budget, whose, *left, *needed, *resets_at).into()
            }
            Fault::LeaseUsed { kind, whose, is_alone, .. } => lease_used(*kind, whose, *is_alone).into(),
            Fault::LeaseOver { whose, .. } => format!(
                "The limits of {whose} are shared with other machines, and their database cannot be reached: nobody knows what is left. \
                 Try again when it is back, or ask another machine."
            )
            .into(),
            Fault::RateLimited { retry_after_s } => {
                format!("Rate limit exceeded at every usable provider; retry after {retry_after_s} s.").into()
            }
            Fault::AllUnavailable { tried } => all_unavailable(tried).into(),
            Fault::UpstreamTimeout => {
                "The provider sent no answer in time; retry, or raise the provider's `timeout`.".into()
            }
            Fault::UpstreamBroken { provider } => {
                format!("The answer of {provider} broke off or was not HTTP; retry, and check the provider's address.").into()
            }
            Fault::Refused { message, .. } => Cow::Borrowed(message),
            Fault::ControlUnavailable => {
                "The gateway's control plane did not answer; inference goes on, retry this call shortly.".into()
            }
        }
    }
}

impl KeyTrouble {
    fn message(self) -> &'static str {
        match self {
            KeyTrouble::Missing => {
                "No access key in the request; send `Authorization: Bearer sk-igris-…` with a key of this gateway."
            }
            KeyTrouble::Unknown => "This access key is not valid here; check it, or ask the operator for a new one.",
            KeyTrouble::Several => "The request carries more than one credential; send exactly one.",
            KeyTrouble::InUrl => "A credential in the URL ends up in logs; send it in the `Authorization` header.",
        }
    }
}

fn shed(reason: ShedReason, retry_after_s: u64) -> String {
    match reason {
        ShedReason::Share => format!(
            "The gateway is nearly at capacity and this tenant has its fair share of it in use; retry after {retry_after_s} s, or send \
             fewer requests at a time."
        ),
        _ => format!("The gateway is at capacity; retry after {retry_after_s} s."),
    }
}

fn lease_used(kind: LimitKind, whose: &str, is_alone: bool) -> String {
    let what = match kind {
        LimitKind::Budget => "a budget",
        LimitKind::Requests | LimitKind::Tokens => "a rate limit",
        LimitKind::Concurrent => "a limit of requests at a time",
    };
    match is_alone {
        true => format!(
            "This machine's part of {what} of {whose} is used up, and the database that machines share cannot be reached for more; \
             ask another machine, or try again when it is back."
        ),
        false => format!(
            "What is left of {what} of {whose} is with other machines just now; try again in a moment, or ask for a higher one."
        ),
    }
}

fn budget_exceeded(budget: &str, whose: &str, left: Money, needed: Money, resets_at: Option<UnixMillis>) -> String {
    let state = match needed > left && left > Money::ZERO {
        true => format!("has ${left} left, and this request may cost ${needed}"),
        false => "is spent".to_owned(),
    };
    let wait = resets_at.map_or(String::new(), |at| format!(", or wait until {}", at.to_rfc3339()));
    format!("The budget of {whose}, {budget}, {state}; ask for a higher one{wait}.")
}

fn unknown_path(path: &str) -> String {
    if path.starts_with("/v1/v1") {
        return "The path starts with /v1 twice; the SDK adds it, so end the base URL with one /v1.".to_owned();
    }
    format!("There is nothing at {path}; chat is served at POST /v1/chat/completions.")
}

fn model_not_found(model: &str, near: &[String]) -> String {
    match near {
        [] => format!("No configured provider serves the model `{model}`; see GET /v1/models."),
        _ => format!("No configured provider serves the model `{model}`; did you mean {}?", near.join(" or ")),
    }
}

fn all_unavailable(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "All providers unavailable: no provider of this model has a key; add one and retry.".to_owned();
    }
    let list: Vec<String> = tried.iter().map(|attempt| format!("{} ({})", attempt.provider, attempt.why)).collect();
    format!("All providers unavailable: tried {}; retry shortly.", list.join(", "))
}

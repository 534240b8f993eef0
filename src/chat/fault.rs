//! A provider's failure as the caller sees it: one of twelve classes, with the verdict that follows from each.
//!
//! Every provider words its failures differently, and the HTTP status alone misleads (a bad key may be a 400, an empty account a 429,
//! an error a 200). [`classify`] reads whatever shape arrived and never fails: what it cannot tell becomes [`FaultClass::Unknown`],
//! which neither parks a credential nor retries the same one. Pure: retry hints that name a date take `now` as an argument.

use super::fault_body::FaultBody;
use super::fault_book::{self, FaultBook as Book};
use super::retry_hint;
use crate::domain::clock::UnixMillis;
use crate::limits::{FAULT_CODE_BYTES_MAX, FAULT_MESSAGE_BYTES_MAX};
use std::time::Duration;

pub use super::fault_book::FaultBook;

/// What went wrong upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The provider does not know the credential.
    BadKey,
    /// The credential is known and may not do this (model, region, feature, blocked account).
    NoPermission,
    /// The account has no money or no plan left; waiting seconds does not help.
    NoCredit,
    /// Too many requests or tokens for now.
    RateLimit,
    /// The provider has no capacity, whoever asks.
    Overloaded,
    /// The provider broke.
    ServerError,
    /// No answer in time, by the provider's clock or by ours.
    Timeout,
    /// The prompt does not fit the model's window, or no allowance of this account will ever admit it.
    ContextTooLong,
    /// The provider refused the content.
    ContentFilter,
    /// The provider does not serve this model.
    ModelNotFound,
    /// The request is wrong in itself.
    BadRequest,
    /// None of the above could be told.
    Unknown,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller has to send something else.
    Client,
    /// The owner has to look after a credential or an account.
    Operator,
    /// The provider's own trouble.
    Upstream,
}

/// Whether, and where, the same request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// With the same credential.
    pub same_key: SameKey,
    /// With another credential of the same provider.
    pub other_key: bool,
    /// With another provider.
    pub other_provider: Elsewhere,
}

impl Again {
    /// Nothing helps: the answer goes to the client as it is.
    pub const NEVER: Self = Self { same_key: SameKey::Never, other_key: false, other_provider: Elsewhere::Never };

    /// Whether nothing helps.
    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }
}

/// Whether the same credential may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameKey {
    /// It would fail the same way.
    Never,
    /// After the provider's retry hint, if that is short.
    AfterHint,
    /// After a short back-off.
    AfterBackoff,
}

/// Which other providers may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// None.
    Never,
    /// Any candidate.
    Any,
    /// Only a candidate whose model has a larger context window.
    LargerWindow,
}

/// How a fault weighs in the breaker of the provider that gave it (rules Q7, T3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerWeight {
    /// Not at all: it says nothing about the provider's health.
    None,
    /// A little: the provider lives, but sends work away.
    Soft,
    /// In full.
    Full,
}

impl FaultClass {
    /// Every class, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::BadKey,
        Self::NoPermission,
        Self::NoCredit,
        Self::RateLimit,
        Self::Overloaded,
        Self::ServerError,
        Self::Timeout,
        Self::ContextTooLong,
        Self::ContentFilter,
        Self::ModelNotFound,
        Self::BadRequest,
        Self::Unknown,
    ];

    /// The stable name, for ledgers, logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadKey => "bad_key",
            Self::NoPermission => "no_permission",
            Self::NoCredit => "no_credit",
            Self::RateLimit => "rate_limit",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::ContextTooLong => "context_too_long",
            Self::ContentFilter => "content_filter",
            Self::ModelNotFound => "model_not_found",
            Self::BadRequest => "bad_request",
            Self::Unknown => "unknown",
        }
    }

    /// Who has to act.
    pub const fn whose(self) -> Whose {
        match self {
            Self::BadKey | Self::NoPermission | Self::NoCredit => Whose::Operator,
            Self::ContextTooLong | Self::ContentFilter | Self::ModelNotFound | Self::BadRequest => Whose::Client,
            Self::RateLimit | Self::Overloaded | Self::ServerError | Self::Timeout | Self::Unknown => Whose::Upstream,
        }
    }

    /// Whether and where to try again, as long as no answer byte reached the client. Whether the request may be *repeated* at all
    /// after it was sent (rule Q1) is the plan's decision, not this one's.
    pub fn again(self) -> Again {
        let again = |same_key, other_key, other_provider| Again { same_key, other_key, other_provider };
        match self {
            Self::BadKey | Self::NoPermission | Self::NoCredit => again(SameKey::Never, true, Elsewhere::Any),
            Self::RateLimit => again(SameKey::AfterHint, true, Elsewhere::Any),
            Self::Overloaded | Self::ServerError | Self::Timeout => again(SameKey::AfterBackoff, false, Elsewhere::Any),
            Self::ContextTooLong => again(SameKey::Never, false, Elsewhere::LargerWindow),
            Self::ModelNotFound | Self::Unknown => again(SameKey::Never, false, Elsewhere::Any),
            Self::ContentFilter | Self::BadRequest => Again::NEVER,
        }
    }

    /// How the fault weighs in the provider's breaker. The state of one tenant's key is never the provider's health (rule T3).
    pub const fn counts_against_breaker(self) -> BreakerWeight {
        match self {
            Self::Overloaded | Self::ServerError | Self::Timeout => BreakerWeight::Full,
            Self::RateLimit => BreakerWeight::Soft,
            _ => BreakerWeight::None,
        }
    }
}

/// One failure of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFault {
    /// What it was.
    pub class: FaultClass,
    /// The provider's machine-readable code, at most [`FAULT_CODE_BYTES_MAX`] bytes.
    pub code: Option<String>,
    /// The provider's sentence on one line, at most [`FAULT_MESSAGE_BYTES_MAX`] bytes. It may quote a part of the credential:
    /// it must pass the scrubber before it is shown or logged (rule R3).
    pub message: String,
    /// How long the provider asks to wait, at most [`crate::limits::RETRY_HINT_MAX`]; never zero.
    pub retry_after: Option<Duration>,
}

impl UpstreamFault {
    /// A failure that came without an answer (a refused connection, our own deadline).
    pub fn without_answer(class: FaultClass, message: &str) -> Self {
        Self { class, code: None, message: one_line(message, FAULT_MESSAGE_BYTES_MAX), retry_after: None }
    }
}

/// Reads a failed answer. `header` looks a response field up by its lower-case name; `body` may be cut, compressed, or no JSON at all.
///
/// Evidence is weighed from the most to the least specific: sentences that turn a code's meaning round, machine codes (the provider's
/// own first), sentences, then the status. For an error event inside a stream, pass the stream's own status and the event's data.
pub fn classify<'h>(
    book: &Book,
    status: u16,
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
    now: UnixMillis,
) -> UpstreamFault {
    let body = FaultBody::parse(body);
    fault_from(book, status, header, body, now)
}

/// Looks for a failure in an answer whose status says success; `None` when it is one. Only providers whose book says
/// [`FaultBook::in_success`] do this, so only their answers need to be read.
pub fn classify_success<'h>(
    book: &Book,
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
    now: UnixMillis,
) -> Option<UpstreamFault> {
    if !book.in_success {
        return None;
    }
    let body = FaultBody::parse_success(body)?;
    Some(fault_from(book, 200, header, body, now))
}

fn fault_from<'h>(
    book: &Book,
    status: u16,
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body: FaultBody,
    now: UnixMillis,
) -> UpstreamFault {
    // A status inside the body speaks only where the line above it said nothing (OpenRouter's 200 with `"code": 402`).
    let status = if status < 400 { body.status.unwrap_or(status) } else { status };
    let mut body = body;
    if let Some(code) = header(AWS_ERROR_TYPE).and_then(aws_error) {
        body.codes.insert(0, code.to_owned());
    }
    let class = fault_book::class_of(book, status, &body);
    UpstreamFault {
        class,
        code: body.codes.first().map(|code| one_line(code, FAULT_CODE_BYTES_MAX)),
        message: one_line(&body.message, FAULT_MESSAGE_BYTES_MAX),
        retry_after: retry_hint::read(header, body.retry_delay.as_deref(), class == FaultClass::RateLimit, now),
    }
}

/// Where AWS says what went wrong; the body holds a sentence only.
const AWS_ERROR_TYPE: &str = "x-amzn-errortype";

/// The name in `ThrottlingException:http://internal.amazon.com/coral/…`.
fn aws_error(value: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(value).ok()?.split(':').next()?.trim();
    Some(name).filter(|name| !name.is_empty())
}

/// Upstream text on one line of bounded length: control characters, line separators and bidi marks become spaces (rule R5).
fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for letter in text.trim().chars() {
        let shown = if letter.is_control() || is_invisible_order(letter) { ' ' } else { letter };
        if line.len() + shown.len_utf8() > bytes_max {
            break;
        }
        line.push(shown);
    }
    line
}

/// Marks that move or break a line without being control characters (Unicode TR 9, TR 14).
fn is_invisible_order(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(status: u16, body: &str) -> FaultClass {
        classify(&Book::PLAIN, status, &|_| None, body.as_bytes(), UnixMillis(0)).class
    }

    #[test]
    fn names_are_distinct_and_only_two_classes_end_at_once() {
        let mut names: Vec<_> = FaultClass::ALL.iter().map(|class| class.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12);
        let ends: Vec<_> = FaultClass::ALL.into_iter().filter(|class| class.again().is_never()).collect();
        assert_eq!(ends, [FaultClass::ContentFilter, FaultClass::BadRequest]);
    }

    #[test]
    fn a_key_fault_moves_to_another_key_and_leaves_the_breaker_alone() {
        for class in [FaultClass::BadKey, FaultClass::NoPermission, FaultClass::NoCredit] {
            assert!(class.again().other_key, "{class:?}");
            assert_eq!(class.again().same_key, SameKey::Never, "{class:?}");
            assert_eq!(class.counts_against_breaker(), BreakerWeight::None, "{class:?}");
        }
    }

    #[test]
    fn the_status_decides_when_the_body_says_nothing() {
        let cases = [
            (400, FaultClass::BadRequest),
            (401, FaultClass::BadKey),
            (402, FaultClass::NoCredit),
            (403, FaultClass::NoPermission),
            (404, FaultClass::ModelNotFound),
            (408, FaultClass::Timeout),
            (422, FaultClass::BadRequest),
            (429, FaultClass::RateLimit),
            (500, FaultClass::ServerError),
            (502, FaultClass::ServerError),
            (503, FaultClass::Overloaded),
            (504, FaultClass::Timeout),
            (529, FaultClass::Overloaded),
            (418, FaultClass::Unknown),
            (301, FaultClass::Unknown),
        ];
        for (status, expected) in cases {
            for body in ["", "<html>no</html>", "{}", "[]", "null", "{\"error\":"] {
                assert_eq!(class(status, body), expected, "{status} {body}");
            }
        }
    }

    #[test]
    fn waiting_never_helps_a_request_larger_than_the_allowance() {
        let body = r#"{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.",
            "type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
        assert_eq!(class(429, body), FaultClass::ContextTooLong);
        let throttled = r#"{"message":"Too many tokens, please wait before trying again."}"#;
        assert_eq!(class(429, throttled), FaultClass::RateLimit);
    }

    #[test]
    fn an_error_event_in_a_stream_is_read_by_its_codes() {
        let cases = [
            (r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, FaultClass::ServerError),
            (r#"{"error":{"message":"m","type":"engine_overloaded_error"}}"#, FaultClass::Overloaded),
            (r#"{"error":{"message":"m","code":429}}"#, FaultClass::RateLimit),
            (r#"{"error":{"message":"m"}}"#, FaultClass::Unknown),
        ];
        for (body, expected) in cases {
            assert_eq!(class(200, body), expected, "{body}");
        }
    }

    #[test]
    fn the_name_of_an_aws_error_stands_in_the_head_or_behind_a_hash() {
        let book = Book { codes: &[("ThrottlingException", FaultClass::RateLimit)], ..Book::PLAIN };
        let read = |header: Option<&'static str>, body: &str| {
            let look_up = |name: &str| header.filter(|_| name == "x-amzn-errortype").map(str::as_bytes);
            let fault = classify(&book, 400, &look_up, body.as_bytes(), UnixMillis(0));
            (fault.class, fault.code, fault.message)
        };
        let throttled = (FaultClass::RateLimit, Some("ThrottlingException".to_owned()), "slow".to_owned());
        assert_eq!(
            read(Some("ThrottlingException:http://internal.amazon.com/coral/"), r#"{"message":"slow"}"#),
            throttled
        );
        assert_eq!(read(Some("ThrottlingException"), r#"{"Message":"slow"}"#), throttled);
        let body = r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"slow"}"#;
        assert_eq!(read(None, body), throttled);
        assert_eq!(read(Some(":"), r#"{"message":"slow"}"#).0, FaultClass::BadRequest);
    }

    #[test]
    fn a_field_that_is_too_long_is_not_a_context_that_is_too_long() {
        let body = r#"{"error":{"message":"Invalid 'user': string too long. maximum context length is no part of this",
            "type":"invalid_request_error","param":"user","code":"string_above_max_length"}}"#;
        assert_eq!(class(400, body), FaultClass::BadRequest);
    }

    #[test]
    fn a_long_message_is_cut_at_a_letter_and_kept_on_one_line() {
        let body = format!(r#"{{"error":{{"message":"a\nb\u202ec{}"}}}}"#, "é".repeat(FAULT_MESSAGE_BYTES_MAX));
        let fault = classify(&Book::PLAIN, 500, &|_| None, body.as_bytes(), UnixMillis(0));
        assert!(fault.message.starts_with("a b cé"));
        assert!(fault.message.len() <= FAULT_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn success_is_read_only_where_the_book_says_so() {
        let body = br#"{"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#;
        assert_eq!(classify_success(&Book::PLAIN, &|_| None, body, UnixMillis(0)), None);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reader(status in 0u16..1000, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let fault = classify(&Book::PLAIN, status, &|_| None, &body, UnixMillis(0));
            prop_assert!(fault.message.len() <= FAULT_MESSAGE_BYTES_MAX);
        }
    }
}

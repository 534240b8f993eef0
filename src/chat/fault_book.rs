//! The evidence tables of the fault reader: which code, which sentence and which status mean what.
//!
//! The tables here hold for every provider; what one provider means otherwise stands in its own [`FaultBook`], in its row. All of it
//! is data, so that a provider's change is a line. Sentences are matched in lower case. Sources: the providers' error pages and
//! error bodies seen in the wild, read 2026-11-23.

use super::fault::FaultClass;
use super::fault_body::FaultBody;

/// How one provider words its failures where it differs from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultBook {
    /// Sentences (lower case, a part suffices) that decide before any code does; read below status 500 only.
    pub messages: &'static [(&'static str, FaultClass)],
    /// Machine codes or types of this provider, compared without regard to case.
    pub codes: &'static [(&'static str, FaultClass)],
    /// Statuses that mean something else here.
    pub statuses: &'static [(u16, FaultClass)],
    /// Whether an answer with status 200 may carry a failure.
    pub in_success: bool,
}

impl FaultBook {
    /// A provider that words its failures as most do.
    pub const PLAIN: Self = Self { messages: &[], codes: &[], statuses: &[], in_success: false };
}

/// The class that the evidence speaks for.
pub(super) fn class_of(book: &FaultBook, status: u16, body: &FaultBody) -> FaultClass {
    let message = body.message.to_ascii_lowercase();
    let own_sentence = || if status < 500 { sentence(book.messages, &message) } else { None };
    own_sentence()
        .or_else(|| too_large_for_account(status, &message))
        .or_else(|| body.codes.iter().find_map(|text| code(book.codes, text).or_else(|| code(CODES, text))))
        .or_else(|| by_sentence(status, &message))
        .or_else(|| if status < 400 { body.codes.iter().find_map(|text| code(CODES_IN_STREAM, text)) } else { None })
        .or_else(|| find(book.statuses, |known| *known == status))
        .unwrap_or_else(|| by_status(status))
}

/// A request larger than the account's tokens per minute calls itself a rate limit, but no wait lets it in (OpenAI 429, Groq 413).
fn too_large_for_account(status: u16, message: &str) -> Option<FaultClass> {
    let limited = matches!(status, 400 | 413 | 429);
    (limited && message.contains("request too large for")).then_some(FaultClass::ContextTooLong)
}

fn by_sentence(status: u16, message: &str) -> Option<FaultClass> {
    if status >= 500 {
        return sentence(SENTENCES_5XX, message);
    }
    // "Too many tokens" is a full window at 400 and a busy minute at 429.
    if !matches!(status, 401 | 402 | 429) && !message.contains("invalid 'user'") {
        let found = sentence(SENTENCES_CONTEXT, message);
        if found.is_some() {
            return found;
        }
    }
    if matches!(status, 400 | 401 | 403) {
        let found = sentence(SENTENCES_KEY, message);
        if found.is_some() {
            return found;
        }
    }
    sentence(SENTENCES, message)
}

fn by_status(status: u16) -> FaultClass {
    match status {
        401 => FaultClass::BadKey,
        402 => FaultClass::NoCredit,
        403 => FaultClass::NoPermission,
        404 | 410 => FaultClass::ModelNotFound,
        408 | 504 | 524 => FaultClass::Timeout,
        400 | 405 | 406 | 409 | 411 | 413 | 415 | 422 => FaultClass::BadRequest,
        429 => FaultClass::RateLimit,
        503 | 529 => FaultClass::Overloaded,
        500..=599 => FaultClass::ServerError,
        _ => FaultClass::Unknown,
    }
}

fn find<K>(table: &[(K, FaultClass)], matches: impl Fn(&K) -> bool) -> Option<FaultClass> {
    table.iter().find(|(known, _)| matches(known)).map(|(_, class)| *class)
}

fn code(table: &[(&str, FaultClass)], text: &str) -> Option<FaultClass> {
    find(table, |known| known.eq_ignore_ascii_case(text))
}

fn sentence(table: &[(&str, FaultClass)], message: &str) -> Option<FaultClass> {
    find(table, |part| message.contains(part))
}

/// Codes and types that mean the same wherever they occur. `invalid_request_error` is not among them: it is said of bad keys, empty
/// accounts and full windows alike.
const CODES: &[(&str, FaultClass)] = &[
    ("invalid_api_key", FaultClass::BadKey),
    ("api_key_invalid", FaultClass::BadKey),
    ("InvalidApiKey", FaultClass::BadKey),
    ("authentication_error", FaultClass::BadKey),
    ("invalid_authentication_error", FaultClass::BadKey),
    ("incorrect_api_key_error", FaultClass::BadKey),
    ("UNAUTHENTICATED", FaultClass::BadKey),
    ("permission_denied", FaultClass::NoPermission),
    ("permission_error", FaultClass::NoPermission),
    ("permission_denied_error", FaultClass::NoPermission),
    ("unsupported_country_region_territory", FaultClass::NoPermission),
    ("AccessDenied", FaultClass::NoPermission),
    ("access_denied", FaultClass::NoPermission),
    ("insufficient_quota", FaultClass::NoCredit),
    ("billing_error", FaultClass::NoCredit),
    ("billing_hard_limit_reached", FaultClass::NoCredit),
    ("enforced_spend_limit_reached", FaultClass::NoCredit),
    ("exceeded_current_quota_error", FaultClass::NoCredit),
    ("insufficient_balance", FaultClass::NoCredit),
    ("rate_limit_exceeded", FaultClass::RateLimit),
    ("rate_limit_error", FaultClass::RateLimit),
    ("rate_limited", FaultClass::RateLimit),
    ("rate_limit_reached_error", FaultClass::RateLimit),
    ("RESOURCE_EXHAUSTED", FaultClass::RateLimit),
    ("overloaded_error", FaultClass::Overloaded),
    ("engine_overloaded", FaultClass::Overloaded),
    ("engine_overloaded_error", FaultClass::Overloaded),
    ("slow_down", FaultClass::Overloaded),
    ("UNAVAILABLE", FaultClass::Overloaded),
    ("timeout_error", FaultClass::Timeout),
    ("DEADLINE_EXCEEDED", FaultClass::Timeout),
    ("context_length_exceeded", FaultClass::ContextTooLong),
    ("content_filter", FaultClass::ContentFilter),
    ("content_policy_violation", FaultClass::ContentFilter),
    ("data_inspection_failed", FaultClass::ContentFilter),
    ("model_not_found", FaultClass::ModelNotFound),
    ("DeploymentNotFound", FaultClass::ModelNotFound),
    ("string_above_max_length", FaultClass::BadRequest),
    ("unknown_parameter", FaultClass::BadRequest),
    ("unsupported_parameter", FaultClass::BadRequest),
    ("unsupported_value", FaultClass::BadRequest),
    ("invalid_value", FaultClass::BadRequest),
];

/// Codes that are believed only where no failing status says more, inside a stream: Ollama calls a missing model an `api_error`, and
/// OpenAI an overload a `server_error`.
const CODES_IN_STREAM: &[(&str, FaultClass)] = &[
    ("server_error", FaultClass::ServerError),
    ("api_error", FaultClass::ServerError),
    ("internal_error", FaultClass::ServerError),
];

/// A prompt that does not fit, in the words of many providers.
const SENTENCES_CONTEXT: &[(&str, FaultClass)] = &[
    ("context_length_exceeded", FaultClass::ContextTooLong),
    ("maximum context length is", FaultClass::ContextTooLong),
    ("maximum prompt length is", FaultClass::ContextTooLong),
    ("too large for model with", FaultClass::ContextTooLong),
    ("prompt is too long", FaultClass::ContextTooLong),
    ("exceed context limit", FaultClass::ContextTooLong),
    ("input is too long", FaultClass::ContextTooLong),
    ("too many tokens", FaultClass::ContextTooLong),
    ("exceeded model token limit", FaultClass::ContextTooLong),
    ("input token length too long", FaultClass::ContextTooLong),
    ("range of input length should be", FaultClass::ContextTooLong),
    ("maximum input length is", FaultClass::ContextTooLong),
    ("exceeds the maximum number of tokens allowed", FaultClass::ContextTooLong),
    ("input tokens exceed the configured limit", FaultClass::ContextTooLong),
];

/// A key that is not known; believed at 400, 401 and 403 only.
const SENTENCES_KEY: &[(&str, FaultClass)] = &[
    ("incorrect api key", FaultClass::BadKey),
    ("invalid api key", FaultClass::BadKey),
    ("api key not valid", FaultClass::BadKey),
    ("invalid x-api-key", FaultClass::BadKey),
    ("invalid subscription key", FaultClass::BadKey),
];

/// Other sentences that mean the same at any status below 500.
const SENTENCES: &[(&str, FaultClass)] = &[
    ("insufficient balance", FaultClass::NoCredit),
    ("credit balance is too low", FaultClass::NoCredit),
    ("insufficient credits", FaultClass::NoCredit),
    ("exceeded your current quota", FaultClass::NoCredit),
    ("spend limit", FaultClass::NoCredit),
    ("content filtering policy", FaultClass::ContentFilter),
    ("content management policy", FaultClass::ContentFilter),
    ("model not exist", FaultClass::ModelNotFound),
    ("model is overloaded", FaultClass::Overloaded),
];

/// Sentences that mean the same at 500 and above.
const SENTENCES_5XX: &[(&str, FaultClass)] = &[
    ("overloaded", FaultClass::Overloaded),
    ("capacity exceeded", FaultClass::Overloaded),
    ("at capacity", FaultClass::Overloaded),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_lower_case_and_codes_are_unique() {
        for (part, _) in SENTENCES_CONTEXT.iter().chain(SENTENCES_KEY).chain(SENTENCES).chain(SENTENCES_5XX) {
            assert_eq!(*part, part.to_ascii_lowercase());
        }
        let mut codes: Vec<_> = CODES.iter().map(|(code, _)| code.to_ascii_lowercase()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }

    #[test]
    fn a_full_window_is_read_in_the_words_of_every_provider() {
        let of = |status, code: &str, message: &str| {
            let body = FaultBody { codes: vec![code.to_owned()], message: message.to_owned(), ..FaultBody::default() };
            class_of(&FaultBook::PLAIN, status, &body)
        };
        for message in [
            "This model's Maximum context length is 8192 tokens",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 198000 + 8000 > 200000",
            "Input is too long for requested model.",
            "too many tokens: 9000",
            "Invalid request: Your request exceeded model token limit: 8192",
            "Input token length too long",
            "Range of input length should be [1, 30720]",
            "maximum input length is 8192",
            "The input token count exceeds the maximum number of tokens allowed (1048576).",
            "Input tokens exceed the configured limit of 272000 tokens.",
            "context_length_exceeded",
        ] {
            assert_eq!(of(400, "invalid_request_error", message), FaultClass::ContextTooLong, "{message}");
        }
        assert_eq!(of(400, "context_length_exceeded", ""), FaultClass::ContextTooLong);
        let too_long = "Invalid 'user': string too long, maximum context length is of no account here";
        assert_eq!(of(400, "invalid_request_error", too_long), FaultClass::BadRequest);
        assert_eq!(of(400, "string_above_max_length", "prompt is too long"), FaultClass::BadRequest);
    }

    #[test]
    fn the_book_of_a_provider_speaks_first() {
        let book = FaultBook {
            messages: &[("balance", FaultClass::NoCredit)],
            codes: &[("rate_limit_exceeded", FaultClass::Overloaded)],
            statuses: &[(403, FaultClass::ContextTooLong)],
            in_success: false,
        };
        let with = |codes: &[&str], message: &str| FaultBody {
            codes: codes.iter().map(|code| code.to_string()).collect(),
            message: message.to_owned(),
            ..FaultBody::default()
        };
        assert_eq!(class_of(&book, 429, &with(&["rate_limit_exceeded"], "")), FaultClass::Overloaded);
        assert_eq!(class_of(&book, 403, &with(&["permission_denied"], "no Balance")), FaultClass::NoCredit);
        assert_eq!(class_of(&book, 403, &with(&[], "")), FaultClass::ContextTooLong);
        assert_eq!(class_of(&book, 500, &with(&[], "balance")), FaultClass::ServerError);
    }
}

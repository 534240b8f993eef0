//! The built-in providers, one row each.
//!
//! A row is data read from the provider's own pages; `docs` and `read_on` say which and when. Lookups by name, by environment
//! variable and by the shape of a credential all come from the rows. The sweep in `tests/providers.rs` checks every one of them.

use super::quirks::{Quirks, Rewrite, Rule, Split, StreamUsage, UnknownMembers};
use super::{Auth, Dialect};
use crate::chat::fault::{FaultBook, FaultClass};
use crate::dialects::gemini;
use crate::metering::usage::Accounting;

/// What is known of one provider.
#[derive(Debug)]
pub struct Row {
    /// Canonical name.
    pub id: &'static str,
    /// Other names that mean the same provider.
    pub aliases: &'static [&'static str],
    /// Environment variables that may hold its credential, the first set one wins.
    pub env_keys: &'static [&'static str],
    /// What stands before the dialect's own paths; `None` where it depends on the owner's account.
    pub base_url: Option<&'static str>,
    /// Other hosts of the same provider (regions, older names), for recognising an address.
    pub hosts: &'static [&'static str],
    /// Where the credential goes.
    pub auth: Auth,
    /// Whether it works without a credential (a server on the owner's own machine).
    pub keyless: bool,
    /// How its credentials begin, where that tells it apart; for a soft warning, never a refusal.
    pub key_prefixes: &'static [&'static str],
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// Where it departs from the plain shape.
    pub quirks: Quirks,
    /// How it words its failures.
    pub faults: FaultBook,
    /// Path of its model list, after the base URL.
    pub models_path: Option<&'static str>,
    /// The name under which the catalogue lists its models; `None` where we list none.
    pub price_source: Option<&'static str>,
    /// Its documentation.
    pub docs: &'static str,
    /// The day that was read, `YYYY-MM-DD`.
    pub read_on: &'static str,
}

/// The row of a name, canonical or alias. Names are lower case.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == name || row.aliases.contains(&name))
}

/// The other provider whose credentials begin the way `key_text` does, when `own`'s do not: reason for a warning when a key is
/// stored, never for a refusal, since shapes change without notice.
pub fn looks_like_other_provider(own: &str, key_text: &str) -> Option<&'static str> {
    let matches = |row: &'static Row| {
        let prefixes = row.key_prefixes.iter().filter(|prefix| key_text.starts_with(**prefix));
        prefixes.map(move |prefix| (prefix.len(), row)).max_by_key(|(length, _)| *length)
    };
    // The longest prefix speaks: `sk-or-v1-` is OpenRouter's although `sk-` begins many.
    let (_, likely) = ROWS.iter().filter_map(matches).max_by_key(|(length, _)| *length)?;
    let own_row = find(own)?;
    let served_by_split = own_row.quirks.splits.iter().any(|split| split.provider == likely.id);
    (likely.id != own_row.id && !served_by_split).then_some(likely.id)
}

/// What most rows share: an OpenAI-shaped service behind a bearer credential.
const OPENAI_SHAPED: Row = Row {
    id: "",
    aliases: &[],
    env_keys: &[],
    base_url: None,
    hosts: &[],
    auth: Auth::Bearer,
    keyless: false,
    key_prefixes: &[],
    dialect: Dialect::OpenAi,
    quirks: Quirks::PLAIN,
    faults: FaultBook::PLAIN,
    models_path: Some("/models"),
    price_source: None,
    docs: "",
    read_on: "2026-11-23",
};

/// Providers that know `max_tokens` only.
const OLD_OUTPUT_LIMIT: Rule = Rule::always(Rewrite::Rename("max_completion_tokens", "max_tokens"));

/// Models of xAI that refuse what they cannot honour.
const GROK_STRICT: &[&str] = &["grok-4", "grok-code"];

/// Models of Kimi whose sampling is fixed.
const KIMI_FIXED: &[&str] = &["kimi-k2.5", "kimi-k2.6", "kimi-k2.7", "kimi-k3"];

/// Every built-in provider.
pub static ROWS: &[Row] = &[
    Row {
        id: "openai",
        aliases: &["oai"],
        env_keys: &["OPENAI_API_KEY"],
        base_url: Some("https://api.openai.com/v1"),
        key_prefixes: &["sk-proj-", "sk-svcacct-", "sk-admin-"],
        quirks: Quirks {
            // Reasoning models refuse the older name; the others take both, and old servers behind this name only the older.
            rules: &[Rule::of(
                &["o1", "o3", "o4", "gpt-5", "gpt-6", "chat-latest"],
                Rewrite::Rename("max_tokens", "max_completion_tokens"),
            )],
            unknown_members: UnknownMembers::Refused,
            responses: true,
            // The field its SDKs are built to send with every repeat of a POST.
            idempotency_field: Some("idempotency-key"),
            ..Quirks::PLAIN
        },
        price_source: Some("openai"),
        docs: "https://platform.openai.com/docs/api-reference/chat",
        ..OPENAI_SHAPED
    },
    Row {
        id: "xai",
        aliases: &["grok", "x-ai"],
        env_keys: &["XAI_API_KEY"],
        base_url: Some("https://api.x.ai/v1"),
        key_prefixes: &["xai-"],
        quirks: Quirks {
            rules: &[
                Rule::of(GROK_STRICT, Rewrite::Drop("presence_penalty")),
                Rule::of(GROK_STRICT, Rewrite::Drop("frequency_penalty")),
                Rule::of(GROK_STRICT, Rewrite::Drop("stop")),
            ],
            stream_usage: StreamUsage::Unasked,
            accounting: Accounting::Xai,
            responses: true,
            ..Quirks::PLAIN
        },
        faults: FaultBook {
            // A 403 is a missing permission or an empty account; the sentence tells.
            messages: &[("credits", FaultClass::NoCredit), ("spending limit", FaultClass::NoCredit)],
            ..FaultBook::PLAIN
        },
        price_source: Some("xai"),
        docs: "https://docs.x.ai/docs/api-reference",
        ..OPENAI_SHAPED
    },
    Row {
        id: "mistral",
        aliases: &["mistralai"],
        env_keys: &["MISTRAL_API_KEY"],
        base_url: Some("https://api.mistral.ai/v1"),
        hosts: &["api.eu.mistral.ai", "api.us.mistral.ai"],
        quirks: Quirks {
            rules: &[
                OLD_OUTPUT_LIMIT,
                Rule::always(Rewrite::Rename("seed", "random_seed")),
                Rule::always(Rewrite::Drop("user")),
                Rule::always(Rewrite::Drop("store")),
                Rule::always(Rewrite::Drop("stream_options")),
                Rule::always(Rewrite::Drop("logit_bias")),
                Rule::always(Rewrite::Drop("safety_identifier")),
                Rule::always(Rewrite::Drop("verbosity")),
                Rule::always(Rewrite::Drop("prompt_cache_options")),
                Rule::always(Rewrite::Drop("prompt_cache_retention")),
            ],
            unknown_members: UnknownMembers::Refused,
            stream_usage: StreamUsage::Unasked,
            ..Quirks::PLAIN
        },
        faults: FaultBook {
            // Capacity calls itself an invalid request.
            messages: &[("service tier capacity exceeded", FaultClass::Overloaded)],
            codes: &[("1300", FaultClass::RateLimit), ("invalid_model", FaultClass::ModelNotFound)],
            ..FaultBook::PLAIN
        },
        price_source: Some("mistral"),
        docs: "https://docs.mistral.ai/api",
        ..OPENAI_SHAPED
    },
    Row {
        id: "deepseek",
        env_keys: &["DEEPSEEK_API_KEY"],
        base_url: Some("https://api.deepseek.com"),
        quirks: Quirks {
            rules: &[OLD_OUTPUT_LIMIT],
            keep_alive_comments: true,
            leading_blank_lines: true,
            ..Quirks::PLAIN
        },
        price_source: Some("deepseek"),
        docs: "https://api-docs.deepseek.com/api/create-chat-completion",
        ..OPENAI_SHAPED
    },
    Row {
        id: "kimi",
        aliases: &["moonshot", "moonshotai"],
        env_keys: &["KIMI_API_KEY", "MOONSHOT_API_KEY"],
        base_url: Some("https://api.moonshot.ai/v1"),
        hosts: &["api.moonshot.cn"],
        quirks: Quirks {
            rules: &[
                Rule::of(KIMI_FIXED, Rewrite::Drop("temperature")),
                Rule::of(KIMI_FIXED, Rewrite::Drop("top_p")),
                Rule::of(KIMI_FIXED, Rewrite::Drop("n")),
                Rule::of(KIMI_FIXED, Rewrite::Drop("presence_penalty")),
                Rule::of(KIMI_FIXED, Rewrite::Drop("frequency_penalty")),
            ],
            unknown_members: UnknownMembers::Ignored,
            responses: true,
            ..Quirks::PLAIN
        },
        faults: FaultBook {
            // An empty account is a 403 at times.
            messages: &[("balance", FaultClass::NoCredit)],
            codes: &[
                ("unexpected_output", FaultClass::ServerError),
                ("resource_not_found_error", FaultClass::ModelNotFound),
            ],
            ..FaultBook::PLAIN
        },
        price_source: Some("kimi"),
        docs: "https://platform.moonshot.ai/docs/api/chat",
        ..OPENAI_SHAPED
    },
    Row {
        id: "qwen",
        aliases: &["dashscope", "alibaba", "tongyi"],
        env_keys: &["QWEN_API_KEY", "DASHSCOPE_API_KEY"],
        base_url: Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        hosts: &["dashscope.aliyuncs.com", "dashscope-us.aliyuncs.com"],
        key_prefixes: &["sk-sp-"],
        quirks: Quirks { rules: &[OLD_OUTPUT_LIMIT], responses: true, ..Quirks::PLAIN },
        faults: FaultBook {
            // The same code is said of a busy minute and of an empty account.
            messages: &[
                ("free allocated quota exceeded", FaultClass::NoCredit),
                ("allocated quota exceeded", FaultClass::RateLimit),
            ],
            codes: &[
                ("Arrearage", FaultClass::NoCredit),
                ("Throttling.AllocationQuota", FaultClass::NoCredit),
                ("AllocationQuota.FreeTierOnly", FaultClass::NoCredit),
                ("Throttling", FaultClass::RateLimit),
                ("Throttling.RateQuota", FaultClass::RateLimit),
                ("Throttling.BurstRate", FaultClass::RateLimit),
                ("DataInspectionFailed", FaultClass::ContentFilter),
                ("Model.AccessDenied", FaultClass::NoPermission),
                ("ModelNotFound", FaultClass::ModelNotFound),
                ("InternalError", FaultClass::ServerError),
                ("InternalError.Algo", FaultClass::ServerError),
                ("InternalError.Timeout", FaultClass::Timeout),
                ("ModelUnavailable", FaultClass::Overloaded),
                ("ServiceUnavailable", FaultClass::Overloaded),
            ],
            ..FaultBook::PLAIN
        },
        price_source: Some("qwen"),
        docs: "https://www.alibabacloud.com/help/en/model-studio/error-code",
        ..OPENAI_SHAPED
    },
    Row {
        id: "zai",
        aliases: &["z-ai", "z.ai", "glm", "zhipu"],
        env_keys: &["ZAI_API_KEY"],
        base_url: Some("https://api.z.ai/api/paas/v4"),
        hosts: &["open.bigmodel.cn"],
        quirks: Quirks {
            rules: &[OLD_OUTPUT_LIMIT],
            // Some know MiniMax's models under this name.
            splits: &[Split { prefix: "MiniMax", provider: "minimax" }, Split { prefix: "abab", provider: "minimax" }],
            ..Quirks::PLAIN
        },
        faults: FaultBook {
            messages: &[("account anomaly", FaultClass::NoPermission)],
            codes: ZAI_CODES,
            statuses: &[(434, FaultClass::NoPermission), (435, FaultClass::BadRequest)],
            ..FaultBook::PLAIN
        },
        price_source: Some("zai"),
        docs: "https://docs.z.ai/api-reference/api-code",
        ..OPENAI_SHAPED
    },
    Row {
        id: "minimax",
        aliases: &["mini-max"],
        env_keys: &["MINIMAX_API_KEY"],
        base_url: Some("https://api.minimax.io/v1"),
        hosts: &["api.minimax.io", "api.minimaxi.com"],
        key_prefixes: &["sk-api-", "sk-cp-"],
        quirks: Quirks { unknown_members: UnknownMembers::Ignored, responses: true, ..Quirks::PLAIN },
        faults: FaultBook {
            messages: &[("context window exceeds", FaultClass::ContextTooLong)],
            codes: MINIMAX_CODES,
            in_success: true,
            ..FaultBook::PLAIN
        },
        price_source: Some("minimax"),
        docs: "https://platform.minimax.io/docs/api-reference/errorcode",
        ..OPENAI_SHAPED
    },
    Row {
        id: "groq",
        env_keys: &["GROQ_API_KEY"],
        base_url: Some("https://api.groq.com/openai/v1"),
        key_prefixes: &["gsk_"],
        quirks: Quirks {
            rules: &[
                Rule::always(Rewrite::Drop("logprobs")),
                Rule::always(Rewrite::Drop("top_logprobs")),
                Rule::always(Rewrite::Drop("logit_bias")),
            ],
            unknown_members: UnknownMembers::Refused,
            ..Quirks::PLAIN
        },
        // Flex capacity is exhausted.
        faults: FaultBook { statuses: &[(498, FaultClass::Overloaded)], ..FaultBook::PLAIN },
        price_source: Some("groq"),
        docs: "https://console.groq.com/docs/errors",
        ..OPENAI_SHAPED
    },
    Row {
        id: "together",
        aliases: &["together_ai", "togetherai"],
        env_keys: &["TOGETHER_API_KEY"],
        base_url: Some("https://api.together.ai/v1"),
        hosts: &["api.together.xyz"],
        key_prefixes: &["tgp_v1_"],
        quirks: Quirks { rules: &[OLD_OUTPUT_LIMIT], ..Quirks::PLAIN },
        // Input and output tokens together exceed the window.
        faults: FaultBook { statuses: &[(403, FaultClass::ContextTooLong)], ..FaultBook::PLAIN },
        price_source: Some("together"),
        docs: "https://docs.together.ai/docs/error-codes",
        ..OPENAI_SHAPED
    },
    Row {
        id: "openrouter",
        aliases: &["open-router"],
        env_keys: &["OPENROUTER_API_KEY"],
        base_url: Some("https://openrouter.ai/api/v1"),
        key_prefixes: &["sk-or-v1-"],
        quirks: Quirks { keep_alive_comments: true, ..Quirks::PLAIN },
        faults: FaultBook {
            messages: &[("requires moderation", FaultClass::ContentFilter), ("was flagged", FaultClass::ContentFilter)],
            in_success: true,
            ..FaultBook::PLAIN
        },
        docs: "https://openrouter.ai/docs/api-reference/errors",
        ..OPENAI_SHAPED
    },
    Row {
        id: "fireworks",
        aliases: &["fireworks_ai", "fireworks-ai"],
        env_keys: &["FIREWORKS_API_KEY"],
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        key_prefixes: &["fw_"],
        // An account that owes money is a failed precondition.
        faults: FaultBook { messages: &[("spending limit", FaultClass::NoCredit)], ..FaultBook::PLAIN },
        docs: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
        ..OPENAI_SHAPED
    },
    Row {
        id: "perplexity",
        aliases: &["pplx"],
        env_keys: &["PERPLEXITY_API_KEY"],
        base_url: Some("https://api.perplexity.ai"),
        key_prefixes: &["pplx-"],
        quirks: Quirks { rules: &[OLD_OUTPUT_LIMIT], stream_usage: StreamUsage::Unasked, ..Quirks::PLAIN },
        models_path: None,
        docs: "https://docs.perplexity.ai/api-reference/chat-completions-post",
        ..OPENAI_SHAPED
    },
    Row {
        id: "ollama",
        base_url: Some("http://127.0.0.1:11434/v1"),
        keyless: true,
        quirks: Quirks { rules: &[OLD_OUTPUT_LIMIT], unknown_members: UnknownMembers::Ignored, ..Quirks::PLAIN },
        docs: "https://docs.ollama.com/api/openai-compatibility",
        ..OPENAI_SHAPED
    },
    Row {
        id: "vllm",
        base_url: Some("http://127.0.0.1:8000/v1"),
        keyless: true,
        quirks: Quirks { unknown_members: UnknownMembers::Ignored, ..Quirks::PLAIN },
        docs: "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        ..OPENAI_SHAPED
    },
    Row {
        id: "anthropic",
        aliases: &["claude"],
        env_keys: &["ANTHROPIC_API_KEY"],
        base_url: Some("https://api.anthropic.com"),
        auth: Auth::XApiKey,
        key_prefixes: &["sk-ant-"],
        dialect: Dialect::Anthropic,
        quirks: Quirks {
            unknown_members: UnknownMembers::Refused,
            stream_usage: StreamUsage::Unasked,
            ..Quirks::PLAIN
        },
        faults: FaultBook {
            // A limit that the customer set arrives as a 400.
            messages: &[("usage limits", FaultClass::NoCredit)],
            ..FaultBook::PLAIN
        },
        models_path: Some("/v1/models"),
        price_source: Some("anthropic"),
        docs: "https://platform.claude.com/docs/en/api/errors",
        ..OPENAI_SHAPED
    },
    Row {
        id: "google",
        aliases: &["gemini", "google-gemini", "googleai"],
        env_keys: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        base_url: Some("https://generativelanguage.googleapis.com"),
        auth: Auth::XGoogApiKey,
        key_prefixes: &["AIza", "AQ."],
        dialect: Dialect::Gemini,
        quirks: Quirks {
            unknown_members: UnknownMembers::Refused,
            stream_usage: StreamUsage::Unasked,
            ..Quirks::PLAIN
        },
        faults: gemini::FAULTS,
        models_path: Some("/v1beta/models"),
        price_source: Some("google"),
        docs: "https://ai.google.dev/gemini-api/docs/troubleshooting",
        ..OPENAI_SHAPED
    },
    Row {
        id: "cohere",
        env_keys: &["COHERE_API_KEY"],
        base_url: Some("https://api.cohere.com"),
        dialect: Dialect::Cohere,
        faults: FaultBook {
            // A trial's month is used up: seconds do not help, as with an empty account.
            messages: &[("api calls / month", FaultClass::NoCredit)],
            // The credential is not valid; the call was given up before it was answered.
            statuses: &[(498, FaultClass::BadKey), (499, FaultClass::Timeout)],
            ..FaultBook::PLAIN
        },
        models_path: Some("/v1/models"),
        price_source: Some("cohere"),
        docs: "https://docs.cohere.com/reference/errors",
        ..OPENAI_SHAPED
    },
    Row {
        id: "azure",
        aliases: &["azure-openai"],
        env_keys: &["AZURE_OPENAI_API_KEY"],
        auth: Auth::ApiKey,
        dialect: Dialect::Azure,
        quirks: Quirks { unknown_members: UnknownMembers::Refused, ..Quirks::PLAIN },
        faults: FaultBook {
            messages: &[("no capacity", FaultClass::Overloaded)],
            codes: &[
                ("ResponsibleAIPolicyViolation", FaultClass::ContentFilter),
                ("PermissionDenied", FaultClass::NoPermission),
                ("ResourceNotFound", FaultClass::ModelNotFound),
                ("Timeout", FaultClass::Timeout),
            ],
            ..FaultBook::PLAIN
        },
        docs: "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference",
        ..OPENAI_SHAPED
    },
    Row {
        id: "bedrock",
        aliases: &["aws"],
        env_keys: &["AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"],
        key_prefixes: &["ABSK", "AKIA", "ASIA"],
        dialect: Dialect::Bedrock,
        faults: FaultBook {
            messages: &[
                ("api key is valid", FaultClass::BadKey),
                ("model identifier is invalid", FaultClass::ModelNotFound),
                ("on-demand throughput", FaultClass::ModelNotFound),
                ("too many tokens per day", FaultClass::NoCredit),
            ],
            codes: AWS_CODES,
            // A model that failed is AWS's "dependency".
            statuses: &[(424, FaultClass::ServerError)],
            ..FaultBook::PLAIN
        },
        models_path: None,
        docs: "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        ..OPENAI_SHAPED
    },
    Row {
        id: "vertex",
        aliases: &["vertex_ai", "vertex-ai"],
        env_keys: &["GOOGLE_APPLICATION_CREDENTIALS"],
        key_prefixes: &["ya29."],
        dialect: Dialect::Vertex,
        faults: FaultBook { codes: GOOGLE_CLOUD_CODES, ..FaultBook::PLAIN },
        models_path: None,
        docs: "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
        ..OPENAI_SHAPED
    },
];

/// Names of AWS's errors, from the field `x-amzn-errortype` or a stream's exception. `ValidationException` is not among them: it is said of
/// full windows, unknown models and wrong requests alike, and the sentence tells.
const AWS_CODES: &[(&str, FaultClass)] = &[
    ("UnrecognizedClientException", FaultClass::BadKey),
    ("InvalidSignatureException", FaultClass::BadKey),
    ("IncompleteSignatureException", FaultClass::BadKey),
    ("MissingAuthenticationTokenException", FaultClass::BadKey),
    ("ExpiredTokenException", FaultClass::BadKey),
    ("InvalidClientTokenId", FaultClass::BadKey),
    ("AccessDeniedException", FaultClass::NoPermission),
    ("OptInRequired", FaultClass::NoPermission),
    ("ResourceNotFoundException", FaultClass::ModelNotFound),
    ("ThrottlingException", FaultClass::RateLimit),
    ("TooManyRequestsException", FaultClass::RateLimit),
    ("ServiceQuotaExceededException", FaultClass::RateLimit),
    ("ModelNotReadyException", FaultClass::Overloaded),
    ("ServiceUnavailableException", FaultClass::Overloaded),
    ("ModelTimeoutException", FaultClass::Timeout),
    ("ModelErrorException", FaultClass::ServerError),
    ("ModelStreamErrorException", FaultClass::ServerError),
    ("InternalServerException", FaultClass::ServerError),
];

/// Reasons and statuses of Google Cloud that say more than the HTTP status (google.rpc.ErrorInfo, google.rpc.Code).
const GOOGLE_CLOUD_CODES: &[(&str, FaultClass)] = &[
    ("ACCESS_TOKEN_EXPIRED", FaultClass::BadKey),
    ("ACCESS_TOKEN_TYPE_UNSUPPORTED", FaultClass::BadKey),
    ("CREDENTIALS_MISSING", FaultClass::BadKey),
    ("ACCOUNT_STATE_INVALID", FaultClass::BadKey),
    ("BILLING_DISABLED", FaultClass::NoCredit),
    ("SERVICE_DISABLED", FaultClass::NoPermission),
    ("CONSUMER_INVALID", FaultClass::NoPermission),
    ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", FaultClass::NoPermission),
    ("INTERNAL", FaultClass::ServerError),
];

/// Z.ai's codes, sent as strings of digits with any status (its page on API codes).
const ZAI_CODES: &[(&str, FaultClass)] = &[
    ("1000", FaultClass::BadKey),
    ("1001", FaultClass::BadKey),
    ("1002", FaultClass::BadKey),
    ("1003", FaultClass::BadKey),
    ("1004", FaultClass::BadKey),
    ("1110", FaultClass::NoPermission),
    ("1111", FaultClass::NoPermission),
    ("1112", FaultClass::NoPermission),
    ("1113", FaultClass::NoCredit),
    ("1120", FaultClass::NoPermission),
    ("1121", FaultClass::NoPermission),
    ("1210", FaultClass::BadRequest),
    ("1211", FaultClass::ModelNotFound),
    ("1212", FaultClass::BadRequest),
    ("1213", FaultClass::BadRequest),
    ("1214", FaultClass::BadRequest),
    ("1215", FaultClass::BadRequest),
    ("1220", FaultClass::NoPermission),
    ("1221", FaultClass::NoPermission),
    ("1222", FaultClass::NoPermission),
    ("1230", FaultClass::ServerError),
    ("1234", FaultClass::ServerError),
    ("1261", FaultClass::ContextTooLong),
    ("1301", FaultClass::ContentFilter),
    ("1302", FaultClass::RateLimit),
    ("1303", FaultClass::RateLimit),
    // A day's or a plan's allowance is used up: seconds do not help, as with an empty account.
    ("1304", FaultClass::NoCredit),
    ("1305", FaultClass::RateLimit),
    ("1308", FaultClass::NoCredit),
    ("1309", FaultClass::NoCredit),
    ("1310", FaultClass::NoCredit),
    ("1311", FaultClass::NoPermission),
    ("1312", FaultClass::Overloaded),
    ("1313", FaultClass::NoPermission),
];

/// MiniMax's `base_resp.status_code` (its page on error codes); what is not listed stays unknown.
const MINIMAX_CODES: &[(&str, FaultClass)] = &[
    ("1000", FaultClass::Unknown),
    ("1001", FaultClass::Timeout),
    ("1002", FaultClass::RateLimit),
    ("1004", FaultClass::BadKey),
    ("1008", FaultClass::NoCredit),
    ("1024", FaultClass::ServerError),
    ("1026", FaultClass::ContentFilter),
    ("1027", FaultClass::ContentFilter),
    ("1033", FaultClass::ServerError),
    ("1039", FaultClass::RateLimit),
    ("1041", FaultClass::RateLimit),
    ("1042", FaultClass::BadRequest),
    ("2013", FaultClass::BadRequest),
    ("2049", FaultClass::BadKey),
    ("2056", FaultClass::NoCredit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_lead_to_one_row() {
        for (name, id) in
            [("gemini", "google"), ("moonshot", "kimi"), ("alibaba", "qwen"), ("glm", "zai"), ("openai", "openai")]
        {
            assert_eq!(find(name).map(|row| row.id), Some(id), "{name}");
        }
        assert!(find("OpenAI").is_none() && find("").is_none());
    }

    #[test]
    fn a_misplaced_key_is_noticed_and_an_ambiguous_one_is_not() {
        let cases = [
            ("openai", "sk-ant-api03-x", Some("anthropic")),
            ("mistral", "sk-or-v1-x", Some("openrouter")),
            ("xai", "gsk_x", Some("groq")),
            ("google", "AIzaSyx", None),
            ("deepseek", "sk-0123456789abcdef", None),
            ("openai", "sk-0123456789abcdef", None),
            ("zai", "sk-api-x", None),
            ("local-vllm", "sk-ant-api03-x", None),
        ];
        for (own, key_text, other) in cases {
            assert_eq!(looks_like_other_provider(own, key_text), other, "{own} {key_text}");
        }
    }
}

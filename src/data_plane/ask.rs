//! What a request asks for: the few members of a chat body that we act on, found in one pass, and the native fields of the contract.
//!
//! A native field (`routing_policy`, `provider`, …) may come in the body or as an `x-igris-…` header, for SDKs that refuse unknown
//! fields; the body wins. Those found in the body are taken out before a provider sees it. Nothing in a body picks a destination or a
//! credential beyond the name of a configured provider (rule T4).

use super::fault::Fault;
use crate::http::head::{KnownField, RequestHead};
use crate::json::scan::{self, Names};
use crate::json::text;
use crate::json::{JsonFault, Kind, Member, ObjectSpan};
use crate::routing::policy::Policy;

static NAMES: Names = Names::new(&[
    "model",
    "stream",
    "stream_options",
    "messages",
    "routing_policy",
    "provider",
    "optimization",
    "speculative_mode",
    "deadline_ms",
    "council_mode",
    "council_providers",
    "consensus_threshold",
    "enable_semantic_routing",
    "min_quality_score",
]);

/// Places in [`NAMES`].
const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const MESSAGES: usize = 3;
const ROUTING_POLICY: usize = 4;
const PROVIDER: usize = 5;
const OPTIMIZATION: usize = 6;
/// From here on: native fields that are taken out whatever they say.
const FIRST_STRIPPED: usize = OPTIMIZATION;
const NAMES_COUNT: usize = 14;

/// What one chat request asks for. Spans point into its body.
#[derive(Debug)]
pub struct Ask {
    /// The whole object.
    pub object: ObjectSpan,
    /// The `model` member.
    pub model: Member,
    /// Its value, unescaped.
    pub model_name: String,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The `stream_options` member.
    pub stream_options: Option<Member>,
    /// Whether the client itself asked for the usage event.
    pub usage_event: bool,
    /// How to order the candidates, if the request says so.
    pub policy: Option<Policy>,
    /// The one provider to use, if the request says so.
    pub provider: Option<String>,
    /// Members to take out before a provider sees the body.
    pub native: Vec<Member>,
}

impl Ask {
    /// Reads a chat body and the native headers.
    pub fn read(body: &[u8], head: &RequestHead, head_bytes: &[u8]) -> Result<Self, Fault> {
        let mut found = [None; NAMES_COUNT];
        let object = scan::members(body, &NAMES, &mut found).map_err(json_fault)?;
        let model = found[MODEL]
            .ok_or_else(|| Fault::invalid("The member `model` is missing; name a model.", Some("model")))?;
        let messages = found[MESSAGES];
        if !messages.is_some_and(|member| member.kind == Kind::Array) {
            return Err(Fault::invalid("The member `messages` must be an array of messages.", Some("messages")));
        }
        let stream_options = found[STREAM_OPTIONS];
        let mut ask = Self {
            object,
            model,
            model_name: string_of(body, &model, "model")?,
            stream: flag(body, found[STREAM], "stream")?,
            stream_options,
            usage_event: stream_options.is_some_and(|options| include_usage(body, &options)),
            policy: None,
            provider: None,
            native: found[FIRST_STRIPPED..].iter().flatten().copied().collect(),
        };
        ask.read_native(body, &found)?;
        ask.read_headers(head, head_bytes)?;
        Ok(ask)
    }

    fn read_native(&mut self, body: &[u8], found: &[Option<Member>; NAMES_COUNT]) -> Result<(), Fault> {
        if let Some(member) = found[ROUTING_POLICY] {
            self.policy = Some(policy(&string_of(body, &member, "routing_policy")?)?);
            self.native.push(member);
        }
        // OpenRouter has a `provider` of its own, an object; only a string is ours.
        if let Some(member) = found[PROVIDER].filter(|member| member.kind == Kind::String) {
            self.provider = Some(string_of(body, &member, "provider")?);
            self.native.push(member);
        }
        let optimization = found[OPTIMIZATION].filter(|member| member.kind == Kind::String);
        if let (Some(member), None) = (optimization, self.policy) {
            self.policy = optimized(&string_of(body, &member, "optimization")?)?;
        }
        Ok(())
    }

    fn read_headers(&mut self, head: &RequestHead, head_bytes: &[u8]) -> Result<(), Fault> {
        for field in head.fields(head_bytes).filter(|field| field.known == KnownField::Igris) {
            let Ok(value) = std::str::from_utf8(field.value) else {
                return Err(Fault::invalid("An x-igris header is not UTF-8; send plain text.", None));
            };
            if self.policy.is_none() && field.name.eq_ignore_ascii_case("x-igris-routing-policy") {
                self.policy = Some(policy(value)?);
            } else if self.policy.is_none() && field.name.eq_ignore_ascii_case("x-igris-optimization") {
                self.policy = optimized(value)?;
            } else if self.provider.is_none() && field.name.eq_ignore_ascii_case("x-igris-provider") {
                self.provider = Some(value.to_owned());
            }
        }
        Ok(())
    }
}

fn json_fault(fault: JsonFault) -> Fault {
    let param = match fault {
        JsonFault::DuplicateKey { name } => Some(name),
        _ => None,
    };
    Fault::invalid(format!("The body is not usable: {fault}. {}", fault.remedy()), param)
}

fn string_of(body: &[u8], member: &Member, name: &'static str) -> Result<String, Fault> {
    let mut unescaped = Vec::new();
    if member.kind == Kind::String
        && text::unescape(body, member.value, &mut unescaped)
        && let Ok(value) = String::from_utf8(unescaped)
    {
        return Ok(value);
    }
    Err(Fault::invalid(format!("The member `{name}` must be a string."), Some(name)))
}

fn flag(body: &[u8], member: Option<Member>, name: &'static str) -> Result<bool, Fault> {
    match member {
        None => Ok(false),
        Some(member) if member.kind == Kind::Null => Ok(false),
        Some(member) => text::as_bool(body, member.value)
            .ok_or_else(|| Fault::invalid(format!("The member `{name}` must be true or false."), Some(name))),
    }
}

/// Whether `stream_options` has `include_usage: true`.
fn include_usage(body: &[u8], options: &Member) -> bool {
    static INCLUDE_USAGE: Names = Names::new(&["include_usage"]);
    let mut found = [None];
    match scan::members_at(body, options.value, &INCLUDE_USAGE, &mut found) {
        Ok(_) => found[0].and_then(|member| text::as_bool(body, member.value)).unwrap_or(false),
        Err(_) => false,
    }
}

fn policy(name: &str) -> Result<Policy, Fault> {
    Policy::parse(name).ok_or_else(|| {
        Fault::invalid(
            "Unknown `routing_policy`; use thompson, latency, cost, quality, weighted, ordered or hedged.",
            Some("routing_policy"),
        )
    })
}

/// `optimization` names a goal; `balanced` leaves the route's own policy.
fn optimized(goal: &str) -> Result<Option<Policy>, Fault> {
    match goal {
        "balanced" => Ok(None),
        "latency" => Ok(Some(Policy::Latency)),
        "cost" => Ok(Some(Policy::Cost)),
        "quality" => Ok(Some(Policy::Quality)),
        _ => {
            let remedy = "Unknown `optimization`; use latency, cost, quality or balanced.";
            Err(Fault::invalid(remedy, Some("optimization")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &str) -> Result<Ask, Fault> {
        Ask::read(body.as_bytes(), &RequestHead::default(), b"")
    }

    #[test]
    fn a_plain_chat_body_is_understood() {
        let read = ask(r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#)
            .expect("a valid body");
        assert_eq!(read.model_name, "gpt-4o");
        assert!(read.stream && read.usage_event && read.native.is_empty());
    }

    #[test]
    fn native_fields_are_read_and_marked_for_removal() {
        let read =
            ask(r#"{"model":"m","messages":[],"routing_policy":"cost-optimized","provider":"openai","deadline_ms":5}"#)
                .expect("a valid body");
        assert_eq!(read.policy, Some(Policy::Cost));
        assert_eq!(read.provider.as_deref(), Some("openai"));
        assert_eq!(read.native.len(), 3);
    }

    #[test]
    fn a_provider_object_is_not_ours() {
        let read = ask(r#"{"model":"m","messages":[],"provider":{"order":["x"]}}"#).expect("a valid body");
        assert!(read.provider.is_none() && read.native.is_empty());
    }

    #[test]
    fn wrong_shapes_name_the_member() {
        let cases = [
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":1,"messages":[]}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("messages")),
            (r#"{"model":"m","messages":[],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"m","messages":[],"model":"n"}"#, Some("model")),
            (r#"{"model":"m","messages":[],"mod\u0065l":"n"}"#, Some("model")),
            (r#"{"model":"m","messages":[],"routing_policy":"best"}"#, Some("routing_policy")),
            (r#"[]"#, None),
        ];
        for (body, param) in cases {
            let fault = ask(body).expect_err(body);
            assert_eq!((fault.status(), fault.param()), (400, param), "{body}");
        }
    }
}

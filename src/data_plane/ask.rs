//! What a request asks for: the few members of its body that we act on, found in one pass with what it needs, and the native fields of the
//! contract.
//!
//! The same members in every dialect; where a dialect names the model in its path, the path decides.
//! A native field (`routing_policy`, `provider`, …) may come in the body or as an `x-igris-…` header, for SDKs that refuse unknown
//! fields; the body wins. Those found in the body are taken out before a provider sees it. Nothing in a body picks a destination or a
//! credential beyond the name of a configured provider (rule T4).

use super::fault::Fault;
use super::need;
use super::surface::{Asked, Delivery, Task};
use super::wishes::Wishes;
use crate::dialects::Wire;
use crate::http::head::{KnownField, KnownSet, RequestHead};
use crate::json::cursor::Cursor;
use crate::json::scan::{self, Names};
use crate::json::text;
use crate::json::{JsonFault, Kind, Member, ObjectSpan, Span};
use crate::limits;
use crate::metering::terms::Tier;
use crate::routing::need::Need;
use crate::routing::policy::Policy;
use std::cell::RefCell;
use std::rc::Rc;

/// Members that we act on, beside those of [`need::MEMBERS`]; `messages` is one of both.
const OWN: [&str; OWN_COUNT] = [
    "model",
    "stream",
    "stream_options",
    "service_tier",
    "previous_response_id",
    "conversation",
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
];
const OWN_COUNT: usize = 16;

/// Places in [`OWN`].
const MODEL: usize = 0;
const STREAM: usize = 1;
const STREAM_OPTIONS: usize = 2;
const SERVICE_TIER: usize = 3;
const PREVIOUS_RESPONSE: usize = 4;
const CONVERSATION: usize = 5;
const ROUTING_POLICY: usize = 6;
const PROVIDER: usize = 7;
const OPTIMIZATION: usize = 8;
/// From here on: native fields that are taken out whatever they say.
const FIRST_STRIPPED: usize = OPTIMIZATION;

/// All that is looked for: what says what is needed, then our own.
static NAMES: Names = Names::new(&ALL);
const NEEDS_COUNT: usize = need::MEMBERS.len();
/// Place of `messages`, which comes first in both.
const MESSAGES: usize = 0;
const ALL: [&str; NEEDS_COUNT + OWN_COUNT] = {
    let mut all = [""; NEEDS_COUNT + OWN_COUNT];
    let mut place = 0;
    while place < all.len() {
        all[place] = if place < NEEDS_COUNT { need::MEMBERS[place] } else { OWN[place - NEEDS_COUNT] };
        place += 1;
    }
    all
};
/// Of the names, those that may not be there twice: we decide on them (rule H20).
const DECISIVE: u64 = !((1 << NEEDS_COUNT) - 1) | 1 << MESSAGES;

thread_local! {
    /// Names that were asked for lately on this core: nearly always the next one is among them, and takes no memory.
    static RECENT: RefCell<Vec<Rc<str>>> = const { RefCell::new(Vec::new()) };
}

/// So many are kept.
const RECENT_MAX: usize = 4;

/// A model's name in memory that exchanges of this core share.
pub fn named(name: &str) -> Rc<str> {
    RECENT.with_borrow_mut(|recent| {
        if let Some(known) = recent.iter().find(|known| ***known == *name) {
            return known.clone();
        }
        let shared = Rc::from(name);
        if name.len() <= limits::MODEL_NAME_BYTES_MAX {
            recent.truncate(RECENT_MAX - 1);
            recent.insert(0, Rc::clone(&shared));
        }
        shared
    })
}

/// What one request asks for. Spans point into its body.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The client's dialect.
    pub wire: Wire,
    /// What is wanted.
    pub task: Task,
    /// The whole object; `None` for a body that is not JSON.
    pub object: Option<ObjectSpan>,
    /// The `model` member, where the body has the say.
    pub model: Option<Member>,
    /// Where a form's field has it, plain.
    pub form_model: Option<Span>,
    /// The model's name, unescaped; empty where the task has a usual one and the client named none.
    pub model_name: Rc<str>,
    /// The `messages` member.
    pub messages: Option<Member>,
    /// Whether it goes on from something that a provider keeps.
    pub stored: bool,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// How the answer is delivered.
    pub delivery: Delivery,
    /// The `stream_options` member.
    pub stream_options: Option<Member>,
    /// Whether the client itself asked for the usage event.
    pub usage_event: bool,
    /// The service tier it asks for, other than the usual one: what it costs unless the answer names another.
    pub service_tier: Option<Tier>,
    /// How to order the candidates, if the request says so.
    pub policy: Option<Policy>,
    /// The one provider to use, if the request says so.
    pub provider: Option<String>,
    /// Members to take out before a provider sees the body.
    pub native: Vec<Member>,
    /// What else the native fields wish.
    pub wishes: Wishes,
    /// What a conversation needs of a model, see [`need::read`].
    pub need: Need,
    /// Whether the request can be sent once only, see [`super::inquiry::is_sent_once`]: no second credential can put it right then.
    pub once: bool,
}

impl Ask {
    /// Reads a JSON body and the native headers.
    pub fn read(body: &[u8], head: &RequestHead, head_bytes: &[u8], asked: &Asked) -> Result<Self, Fault> {
        let mut ask = Self::bare(asked);
        let mut found = [None; OWN_COUNT];
        ask.read_members(body, &mut found).map_err(json_fault)?;
        if needs_messages(asked) && !ask.messages.is_some_and(|member| member.kind == Kind::Array) {
            return Err(Fault::invalid("The member `messages` must be an array of messages.", Some("messages")));
        }
        let model = found[MODEL].filter(|_| asked.model.is_none());
        let delivery = match asked.delivery {
            Some(delivery) => delivery,
            None if flag(body, found[STREAM], "stream")? => Delivery::Events,
            None => Delivery::Whole,
        };
        let stream_options = found[STREAM_OPTIONS];
        (ask.model, ask.model_name) = (model, model_name(body, model, asked)?);
        ask.stored = found[PREVIOUS_RESPONSE].or(found[CONVERSATION]).is_some_and(|member| member.kind != Kind::Null);
        (ask.stream, ask.delivery) = (delivery != Delivery::Whole, delivery);
        ask.stream_options = stream_options;
        ask.usage_event = stream_options.is_some_and(|options| include_usage(body, &options));
        ask.service_tier = found[SERVICE_TIER].and_then(|tier| Tier::named(text::text(body, tier.value)?));
        ask.read_native(body, &found)?;
        ask.read_headers(head, head_bytes)?;
        Ok(ask)
    }

    /// What a request asks for whose body is not JSON, by its headers and the model that was found elsewhere.
    pub fn of_other_body(
        model: Option<(String, Span)>,
        head: &RequestHead,
        head_bytes: &[u8],
        asked: &Asked,
    ) -> Result<Self, Fault> {
        let (name, place) = model.unzip();
        let mut ask = Self { model_name: named(&name.unwrap_or_default()), form_model: place, ..Self::bare(asked) };
        ask.read_headers(head, head_bytes)?;
        Ok(ask)
    }

    fn bare(asked: &Asked) -> Self {
        Self {
            wire: asked.wire,
            task: asked.task.clone(),
            object: None,
            model: None,
            form_model: None,
            model_name: named(""),
            messages: None,
            stored: false,
            stream: false,
            delivery: Delivery::Whole,
            stream_options: None,
            usage_event: false,
            service_tier: None,
            policy: None,
            provider: None,
            native: Vec::new(),
            wishes: Wishes::default(),
            need: Need::default(),
            once: false,
        }
    }

    /// The one pass over a body: it is validated, its members are found, and what a conversation needs is gathered.
    fn read_members(&mut self, body: &[u8], found: &mut [Option<Member>; OWN_COUNT]) -> Result<(), JsonFault> {
        let mut cursor = Cursor::new(body, 0);
        match body.get(cursor.position()) {
            Some(b'{') => {}
            Some(_) => return Err(JsonFault::NotAnObject),
            None => return Err(JsonFault::Syntax { offset: cursor.position() }),
        }
        let mut needs = need::Reader::new(body);
        let is_talk = matches!(self.task, Task::Generate | Task::CountTokens) && body.len() <= limits::NEED_BYTES_MAX;
        let visited = cursor.members(&NAMES, |cursor, place| {
            let (key, kind, start) = (cursor.key(), cursor.kind()?, cursor.position());
            if is_talk && place < NEEDS_COUNT {
                needs.member(cursor, place)?;
            } else {
                cursor.skip()?;
            }
            let member = Member { key, value: Span { start, end: cursor.position() }, kind };
            match place.checked_sub(NEEDS_COUNT).and_then(|own| found.get_mut(own)) {
                Some(slot) => *slot = Some(member),
                None if place == MESSAGES => self.messages = Some(member),
                None => {}
            }
            Ok(())
        });
        let visited = visited.map_err(|stop| cursor.fault(stop))?.ok_or(JsonFault::NotAnObject)?;
        cursor.end()?;
        if visited.twice & DECISIVE != 0 {
            let place = (visited.twice & DECISIVE).trailing_zeros() as usize;
            return Err(JsonFault::DuplicateKey { name: ALL.get(place).copied().unwrap_or_default() });
        }
        self.object = Some(visited.object);
        if is_talk {
            self.need = needs.close();
        }
        Ok(())
    }

    fn read_native(&mut self, body: &[u8], found: &[Option<Member>; OWN_COUNT]) -> Result<(), Fault> {
        // Most requests have none of ours.
        if found[ROUTING_POLICY..].iter().all(Option::is_none) {
            return Ok(());
        }
        self.native.extend(found[FIRST_STRIPPED..].iter().flatten());
        if let Some(member) = found[ROUTING_POLICY] {
            self.policy = Some(policy(&string_of(body, &member, "routing_policy")?)?);
            self.native.push(member);
        }
        // OpenRouter has a `provider` of its own, an object; only a string is ours.
        if let Some(member) = found[PROVIDER].filter(|member| member.kind == Kind::String) {
            self.provider = Some(string_of(body, &member, "provider")?);
            self.native.push(member);
        }
        self.wishes.read(body, &found[FIRST_STRIPPED..])?;
        Ok(())
    }

    fn read_headers(&mut self, head: &RequestHead, head_bytes: &[u8]) -> Result<(), Fault> {
        const NATIVE: KnownSet = KnownSet::of(&[KnownField::Igris]);
        for field in head.fields_among(head_bytes, NATIVE) {
            let Ok(value) = std::str::from_utf8(field.value) else {
                return Err(Fault::invalid("An x-igris header is not UTF-8; send plain text.", None));
            };
            self.wishes.read_header(field.name, value)?;
            if self.policy.is_none() && field.name.eq_ignore_ascii_case("x-igris-routing-policy") {
                self.policy = Some(policy(value)?);
            } else if self.provider.is_none() && field.name.eq_ignore_ascii_case("x-igris-provider") {
                self.provider = Some(value.to_owned());
            }
        }
        Ok(())
    }
}

/// Whether the dialect's body cannot do without `messages`. Gemini calls them `contents`, Responses `input`, and their providers say so.
fn needs_messages(asked: &Asked) -> bool {
    matches!(asked.task, Task::Generate | Task::CountTokens) && matches!(asked.wire, Wire::Chat | Wire::Messages)
}

/// The path's word, else the body's. A task with a usual model may leave it out.
fn model_name(body: &[u8], model: Option<Member>, asked: &Asked) -> Result<Rc<str>, Fault> {
    match (&asked.model, model) {
        (Some(name), _) => Ok(named(name)),
        (None, Some(member)) => match plain(body, &member) {
            Some(name) => Ok(named(name)),
            None => string_of(body, &member, "model").map(|name| named(&name)),
        },
        (None, None) if matches!(asked.task, Task::Moderations | Task::Images(_)) => Ok(named("")),
        (None, None) => Err(Fault::invalid("The member `model` is missing; name a model.", Some("model"))),
    }
}

fn json_fault(fault: JsonFault) -> Fault {
    let param = match fault {
        JsonFault::DuplicateKey { name } => Some(name),
        _ => None,
    };
    Fault::invalid(format!("The body is not usable: {fault}. {}", fault.remedy()), param)
}

/// A string without escapes.
fn plain<'b>(body: &'b [u8], member: &Member) -> Option<&'b str> {
    text::text(body, member.value).filter(|_| member.kind == Kind::String)
}

pub(super) fn string_of(body: &[u8], member: &Member, name: &'static str) -> Result<String, Fault> {
    if let Some(plain) = plain(body, member) {
        return Ok(plain.to_owned());
    }
    let mut unescaped = Vec::new();
    if member.kind == Kind::String
        && text::unescape(body, member.value, &mut unescaped)
        && let Ok(value) = String::from_utf8(unescaped)
    {
        return Ok(value);
    }
    Err(Fault::invalid(format!("The member `{name}` must be a string."), Some(name)))
}

pub(super) fn flag(body: &[u8], member: Option<Member>, name: &'static str) -> Result<bool, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &str) -> Result<Ask, Fault> {
        ask_in(Wire::Chat, body)
    }

    fn ask_in(wire: Wire, body: &str) -> Result<Ask, Fault> {
        let asked = Asked { wire, task: Task::Generate, model: None, delivery: None };
        Ask::read(body.as_bytes(), &RequestHead::default(), b"", &asked)
    }

    #[test]
    fn a_plain_chat_body_is_understood() {
        let read = ask(r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#)
            .expect("a valid body");
        assert_eq!(&*read.model_name, "gpt-4o");
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
    fn the_path_has_the_say_where_it_names_the_model() {
        let asked = Asked {
            wire: Wire::Gemini,
            task: Task::Generate,
            model: Some("gemini-pro-latest".to_owned()),
            delivery: Some(Delivery::Array),
        };
        let body = br#"{"model":"models/other","contents":[],"stream":false,"routing_policy":"cost"}"#;
        let read = Ask::read(body, &RequestHead::default(), b"", &asked).expect("a valid body");
        assert_eq!((&*read.model_name, read.model), ("gemini-pro-latest", None));
        assert!(read.stream && read.native.len() == 1);
        assert!(ask_in(Wire::Responses, r#"{"model":"m","input":"Hi"}"#).is_ok());
        assert!(ask_in(Wire::Messages, r#"{"model":"m","input":"Hi"}"#).is_err());
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

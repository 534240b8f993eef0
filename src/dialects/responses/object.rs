//! The `response` object: what stands around the output items, the same in whole answers and in the events that carry
//! it.
//!
//! Typed clients read members that only repeat the request (`tools`, `tool_choice`, `text`, …); those are copied from
//! the client's own body, byte for byte, and stand at OpenAI's defaults where the client said nothing.

use crate::chat::response::Finish;
use crate::dialects::Setting;
use crate::domain::token::Usage;
use crate::json::Member;
use crate::json::scan::{self, Names};
use crate::json::splice::escape_into;
use serde_json::{Map, Value};

/// How far a response is, and what its last word was.
#[derive(Clone, Copy, Debug)]
pub(super) enum State<'a> {
    /// Items are still coming.
    InProgress,
    /// It ended as it should.
    Completed,
    /// It ended early: `max_output_tokens` or `content_filter`.
    Incomplete(&'static str),
    /// It broke off.
    Failed {
        /// Of OpenAI's closed list.
        code: &'static str,
        /// One sentence.
        message: &'a str,
    },
}

// === impl State ===

impl State<'_> {
    /// The state that a finished answer is in.
    pub(super) fn after(finish: &Finish) -> State<'static> {
        match finish {
            Finish::Length => State::Incomplete("max_output_tokens"),
            Finish::ContentFilter => State::Incomplete("content_filter"),
            Finish::Stop | Finish::StopText(_) | Finish::ToolCalls | Finish::Pause => State::Completed,
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            State::InProgress => "in_progress",
            State::Completed => "completed",
            State::Incomplete(_) => "incomplete",
            State::Failed { .. } => "failed",
        }
    }
}

/// All of the object that does not change while an answer comes.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// `{"id":…,"object":"response","created_at":…`, without a comma at the end.
    head: Vec<u8>,
    /// Members that repeat the request, each with a comma before it.
    echo: Vec<u8>,
    /// The client's own `metadata`, an object.
    metadata: Option<Vec<u8>>,
}

// === impl Frame ===

impl Frame {
    /// The frame of one answer. `service_tier` is what the provider gave, if it told.
    pub(super) fn of(setting: &Setting<'_>, service_tier: Option<&str>) -> Self {
        let mut head = b"{\"id\":".to_vec();
        escape_into(&format!("resp_{}", setting.id), &mut head);
        head.extend_from_slice(b",\"object\":\"response\",\"created_at\":");
        head.extend_from_slice(itoa::Buffer::new().format(setting.created).as_bytes());
        let mut found = [None; ECHOED.len()];
        // The body was read before: a scan can only fail for a member that is there twice.
        if scan::members(setting.request, &NAMES, &mut found).is_err() {
            found.fill(None);
        }
        let value = |member: Option<Member>| {
            let value = member?.value.of(setting.request);
            (value != b"null").then_some(value)
        };
        let mut echo = b",\"background\":false,\"store\":false,\"previous_response_id\":null,\"model\":".to_vec();
        escape_into(setting.model, &mut echo);
        for ((name, default), member) in ECHOED.iter().zip(found).skip(1) {
            let given = match *name {
                "service_tier" => service_tier.map(|tier| serde_json::to_vec(tier).unwrap_or_default()),
                _ => None,
            };
            echo.push(b',');
            escape_into(name, &mut echo);
            echo.push(b':');
            let shown = given.as_deref().or_else(|| value(member)).unwrap_or(default.as_bytes());
            one_line(shown, &mut echo);
        }
        let metadata = value(found[METADATA]).filter(|value| value.starts_with(b"{")).map(<[u8]>::to_vec);
        Self { head, echo, metadata }
    }

    /// Writes the object. `items` writes what stands between the brackets of `output`; `ours` is the inside of the
    /// gateway's own metadata.
    pub(super) fn write(
        &self,
        state: State<'_>,
        items: impl FnOnce(&mut Vec<u8>),
        usage: Option<&Usage>,
        ours: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(state.as_str().as_bytes());
        out.extend_from_slice(b"\",\"error\":");
        match state {
            State::Failed { code, message } => {
                out.extend_from_slice(b"{\"code\":");
                escape_into(code, out);
                out.extend_from_slice(b",\"message\":");
                escape_into(message, out);
                out.push(b'}');
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"incomplete_details\":");
        match state {
            State::Incomplete(reason) => {
                out.extend_from_slice(b"{\"reason\":");
                escape_into(reason, out);
                out.push(b'}');
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(&self.echo);
        out.extend_from_slice(b",\"output\":[");
        items(out);
        out.extend_from_slice(b"],\"usage\":");
        match usage {
            Some(usage) => write_usage(usage, out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"metadata\":");
        self.write_metadata(ours, out);
        out.push(b'}');
    }

    fn write_metadata(&self, ours: Option<&[u8]>, out: &mut Vec<u8>) {
        match (&self.metadata, ours) {
            (None, None) => out.extend_from_slice(b"{}"),
            (Some(theirs), None) => one_line(theirs, out),
            (theirs, Some(ours)) => out.extend_from_slice(&joined(theirs.as_deref().unwrap_or(b"{}"), ours)),
        }
    }
}

/// What repeats the request, and what stands there where the client said nothing.
const ECHOED: [(&str, &str); 17] = [
    ("metadata", "{}"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", "{\"effort\":null,\"summary\":null}"),
    ("safety_identifier", "null"),
    ("service_tier", "\"default\""),
    ("temperature", "1.0"),
    ("text", "{\"format\":{\"type\":\"text\"}}"),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];
const METADATA: usize = 0;
static NAMES: Names = Names::new(&[
    ECHOED[0].0,
    ECHOED[1].0,
    ECHOED[2].0,
    ECHOED[3].0,
    ECHOED[4].0,
    ECHOED[5].0,
    ECHOED[6].0,
    ECHOED[7].0,
    ECHOED[8].0,
    ECHOED[9].0,
    ECHOED[10].0,
    ECHOED[11].0,
    ECHOED[12].0,
    ECHOED[13].0,
    ECHOED[14].0,
    ECHOED[15].0,
    ECHOED[16].0,
]);

/// Appends valid JSON without line ends, which would break an event; inside strings JSON has none.
fn one_line(json: &[u8], out: &mut Vec<u8>) {
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}

/// The object `theirs` with the members of `ours` over it. Small, so a tree is fine here.
pub(super) fn joined(theirs: &[u8], ours: &[u8]) -> Vec<u8> {
    let ours = [b"{", ours, b"}"].concat();
    let parse = |text: &[u8]| serde_json::from_slice::<Map<String, Value>>(text).ok();
    let (Some(mut all), Some(over)) = (parse(theirs), parse(&ours)) else { return ours };
    if all.is_empty() {
        return ours;
    }
    all.extend(over);
    serde_json::to_vec(&all).unwrap_or(ours)
}

/// Writes `usage` with both detail objects, which typed clients demand.
pub(super) fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    figure(out, "{\"input_tokens\":", usage.input);
    figure(out, ",\"input_tokens_details\":{\"cached_tokens\":", usage.cached_input);
    figure(out, ",\"cache_write_tokens\":", usage.cache_write);
    if usage.cache_write_long > 0 {
        figure(out, ",\"cache_write_tokens_details\":{\"ttl_12h_tokens\":", usage.cache_write_long);
        figure(out, ",\"ttl_30m_tokens\":", usage.cache_write.saturating_sub(usage.cache_write_long));
        out.push(b'}');
    }
    figure(out, "},\"output_tokens\":", usage.output);
    figure(out, ",\"output_tokens_details\":{\"reasoning_tokens\":", usage.reasoning);
    figure(out, "},\"total_tokens\":", usage.input.saturating_add(usage.output));
    out.push(b'}');
}

fn figure(out: &mut Vec<u8>, before: &str, tokens: u64) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(tokens).as_bytes());
}

//! The head of a request: where it goes, who asks, and the fields that the official clients send at least.

use super::text::{number, raw, segment};
use super::{Address, Dialect};
use crate::workload::Ask;

/// Appends a head up to its `content-length:`, and returns where the length belongs; [`close`] completes it.
pub(super) fn open(ask: &Ask, address: &Address, key: &str, out: &mut Vec<u8>) -> usize {
    raw(out, "POST ");
    path(ask, &address.path, out);
    raw(out, " HTTP/1.1\r\nhost: ");
    raw(out, &address.host);
    raw(out, concat!("\r\nuser-agent: igris-load/", env!("CARGO_PKG_VERSION"), "\r\naccept: "));
    raw(out, media_type(ask));
    raw(out, "\r\ncontent-type: application/json\r\n");
    if ask.dialect == Dialect::Anthropic {
        raw(out, "anthropic-version: 2023-06-01\r\n");
    }
    if !key.is_empty() {
        raw(out, credential(ask.dialect));
        // A line end inside a key, as of a file it was read from, would end the field.
        out.extend(key.trim().bytes().filter(|byte| !byte.is_ascii_control()));
        raw(out, "\r\n");
    }
    raw(out, "content-length: ");
    let at = out.len();
    raw(out, "\r\n\r\n");
    at
}

/// Writes the length of the body, which is all that follows the head now.
pub(super) fn close(length_at: usize, out: &mut Vec<u8>) {
    let end = out.len();
    number(out, (end - length_at - "\r\n\r\n".len()) as u64);
    let digits = out.len() - end;
    out[length_at..].rotate_right(digits);
}

/// The media type that the answer shall have.
fn media_type(ask: &Ask) -> &'static str {
    match ask.dialect {
        _ if !ask.stream => "application/json",
        Dialect::Bedrock => "application/vnd.amazon.eventstream",
        _ => "text/event-stream",
    }
}

/// The field of an access key, up to the key.
fn credential(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "x-api-key: ",
        Dialect::Gemini => "x-goog-api-key: ",
        Dialect::OpenAi | Dialect::Responses | Dialect::Bedrock | Dialect::Cohere => "authorization: Bearer ",
    }
}

/// Appends the request target.
fn path(ask: &Ask, given: &str, out: &mut Vec<u8>) {
    let given = given.trim_end_matches('/');
    let last = given.rsplit('/').next().unwrap_or_default();
    let mut digits = last.bytes();
    let versioned = digits.next() == Some(b'v') && digits.next().is_some_and(|byte| byte.is_ascii_digit());
    // The base URLs that providers hand to the official clients end in a version, or in the name of whose interface it is.
    let named = |name| versioned || last == name;
    raw(out, given);
    match ask.dialect {
        Dialect::OpenAi if given.is_empty() => raw(out, "/v1/chat/completions"),
        Dialect::OpenAi if named("openai") => raw(out, "/chat/completions"),
        Dialect::Responses if given.is_empty() => raw(out, "/v1/responses"),
        Dialect::Responses if named("openai") => raw(out, "/responses"),
        Dialect::Anthropic if given.is_empty() || last == "anthropic" => raw(out, "/v1/messages"),
        Dialect::Anthropic if versioned => raw(out, "/messages"),
        Dialect::Cohere if given.is_empty() => raw(out, "/v2/chat"),
        Dialect::Cohere if versioned => raw(out, "/chat"),
        Dialect::Gemini if !last.to_ascii_lowercase().contains("generatecontent") => {
            raw(out, if versioned { "/models/" } else { "/v1beta/models/" });
            segment(out, ask.model.strip_prefix("models/").unwrap_or(&ask.model));
            raw(out, if ask.stream { ":streamGenerateContent?alt=sse" } else { ":generateContent" });
        }
        Dialect::Bedrock if !matches!(last, "converse" | "converse-stream") => {
            raw(out, if last == "model" { "/" } else { "/model/" });
            segment(out, &ask.model);
            raw(out, if ask.stream { "/converse-stream" } else { "/converse" });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ask;
    use super::*;

    #[test]
    fn origins_bases_and_whole_paths_are_understood() {
        let table = [
            (Dialect::OpenAi, "", "/v1/chat/completions"),
            (Dialect::OpenAi, "/v1", "/v1/chat/completions"),
            (Dialect::OpenAi, "/api/paas/v4", "/api/paas/v4/chat/completions"),
            (Dialect::OpenAi, "/v1beta/openai/", "/v1beta/openai/chat/completions"),
            (Dialect::OpenAi, "/v1/infer", "/v1/infer"),
            (Dialect::Responses, "", "/v1/responses"),
            (Dialect::Responses, "/v1", "/v1/responses"),
            (Dialect::Anthropic, "", "/v1/messages"),
            (Dialect::Anthropic, "/anthropic", "/anthropic/v1/messages"),
            (Dialect::Anthropic, "/v1", "/v1/messages"),
            (Dialect::Anthropic, "/v1/messages", "/v1/messages"),
            (Dialect::Gemini, "", "/v1beta/models/a%3Ab:generateContent"),
            (Dialect::Gemini, "/v1", "/v1/models/a%3Ab:generateContent"),
            (Dialect::Gemini, "/x", "/x/v1beta/models/a%3Ab:generateContent"),
            (Dialect::Gemini, "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
            (Dialect::Bedrock, "", "/model/a%3Ab/converse"),
            (Dialect::Bedrock, "/bedrock/model", "/bedrock/model/a%3Ab/converse"),
            (Dialect::Bedrock, "/model/m/converse", "/model/m/converse"),
            (Dialect::Cohere, "", "/v2/chat"),
            (Dialect::Cohere, "/v2", "/v2/chat"),
            (Dialect::Cohere, "/v2/chat", "/v2/chat"),
        ];
        for (dialect, given, expected) in table {
            let mut out = Vec::new();
            path(&Ask { model: "a:b".into(), ..ask(dialect) }, given, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{dialect} {given}");
        }
        let streams = [
            (Dialect::Gemini, "/v1beta/models/m:streamGenerateContent?alt=sse"),
            (Dialect::Bedrock, "/model/m/converse-stream"),
        ];
        for (dialect, expected) in streams {
            let mut out = Vec::new();
            path(&Ask { model: "m".into(), stream: true, ..ask(dialect) }, "", &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}

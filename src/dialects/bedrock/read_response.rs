//! A whole Converse answer into the inner language: content blocks in order, why it ended, what it used.
//!
//! The input of a tool call stays as the model wrote it. What the service did by itself (its own tools and their results) is not the
//! client's business and is left out.

use super::tools::FREE_TEXT;
use crate::chat::request::{Maker, Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use crate::domain::token::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Option<Output<'a>>,
    stop_reason: Option<String>,
    usage: Option<TokenUsage>,
    additional_model_response_fields: Option<Value>,
    service_tier: Option<ServiceTier>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<ContentBlock<'a>>>,
}

/// A union: one member is there. Members that we do not know are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentBlock<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<ReasoningContent>,
    citations_content: Option<CitationsContent>,
    image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningContent {
    reasoning_text: Option<ReasoningText>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct ReasoningText {
    text: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct CitationsContent {
    content: Option<Vec<CitedText>>,
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct CitedText {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    format: Option<String>,
    source: Option<ImageSource>,
}

#[derive(Deserialize)]
struct ImageSource {
    bytes: Option<String>,
}

#[derive(Deserialize)]
struct ServiceTier {
    r#type: Option<String>,
}

/// `TokenUsage`: `inputTokens` is what was neither read from nor written to the cache.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    cache_details: Option<Vec<CacheDetail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetail {
    ttl: Option<String>,
    input_tokens: Option<u64>,
}

impl TokenUsage {
    /// In our accounting.
    pub(super) fn usage(&self) -> Usage {
        let input = self.input_tokens.unwrap_or(0);
        let cached_input = self.cache_read_input_tokens.unwrap_or(0);
        let cache_write = self.cache_write_input_tokens.unwrap_or(0);
        let details = self.cache_details.iter().flatten().filter(|detail| detail.ttl.as_deref() == Some("1h"));
        let long = details.fold(0_u64, |sum, detail| sum.saturating_add(detail.input_tokens.unwrap_or(0)));
        Usage {
            input: input.saturating_add(cached_input).saturating_add(cache_write),
            output: self.output_tokens.unwrap_or(0),
            cached_input,
            cache_write,
            cache_write_long: long.min(cache_write),
            ..Usage::default()
        }
    }
}

/// Reads a whole answer.
///
/// # Errors
/// When it is no JSON of the format, or the model produced nothing that could be read.
pub(super) fn read_response(body: &[u8]) -> Result<Response, Unreadable> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| Unreadable("it is not a Converse answer"))?;
    let message = answer.output.and_then(|output| output.message).ok_or(Unreadable("it has no output message"))?;
    let mut pieces = Vec::new();
    let mut chars = 0;
    for block in message.content.into_iter().flatten() {
        push_block(block, &mut chars, &mut pieces)?;
    }
    let reason = answer.stop_reason.as_deref().unwrap_or_default();
    if pieces.is_empty() && is_malformed(reason) {
        return Err(Unreadable("the model's output was malformed"));
    }
    let stop_text = answer.additional_model_response_fields.as_ref().and_then(stop_text);
    let choice = Choice { index: 0, pieces, finish: finish(reason, stop_text), logprobs: None };
    Ok(Response {
        choices: vec![choice],
        usage: answer.usage.as_ref().map(TokenUsage::usage),
        service_tier: answer.service_tier.and_then(|tier| tier.r#type),
        ..Response::default()
    })
}

/// `chars` counts the letters of text so far: where a citation's text begins.
fn push_block(block: ContentBlock<'_>, chars: &mut usize, pieces: &mut Vec<Piece>) -> Result<(), Unreadable> {
    if let Some(text) = block.text {
        *chars += text.chars().count();
        pieces.push(Piece::Text(text));
    }
    if let Some(call) = block.tool_use.filter(|call| call.r#type.is_none()) {
        pieces.push(Piece::ToolCall(tool_call(call)?));
    }
    if let Some(reasoning) = block.reasoning_content {
        pieces.extend(thinking(reasoning).map(Piece::Thinking));
    }
    if let Some(cited) = block.citations_content {
        push_cited(cited, chars, pieces);
    }
    if let Some(Image { format: Some(format), source: Some(ImageSource { bytes: Some(data) }) }) = block.image {
        pieces.push(Piece::Image { media_type: format!("image/{format}"), data });
    }
    Ok(())
}

fn tool_call(call: ToolUse<'_>) -> Result<ToolCall, Unreadable> {
    let (Some(id), Some(name)) = (call.tool_use_id, call.name) else {
        return Err(Unreadable("a tool call has no id or no name"));
    };
    let input = call.input.map_or("{}", RawValue::get);
    Ok(match name.strip_suffix(FREE_TEXT) {
        Some(own) => ToolCall { id, name: own.to_owned(), input: free_text(input), custom: true, seal: None },
        None => ToolCall { id, input: input.to_owned(), name, custom: false, seal: None },
    })
}

/// The text in the input of a function that stands for a tool that takes free text; the input itself if the model wrote it otherwise.
pub(super) fn free_text(input: &str) -> String {
    #[derive(Deserialize)]
    struct Wrapped {
        input: String,
    }
    serde_json::from_str(input).map_or_else(|_| input.to_owned(), |Wrapped { input }| input)
}

fn thinking(reasoning: ReasoningContent) -> Option<Thinking> {
    if let Some(data) = reasoning.redacted_content {
        return Some(Thinking { text: String::new(), seal: Some(seal(data, true)) });
    }
    let ReasoningText { text, signature } = reasoning.reasoning_text?;
    let sealed = signature.filter(|signature| !signature.is_empty()).map(|signature| seal(signature, false));
    let text = text.unwrap_or_default();
    (!text.is_empty() || sealed.is_some()).then_some(Thinking { text, seal: sealed })
}

/// Seals on Bedrock are Claude's: no other model signs its reasoning here.
pub(super) fn seal(data: String, redacted: bool) -> Seal {
    Seal { maker: Maker::Anthropic, data, redacted }
}

fn push_cited(cited: CitationsContent, chars: &mut usize, pieces: &mut Vec<Piece>) {
    let start = *chars;
    let text: String = cited.content.into_iter().flatten().filter_map(|content| content.text).collect();
    *chars += text.chars().count();
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    let citations = cited.citations.into_iter().flatten();
    pieces.extend(citations.filter_map(|citation| annotation(&citation, start, *chars)).map(Piece::Annotation));
}

/// A citation of a web page as OpenAI has it; those of the client's own documents have no counterpart.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    let url = citation.pointer("/location/web/url")?.as_str()?;
    let title = citation.get("title").and_then(Value::as_str).unwrap_or_default();
    let place = json!({"start_index": start, "end_index": end, "url": url, "title": title});
    Some(json!({"type": "url_citation", "url_citation": place}))
}

/// Claude says which stop text it met, if it was asked to (`additionalModelResponseFieldPaths`).
pub(super) fn stop_text(fields: &Value) -> Option<String> {
    let found = fields.pointer("/stop_sequence").or_else(|| fields.pointer("/delta/stop_sequence"));
    found.and_then(Value::as_str).map(str::to_owned)
}

/// Whether the model's output was such that the service could not read it.
pub(super) fn is_malformed(reason: &str) -> bool {
    matches!(reason, "malformed_model_output" | "malformed_tool_use")
}

/// Why it ended.
pub(super) fn finish(reason: &str, stop_text: Option<String>) -> Finish {
    match reason {
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "stop_sequence" => Finish::StopText(stop_text),
        "guardrail_intervened" | "content_filtered" | "refusal" => Finish::ContentFilter,
        "pause_turn" => Finish::Pause,
        // `end_turn`, a malformed end after something that can be shown, and reasons of tomorrow.
        _ => Finish::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Response, Unreadable> {
        read_response(body.to_string().as_bytes())
    }

    #[test]
    fn answers_without_content_are_told_from_those_that_failed() {
        let of = |reason: &str| {
            read(json!({"output": {"message": {"role": "assistant", "content": []}}, "stopReason": reason}))
        };
        assert_eq!(of("content_filtered").expect("an answer").choices[0].finish, Finish::ContentFilter);
        assert!(of("malformed_tool_use").is_err());
        assert!(
            read(json!({"message": "no"})).is_err() && read_response(b"[]").is_err() && read_response(b"").is_err()
        );
    }

    #[test]
    fn the_services_own_tools_are_left_out() {
        let own =
            json!({"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}});
        let body = json!({"output": {"message": {"content": [own, {"later": {}}, {"text": "x"}, {"text": null}]}}});
        let read = read(body).expect("an answer");
        assert_eq!(read.choices[0].pieces, [Piece::Text("x".into())]);
        assert_eq!(read.usage, None);
    }

    #[test]
    fn free_text_comes_out_of_its_function() {
        let of = |input: Value| {
            let call = json!({"toolUse": {"toolUseId": "t", "name": "sh__igris_text", "input": input}});
            let read = read(json!({"output": {"message": {"content": [call]}}})).expect("an answer");
            let Some(Piece::ToolCall(call)) = read.choices[0].pieces.first().cloned() else { panic!("no call") };
            (call.name, call.input, call.custom)
        };
        assert_eq!(of(json!({"input": "ls \"a\""})), ("sh".into(), "ls \"a\"".into(), true));
        assert_eq!(of(json!({"command": 1})), ("sh".into(), r#"{"command":1}"#.into(), true));
    }

    #[test]
    fn usage_adds_what_the_service_counts_apart() {
        let usage: TokenUsage = serde_json::from_value(json!({"inputTokens": 5, "outputTokens": 7, "totalTokens": 112,
            "cacheReadInputTokens": 60, "cacheWriteInputTokens": 40, "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 10}]}))
        .expect("usage");
        let expected = Usage {
            input: 105,
            output: 7,
            cached_input: 60,
            cache_write: 40,
            cache_write_long: 30,
            ..Usage::default()
        };
        assert_eq!(usage.usage(), expected);
    }
}

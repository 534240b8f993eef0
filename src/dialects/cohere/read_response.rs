//! A whole answer of Cohere's into the inner language: thoughts, the plan, text, calls of tools, and what is billed.
//!
//! An answer that says of itself that it failed is none. Usage is what Cohere bills (`billed_units`): `tokens` counts its own prompt
//! template as well.

use super::write_request::FREE_TEXT;
use crate::chat::request::{Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use crate::domain::token::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    finish_reason: Option<String>,
    message: Option<Message>,
    usage: Option<TokenUsage>,
    logprobs: Option<Vec<LogprobItem>>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Vec<ContentItem>>,
    tool_plan: Option<String>,
    tool_calls: Option<Vec<Call>>,
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct ContentItem {
    text: Option<String>,
    thinking: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Option<CalledFunction>,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: Option<String>,
    arguments: Option<String>,
}

/// `usage` of an answer and of the last event of a stream. Figures are numbers with a point in them.
#[derive(Deserialize)]
pub(super) struct TokenUsage {
    billed_units: Option<Tokens>,
    tokens: Option<Tokens>,
    cached_tokens: Option<f64>,
}

#[derive(Deserialize)]
struct Tokens {
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

impl TokenUsage {
    /// In our accounting.
    pub(super) fn usage(&self) -> Usage {
        let figure = |of: fn(&Tokens) -> Option<f64>| {
            let billed = self.billed_units.as_ref().and_then(of);
            whole(billed.or_else(|| self.tokens.as_ref().and_then(of)))
        };
        let input = figure(|tokens| tokens.input_tokens);
        let cached_input = whole(self.cached_tokens).min(input);
        Usage { input, output: figure(|tokens| tokens.output_tokens), cached_input, ..Usage::default() }
    }
}

/// A count out of a number; what is no count is none.
pub(super) fn whole(figure: Option<f64>) -> u64 {
    // `as` saturates, and makes 0 of what is no number.
    figure.map_or(0, |figure| figure.round() as u64)
}

/// Log probabilities of a piece of text, one for each of its tokens.
#[derive(Deserialize)]
pub(super) struct LogprobItem {
    text: Option<String>,
    logprobs: Option<Vec<f64>>,
}

impl LogprobItem {
    /// An entry in OpenAI's form. A text of several tokens cannot be taken apart and has the probability of them all.
    pub(super) fn entry(&self) -> Value {
        let text = self.text.as_deref().unwrap_or_default();
        let logprob: f64 = self.logprobs.iter().flatten().sum();
        json!({"token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": []})
    }
}

/// Reads a whole answer.
///
/// # Errors
/// When it is no JSON of the format, or says that it failed.
pub(super) fn read_response(body: &[u8]) -> Result<Response, Unreadable> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Unreadable("it is not an answer of Cohere's chat"))?;
    let message = answer.message.ok_or(Unreadable("it has no message"))?;
    let reason = answer.finish_reason.as_deref().unwrap_or_default();
    if failure(reason).is_some() {
        return Err(Unreadable("the provider says that the answer failed"));
    }
    let choice = Choice {
        index: 0,
        pieces: pieces(message)?,
        finish: finish(reason),
        logprobs: answer
            .logprobs
            .map(|items| json!({"content": items.iter().map(LogprobItem::entry).collect::<Vec<_>>()})),
    };
    Ok(Response {
        id: answer.id.unwrap_or_default(),
        choices: vec![choice],
        usage: answer.usage.as_ref().map(TokenUsage::usage),
        ..Response::default()
    })
}

fn pieces(message: Message) -> Result<Vec<Piece>, Unreadable> {
    let mut pieces = Vec::new();
    for item in message.content.into_iter().flatten() {
        if let Some(text) = item.thinking.filter(|text| !text.is_empty()) {
            pieces.push(Piece::Thinking(Thinking { text, seal: None }));
        }
        pieces.extend(item.text.filter(|text| !text.is_empty()).map(Piece::Text));
    }
    pieces.extend(message.tool_plan.filter(|plan| !plan.is_empty()).map(Piece::Text));
    pieces.extend(message.citations.iter().flatten().filter_map(annotation).map(Piece::Annotation));
    for call in message.tool_calls.into_iter().flatten() {
        let (Some(id), Some(CalledFunction { name: Some(name), arguments })) = (call.id, call.function) else {
            return Err(Unreadable("a tool call has no id or no name"));
        };
        let input = arguments.filter(|input| !input.is_empty()).unwrap_or_else(|| "{}".to_owned());
        pieces.push(Piece::ToolCall(match name.strip_suffix(FREE_TEXT) {
            Some(own) => ToolCall { id, name: own.to_owned(), input: free_text(&input), custom: true, seal: None },
            None => ToolCall { id, name, input, custom: false, seal: None },
        }));
    }
    Ok(pieces)
}

/// The text in the input of a function that stands for a tool that takes free text; the input itself if the model wrote it otherwise.
pub(super) fn free_text(input: &str) -> String {
    #[derive(Deserialize)]
    struct Wrapped {
        input: String,
    }
    serde_json::from_str(input).map_or_else(|_| input.to_owned(), |Wrapped { input }| input)
}

/// A citation of text whose source has an address, as OpenAI has it; others have no counterpart.
pub(super) fn annotation(citation: &Value) -> Option<Value> {
    if citation.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "TEXT_CONTENT") {
        return None;
    }
    let sources = citation.get("sources")?.as_array()?;
    let (url, source) = sources.iter().find_map(|source| {
        let inner = source.get("document").or_else(|| source.get("tool_output"))?;
        Some((inner.get("url")?.as_str()?, inner))
    })?;
    let title = source.get("title").and_then(Value::as_str).unwrap_or_default();
    let (start, end) = (citation.get("start")?.as_u64()?, citation.get("end")?.as_u64()?);
    let place = json!({"start_index": start, "end_index": end, "url": url, "title": title});
    Some(json!({"type": "url_citation", "url_citation": place}))
}

/// Why it ended.
pub(super) fn finish(reason: &str) -> Finish {
    match reason {
        "MAX_TOKENS" | "ERROR_LIMIT" => Finish::Length,
        "STOP_SEQUENCE" => Finish::StopText(None),
        "TOOL_CALL" => Finish::ToolCalls,
        "ERROR_TOXIC" => Finish::ContentFilter,
        // `COMPLETE`, and reasons of tomorrow.
        _ => Finish::Stop,
    }
}

/// The type of error, in the words that every reader of faults knows, if the reason is one.
pub(super) fn failure(reason: &str) -> Option<&'static str> {
    match reason {
        "ERROR" => Some("server_error"),
        "TIMEOUT" => Some("timeout_error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_failed_is_none() {
        for reason in ["ERROR", "TIMEOUT"] {
            let body =
                json!({"id": "a", "finish_reason": reason, "message": {"content": [{"type": "text", "text": "half"}]}});
            assert!(read_response(body.to_string().as_bytes()).is_err(), "{reason}");
        }
        for body in ["", "[]", "{}", r#"{"message":null}"#, r#"{"message":{"tool_calls":[{}]}}"#] {
            assert!(read_response(body.as_bytes()).is_err(), "{body}");
        }
        let null = read_response(br#"{"id":null,"message":{"content":null,"tool_calls":null},"usage":null}"#)
            .expect("an answer");
        assert!(null.choices[0].pieces.is_empty() && null.usage.is_none());
    }

    #[test]
    fn free_text_comes_out_of_its_function() {
        let function = json!({"name": "sh__igris_text", "arguments": r#"{"input": "ls"}"#});
        let body = json!({"message": {"tool_calls": [{"id": "t", "type": "function", "function": function}]}});
        let read = read_response(body.to_string().as_bytes()).expect("an answer");
        let call = ToolCall { id: "t".into(), name: "sh".into(), input: "ls".into(), custom: true, seal: None };
        assert_eq!(read.choices[0].pieces, [Piece::ToolCall(call)]);
    }

    #[test]
    fn counts_are_whole_whatever_comes() {
        let figures = [None, Some(5.0), Some(4.6), Some(-3.0), Some(f64::NAN), Some(f64::INFINITY)];
        assert_eq!(figures.map(whole), [0, 5, 5, 0, 0, u64::MAX]);
        let of = |usage: Value| serde_json::from_value::<TokenUsage>(usage).expect("usage").usage();
        let billed = of(
            json!({"billed_units": {"input_tokens": 5.0, "output_tokens": 3.0}, "tokens": {"input_tokens": 71.0, "output_tokens": 4.0}, "cached_tokens": 64.0}),
        );
        assert_eq!(billed, Usage { input: 5, output: 3, cached_input: 5, ..Usage::default() });
        let plain = of(json!({"billed_units": null, "tokens": {"input_tokens": 71, "output_tokens": 4}}));
        assert_eq!(plain, Usage { input: 71, output: 4, ..Usage::default() });
    }
}

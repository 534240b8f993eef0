//! The shape of a `GenerateContentResponse` as far as it is read: whole answers and stream events alike.
//!
//! Everything borrows from the bytes it came in where JSON allows that (a string without escapes), and `null` is
//! absence everywhere. Members that nobody reads are skipped. Source: ai.google.dev `GenerateContentResponse`, read
//! 2026-11-23.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A whole answer, or one event of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    pub prompt_feedback: Option<Feedback<'a>>,
    pub usage_metadata: Option<super::usage::Counts>,
    #[serde(borrow)]
    pub model_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub response_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// Why a prompt was not answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Feedback<'a> {
    #[serde(borrow)]
    pub block_reason: Option<Text<'a>>,
}

/// One of several answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Candidate<'a> {
    pub index: Option<u32>,
    #[serde(borrow)]
    pub content: Option<Content<'a>>,
    #[serde(borrow)]
    pub finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub finish_message: Option<Text<'a>>,
    #[serde(borrow)]
    pub grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub logprobs_result: Option<&'a RawValue>,
}

/// The parts of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub parts: Option<Vec<Part<'a>>>,
}

/// One part of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    pub thought: Option<bool>,
    #[serde(borrow)]
    pub thought_signature: Option<Text<'a>>,
    #[serde(borrow)]
    pub function_call: Option<Call<'a>>,
    #[serde(borrow)]
    pub inline_data: Option<Blob<'a>>,
    #[serde(borrow)]
    pub executable_code: Option<Code<'a>>,
    #[serde(borrow)]
    pub code_execution_result: Option<Outcome<'a>>,
}

/// A call of a tool.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call<'a> {
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    #[serde(borrow)]
    pub args: Option<&'a RawValue>,
}

/// Bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Blob<'a> {
    #[serde(borrow)]
    pub mime_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}

/// Code that the provider runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Code<'a> {
    #[serde(borrow)]
    pub language: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
}

/// What such code printed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Outcome<'a> {
    #[serde(borrow)]
    pub output: Option<Text<'a>>,
}

impl<'a> Answer<'a> {
    /// Reads the JSON of an answer.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Part<'_> {
    /// Code and its output as fenced text; nothing for other parts.
    pub(super) fn fenced(&self) -> Option<String> {
        if let Some(code) = &self.executable_code {
            let language = code.language.as_ref().map(|text| text.0.to_ascii_lowercase()).unwrap_or_default();
            let language = if language == "language_unspecified" { "" } else { &language };
            return Some(fence(language, code.code.as_ref()));
        }
        self.code_execution_result.as_ref().map(|outcome| fence("", outcome.output.as_ref()))
    }
}

fn fence(language: &str, inside: Option<&Text<'_>>) -> String {
    let inside = inside.map(|text| text.0.trim_end_matches('\n')).unwrap_or_default();
    format!("\n```{language}\n{inside}\n```\n")
}

/// The input of a call as text: as it came, `{}` for none.
pub(super) fn input_of<'a>(call: &Call<'a>) -> &'a str {
    call.args.map_or("{}", RawValue::get)
}

/// The id of a call: its own, or a new one.
pub(super) fn id_of<'a>(call: &mut Call<'a>) -> Cow<'a, str> {
    match call.id.take() {
        Some(Text(id)) if !id.is_empty() => id,
        _ => Cow::Owned(format!("call_{:016x}", fastrand::u64(..))),
    }
}

// === Text ===

/// A string that is borrowed when it has no escapes: serde's own `Cow` is owned wherever it stands inside an `Option`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

/// The text of an optional string; empty for none.
pub(super) fn or_empty(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map(|text| text.0).unwrap_or_default()
}

// === Notes ===

/// `logprobsResult` in OpenAI's form.
pub(super) fn logprobs(raw: &RawValue) -> Option<Value> {
    let result: Value = serde_json::from_str(raw.get()).ok()?;
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let top = result.get("topCandidates").and_then(Value::as_array);
    let entries = chosen.iter().enumerate().filter_map(|(at, candidate)| {
        let mut entry = logprob(candidate)?;
        let alternatives = top.and_then(|top| top.get(at)?.get("candidates")?.as_array());
        let alternatives: Vec<Value> = alternatives.into_iter().flatten().filter_map(logprob).collect();
        entry.as_object_mut()?.insert("top_logprobs".into(), Value::Array(alternatives));
        Some(entry)
    });
    Some(serde_json::json!({"content": entries.collect::<Vec<_>>()}))
}

fn logprob(candidate: &Value) -> Option<Value> {
    let token = candidate.get("token")?.as_str()?;
    let logprob = candidate.get("logProbability").cloned().unwrap_or(Value::from(0.0));
    Some(serde_json::json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()}))
}

/// The web pages of `groundingMetadata` as OpenAI's annotations. `place` turns a range of bytes into one of characters.
pub(super) fn citations(raw: &RawValue, place: impl Fn(usize, usize) -> (usize, usize)) -> Vec<Value> {
    let Ok(grounding) = serde_json::from_str::<Value>(raw.get()) else { return Vec::new() };
    let list = |name: &str| grounding.get(name).and_then(Value::as_array).into_iter().flatten();
    let pages: Vec<Option<&Value>> = list("groundingChunks").map(|chunk| chunk.get("web")).collect();
    let mut citations = Vec::new();
    for support in list("groundingSupports") {
        let offset = |name: &str| {
            let at = support.get("segment").and_then(|segment| segment.get(name)?.as_u64());
            at.and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
        };
        let (start, end) = place(offset("startIndex"), offset("endIndex"));
        let cited = support.get("groundingChunkIndices").and_then(Value::as_array).into_iter().flatten();
        let cited = cited.filter_map(|index| pages.get(usize::try_from(index.as_u64()?).ok()?).copied().flatten());
        citations.extend(cited.map(|web| {
            let text = |name: &str| web.get(name).and_then(Value::as_str).unwrap_or_default();
            let place = serde_json::json!({
                "start_index": start, "end_index": end, "url": text("uri"), "title": text("title"),
            });
            serde_json::json!({"type": "url_citation", "url_citation": place})
        }));
    }
    citations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_strings_are_borrowed_and_null_is_absent() {
        let bytes = br#"{"candidates":[{"content":{"parts":[{"text":"plain"},{"text":"a\nb","thought":null}]},
            "finishReason":null}],"modelVersion":null,"other":[1]}"#;
        let answer = Answer::read(bytes).expect("an answer");
        let candidate = answer.candidates.expect("candidates").remove(0);
        let parts = candidate.content.and_then(|content| content.parts).expect("parts");
        assert!(matches!(parts[0].text.as_ref().expect("text").0, Cow::Borrowed("plain")));
        assert_eq!(parts[1].text.as_ref().expect("text").0, "a\nb");
        assert!(Answer::read(b"[1]").is_none() && Answer::read(b"{").is_none());
    }

    #[test]
    fn logprobs_take_openais_form() {
        let raw = r#"{"chosenCandidates":[{"token":"Hi","logProbability":-0.5}],
            "topCandidates":[{"candidates":[{"token":"Ho","logProbability":-1}]}]}"#;
        let raw: &RawValue = serde_json::from_str(raw).expect("JSON");
        let expected = serde_json::json!({"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -1, "bytes": [72, 111]}]}]});
        assert_eq!(logprobs(raw), Some(expected));
    }
}

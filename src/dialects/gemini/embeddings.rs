//! Embeddings: an OpenAI request as `:batchEmbedContents`, and its answer as OpenAI's list.
//!
//! Texts only: tokens of another vendor's tokenizer mean nothing to Google and are refused. Google states no usage
//! here; the caller estimates. Figures go to the client as Google wrote them, or as base64 of little-endian 32-bit
//! floats, which OpenAI's SDKs ask for by default.

use super::members::{self, Members};
use crate::chat::request::Refusal;
use crate::chat::response::Unreadable;
use crate::dialects::Written;
use crate::json::splice::escape_into;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Texts of one request at most (ai.google.dev, read 2026-11-23).
const TEXTS_MAX: usize = 100;

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

/// Writes the body of `:batchEmbedContents` for a client's `/v1/embeddings` body.
///
/// # Errors
/// When the request is malformed, asks for what Google does not embed, or for more texts than it takes at once.
pub fn write_batch(body: &[u8], model: &str) -> Result<Written, Refusal> {
    let mut request = Members::of_body(body)?;
    let texts = texts(&mut request)?;
    let dimensions = request.count("dimensions")?;
    match request.text("encoding_format")?.as_deref() {
        None | Some("float" | "base64") => {}
        Some(_) => return Err(Refusal::new("encoding_format", "The format is `float` or `base64`.")),
    }
    // Who asks has no effect on the figures, and the address names the model.
    request.take("user")?;
    request.take("model")?;
    let mut dropped = Vec::new();
    request.note_rest(&mut dropped);
    let name = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    let one = |text| {
        let content = Content { parts: [Text { text }] };
        One { model: &name, content, output_dimensionality: dimensions }
    };
    let batch = Batch { requests: texts.iter().map(|text| one(text)).collect() };
    let body = serde_json::to_vec(&batch).map_err(|_| Refusal::new("input", "Send texts as JSON strings."))?;
    Ok(Written { body, dropped })
}

/// Whether a client's `/v1/embeddings` body asks for base64.
pub fn wants_base64(body: &[u8]) -> bool {
    let format = Members::of_body(body)
        .and_then(|mut request| request.text("encoding_format").map(|text| text == Some("base64".into())));
    format.unwrap_or(false)
}

fn texts(request: &mut Members<'_>) -> Result<Vec<String>, Refusal> {
    let Some(input) = request.take("input")? else {
        return Err(Refusal::new("input", "Send `input`: a text or several."));
    };
    let elements = members::elements(input, "input")?;
    if elements.is_empty() {
        return Err(Refusal::new("input", "Send at least one text."));
    }
    if elements.len() > TEXTS_MAX {
        return Err(Refusal::new("input", "Google embeds 100 texts at a time: send fewer."));
    }
    let text = |(raw, path): (&RawValue, String)| {
        let text = serde_json::from_str::<String>(raw.get());
        text.map_err(|_| Refusal::new(path, "Google embeds texts, not tokens: send strings."))
    };
    elements.into_iter().map(text).collect()
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: Vec<Embedding<'a>>,
}

#[derive(Deserialize)]
struct Embedding<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

/// Writes OpenAI's list for an answer of `:batchEmbedContents`. `prompt_tokens` is the caller's estimate.
///
/// # Errors
/// When it is no such answer; `out` is then as it was.
pub fn read_batch(
    answer: &[u8],
    model: &str,
    base64: bool,
    prompt_tokens: u64,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    let before = out.len();
    let written = write_list(answer, model, base64, prompt_tokens, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn write_list(
    answer: &[u8],
    model: &str,
    base64: bool,
    prompt_tokens: u64,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    let answer: Answer<'_> =
        serde_json::from_slice(answer).map_err(|_| Unreadable("it is no batchEmbedContents answer"))?;
    let mut figures = itoa::Buffer::new();
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, embedding) in answer.embeddings.iter().enumerate() {
        let values: Vec<f32> = serde_json::from_str(embedding.values.get())
            .map_err(|_| Unreadable("an embedding is no list of numbers"))?;
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        out.extend_from_slice(figures.format(index).as_bytes());
        out.extend_from_slice(b",\"embedding\":");
        if base64 {
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        } else {
            // Numbers hold no white space, so all of it is Google's indentation.
            out.extend(embedding.values.get().bytes().filter(|byte| !byte.is_ascii_whitespace()));
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"model\":");
    escape_into(model, out);
    let tokens = figures.format(prompt_tokens);
    out.extend_from_slice(format!(",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}").as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn batch(body: &Value) -> Result<(Value, Vec<String>), Refusal> {
        let written = write_batch(body.to_string().as_bytes(), "gemini-embedding-001")?;
        Ok((serde_json::from_slice(&written.body).expect("JSON"), written.dropped))
    }

    #[test]
    fn each_text_is_a_request() {
        let body = json!({
            "model": "x", "input": ["a", "b"], "dimensions": 256, "user": "u", "encoding_format": "float", "odd": 1,
        });
        let one = |text: &str| {
            let content = json!({"parts": [{"text": text}]});
            json!({"model": "models/gemini-embedding-001", "content": content, "outputDimensionality": 256})
        };
        assert_eq!(batch(&body).expect("written"), (json!({"requests": [one("a"), one("b")]}), vec!["odd".to_owned()]));
        let (single, _) = batch(&json!({"input": "a\n"})).expect("written");
        assert_eq!(single["requests"][0]["content"]["parts"][0]["text"], "a\n");
        assert_eq!(single["requests"][0].get("outputDimensionality"), None);
    }

    #[test]
    fn tokens_and_crowds_are_refused() {
        let rows = [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": [1, 2]}), "input[0]"),
            (json!({"input": ["a", [1]]}), "input[1]"),
            (json!({"input": vec!["a"; 101]}), "input"),
            (json!({"input": "a", "encoding_format": "int8"}), "encoding_format"),
            (json!({"input": "a", "dimensions": "big"}), "dimensions"),
        ];
        for (body, param) in rows {
            assert_eq!(batch(&body).expect_err(param).param, param, "{body}");
        }
    }

    #[test]
    fn figures_come_as_written_or_as_base64() {
        let answer = b"{\"embeddings\":[{\"values\":[\n  0.10,\n  -2\n]},{\"values\":[1e-3]}]}";
        let mut out = Vec::new();
        read_batch(answer, "m", false, 7, &mut out).expect("an answer");
        let expected = concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-2]},"#,
            r#"{"object":"embedding","index":1,"embedding":[1e-3]}],"#,
            r#""model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#,
        );
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);

        let mut out = Vec::new();
        read_batch(answer, "m", true, 7, &mut out).expect("an answer");
        let list: Value = serde_json::from_slice(&out).expect("JSON");
        let bytes = STANDARD.decode(list["data"][0]["embedding"].as_str().expect("base64")).expect("base64");
        assert_eq!(bytes, [0.1_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    }

    #[test]
    fn another_answer_leaves_nothing_behind() {
        for answer in
            [&b"{}"[..], b"<html>", b"{\"embeddings\":[{\"values\":[1]},{\"values\":\"x\"}]}", b"{\"embeddings\":[{}]}"]
        {
            let mut out = b"kept".to_vec();
            assert!(read_batch(answer, "m", false, 0, &mut out).is_err());
            assert_eq!(out, b"kept");
        }
    }

    #[test]
    fn base64_is_asked_for_by_name() {
        assert!(wants_base64(br#"{"encoding_format":"base64","input":"a"}"#));
        assert!(
            !wants_base64(br#"{"input":"a"}"#) && !wants_base64(b"[") && !wants_base64(br#"{"encoding_format":1}"#)
        );
    }
}

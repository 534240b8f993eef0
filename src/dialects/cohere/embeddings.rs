//! Embeddings: OpenAI's request as Cohere's `/v2/embed`, and its answer as OpenAI's.
//!
//! Cohere wants to know what the vectors are for; a client may say it in a member `input_type`, else they are for documents to be searched.
//! Texts only: Cohere counts tokens its own way, so a list of token ids means nothing to it. Vectors keep their digits, or become the
//! base64 of little-endian 32-bit floats that OpenAI's own clients ask for.

use super::read_response::whole;
use crate::chat::request::Refusal;
use crate::chat::response::Unreadable;
use crate::dialects::Written;
use crate::domain::token::Usage;
use crate::json::splice::escape_into;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Texts in one request.
const TEXTS_MAX: usize = 96;

/// How a client wants its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As lists of numbers.
    #[default]
    Float,
    /// As base64 of little-endian 32-bit floats.
    Base64,
}

/// Writes OpenAI's embeddings request for Cohere. The encoding is for [`read_response`].
///
/// # Errors
/// When it is malformed, or asks for what Cohere cannot embed.
pub fn write_request(body: &[u8], model: &str) -> Result<(Written, Encoding), Refusal> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return Err(Refusal::new("body", "Send a JSON object with `model` and `input`."));
    };
    let texts = texts(members.remove("input"))?;
    let encoding = encoding(members.remove("encoding_format"))?;
    let dimensions = members.remove("dimensions").filter(|value| !value.is_null());
    if dimensions.as_ref().is_some_and(|value| value.as_u64().is_none_or(|dimensions| dimensions == 0)) {
        return Err(Refusal::new("dimensions", "Send `dimensions` as a whole number above 0."));
    }
    let input_type = word(&mut members, "input_type")?.unwrap_or_else(|| "search_document".to_owned());
    let truncate = word(&mut members, "truncate")?;
    let mut sent = json!({"model": model, "input_type": input_type, "texts": texts, "embedding_types": ["float"]});
    if let Some(dimensions) = dimensions {
        sent["output_dimension"] = dimensions;
    }
    if let Some(truncate) = truncate {
        sent["truncate"] = Value::String(truncate);
    }
    // `user` changes nothing in a vector.
    let is_lost = |name: &&String| !matches!(name.as_str(), "model" | "user");
    let dropped = members.keys().filter(is_lost).cloned().collect();
    Ok((Written { body: sent.to_string().into_bytes(), dropped }, encoding))
}

fn texts(input: Option<Value>) -> Result<Vec<Value>, Refusal> {
    let texts = match input {
        Some(text @ Value::String(_)) => vec![text],
        Some(Value::Array(texts)) if !texts.is_empty() => texts,
        _ => return Err(Refusal::new("input", "Send `input` as a text or a list of texts.")),
    };
    if let Some(at) = texts.iter().position(|text| !text.is_string()) {
        return Err(Refusal::new(format!("input[{at}]"), "Cohere embeds texts, not token ids; send the text itself."));
    }
    if texts.len() > TEXTS_MAX {
        let message = format!("Cohere embeds at most {TEXTS_MAX} texts a request; split the list.");
        return Err(Refusal::new("input", message));
    }
    Ok(texts)
}

fn encoding(format: Option<Value>) -> Result<Encoding, Refusal> {
    match format {
        None | Some(Value::Null) => Ok(Encoding::Float),
        Some(format) if format == "float" => Ok(Encoding::Float),
        Some(format) if format == "base64" => Ok(Encoding::Base64),
        Some(_) => Err(Refusal::new("encoding_format", "Send `encoding_format` as \"float\" or \"base64\".")),
    }
}

fn word(members: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => Ok(Some(word)),
        Some(_) => Err(Refusal::new(name, format!("Send `{name}` as a text."))),
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: Option<Vectors<'a>>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Vectors<'a> {
    #[serde(borrow)]
    float: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Units>,
}

#[derive(Deserialize)]
struct Units {
    input_tokens: Option<f64>,
}

/// Appends Cohere's answer to `out` as OpenAI writes it, and returns what is billed; `None` if that is not told. On an error `out` is as
/// before.
///
/// # Errors
/// When it is no answer of `/v2/embed` with vectors of floats.
pub fn read_response(
    body: &[u8],
    encoding: Encoding,
    model: &str,
    out: &mut Vec<u8>,
) -> Result<Option<Usage>, Unreadable> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| Unreadable("it is not an answer of embed"))?;
    let vectors =
        answer.embeddings.and_then(|vectors| vectors.float).ok_or(Unreadable("it has no vectors of floats"))?;
    let tokens = answer.meta.and_then(|meta| meta.billed_units?.input_tokens);
    let start = out.len();
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, vector) in vectors.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        out.extend_from_slice(b",\"embedding\":");
        if let Err(unreadable) = push_vector(vector, encoding, out) {
            out.truncate(start);
            return Err(unreadable);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"model\":");
    escape_into(model, out);
    let input = whole(tokens);
    let mut figure = itoa::Buffer::new();
    let figure = figure.format(input).as_bytes();
    for part in [b",\"usage\":{\"prompt_tokens\":", figure, b",\"total_tokens\":", figure, b"}}"] {
        out.extend_from_slice(part);
    }
    Ok(tokens.map(|_| Usage { input, ..Usage::default() }))
}

fn push_vector(vector: &RawValue, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let floats: Vec<f32> =
        serde_json::from_str(vector.get()).map_err(|_| Unreadable("a vector is not a list of numbers"))?;
    match encoding {
        Encoding::Float => out.extend_from_slice(vector.get().as_bytes()),
        Encoding::Base64 => {
            let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(body: Value) -> Result<(Value, Vec<String>, Encoding), Refusal> {
        let (written, encoding) = write_request(body.to_string().as_bytes(), "embed-v4.0")?;
        Ok((serde_json::from_slice(&written.body).expect("JSON"), written.dropped, encoding))
    }

    #[test]
    fn openais_request_becomes_coheres() {
        let (sent, dropped, encoding) =
            write(json!({"model": "alias", "input": ["a", "b"], "encoding_format": "base64",
            "dimensions": 256, "input_type": "search_query", "user": "u", "odd": 1}))
            .expect("written");
        let expected = json!({"model": "embed-v4.0", "input_type": "search_query", "texts": ["a", "b"], "embedding_types": ["float"],
            "output_dimension": 256});
        assert_eq!((sent, encoding), (expected, Encoding::Base64));
        assert_eq!(dropped, ["odd"]);
        let (sent, ..) = write(json!({"model": "m", "input": "one", "dimensions": null})).expect("written");
        assert_eq!(
            sent,
            json!({"model": "embed-v4.0", "input_type": "search_document", "texts": ["one"], "embedding_types": ["float"]})
        );
    }

    #[test]
    fn what_cannot_be_embedded_is_refused_by_name() {
        let many: Vec<String> = (0..97).map(|number| number.to_string()).collect();
        let cases = [
            (json!({"input": [1, 2]}), "input[0]"),
            (json!({"input": ["a", [1]]}), "input[1]"),
            (json!({"input": []}), "input"),
            (json!({"input": null}), "input"),
            (json!({ "input": many }), "input"),
            (json!({"input": "a", "dimensions": "many"}), "dimensions"),
            (json!({"input": "a", "encoding_format": "int8"}), "encoding_format"),
            (json!({"input": "a", "input_type": 1}), "input_type"),
            (json!([]), "body"),
        ];
        for (body, param) in cases {
            assert_eq!(write(body).expect_err("refused").param, param);
        }
    }

    const ANSWER: &str = r#"{"id":"e","embeddings":{"float":[[0.10,-1e-3],[2,3]]},"texts":["a","b"],"meta":{"billed_units":{"input_tokens":4.0}}}"#;

    #[test]
    fn coheres_answer_becomes_openais() {
        let mut out = b"x".to_vec();
        let usage = read_response(ANSWER.as_bytes(), Encoding::Float, "embed-v4.0", &mut out).expect("read");
        assert_eq!(usage, Some(Usage { input: 4, ..Usage::default() }));
        let expected = r#"x{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-1e-3]},{"object":"embedding","index":1,"embedding":[2,3]}],"model":"embed-v4.0","usage":{"prompt_tokens":4,"total_tokens":4}}"#;
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn base64_is_little_endian_floats() {
        let mut out = Vec::new();
        read_response(ANSWER.as_bytes(), Encoding::Base64, "m", &mut out).expect("read");
        let read: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(read["data"][1]["embedding"], "AAAAQAAAQEA=", "2.0 and 3.0");
    }

    #[test]
    fn what_is_no_answer_leaves_nothing_behind() {
        for body in ["", "{}", r#"{"embeddings":{"int8":[[1]]}}"#, r#"{"embeddings":{"float":[["a"]]}}"#] {
            let mut out = b"x".to_vec();
            assert!(read_response(body.as_bytes(), Encoding::Float, "m", &mut out).is_err(), "{body}");
            assert_eq!(out, b"x");
        }
        let silent = read_response(br#"{"embeddings":{"float":[]}}"#, Encoding::Float, "m", &mut Vec::new());
        assert_eq!(silent, Ok(None));
    }
}

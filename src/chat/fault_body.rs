//! The shapes that error bodies come in, read into one: codes from the most specific to the least, a message, a retry delay.
//!
//! OpenAI's `{"error":{…}}`, xAI's and Ollama's `{"error":"text"}`, Mistral's `detail` and object-valued `message`, MiniMax's
//! `base_resp`, AWS's `__type`, Google's array around it all, OpenRouter's numeric codes and failed choices. Off the hot path, so a tree is built,
//! from a bounded part of the body. What is no JSON becomes the message.

use crate::limits::FAULT_BODY_BYTES_MAX;
use memchr::memmem;
use serde_json::{Map, Value};

/// What an error body says.
#[derive(Debug, Default)]
pub(super) struct FaultBody {
    /// Codes and types, the most specific first.
    pub codes: Vec<String>,
    /// The sentence; empty when there was none.
    pub message: String,
    /// An HTTP status stated inside the body.
    pub status: Option<u16>,
    /// A delay stated inside the body, e.g. `37s` (google.rpc.RetryInfo).
    pub retry_delay: Option<String>,
}

impl FaultBody {
    /// Reads the body of an answer that failed.
    pub fn parse(body: &[u8]) -> Self {
        let body = body.get(..FAULT_BODY_BYTES_MAX).unwrap_or(body);
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Self::from_object(&members),
            Ok(Value::Array(mut items)) if !items.is_empty() => match items.swap_remove(0) {
                Value::Object(members) => Self::from_object(&members),
                other => Self::from_text(&other.to_string()),
            },
            Ok(Value::String(text)) => Self::from_text(&text),
            _ => Self::from_text(&String::from_utf8_lossy(body)),
        }
    }

    /// Reads the body of an answer that says it succeeded; `None` unless a failure stands in it. Here the whole body counts: a
    /// failure may stand at its end.
    pub fn parse_success(body: &[u8]) -> Option<Self> {
        // Most good answers hold neither word, and cost a scan instead of a tree.
        let worth_reading =
            [&b"\"error\""[..], b"\"base_resp\""].into_iter().any(|word| memmem::find(body, word).is_some());
        if !worth_reading {
            return None;
        }
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return None };
        let choices = members.get("choices").and_then(Value::as_array).into_iter().flatten();
        let failed_choice = choices.filter_map(|choice| choice.get("error")).find(|error| is_stated(error));
        let stated = members.get("error").filter(|error| is_stated(error));
        if let Some(error) = stated.or(failed_choice) {
            let mut read = Self::default();
            read.read_error(error);
            read.read_flat_codes(&members);
            return Some(read);
        }
        let mut read = Self::default();
        read.read_base_resp(&members).then_some(read)
    }

    fn from_text(text: &str) -> Self {
        Self { message: text.to_owned(), ..Self::default() }
    }

    fn from_object(members: &Map<String, Value>) -> Self {
        let mut read = Self::default();
        if let Some(error) = members.get("error").filter(|error| !error.is_null()) {
            read.read_error(error);
        } else if !read.read_base_resp(members) {
            let sentence = ["message", "Message", "detail"].into_iter().find_map(|name| members.get(name));
            read.message = sentence.map(sentence_of).unwrap_or_default();
        }
        read.read_flat_codes(members);
        read
    }

    /// The value of `error`: an object as OpenAI has it, or a plain sentence as xAI has it.
    fn read_error(&mut self, error: &Value) {
        let Value::Object(error) = error else {
            self.message = sentence_of(error);
            return;
        };
        self.message = error.get("message").map(sentence_of).unwrap_or_default();
        // OpenRouter says "Provider returned error" and keeps what was returned apart.
        if let Some(raw) = error.get("metadata").and_then(|metadata| metadata.get("raw")?.as_str()) {
            self.message = format!("{}: {raw}", self.message);
        }
        self.push_code(error.get("code"));
        // Azure's filter says there what it is.
        self.push_code(error.get("innererror").and_then(|inner| inner.get("code")));
        self.read_details(error.get("details"));
        self.push_code(error.get("type"));
        self.push_code(error.get("status"));
    }

    /// `details` is an object with an `error_code` at Anthropic and a list of typed messages at Google.
    fn read_details(&mut self, details: Option<&Value>) {
        let single = details.filter(|details| details.is_object());
        let several = details.and_then(Value::as_array);
        for detail in single.into_iter().chain(several.into_iter().flatten()) {
            self.push_code(detail.get("error_code"));
            self.push_code(detail.get("reason"));
            let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
            let mut quotas = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
            // Google's name of an allowance says how long it lasts; a day's is used up for hours, whatever delay is given.
            if quotas.any(|quota| quota.contains("PerDay")) {
                self.codes.push(DAY_QUOTA.to_owned());
            }
            if let Some(delay) = detail.get("retryDelay").and_then(Value::as_str) {
                self.retry_delay = Some(delay.to_owned());
            }
        }
    }

    /// MiniMax ends every body with `base_resp`; a `status_code` other than 0 is a failure.
    fn read_base_resp(&mut self, members: &Map<String, Value>) -> bool {
        let Some(base_resp) = members.get("base_resp") else { return false };
        let Some(code) = base_resp.get("status_code").and_then(Value::as_i64).filter(|code| *code != 0) else {
            return false;
        };
        self.codes.push(code.to_string());
        self.message = base_resp.get("status_msg").map(sentence_of).unwrap_or_default();
        true
    }

    fn read_flat_codes(&mut self, members: &Map<String, Value>) {
        self.push_code(members.get("code"));
        self.push_code(members.get("type"));
        // AWS writes its name there behind a namespace, where no field of the head has it.
        if let Some(name) = members.get("__type").and_then(Value::as_str).and_then(|name| name.rsplit('#').next()) {
            self.codes.push(name.to_owned());
        }
    }

    fn push_code(&mut self, code: Option<&Value>) {
        match code {
            Some(Value::String(code)) if !code.is_empty() => self.codes.push(code.clone()),
            Some(Value::Number(code)) => {
                self.codes.push(code.to_string());
                let status =
                    code.as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
                self.status = self.status.or(status);
            }
            _ => {}
        }
    }
}

/// The code that stands for an allowance of a whole day that is used up; ours, since Google has none.
const DAY_QUOTA: &str = "quota_per_day";

/// Whether the value of `error` says that there is one: many a good answer has `"error": null`.
fn is_stated(error: &Value) -> bool {
    error.is_object() || error.as_str().is_some_and(|text| !text.is_empty())
}

/// A sentence out of whatever stands in its place: text, `{"detail":[{"msg":…}]}`, or a list of these.
fn sentence_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.first().map(sentence_of).unwrap_or_default(),
        Value::Object(members) => {
            let inner = ["message", "msg", "detail"].into_iter().find_map(|name| members.get(name));
            inner.map(sentence_of).unwrap_or_else(|| value.to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> FaultBody {
        FaultBody::parse(body.as_bytes())
    }

    #[test]
    fn every_shape_gives_its_sentence_and_codes() {
        let cases = [
            (r#"{"error":{"message":"m","type":"t","code":"c"}}"#, "m", vec!["c", "t"]),
            (r#"{"code":"c","error":"m"}"#, "m", vec!["c"]),
            (r#"{"error":"m"}"#, "m", vec![]),
            (r#"{"detail":"m"}"#, "m", vec![]),
            (r#"{"detail":[{"loc":["body"],"msg":"m","type":"t"}]}"#, "m", vec![]),
            (r#"{"object":"error","message":{"detail":[{"msg":"m"}]},"type":"t","code":null}"#, "m", vec!["t"]),
            (r#"{"base_resp":{"status_code":1004,"status_msg":"m"}}"#, "m", vec!["1004"]),
            (r#"[{"error":{"code":400,"message":"m","status":"S"}}]"#, "m", vec!["400", "S"]),
            ("\n\n {\"error\":{\"message\":\"m\"}}", "m", vec![]),
            ("\"m\"", "m", vec![]),
            ("<html>", "<html>", vec![]),
        ];
        for (body, message, codes) in cases {
            let read = read(body);
            assert_eq!(
                (read.message.as_str(), read.codes),
                (message, codes.into_iter().map(String::from).collect()),
                "{body}"
            );
        }
    }

    #[test]
    fn a_success_holds_a_failure_only_when_it_says_so() {
        for body in
            [r#"{"choices":[]}"#, r#"{"error":null}"#, r#"{"base_resp":{"status_code":0,"status_msg":""}}"#, "x"]
        {
            assert!(FaultBody::parse_success(body.as_bytes()).is_none(), "{body}");
        }
        for body in [
            r#"{"error":{"code":402}}"#,
            r#"{"choices":[{"error":{"code":502}}]}"#,
            r#"{"base_resp":{"status_code":1}}"#,
        ] {
            assert!(FaultBody::parse_success(body.as_bytes()).is_some(), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_text_and_not_a_stack() {
        let deep = "[".repeat(60_000);
        assert_eq!(read(&deep).message.len(), 60_000);
    }
}

//! Refusals, in the words and the JSON shape of OpenAI (its error reference, read 2026-11).

use std::fmt::Write as _;

/// An error answer before it has a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// One sentence for a person.
    pub message: String,
    /// The error's family, such as `invalid_request_error`.
    pub kind: &'static str,
    /// The field at fault.
    pub param: Option<String>,
    /// The machine's word for it.
    pub code: Option<&'static str>,
}

const INVALID: &str = "invalid_request_error";

impl Refusal {
    /// A 400 about one field.
    pub fn invalid(code: Option<&'static str>, param: &str, message: impl Into<String>) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self { status: 400, message: message.into(), kind: INVALID, param, code }
    }

    /// A field that nobody knows.
    pub fn unknown_parameter(name: &str) -> Self {
        Self::invalid(Some("unknown_parameter"), name, format!("Unknown parameter: '{name}'."))
    }

    /// A field that must be there.
    pub fn missing(name: &str) -> Self {
        Self::invalid(Some("missing_required_parameter"), name, format!("Missing required parameter: '{name}'."))
    }

    /// A field of the wrong JSON type.
    pub fn wrong_type(name: &str, expected: &str, got: &str) -> Self {
        let message = format!("Invalid type for '{name}': expected {expected}, but got {got} instead.");
        Self::invalid(Some("invalid_type"), name, message)
    }

    /// A field of the right type with a value out of range.
    pub fn wrong_value(name: &str, message: impl Into<String>) -> Self {
        Self::invalid(Some("invalid_value"), name, message)
    }

    /// A body that is no JSON object.
    pub fn not_json() -> Self {
        let message = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                       HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid \
                       JSON.)";
        Self::invalid(None, "", message)
    }

    /// A path or method nobody serves.
    pub fn unknown_path(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self { status: 404, message, kind: INVALID, param: None, code: None }
    }

    /// A model nobody has.
    pub fn unknown_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self { status: 404, message, kind: INVALID, param: None, code: Some("model_not_found") }
    }

    /// No bearer key.
    pub fn missing_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                       Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if \
                       you're accessing the API from your browser and are prompted for a username and password. You can \
                       obtain an API key from https://platform.openai.com/account/api-keys.";
        Self { status: 401, message: message.into(), kind: INVALID, param: None, code: None }
    }

    /// A key nobody knows; like the real one, it echoes a part of it.
    pub fn unknown_key(key: &str) -> Self {
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
            masked(key)
        );
        Self { status: 401, message, kind: INVALID, param: None, code: Some("invalid_api_key") }
    }

    /// What OpenAI says with this status when nothing more precise is known.
    pub fn for_status(status: u16) -> Self {
        let (message, kind, code) = match status {
            401 => ("Incorrect API key provided.", INVALID, Some("invalid_api_key")),
            403 => ("Your project does not have access to this model.", "permission_denied", Some("permission_denied")),
            404 => ("The model does not exist or you do not have access to it.", INVALID, Some("model_not_found")),
            408 => ("Request timed out.", "timeout", None),
            429 => (
                "Rate limit reached for requests. Limit: 3 / min. Please try again in 20s.",
                "requests",
                Some("rate_limit_exceeded"),
            ),
            503 => (
                "The engine is currently overloaded, please try again later.",
                "server_error",
                Some("engine_overloaded"),
            ),
            500..=599 => {
                ("The server had an error while processing your request. Sorry about that!", "server_error", None)
            }
            _ => ("The request could not be served.", INVALID, None),
        };
        Self { status, message: message.into(), kind, param: None, code }
    }

    /// The body, indented as OpenAI indents it.
    pub fn body(&self) -> String {
        let quote =
            |text: Option<&str>| text.map_or("null".to_owned(), |text| serde_json::Value::from(text).to_string());
        let mut out = String::with_capacity(256);
        let _ = write!(
            out,
            "{{\n  \"error\": {{\n    \"message\": {},\n    \"type\": \"{}\",\n    \"param\": {},\n    \"code\": {}\n  }}\n}}",
            quote(Some(&self.message)),
            self.kind,
            quote(self.param.as_deref()),
            quote(self.code),
        );
        out
    }

    /// The error event that breaks a stream.
    pub fn event(&self) -> String {
        let error = serde_json::json!({
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        });
        format!("data: {{\"error\":{error}}}\n\n")
    }
}

/// A key as OpenAI echoes it: the head up to eight characters, stars, the last four.
fn masked(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    if letters.len() < 12 {
        return "*".repeat(letters.len());
    }
    let stars = "*".repeat(letters.len() - 12);
    let (start, end) = (&letters[..8], &letters[letters.len() - 4..]);
    format!("{}{stars}{}", start.iter().collect::<String>(), end.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_and_bodies_parse() {
        assert_eq!(masked("sk-proj-abcdefghij1234"), "sk-proj-**********1234");
        assert_eq!(masked("short"), "*****");
        let body: serde_json::Value =
            serde_json::from_str(&Refusal::unknown_parameter("a\"b").body()).expect("the body is JSON");
        assert_eq!(body["error"]["param"], "a\"b");
        assert_eq!(body["error"]["code"], "unknown_parameter");
    }
}

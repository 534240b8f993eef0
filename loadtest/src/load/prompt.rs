//! The requests of a run: each one different, each one known by its number alone.

use serde_json::json;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// The model to ask for.
    pub model: String,
    /// Whether to ask for streams.
    pub stream: bool,
    /// Whether streams shall end with their usage.
    pub include_usage: bool,
    /// Words the simulator shall answer with; also sent as `max_completion_tokens`.
    pub tokens: Option<u32>,
    /// Bytes of the user's message, about.
    pub prompt_bytes: usize,
    /// Makes two runs ask different questions.
    pub seed: u64,
}

impl Prompts {
    /// The body of request number `index`.
    pub fn body(&self, index: u64) -> Vec<u8> {
        let wish = self.tokens.map_or(String::new(), |tokens| format!("sim:tokens={tokens} "));
        let mut text = format!("{wish}Question {index} of run {}: what does a request cost?", self.seed);
        while text.len() < self.prompt_bytes {
            text.push_str(" The quiet engine carries a letter between two cities.");
        }
        let mut body = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": "Answer in plain words." },
                { "role": "user", "content": text },
            ],
        });
        if let Some(tokens) = self.tokens {
            body["max_completion_tokens"] = tokens.into();
        }
        if self.stream {
            body["stream"] = true.into();
            if self.include_usage {
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        body.to_string().into_bytes()
    }
}

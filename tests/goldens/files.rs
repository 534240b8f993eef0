//! The golden files on disk, and the words in which they name formats and models.
//!
//! A folder is a provider's row, or OpenAI's other format; its files are `request-*`, `response-*`, `stream-*` and `fault-*`. Nothing is
//! skipped: a file that does not read, or is named after nothing known, fails the sweep.

use igris::chat::ability::Abilities;
use igris::chat::request::Effort;
use igris::dialects::Wire;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Every folder of goldens and the format its provider answers in.
pub const FOLDERS: &[(&str, Wire)] = &[
    ("anthropic", Wire::Messages),
    ("azure", Wire::Chat),
    ("bedrock", Wire::Converse),
    ("cohere", Wire::Cohere),
    ("deepseek", Wire::Chat),
    ("fireworks", Wire::Chat),
    ("google", Wire::Gemini),
    ("groq", Wire::Chat),
    ("kimi", Wire::Chat),
    ("minimax", Wire::Chat),
    ("mistral", Wire::Chat),
    ("ollama", Wire::Chat),
    ("openai", Wire::Chat),
    ("openai-responses", Wire::Responses),
    ("openrouter", Wire::Chat),
    ("perplexity", Wire::Chat),
    ("qwen", Wire::Chat),
    ("together", Wire::Chat),
    ("vertex", Wire::Gemini),
    ("vllm", Wire::Chat),
    ("xai", Wire::Chat),
    ("zai", Wire::Chat),
];

/// One golden file.
pub struct Golden {
    /// `folder/file`, for messages.
    pub name: String,
    /// The format of its provider.
    pub wire: Wire,
    /// Where it lies.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Golden {
    /// Its content as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The bytes of a stream: a text file as it is, a file of hexadecimal digits taken back.
    pub fn stream(&self) -> Vec<u8> {
        if self.name.ends_with(".txt") {
            return self.bytes.clone();
        }
        let digits = self.bytes.iter().filter_map(|byte| char::from(*byte).to_digit(16));
        let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

/// Where the goldens lie.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files of one folder whose names begin and end so.
pub fn in_folder(folder: &str, start: &str, ends: &[&str]) -> Vec<Golden> {
    let (_, wire) = FOLDERS.iter().find(|(name, _)| *name == folder).expect("a known folder");
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder of goldens");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let file = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
    paths.retain(|path| file(path).starts_with(start) && ends.iter().any(|end| file(path).ends_with(end)));
    let read = |path: PathBuf| Golden {
        name: format!("{folder}/{}", file(&path)),
        wire: *wire,
        bytes: std::fs::read(&path).expect("a readable golden"),
        path,
    };
    paths.into_iter().map(read).collect()
}

/// The files of every folder whose names begin and end so.
pub fn everywhere(start: &str, ends: &[&str]) -> Vec<Golden> {
    FOLDERS.iter().flat_map(|(folder, _)| in_folder(folder, start, ends)).collect()
}

/// The format that a request golden names as its client's.
pub fn client(golden: &Value) -> Wire {
    match golden["client"].as_str() {
        Some("chat") => Wire::Chat,
        Some("responses") => Wire::Responses,
        Some("messages") => Wire::Messages,
        Some("gemini") => Wire::Gemini,
        other => panic!("no client speaks {other:?}"),
    }
}

/// The abilities of a golden's aim. A member that this does not know fails: it would be no ability of the model.
pub fn abilities(stated: &Value) -> Abilities {
    let mut abilities = Abilities::default();
    for (name, value) in stated.as_object().expect("abilities are an object") {
        let flag = value.as_bool();
        match name.as_str() {
            "vision" => abilities.vision = flag,
            "pdf_input" => abilities.pdf_input = flag,
            "audio_input" => abilities.audio_input = flag,
            "tools" => abilities.tools = flag,
            "parallel_tools" => abilities.parallel_tools = flag,
            "json_schema" => abilities.json_schema = flag,
            "reasoning" => abilities.reasoning = flag,
            "thinking_always_on" => abilities.thinking_always_on = flag,
            "sampling_params" => abilities.sampling_params = flag,
            "assistant_prefill" => abilities.assistant_prefill = flag,
            "output_max" => abilities.output_max = value.as_u64(),
            "context_window" => abilities.context_window = value.as_u64(),
            "efforts" => {
                let words = value.as_array().into_iter().flatten();
                abilities.efforts =
                    words.map(|word| Effort::parse(word.as_str().expect("a word")).expect("an effort")).collect();
            }
            other => panic!("no model has the ability {other}"),
        }
    }
    abilities
}

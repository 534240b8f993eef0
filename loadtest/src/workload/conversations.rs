//! Recorded conversations as a source of prompts: JSON as ShareGPT's collections have it.
//!
//! A list of `{"id": …, "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}, …]}`, or one such
//! object a line; `messages` with `role` and `content` is understood as well. Only what people said is kept, and how long the
//! answers were; conversations in which nobody asks anything are passed over.

use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// One recorded question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    /// The words.
    pub(super) text: Arc<str>,
    /// About how many tokens the recorded answer had; none without an answer.
    pub(super) output_tokens: Option<u32>,
}

/// The questions of each conversation, in the file's order; at least one each.
pub(super) type Conversations = Vec<Vec<Question>>;

#[derive(Deserialize)]
struct Conversation {
    #[serde(alias = "messages", default)]
    conversations: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(alias = "role")]
    from: String,
    #[serde(alias = "content")]
    value: String,
}

/// Bytes that a token has, about, in English.
const TOKEN_BYTES: usize = 4;
/// Files that are open at once are few; the threads of one run share one copy.
static OPEN: OnceLock<Mutex<HashMap<String, Weak<Conversations>>>> = OnceLock::new();

/// The conversations of a file; read once for all threads that use it at the same time.
///
/// # Errors
/// The file cannot be read or understood, or has no question.
pub(super) fn read(path: &str) -> anyhow::Result<Arc<Conversations>> {
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = open.get(path).and_then(Weak::upgrade) {
        return Ok(found);
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the conversations {path}; give the path of a JSON file"))?;
    let found = Arc::new(parse(path, &text)?);
    open.insert(path.to_owned(), Arc::downgrade(&found));
    Ok(found)
}

fn parse(path: &str, text: &str) -> anyhow::Result<Conversations> {
    let expected = "expected a list of {\"conversations\": [{\"from\": \"human\", \"value\": \"…\"}, …]}";
    let all: Vec<Conversation> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|wrong| anyhow::anyhow!("{path}:{}:{}: {wrong}; {expected}", wrong.line(), wrong.column()))?
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|wrong| anyhow::anyhow!("{path}:{}:{}: {wrong}; {expected}", number + 1, wrong.column()))
        };
        lines.map(read).collect::<Result<_, _>>()?
    };
    let found: Conversations = all.iter().map(questions).filter(|questions| !questions.is_empty()).collect();
    if found.is_empty() {
        bail!("{path}: nobody asks anything in it; {expected}");
    }
    Ok(found)
}

fn questions(conversation: &Conversation) -> Vec<Question> {
    let mut found: Vec<Question> = Vec::new();
    for message in &conversation.conversations {
        match message.from.as_str() {
            "human" | "user" if !message.value.trim().is_empty() => {
                found.push(Question { text: message.value.as_str().into(), output_tokens: None });
            }
            "gpt" | "assistant" | "model" | "chatgpt" | "bing" | "bard" => {
                if let Some(question) = found.last_mut() {
                    let tokens = message.value.len().div_ceil(TOKEN_BYTES).max(1);
                    question.output_tokens.get_or_insert(u32::try_from(tokens).unwrap_or(u32::MAX));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_understood() {
        let share = r#"[{"id":"a","conversations":[{"from":"gpt","value":"hm"},{"from":"human","value":"Why?"},
            {"from":"gpt","value":"Because."},{"from":"human","value":"And then?"}]},{"id":"b","conversations":[]}]"#;
        let found = parse("f", share).expect("a list");
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0][0].text, found[0][0].output_tokens), ("Why?", Some(2)));
        assert_eq!((&*found[0][1].text, found[0][1].output_tokens), ("And then?", None));
        let lines = "{\"messages\":[{\"role\":\"user\",\"content\":\"Why?\"}]}\n\n";
        assert_eq!(parse("f", lines).expect("lines").len(), 1);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let said = |text| parse("talk.json", text).expect_err(text).to_string();
        assert!(
            said("[\n{\"conversations\": 3}]").starts_with("talk.json:2:"),
            "{}",
            said("[\n{\"conversations\": 3}]")
        );
        assert!(said("{}\n{\"messages\":4}").starts_with("talk.json:2:"), "{}", said("{}\n{\"messages\":4}"));
        assert!(said("[]").contains("nobody asks"));
    }
}

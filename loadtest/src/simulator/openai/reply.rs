//! Which kind of answer a request gets: words, one JSON text, or calls of its tools.

use super::chat::{Body, Reply};
use super::messages::Conversation;
use super::refusal::Refusal;
use crate::simulator::plan::{FREE_TEXT, JSON_OBJECT, Wish, instance_of, wish};
use serde_json::Value;

/// Chooses the kind of answer, and checks `tools`, `tool_choice` and `response_format` on the way.
///
/// # Errors
/// The 400 that OpenAI would send.
pub fn choose(body: &Body, conversation: &Conversation) -> Result<Reply, Refusal> {
    let no_tools = Vec::new();
    let tools = body.field("tools").and_then(Value::as_array).unwrap_or(&no_tools);
    let mut offered = Vec::with_capacity(tools.len());
    for (position, tool) in tools.iter().enumerate() {
        offered.push(offer(&format!("tools[{position}]"), tool)?);
    }
    let choice = body.field("tool_choice");
    if choice.is_some() && offered.is_empty() {
        let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
        return Err(Refusal::invalid(None, "tool_choice", message));
    }
    let parallel = body.field("parallel_tool_calls").and_then(Value::as_bool).unwrap_or(true);
    let chosen = chosen(choice, conversation, &offered, parallel)?;
    if !chosen.is_empty() {
        let wish = wish(&conversation.last_user);
        return Ok(Reply::Calls(chosen.into_iter().map(|offer| offer.call(wish)).collect()));
    }
    format(body, conversation)
}

/// A tool that the request offers.
#[derive(Clone, Copy)]
struct Offer<'a> {
    name: &'a str,
    parameters: &'a Value,
    custom: bool,
}

impl Offer<'_> {
    fn call(self, wish: Option<Wish<'_>>) -> (String, String, bool) {
        let wished = wish.filter(|wish| wish.name == self.name).and_then(|wish| wish.input);
        let input = match wished {
            Some(input) => input.to_owned(),
            None if self.custom => FREE_TEXT.to_owned(),
            None => instance_of(self.parameters),
        };
        (self.name.to_owned(), input, self.custom)
    }
}

fn offer<'a>(at: &str, tool: &'a Value) -> Result<Offer<'a>, Refusal> {
    let kind = match tool["type"].as_str() {
        Some(kind @ ("function" | "custom")) => kind,
        Some(other) => {
            let message = format!("Invalid value: '{other}'. Supported values are: 'function' and 'custom'.");
            return Err(Refusal::wrong_value(&format!("{at}.type"), message));
        }
        None => return Err(Refusal::missing(&format!("{at}.type"))),
    };
    let name = tool[kind]["name"].as_str().ok_or_else(|| Refusal::missing(&format!("{at}.{kind}.name")))?;
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        let param = format!("{at}.{kind}.name");
        let message = format!("Invalid '{param}': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.");
        return Err(Refusal::wrong_value(&param, message));
    }
    Ok(Offer { name, parameters: &tool[kind]["parameters"], custom: kind == "custom" })
}

/// The tools to call: none, the first one, the named one, or all of them ("use the tools").
fn chosen<'a>(
    choice: Option<&Value>,
    conversation: &Conversation,
    offered: &[Offer<'a>],
    parallel: bool,
) -> Result<Vec<Offer<'a>>, Refusal> {
    let asks = |words| !conversation.ends_in_tool_answer && conversation.last_user.contains(words);
    let first = || offered.iter().copied().take(1).collect();
    match choice {
        Some(Value::String(word)) => match word.as_str() {
            "none" => Ok(Vec::new()),
            "required" => Ok(first()),
            "auto" => chosen(None, conversation, offered, parallel),
            other => Err(Refusal::wrong_value("tool_choice", format!("Invalid value: '{other}'."))),
        },
        Some(object) => {
            let name = object["function"]["name"].as_str().or(object["custom"]["name"].as_str());
            match name {
                None if object["type"] == "allowed_tools" => chosen(None, conversation, offered, parallel),
                None => Err(Refusal::missing("tool_choice.function")),
                Some(name) => {
                    offered.iter().find(|offer| offer.name == name).map(|offer| vec![*offer]).ok_or_else(|| {
                        let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
                        Refusal::wrong_value("tool_choice", message)
                    })
                }
            }
        }
        None if asks("use the tools") && parallel => Ok(offered.to_vec()),
        None if asks("use the tool") => Ok(match wish(&conversation.last_user) {
            Some(wish) => offered.iter().copied().filter(|offer| offer.name == wish.name).take(1).collect(),
            None => first(),
        }),
        None => Ok(Vec::new()),
    }
}

fn format(body: &Body, conversation: &Conversation) -> Result<Reply, Refusal> {
    let Some(format) = body.field("response_format") else { return Ok(Reply::Text) };
    match format["type"].as_str() {
        Some("text") => Ok(Reply::Text),
        Some("json_object") if conversation.mentions_json => Ok(Reply::Json(JSON_OBJECT.into())),
        Some("json_object") => {
            let message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type \
                           'json_object'.";
            Err(Refusal::invalid(None, "messages", message))
        }
        Some("json_schema") => {
            let schema = &format["json_schema"];
            if schema["name"].as_str().is_none() {
                return Err(Refusal::missing("response_format.json_schema.name"));
            }
            Ok(Reply::Json(instance_of(&schema["schema"])))
        }
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'.");
            Err(Refusal::wrong_value("response_format.type", message))
        }
        None => Err(Refusal::missing("response_format.type")),
    }
}

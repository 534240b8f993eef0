//! The Responses API: created whole or as a stream, kept, shown again, and gone on with.
//!
//! Reasoning is handed out encrypted and verified when it comes back; a call that came with reasoning must come back with it.

mod answer;
mod items;
mod stream;
mod tables;

use super::Refusal;
use super::breach::fit;
use super::chat::{Model, wrong_schema};
use crate::simulator::fault::Directives;
use crate::simulator::plan::{Choice, Format, Question, Speech, Tool};
use crate::simulator::shelf::Kept;
use crate::simulator::surface::{Asked, Call, Script, Told, Work};
use answer::{Frame, Stage};
use serde_json::{Value, json};

/// `POST /responses`, or the count of its input tokens.
pub(super) fn create(call: &Call<'_>, body: &Value, counts: bool) -> Result<Asked, Refusal> {
    moved(body)?;
    let mut body = body.clone();
    if let Some(input) = body.get_mut("input") {
        *input = items::normal(input);
    }
    let body = &fit(&tables::RESPONSES, &body)?;
    let model = body["model"].as_str().ok_or_else(|| Refusal::missing("model"))?;
    if !call.site.knows_model(model) {
        return Err(Refusal::unknown_model(model));
    }
    let before = before(call, body)?;
    let new = body["input"].as_array().cloned().unwrap_or_default();
    if new.is_empty() && before.is_empty() {
        return Err(Refusal::missing("input"));
    }
    let (new_from, mut all) = (before.len(), before);
    all.extend(new);
    let conversation = items::check(&all, new_from, &body["instructions"])?;
    let thinks = check_model(body, Model::of(model))?;
    let tools = tools(body)?;
    let choice = choice(body, &tools)?;
    let format = format(body, conversation.mentions_json)?;
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let directives = Directives::first_of(&[text("user"), text("safety_identifier"), &conversation.last_user])
        .map_err(|reason| Refusal::wrong_value("sim", reason))?;
    let prompt_tokens = u32::try_from(conversation.text_bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1);
    if counts {
        let told = format!(r#"{{"object":"response.input_tokens","input_tokens":{prompt_tokens}}}"#);
        return Ok(work(model, false, 0, directives, Told::json(told, 0)));
    }
    let question = Question {
        seed: conversation.digest,
        last_user: &conversation.last_user,
        after_tool: conversation.after_tool,
        tools,
        choice,
        parallel: body["parallel_tool_calls"] != false,
        format,
        tokens_max: body["max_output_tokens"].as_u64().map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        stops: Vec::new(),
        thinks,
    };
    let said = speak(question, &directives, call.tokens);
    let cached = directives.cached.min(prompt_tokens);
    let frame = Frame {
        request: body,
        model,
        seed: conversation.digest,
        prompt_tokens,
        cached,
        written: directives.written.min(prompt_tokens - cached),
        summarizes: body["reasoning"].get("summary").or(body["reasoning"].get("generate_summary")).is_some(),
        encrypts: includes(body, "reasoning.encrypted_content"),
    };
    let whole = frame.response(&said, Stage::Done);
    if body["store"] != false {
        keep(call, &frame, &whole, all);
    }
    let stream = body["stream"] == true;
    let told = match stream {
        false => Told::json(whole, said.tokens()),
        true => Told {
            kind: "text/event-stream; charset=utf-8",
            events: stream::events(&said, &frame, body["stream_options"]["include_obfuscation"] != false).into(),
            completion_tokens: said.tokens(),
            broken: Some(stream::broken),
            ..Told::default()
        },
    };
    Ok(work(model, stream, prompt_tokens, directives, told))
}

/// Thoughts count against the limit.
fn speak(mut question: Question<'_>, directives: &Directives, tokens: u32) -> Speech {
    let thought = Speech::of(&question, directives, 0).thought_tokens();
    question.tokens_max = question.tokens_max.map(|most| most.saturating_sub(thought));
    Speech::of(&question, directives, tokens)
}

fn work(model: &str, stream: bool, prompt_tokens: u32, directives: Directives, told: Told) -> Asked {
    let script = Script::Told(told);
    Asked::Work(Box::new(Work { model: model.to_owned(), stream, prompt_tokens, directives, script }))
}

/// Names of chat completions that live elsewhere here.
fn moved(body: &Value) -> Result<(), Refusal> {
    for (old, new) in [
        ("messages", "input"),
        ("response_format", "text.format"),
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("reasoning_effort", "reasoning.effort"),
        ("verbosity", "text.verbosity"),
    ] {
        if body.get(old).is_some() {
            let message = format!(
                "Unsupported parameter: '{old}'. In the Responses API, this parameter has moved to '{new}'. Try again with \
                 the new parameter. See the API documentation for more information: \
                 https://platform.openai.com/docs/api-reference/responses/create."
            );
            return Err(Refusal::invalid(Some("unsupported_parameter"), old, message));
        }
    }
    Ok(())
}

/// The items of the conversation that this request goes on with.
fn before(call: &Call<'_>, body: &Value) -> Result<Vec<Value>, Refusal> {
    if body["background"] == true {
        let message = "Unsupported parameter: 'background' is not supported by this simulator.";
        return Err(Refusal::invalid(Some("unsupported_parameter"), "background", message));
    }
    let conversation = &body["conversation"];
    if let Some(id) = conversation.as_str().or(conversation["id"].as_str()) {
        let message = format!("Conversation with id '{id}' not found.");
        return Err(Refusal { status: 404, ..Refusal::invalid(None, "conversation", message) });
    }
    if let Some(id) = body["prompt"]["id"].as_str() {
        let message = format!("Prompt with id '{id}' not found.");
        return Err(Refusal { status: 404, ..Refusal::invalid(None, "prompt", message) });
    }
    let Some(id) = body["previous_response_id"].as_str() else { return Ok(Vec::new()) };
    let kept = call.site.shelf.find(id).ok_or_else(|| {
        let message = format!("Previous response with id '{id}' not found.");
        Refusal::invalid(Some("previous_response_not_found"), "previous_response_id", message)
    })?;
    Ok(serde_json::from_slice(&kept.content).unwrap_or_default())
}

/// Keeps a response with the whole conversation that led to it, its own items included.
fn keep(call: &Call<'_>, frame: &Frame<'_>, whole: &str, mut all: Vec<Value>) {
    let shown: Value = serde_json::from_str(whole).unwrap_or_default();
    all.extend(shown["output"].as_array().into_iter().flatten().cloned());
    let content = Value::Array(all).to_string().into_bytes();
    call.site.shelf.put(&frame.response_id(), Kept { shown, content });
}

/// `GET` and `DELETE /responses/{id}`.
pub(super) fn kept(call: &Call<'_>, id: &str, delete: bool) -> Result<Asked, Refusal> {
    let unknown = || {
        let message = format!("Response with id '{id}' not found.");
        Refusal { status: 404, ..Refusal::invalid(None, "", message) }
    };
    if delete {
        let gone = call.site.shelf.remove(id);
        let told = json!({ "id": id, "object": "response", "deleted": true }).to_string();
        return if gone { Ok(Asked::Ready(told)) } else { Err(unknown()) };
    }
    let kept = call.site.shelf.find(id).filter(|kept| kept.shown["object"] == "response").ok_or_else(unknown)?;
    Ok(Asked::Ready(kept.shown.to_string()))
}

fn includes(body: &Value, what: &str) -> bool {
    body["include"].as_array().is_some_and(|all| all.iter().any(|word| word == what))
}

/// What the model's kind rules out; true if it thinks.
fn check_model(body: &Value, model: Model) -> Result<bool, Refusal> {
    let unsupported = |name: &str| {
        let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
        Err(Refusal::invalid(Some("unsupported_parameter"), name, message))
    };
    let effort = body["reasoning"]["effort"].as_str();
    if !model.reasons {
        if effort.is_some() {
            return unsupported("reasoning.effort");
        }
        if includes(body, "reasoning.encrypted_content") {
            let message = "Encrypted content is not supported with this model.";
            return Err(Refusal::invalid(None, "include", message));
        }
        return Ok(false);
    }
    if let Some(effort) = effort.filter(|effort| !model.efforts.contains(effort)) {
        let known = model.efforts.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        let message =
            format!("Unsupported value: '{effort}' is not supported with this model. Supported values are: {known}.");
        return Err(Refusal::invalid(Some("unsupported_value"), "reasoning.effort", message));
    }
    let thinks = effort != Some("none");
    for name in ["temperature", "top_p"] {
        if thinks && body[name].as_f64().is_some_and(|value| value != 1.0) {
            return unsupported(name);
        }
    }
    Ok(thinks)
}

/// Everything that is offered: in `tools`, and by items of the input in the namespace of tools that stand in none.
fn offered(body: &Value) -> Vec<&Value> {
    fn list(value: &Value) -> impl Iterator<Item = &Value> {
        value.as_array().into_iter().flatten()
    }
    let mut found: Vec<&Value> = list(&body["tools"]).collect();
    let items = list(&body["input"]).filter(|item| item["type"] == "additional_tools");
    for tool in items.flat_map(|item| list(&item["tools"])) {
        match tool["type"].as_str() {
            Some("namespace") if tool["name"] == "functions" => found.extend(list(&tool["tools"])),
            _ => found.push(tool),
        }
    }
    found
}

fn tools(body: &Value) -> Result<Vec<Tool<'_>>, Refusal> {
    let mut found = Vec::new();
    for (position, tool) in offered(body).into_iter().enumerate() {
        let custom = tool["type"] == "custom";
        if tool["type"] != "function" && !custom {
            continue;
        }
        let name = tool["name"].as_str().unwrap_or_default();
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if name.is_empty() || name.len() > 64 || !letters {
            let param = format!("tools[{position}].name");
            let message = format!("Invalid '{param}': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.");
            return Err(Refusal::wrong_value(&param, message));
        }
        if let Some(reason) = wrong_schema(&tool["parameters"]).filter(|_| tool["strict"] == true) {
            let message = format!("Invalid schema for function '{name}': {reason}");
            let param = format!("tools[{position}].parameters");
            return Err(Refusal::invalid(Some("invalid_function_parameters"), &param, message));
        }
        found.push(Tool { name, schema: &tool["parameters"], custom });
    }
    Ok(found)
}

fn choice<'a>(body: &'a Value, tools: &[Tool<'_>]) -> Result<Choice<'a>, Refusal> {
    let choice = &body["tool_choice"];
    if choice.as_str() == Some("none") {
        return Ok(Choice::Never);
    }
    let forced = choice.as_str() == Some("required") || choice["mode"] == "required";
    if forced && body["tools"].as_array().is_none_or(Vec::is_empty) {
        let message = "Tool choice 'required' must be specified with 'tools' parameter.";
        return Err(Refusal::invalid(None, "tool_choice", message));
    }
    match choice["name"].as_str() {
        Some(name) if !tools.iter().any(|tool| tool.name == name) => {
            let kind = choice["type"].as_str().unwrap_or_default();
            let message = format!("Tool choice '{kind}' not found in 'tools' parameter.");
            Err(Refusal::invalid(None, "tool_choice", message))
        }
        Some(name) => Ok(Choice::Named(name)),
        None if forced => Ok(Choice::Any),
        None => Ok(Choice::Auto),
    }
}

fn format(body: &Value, mentions_json: bool) -> Result<Format<'_>, Refusal> {
    let format = &body["text"]["format"];
    match format["type"].as_str() {
        Some("json_object") if mentions_json => Ok(Format::Json),
        Some("json_object") => {
            let message = "Response input messages must contain the word 'json' in some form to use 'text.format' of type \
                           'json_object'.";
            Err(Refusal::invalid(None, "input", message))
        }
        Some("json_schema") => match wrong_schema(&format["schema"]).filter(|_| format["strict"] == true) {
            Some(reason) => {
                let name = format["name"].as_str().unwrap_or_default();
                let message = format!("Invalid schema for response_format '{name}': {reason}");
                Err(Refusal::invalid(Some("invalid_json_schema"), "text.format.schema", message))
            }
            None => Ok(Format::Schema(&format["schema"])),
        },
        _ => Ok(Format::Words),
    }
}

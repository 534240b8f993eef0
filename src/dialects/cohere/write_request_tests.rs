//! Tests of requests where the goldens, written in Chat's words, cannot say it: thoughts, documents, pictures in results, free text, bounds.

use crate::chat::ability::Abilities;
use crate::chat::request::*;
use crate::dialects::cohere::PROVIDER;
use crate::dialects::{Aim, Written};
use serde_json::{Value, json};

fn write(request: &Request, abilities: &Abilities) -> Result<(Value, Vec<String>), Refusal> {
    let Written { body, dropped } =
        (PROVIDER.write_request)(request, &Aim { model: "m", abilities, provider: "cohere" })?;
    Ok((serde_json::from_slice(&body).expect("JSON"), dropped))
}

fn said(turns: Vec<Turn>, abilities: &Abilities) -> Value {
    write(&Request { turns, ..Request::default() }, abilities).expect("written").0["messages"].take()
}

fn thought(text: &str, seal: Option<Seal>) -> Block {
    Block::of(Body::Thinking(Thinking { text: text.into(), seal }))
}

fn call(custom: bool, input: &str) -> Block {
    Block::of(Body::ToolCall(ToolCall { id: "t".into(), name: "f".into(), input: input.into(), custom, seal: None }))
}

fn media(source: Source, name: Option<&str>) -> Media {
    Media { source, name: name.map(str::to_owned), detail: None }
}

#[test]
fn thoughts_are_words_for_models_that_think() {
    let seal = Seal { maker: Maker::Anthropic, data: "Eq==".into(), redacted: false };
    let blocks =
        || vec![thought("Hm.", Some(seal.clone())), thought("", None), Block::text("I look."), call(false, "{}")];
    let calls = json!([{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let thinks = Abilities { reasoning: Some(true), ..Abilities::default() };
    let kept = json!([{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}], "tool_plan": "I look.", "tool_calls": calls}]);
    assert_eq!(said(vec![Turn::Assistant(blocks())], &thinks), kept);
    let lost = json!([{"role": "assistant", "tool_plan": "I look.", "tool_calls": calls}]);
    assert_eq!(said(vec![Turn::Assistant(blocks())], &Abilities::default()), lost);
}

#[test]
fn results_come_first_and_their_pictures_after_them() {
    let picture =
        Block::of(Body::Image(media(Source::Base64 { media_type: "image/png".into(), data: "YQ==".into() }, None)));
    let result = ToolResult { id: "t".into(), name: None, content: vec![Block::text("no"), picture], is_error: true };
    let turns = vec![
        Turn::Assistant(vec![call(true, "ls \"a\"")]),
        Turn::User(vec![Block::text("So?"), Block::of(Body::ToolResult(result))]),
    ];
    let sent = said(turns, &Abilities::default());
    let function = json!({"name": "f__igris_text", "arguments": r#"{"input":"ls \"a\""}"#});
    assert_eq!(sent[0]["tool_calls"][0]["function"], function);
    let told = json!([{"type": "text", "text": "Error:"}, {"type": "text", "text": "no"}]);
    assert_eq!(sent[1], json!({"role": "tool", "tool_call_id": "t", "content": told}));
    let url = json!({"url": "data:image/png;base64,YQ=="});
    assert_eq!(sent[2]["content"], json!([{"type": "text", "text": "So?"}, {"type": "image_url", "image_url": url}]));
}

#[test]
fn plain_documents_are_text_and_others_are_refused() {
    let user = |body| vec![Turn::User(vec![Block::of(body)])];
    let text = Body::Document(media(Source::Text("words".into()), Some("a.txt")));
    assert_eq!(said(user(text), &Abilities::default())[0]["content"], "a.txt:\nwords");
    let pdf = || Source::Base64 { media_type: "application/pdf".into(), data: "YQ==".into() };
    let file = Source::File { maker: Maker::OpenAi, id: "file-1".into() };
    let refused = [
        Body::Document(media(pdf(), None)),
        Body::Audio(media(pdf(), None)),
        Body::Video(media(pdf(), None)),
        Body::Image(media(file, None)),
        Body::Text(" ".into()),
    ];
    for body in refused {
        let request = Request { turns: user(body), ..Request::default() };
        assert_eq!(write(&request, &Abilities::default()).expect_err("refused").param, "messages");
    }
}

#[test]
fn figures_stay_within_coheres_bounds() {
    let sampling = Sampling {
        temperature: Some(-1.0),
        top_p: Some(0.0),
        top_k: Some(900),
        frequency_penalty: Some(0.25),
        presence_penalty: Some(2.0),
        seed: Some(-1),
        logit_bias: Some(json!({"1": 2})),
    };
    let request = Request { turns: vec![Turn::User(vec![Block::text("a")])], sampling, ..Request::default() };
    let (sent, dropped) = write(&request, &Abilities::default()).expect("written");
    let figures = json!([
        sent["temperature"],
        sent["p"],
        sent["k"],
        sent["frequency_penalty"],
        sent["presence_penalty"],
        sent["seed"]
    ]);
    assert_eq!(figures, json!([0.0, 0.01, 500, 0.25, 1.0, null]));
    assert_eq!(dropped, ["logit_bias", "presence_penalty", "seed"]);
    let fixed = Abilities { sampling_params: Some(false), ..Abilities::default() };
    let (sent, dropped) = write(&request, &fixed).expect("written");
    assert_eq!((&sent["temperature"], &sent["p"], &sent["k"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(dropped, ["logit_bias", "presence_penalty", "temperature", "top_p", "top_k", "seed"]);
}

#[test]
fn only_allowed_tools_are_offered() {
    let tool = |name: &str| Tool {
        kind: ToolKind::Function { parameters: None, strict: None },
        name: name.into(),
        description: None,
        cache: None,
    };
    let choice = |required| Some(ToolChoice::Allowed { names: vec!["b".into()], required });
    let request = |required| Request {
        turns: vec![Turn::User(vec![Block::text("a")])],
        tools: vec![tool("a"), tool("b")],
        tool_choice: choice(required),
        ..Request::default()
    };
    for (required, word) in [(true, json!("REQUIRED")), (false, Value::Null)] {
        let (sent, _) = write(&request(required), &Abilities::default()).expect("written");
        assert_eq!(sent["tools"].as_array().map(Vec::len), Some(1));
        assert_eq!((&sent["tools"][0]["function"]["name"], &sent["tool_choice"]), (&json!("b"), &word));
    }
}

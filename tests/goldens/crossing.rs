//! Every client format before every provider: rich requests, answers and streams, each said in another format and read back.
//!
//! What is read back need not be the same value, since formats differ in what they can say; but words, tools, calls, results and the wanted
//! form of the answer must come through, and what cannot be said must be refused by the name of a member. No crossing may panic.

use super::adds_up;
use super::files::{self, Golden};
use super::requests;
use igris::chat::ability::Abilities;
use igris::chat::carry::{self, Carried};
use igris::chat::delta::Delta;
use igris::chat::request::{Block, Body, Effort, Format, Maker, Request, Seal, Source, Thinking, Tool, ToolKind, Turn};
use igris::chat::response::{Finish, Piece, Response};
use igris::dialects::{Aim, Setting, Wire};
use igris::domain::token::Usage;
use igris::providers::Dialect;
use igris::providers::table::ROWS;
use serde_json::{Value, json};

const CLIENTS: [Wire; 4] = [Wire::Chat, Wire::Responses, Wire::Messages, Wire::Gemini];

/// What a client that knows nothing of thinking carries in a call's id.
pub fn sealed_thinking(maker: Maker) -> Carried {
    let seal = || Some(Seal { maker, data: requests::SEAL.to_owned(), redacted: false });
    match maker {
        Maker::Google => Carried { thinking: Vec::new(), seal: seal() },
        _ => Carried { thinking: vec![Thinking { text: "I think.".to_owned(), seal: seal() }], seal: None },
    }
}

// ---- Requests ---------------------------------------------------------------------------------------------------------

/// Format, provider and model: every OpenAI-shaped vendor with its own ways, and every other format.
fn aims() -> Vec<(Wire, &'static str, &'static str)> {
    let shaped = ROWS.iter().filter(|row| matches!(row.dialect, Dialect::OpenAi | Dialect::Azure));
    let mut aims: Vec<_> = shaped.map(|row| (Wire::Chat, row.id, "gpt-4.1")).collect();
    aims.extend([
        (Wire::Chat, "openai", "gpt-5.4"),
        (Wire::Chat, "deepseek", "deepseek-v4-pro"),
        (Wire::Chat, "kimi", "kimi-k3"),
        (Wire::Chat, "xai", "grok-4.7"),
        (Wire::Chat, "mistral", "mistral-small-latest"),
        (Wire::Responses, "openai", "gpt-5.3-codex"),
        (Wire::Messages, "anthropic", "claude-opus-5"),
        (Wire::Messages, "anthropic", "claude-opus-4-5"),
        (Wire::Gemini, "google", "gemini-3.8-flash"),
        (Wire::Gemini, "google", "gemini-2.5-flash"),
        (Wire::Converse, "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        (Wire::Converse, "bedrock", "us.amazon.nova-2-lite-v1:0"),
        (Wire::Cohere, "cohere", "command-a-03-2025"),
    ]);
    aims
}

fn able(can: bool) -> Abilities {
    let can = Some(can);
    Abilities {
        vision: can,
        pdf_input: can,
        audio_input: can,
        tools: can,
        parallel_tools: can,
        json_schema: can,
        reasoning: can,
        efforts: vec![Effort::Low, Effort::Medium, Effort::High],
        sampling_params: can,
        assistant_prefill: can,
        output_max: Some(32_000),
        ..Abilities::default()
    }
}

/// The blocks of the turns, in order.
fn blocks(request: &Request) -> impl Iterator<Item = &Block> {
    request.turns.iter().flat_map(|turn| match turn {
        Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => blocks,
    })
}

fn words<'b>(blocks: impl Iterator<Item = &'b Block>) -> Vec<&'b str> {
    let text = |block: &'b Block| match &block.body {
        Body::Text(text) | Body::Refusal(text) => Some(text.as_str()),
        _ => None,
    };
    blocks.filter_map(text).collect()
}

/// Name and input of every call, with its id.
fn calls<'r>(request: &'r Request) -> Vec<(&'r str, &'r str, Value)> {
    let call = |block: &'r Block| match &block.body {
        Body::ToolCall(call) => {
            let input = serde_json::from_str(&call.input).unwrap_or_else(|_| call.input.as_str().into());
            Some((call.id.as_str(), call.name.as_str(), input))
        }
        _ => None,
    };
    blocks(request).filter_map(call).collect()
}

/// What each call was answered with, by the place of the call.
fn results(request: &Request) -> Vec<(Option<usize>, String)> {
    let calls = calls(request);
    let result = |block: &Block| match &block.body {
        Body::ToolResult(result) => {
            let place = calls.iter().position(|(id, _, _)| *id == result.id);
            Some((place, words(result.content.iter()).concat()))
        }
        _ => None,
    };
    let mut results: Vec<_> = blocks(request).filter_map(result).collect();
    results.sort();
    results
}

/// Pictures and documents that are in the request, by their bytes.
fn media<'r>(request: &'r Request) -> Vec<&'r str> {
    let data = |block: &'r Block| match &block.body {
        Body::Image(media) | Body::Document(media) | Body::Audio(media) => match &media.source {
            Source::Base64 { data, .. } => Some(data.as_str()),
            Source::Url { url, .. } => Some(url.as_str()),
            _ => None,
        },
        _ => None,
    };
    blocks(request).filter_map(data).collect()
}

fn functions(request: &Request) -> Vec<(&str, Option<&Value>)> {
    let tools = request.tools.iter().map(|tool| (tool.name.as_str(), &tool.kind));
    let functions = tools.filter_map(|(name, kind)| match kind {
        ToolKind::Function { parameters, .. } => Some((name, parameters.as_ref())),
        _ => None,
    });
    functions.collect()
}

fn schema(request: &Request) -> Option<&Value> {
    match &request.format {
        Format::JsonSchema { schema, .. } => Some(schema),
        _ => None,
    }
}

/// What of `asked` is lost in `again`; `None` when nothing is.
fn lost(asked: &Request, again: &Request) -> Option<String> {
    let said = words(again.system.iter().chain(blocks(again))).join("\n");
    let mut rest = said.as_str();
    for word in words(asked.system.iter().chain(blocks(asked))) {
        let Some(at) = rest.find(word) else { return Some(format!("the words {word:?} in {said:?}")) };
        rest = &rest[at + word.len()..];
    }
    let inputs =
        |request| calls(request).into_iter().map(|(_, name, input)| (name.to_owned(), input)).collect::<Vec<_>>();
    if inputs(asked) != inputs(again) {
        return Some(format!("calls: {:?}", calls(again)));
    }
    // A format without a word for failed results says it before their text.
    type Answered = (Option<usize>, String);
    let same = |(asked, again): (&Answered, &Answered)| {
        asked.0 == again.0 && again.1.strip_prefix("Error: ").unwrap_or(&again.1) == asked.1
    };
    let (asked_results, results) = (results(asked), results(again));
    if asked_results.len() != results.len() || !asked_results.iter().zip(&results).all(same) {
        return Some(format!("results: {results:?}, not {asked_results:?}"));
    }
    if media(asked) != media(again) {
        return Some("a picture or document".to_owned());
    }
    // A tool that takes free text becomes one that takes a text, where there are only functions.
    let became = |tool: &Tool| {
        let named = |(name, _): &(&str, _)| name.starts_with(&tool.name);
        matches!(tool.kind, ToolKind::Custom { .. }) && functions(again).iter().any(named)
    };
    if functions(asked) != functions(again) && !asked.tools.iter().any(became) {
        return Some(format!("tools: {:?}", functions(again)));
    }
    (schema(asked) != schema(again)).then(|| format!("the format: {:?}", again.format))
}

#[test]
fn every_request_crosses_whole_or_is_refused_by_name() {
    let (mut wrong, mut crossed, mut refused) = (Vec::new(), 0, 0);
    for (case, client, body) in requests::all() {
        let reader = client.client_side().expect("a client format").read_request;
        let asked =
            reader(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{client:?} {case}: {refusal:?}"));
        for (wire, provider, model) in aims() {
            for abilities in [Abilities::default(), able(true), able(false)] {
                let what = format!("{client:?} \"{case}\" to {provider}/{model} in {wire:?}");
                let aim = Aim { model, provider, abilities: &abilities };
                let written = match (wire.provider_side().write_request)(&asked, &aim) {
                    Ok(written) => written,
                    Err(refusal) => {
                        refused += 1;
                        assert!(!refusal.param.is_empty() && refusal.message.ends_with('.'), "{what}: {refusal:?}");
                        continue;
                    }
                };
                crossed += 1;
                serde_json::from_slice::<Value>(&written.body).unwrap_or_else(|error| panic!("{what}: {error}"));
                let Some(side) = wire.client_side() else { continue };
                match (side.read_request)(&written.body) {
                    // What the model or the vendor cannot do is said otherwise there: in words, by a tool.
                    Ok(again) if abilities == able(true) && speaks_all(provider) => {
                        wrong.extend(lost(&asked, &again).map(|lost| format!("{what} lost {lost}")));
                    }
                    Ok(_) => {}
                    Err(refusal) => wrong.push(format!("{what} wrote what is refused: {refusal:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(crossed > 3_000 && refused > 100, "{crossed} crossed, {refused} were refused");
}

/// Whether a provider has words for everything that the formats share.
fn speaks_all(provider: &str) -> bool {
    ["openai", "anthropic", "google", "azure", "openrouter"].contains(&provider)
}

#[test]
fn a_seal_goes_back_to_its_maker_and_to_nobody_else() {
    let homes = [
        (Maker::OpenAi, Wire::Responses, "openai", "gpt-5.3-codex"),
        (Maker::Anthropic, Wire::Messages, "anthropic", "claude-opus-5"),
        (Maker::Google, Wire::Gemini, "google", "gemini-3.8-flash"),
    ];
    for maker in [Maker::OpenAi, Maker::Anthropic, Maker::Google] {
        let body = requests::chat_with_carried(&carry::pack("call_c", &sealed_thinking(maker)));
        let read_chat = Wire::Chat.client_side().expect("clients speak it").read_request;
        let asked = read_chat(body.to_string().as_bytes()).expect("a good request");
        for (home, wire, provider, model) in homes {
            let abilities = able(true);
            let aim = Aim { model, provider, abilities: &abilities };
            let written = (wire.provider_side().write_request)(&asked, &aim).expect("a loop goes on anywhere");
            let text = String::from_utf8(written.body).expect("JSON is text");
            assert_eq!(text.contains(requests::SEAL), home == maker, "{maker:?} to {provider}: {text}");
            assert!(!text.contains("-igc1-"), "{provider} sees an envelope of ours: {text}");
        }
    }
}

// ---- Answers ------------------------------------------------------------------------------------------------------------

/// What a user gets of an answer, in whatever format: words, calls, and why it ended.
#[derive(Debug, Default, PartialEq)]
struct Gist {
    words: String,
    /// Pictures, as words.
    pictures: String,
    calls: Vec<(String, Value)>,
    /// Whether its words are those of a refusal.
    refused: bool,
    finish: Option<Finish>,
}

impl Gist {
    /// What a client of the format is shown of it.
    fn shown_in(mut self, client: Wire) -> Self {
        // Only OpenAI's formats have tools that take free text: elsewhere it is the one member of an object.
        if matches!(client, Wire::Messages | Wire::Gemini) {
            self.calls
                .iter_mut()
                .filter(|(_, input)| input.is_string())
                .for_each(|(_, input)| *input = json!({ "input": input }));
        }
        if client == Wire::Messages {
            self.words.push_str(&self.pictures);
            // There a refusal is a reason to stop, not a kind of words.
            if self.refused {
                self.finish = Some(Finish::ContentFilter);
            }
        }
        self.refused = false;
        self.pictures.clear();
        self
    }
}

/// A picture as a client sees it whose format has none in answers.
fn in_words(media_type: &str, data: &str) -> String {
    format!("![image](data:{media_type};base64,{data})")
}

/// As far as every format can say it: few tell which text stopped them, and only Messages pauses.
fn plain(finish: &Finish) -> Finish {
    match finish {
        Finish::StopText(_) | Finish::Pause => Finish::Stop,
        other => other.clone(),
    }
}

fn input_of(text: &str) -> Value {
    serde_json::from_str(if text.is_empty() { "{}" } else { text }).unwrap_or_else(|_| text.into())
}

fn gist(response: &Response) -> Gist {
    let mut gist = Gist::default();
    let Some(choice) = response.choices.first() else { return gist };
    for piece in &choice.pieces {
        match piece {
            Piece::Text(text) => gist.words.push_str(text),
            Piece::Refusal(text) => {
                gist.words.push_str(text);
                gist.refused = true;
            }
            Piece::Image { media_type, data } => gist.pictures.push_str(&in_words(media_type, data)),
            Piece::ToolCall(call) => gist.calls.push((call.name.clone(), input_of(&call.input))),
            _ => {}
        }
    }
    gist.finish = Some(plain(&choice.finish));
    gist
}

/// The figures that every format states.
fn figures(usage: Option<Usage>) -> (u64, u64, u64) {
    let usage = usage.unwrap_or_default();
    (usage.input, usage.output, usage.cached_input)
}

fn setting() -> Setting<'static> {
    Setting { id: "01", model: "m", created: 1, usage_event: true, request: b"{}" }
}

#[test]
fn every_answer_crosses_into_every_client_format() {
    let mut wrong = Vec::new();
    for golden in files::everywhere("response-", &[".json"]) {
        let body = golden.json()["body"].to_string();
        let Ok(answer) = (golden.wire.provider_side().read_response)(body.as_bytes()) else { continue };
        for client in CLIENTS {
            let mut out = Vec::new();
            (client.client_side().expect("a client format").write_response)(&answer, &setting(), &mut out);
            let again = (client.provider_side().read_response)(&out).unwrap_or_else(|fault| {
                panic!("{} to {client:?}: {fault}: {}", golden.name, String::from_utf8_lossy(&out))
            });
            let (found, expected) = (gist(&again).shown_in(Wire::Chat), gist(&answer).shown_in(client));
            if found != expected {
                wrong.push(format!("{} to {client:?}: {found:?}, not {expected:?}", golden.name));
            }
            let usage = again.usage.unwrap_or_default();
            if figures(again.usage) != figures(answer.usage) || !adds_up(&usage) {
                wrong.push(format!("{} to {client:?}: {:?}, not {:?}", golden.name, again.usage, answer.usage));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a stream says of its first choice, whether it ended, and what it used.
fn heard(wire: Wire, bytes: &[u8], mut also: impl FnMut(&Delta<'_>)) -> (Gist, bool, Option<Usage>) {
    let mut reader = (wire.provider_side().stream_reader)();
    let (mut gist, mut inputs, mut usage) = (Gist::default(), Vec::new(), None);
    reader.push(bytes, &mut |delta| {
        also(&delta);
        match delta {
            Delta::Text { choice: 0, text } => gist.words.push_str(&text),
            Delta::Refusal { choice: 0, text } => {
                gist.words.push_str(&text);
                gist.refused = true;
            }
            Delta::Image { choice: 0, media_type, data } => gist.pictures.push_str(&in_words(&media_type, &data)),
            Delta::ToolStart { choice: 0, name, .. } => inputs.push((name.into_owned(), String::new())),
            Delta::ToolInput { choice: 0, index, json } => inputs[index as usize].1.push_str(&json),
            Delta::Finish { choice: 0, reason } => gist.finish = Some(plain(&reason)),
            Delta::Usage(stated) => usage = Some(stated),
            _ => {}
        }
    });
    gist.calls = inputs.into_iter().map(|(name, input)| (name, input_of(&input))).collect();
    (gist, reader.is_complete(), usage)
}

fn crossed_stream(golden: &Golden, client: Wire, bytes: &[u8]) -> Option<String> {
    let mut writer = (client.client_side().expect("a client format").stream_writer)(&setting());
    let mut out = Vec::new();
    let (mut said, complete, usage) = heard(golden.wire, bytes, |delta| writer.write(delta, &mut out));
    if !complete {
        return None;
    }
    writer.finish(usage.as_ref(), None, &mut out);
    let (mut again, complete, stated) = heard(client, &out, |_| {});
    (again, said) = (again.shown_in(Wire::Chat), said.shown_in(client));
    // Gemini has no pieces of calls: each leaves when it is whole, which need not be in the order of their beginnings.
    if client == Wire::Gemini {
        again.calls.sort_by(|(one, _), (other, _)| one.cmp(other));
        said.calls.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    let whole = complete && again == said && figures(stated) == figures(usage);
    (!whole).then(|| format!("{} to {client:?}: {again:?} {stated:?}, not {said:?} {usage:?}", golden.name))
}

#[test]
fn every_stream_crosses_into_every_client_format() {
    let mut wrong = Vec::new();
    for golden in files::everywhere("stream-", &[".txt", ".hex"]) {
        let bytes = golden.stream();
        wrong.extend(CLIENTS.into_iter().filter_map(|client| crossed_stream(&golden, client, &bytes)));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

//! What a model says, before any dialect gives it a form: words, one JSON text, or calls of the tools it was offered.
//!
//! A pure function of what was asked. "use the tool" or "use the tools" in the last user turn makes it call; "use the tool `name`"
//! or "use the tool `name` with `input`" chooses, for clients such as agents, whose tools do things. "think in secret" hides its
//! thoughts. One piece is one token and one step of a stream.

use super::fault::Directives;
use super::text::{mix, word};
use serde_json::Value;
use std::fmt::Write as _;

/// What was asked, whatever the dialect.
pub(super) struct Question<'a> {
    /// Digest of the conversation; every word of the answer follows from it.
    pub(super) seed: u64,
    /// The text of the last user turn that had any.
    pub(super) last_user: &'a str,
    /// Whether the conversation ends in answers of tools.
    pub(super) after_tool: bool,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Choice<'a>,
    /// Whether several tools may be called at once.
    pub(super) parallel: bool,
    pub(super) format: Format<'a>,
    pub(super) tokens_max: Option<u32>,
    /// Words that end the answer.
    pub(super) stops: Vec<&'a str>,
    /// Whether thoughts are wanted.
    pub(super) thinks: bool,
}

/// A tool that may be called.
#[derive(Clone, Copy)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    /// Called with free text instead of JSON.
    pub(super) custom: bool,
}

/// Whether tools are to be called.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Choice<'a> {
    Auto,
    Never,
    Any,
    Named(&'a str),
}

/// What the answer's text has to be.
#[derive(Clone, Copy)]
pub(super) enum Format<'a> {
    Words,
    Json,
    Schema(&'a Value),
}

/// What is said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Speech {
    /// Thoughts in pieces, and whether they are to be hidden.
    pub(super) thought: Vec<String>,
    pub(super) secret: bool,
    /// Tokens of thought that are counted but not shown.
    pub(super) unseen: u32,
    /// Text in pieces.
    pub(super) text: Vec<String>,
    pub(super) calls: Vec<SpokenCall>,
    pub(super) ending: Ending,
}

/// A call of a tool.
#[derive(Debug, PartialEq)]
pub(super) struct SpokenCall {
    pub(super) name: String,
    /// The input in pieces: JSON text, or free text for a custom tool.
    pub(super) input: Vec<String>,
    pub(super) custom: bool,
}

/// Why a model falls silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Ending {
    /// It has said everything.
    #[default]
    Done,
    /// The request's limit.
    Limit,
    /// This stop word.
    Stop(String),
    /// It refuses to go on.
    Blocked,
}

/// Thoughts of a model that thinks and was not told how long.
const THOUGHT_TOKENS: u32 = 6;
/// Characters of one piece of streamed JSON.
const PIECE_CHARACTERS: usize = 5;

impl Speech {
    /// The answer of a model that says `tokens` words unless asked otherwise.
    pub(super) fn of(question: &Question<'_>, directives: &Directives, tokens: u32) -> Self {
        let mut said = Self::default();
        if question.thinks {
            let count = if directives.reasoning > 0 { directives.reasoning } else { THOUGHT_TOKENS };
            said.thought = words(mix(question.seed, 29), count);
            said.secret = question.last_user.contains("think in secret");
        } else {
            said.unseen = directives.reasoning;
        }
        if directives.block {
            said.ending = Ending::Blocked;
            return said;
        }
        let called = question.called();
        if !called.is_empty() {
            said.text = words(mix(question.seed, 17), directives.preface);
            said.calls = called.into_iter().map(|tool| tool.call(wish(question.last_user))).collect();
            return said;
        }
        match question.format {
            Format::Words => said.talk(question, directives.tokens.unwrap_or(tokens)),
            Format::Json => said.text = pieces(JSON_OBJECT),
            Format::Schema(schema) => said.text = pieces(&instance_of(schema)),
        }
        said
    }

    fn talk(&mut self, question: &Question<'_>, wanted: u32) {
        let count = question.tokens_max.map_or(wanted, |most| most.min(wanted));
        if count < wanted {
            self.ending = Ending::Limit;
        }
        self.text = words(mix(question.seed, 17), count);
        let whole = self.text.concat();
        let first = |stop: &&str| whole.find(*stop).filter(|_| !stop.is_empty()).map(|at| (at, (*stop).to_owned()));
        if let Some((at, stop)) = question.stops.iter().filter_map(first).min() {
            self.ending = Ending::Stop(stop);
            let mut left = at;
            self.text.retain_mut(|piece| {
                let keep = left.min(piece.len());
                piece.truncate(keep);
                left -= keep;
                keep > 0
            });
        }
    }

    /// Tokens of everything that is said, thoughts included.
    pub(super) fn tokens(&self) -> u32 {
        self.thought_tokens() + self.spoken_tokens()
    }

    /// Tokens of thought, seen and unseen.
    pub(super) fn thought_tokens(&self) -> u32 {
        self.thought.len() as u32 + self.unseen
    }

    /// Tokens of text and calls.
    pub(super) fn spoken_tokens(&self) -> u32 {
        let calls: usize = self.calls.iter().map(|call| 1 + call.input.len()).sum();
        (self.text.len() + calls) as u32
    }
}

impl<'a> Question<'a> {
    /// The tools to call: none, the first one, the named one, or all of them ("use the tools").
    fn called(&self) -> Vec<Tool<'a>> {
        let asks = |words| !self.after_tool && self.last_user.contains(words);
        let first = || self.tools.iter().copied().take(1).collect();
        match self.choice {
            Choice::Never => Vec::new(),
            Choice::Any => first(),
            Choice::Named(name) => self.tools.iter().copied().filter(|tool| tool.name == name).take(1).collect(),
            Choice::Auto if asks("use the tools") && self.parallel => self.tools.clone(),
            Choice::Auto if asks("use the tool") => match wish(self.last_user) {
                Some(wish) => self.tools.iter().copied().filter(|tool| tool.name == wish.name).take(1).collect(),
                None => first(),
            },
            Choice::Auto => Vec::new(),
        }
    }
}

/// A tool that a user names, and what it is to be called with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wish<'a> {
    pub(super) name: &'a str,
    pub(super) input: Option<&'a str>,
}

/// The wish in "use the tool `name`" or "use the tool `name` with `input`".
pub(super) fn wish(text: &str) -> Option<Wish<'_>> {
    let (name, rest) = text.split_once("use the tool `")?.1.split_once('`')?;
    let input = rest.strip_prefix(" with `").and_then(|rest| rest.split_once('`')).map(|(input, _)| input);
    Some(Wish { name, input })
}

impl Tool<'_> {
    fn call(self, wish: Option<Wish<'_>>) -> SpokenCall {
        let wished = wish.filter(|wish| wish.name == self.name).and_then(|wish| wish.input);
        let input = match wished {
            Some(input) => input.to_owned(),
            None if self.custom => FREE_TEXT.to_owned(),
            None => instance_of(self.schema),
        };
        SpokenCall { name: self.name.to_owned(), input: pieces(&input), custom: self.custom }
    }
}

fn words(seed: u64, count: u32) -> Vec<String> {
    (0..count).map(|position| word(seed, position).to_owned()).collect()
}

/// Cuts a text into pieces of a few characters.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(PIECE_CHARACTERS).map(|piece| piece.iter().collect()).collect()
}

/// What a custom tool is called with.
pub(super) const FREE_TEXT: &str = "free text for a custom tool";
/// The answer where any JSON object will do.
pub(super) const JSON_OBJECT: &str = r#"{"answer":"a \"quoted\" naïve word","count":3,"list":[1,2,3]}"#;

/// A small JSON text that fits a schema.
pub(super) fn instance_of(schema: &Value) -> String {
    let mut out = String::new();
    instance(schema, schema, 0, &mut out);
    out
}

/// Appends an instance; members in the order of their names, so that every build agrees.
fn instance(root: &Value, schema: &Value, depth: usize, out: &mut String) {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        let _ = write!(out, "{first}");
        return;
    }
    if let Some(only) = schema.get("const") {
        let _ = write!(out, "{only}");
        return;
    }
    if let Some(inner) = elsewhere(root, schema).filter(|_| depth < DEPTH_MAX) {
        return instance(root, inner, depth + 1, out);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind.map(str::to_ascii_lowercase).as_deref() {
        Some("string") => out.push_str("\"harbour light\""),
        Some("integer") => out.push('3'),
        Some("number") => out.push_str("2.5"),
        Some("boolean") => out.push_str("true"),
        Some("null") => out.push_str("null"),
        Some("array") if depth < DEPTH_MAX => {
            out.push('[');
            instance(root, &schema["items"], depth + 1, out);
            out.push(']');
        }
        Some("array") => out.push_str("[]"),
        _ if depth < DEPTH_MAX => object(root, schema, depth, out),
        _ => out.push_str("{}"),
    }
}

/// The schema that stands for this one: the first of several, or one of the root's definitions.
fn elsewhere<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let first = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| schema[*word].as_array()?.first());
    let pointer = schema["$ref"].as_str().and_then(|text| text.strip_prefix('#'));
    first.or_else(|| pointer.and_then(|pointer| root.pointer(pointer)))
}

fn object(root: &Value, schema: &Value, depth: usize, out: &mut String) {
    let mut properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    properties.sort_by_key(|(name, _)| *name);
    out.push('{');
    for (position, (name, property)) in properties.into_iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}:", Value::from(name.as_str()));
        instance(root, property, depth + 1, out);
    }
    out.push('}');
}

/// Nesting of a generated JSON text.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(last_user: &str) -> Question<'_> {
        Question {
            seed: 5,
            last_user,
            after_tool: false,
            tools: Vec::new(),
            choice: Choice::Auto,
            parallel: true,
            format: Format::Words,
            tokens_max: None,
            stops: Vec::new(),
            thinks: false,
        }
    }

    #[test]
    fn answers_end_at_limits_and_stop_words() {
        let directives = Directives::default();
        let whole = Speech::of(&ask("hello"), &directives, 9);
        assert_eq!((whole.text.len(), whole.tokens(), &whole.ending), (9, 9, &Ending::Done));
        let cut = Speech::of(&Question { tokens_max: Some(4), ..ask("hello") }, &directives, 9);
        assert_eq!((&cut.text[..], &cut.ending), (&whole.text[..4], &Ending::Limit));
        let stop = whole.text[3].trim();
        let stopped = Speech::of(&Question { stops: vec![stop], ..ask("hello") }, &directives, 9);
        assert_eq!(stopped.ending, Ending::Stop(stop.to_owned()));
        assert!(whole.text.concat().starts_with(&stopped.text.concat()) && !stopped.text.concat().contains(stop));
    }

    #[test]
    fn tools_are_called_when_the_last_turn_asks() {
        let schema = json!({ "type": "object", "properties": { "n": { "$ref": "#/$defs/n" } },
            "$defs": { "n": { "anyOf": [{ "type": "INTEGER" }] } } });
        let tool = |name| Tool { name, schema: &schema, custom: false };
        let with = |last_user| Question { tools: vec![tool("a"), tool("b")], ..ask(last_user) };
        let called = |question: &Question<'_>| {
            let said = Speech::of(question, &Directives::default(), 3);
            said.calls.iter().map(|call| format!("{}{}", call.name, call.input.concat())).collect::<Vec<_>>()
        };
        assert_eq!(called(&with("please use the tools")), [r#"a{"n":3}"#, r#"b{"n":3}"#]);
        assert_eq!(called(&Question { parallel: false, ..with("please use the tools") }).len(), 1);
        assert!(called(&Question { after_tool: true, ..with("please use the tools") }).is_empty());
        assert!(called(&with("hello")).is_empty());
        assert_eq!(called(&Question { choice: Choice::Named("b"), ..with("hello") }), [r#"b{"n":3}"#]);
        assert_eq!(called(&with("now use the tool `b`, please")), [r#"b{"n":3}"#]);
        assert_eq!(called(&with(r#"use the tool `b` with `{"n":4}`."#)), [r#"b{"n":4}"#]);
        assert!(called(&with("use the tool `c`")).is_empty());
    }
}

//! A chat request in the one inner language: what is asked for, whatever dialect it was asked in.
//!
//! A dialect's reader fills it, a dialect's writer turns it into what a provider takes. It holds what at least two dialects can say. What only
//! one can say either changes the meaning (the reader refuses it, naming the member) or does not (the reader notes it in
//! [`Request::dropped`]). Opaque JSON (schemas, tool arguments) stays JSON. Owned, because a request may be written several times.

use serde_json::Value;
use std::borrow::Cow;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Instructions that stand before the conversation, in order: [`Body::Text`] blocks.
    pub system: Vec<Block>,
    /// The conversation, in order. Neighbours may have the same role: a writer merges them where its dialect wants that.
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether and what it must call; `None` leaves it to the provider.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls may come in one turn; `None` leaves it to the provider.
    pub parallel_tools: Option<bool>,
    /// Tokens of the answer at most, reasoning included.
    pub output_max: Option<u64>,
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How many answers (`n`); `None` is one.
    pub choices: Option<u32>,
    /// Log probabilities: how many alternatives beside each token's own; `None` wants none at all.
    pub logprobs: Option<u32>,
    /// What the answer must look like.
    pub format: Format,
    /// How much to think first, and whether to show it.
    pub reasoning: Reasoning,
    /// How long-winded: `low`, `medium` or `high`.
    pub verbosity: Option<String>,
    /// Wanted sound: voice and format; `None` wants text alone.
    pub audio: Option<AudioOut>,
    /// The end user, as the client names them.
    pub user: Option<String>,
    /// Class of service by the OpenAI names (`auto`, `default`, `flex`, `priority`).
    pub service_tier: Option<String>,
    /// Names the prompt's prefix for the provider's cache.
    pub prompt_cache_key: Option<String>,
    /// Safety thresholds in Gemini's own form; meaningful to Gemini alone.
    pub safety: Option<Value>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Members that were left out although the client sent them, by their names in the client's dialect: the answer stays right without
    /// them, its quality may not. Told to the client in `x-igris-dropped`.
    pub dropped: Vec<String>,
}

impl Request {
    /// What an estimate of its tokens is made of: bytes of text in it, and how many pictures, sounds and documents.
    pub fn weight(&self) -> Weight {
        let mut weight = Weight::default();
        let turns = self.turns.iter().flat_map(|turn| match turn {
            Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => blocks,
        });
        self.system.iter().chain(turns).for_each(|block| weight.add(block));
        for tool in &self.tools {
            weight.text_bytes += tool.name.len() + tool.description.as_ref().map_or(0, String::len);
            weight.text_bytes += match &tool.kind {
                ToolKind::Function { parameters: Some(schema), .. } => schema.to_string().len(),
                ToolKind::Hosted { raw, .. } => raw.to_string().len(),
                ToolKind::Function { parameters: None, .. } | ToolKind::Custom { .. } => 0,
            };
        }
        weight
    }
}

/// What an estimate of tokens is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of text, names, tool inputs and schemas.
    pub text_bytes: usize,
    /// Pictures, sounds, films and documents that are not text.
    pub media: usize,
}

impl Weight {
    fn add(&mut self, block: &Block) {
        match &block.body {
            Body::Text(text) | Body::Refusal(text) => self.text_bytes += text.len(),
            Body::Thinking(thinking) => self.text_bytes += thinking.text.len(),
            Body::ToolCall(call) => self.text_bytes += call.name.len() + call.input.len(),
            Body::ToolResult(result) => result.content.iter().for_each(|inner| self.add(inner)),
            Body::Image(media) | Body::Document(media) | Body::Audio(media) | Body::Video(media) => match &media.source
            {
                Source::Text(text) => self.text_bytes += text.len(),
                _ => self.media += 1,
            },
        }
    }
}

/// How the next token is drawn. Figures as the client wrote them; a writer clamps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2 in OpenAI's scale.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Whole tokens.
    pub top_k: Option<u64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// For repeatable answers, where a provider keeps that promise.
    pub seed: Option<i64>,
    /// Token id to bias, OpenAI's form.
    pub logit_bias: Option<Value>,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// The client's side: what the user says, and results of tools ([`Body::ToolResult`]).
    User(Vec<Block>),
    /// The model's side: text, thinking, calls of tools. As the last turn it is a prefix that the model continues.
    Assistant(Vec<Block>),
    /// Instructions in the middle of a conversation.
    System(Vec<Block>),
}

/// A piece of a turn, and whether a prompt cache shall end after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What it is.
    pub body: Body,
    /// The client marked this place as the end of a prefix worth keeping.
    pub cache: Option<CacheHint>,
}

impl Block {
    /// A block without a mark.
    pub fn of(body: Body) -> Self {
        Self { body, cache: None }
    }

    /// A text block without a mark.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Body::Text(text.into()))
    }
}

/// A prompt-cache mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheHint {
    /// For the provider's usual few minutes.
    Short,
    /// For an hour or longer.
    Long,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Words.
    Text(String),
    /// A refusal in the model's own words.
    Refusal(String),
    /// A picture.
    Image(Media),
    /// A document: PDF, plain text.
    Document(Media),
    /// Sound.
    Audio(Media),
    /// Moving pictures.
    Video(Media),
    /// What the model thought before it went on.
    Thinking(Thinking),
    /// A call of a tool by the model.
    ToolCall(ToolCall),
    /// What a tool gave back.
    ToolResult(ToolResult),
}

/// Something that is not text, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Where its bytes are.
    pub source: Source,
    /// A file name or title.
    pub name: Option<String>,
    /// How closely to look at a picture, OpenAI's word.
    pub detail: Option<String>,
}

/// Where the bytes of a [`Media`] are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// At an address that the provider fetches. The gateway never does.
    Url {
        /// As the client wrote it.
        url: String,
        /// If the client said.
        media_type: Option<String>,
    },
    /// Here.
    Base64 {
        /// As in `image/png`; lower case.
        media_type: String,
        /// Standard base64, padded.
        data: String,
    },
    /// Here, as plain text (`text/plain`).
    Text(String),
    /// In a provider's file store; of use to that maker alone.
    File {
        /// Whose store.
        maker: Maker,
        /// Its id or URI there.
        id: String,
    },
}

/// Whose seal, file id or hosted tool it is: such things mean nothing to anyone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maker {
    /// OpenAI.
    OpenAi,
    /// Anthropic, on whatever platform Claude runs.
    Anthropic,
    /// Google, on whatever platform Gemini runs.
    Google,
}

/// Thinking, as far as it may be seen, and the maker's seal on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thinking {
    /// The visible words; may be empty.
    pub text: String,
    /// What lets its maker take it back; without one it is words only.
    pub seal: Option<Seal>,
}

/// An opaque proof or ciphertext that must go back to its maker unchanged: Anthropic's `signature` and `redacted_thinking.data`, Gemini's
/// `thoughtSignature`, OpenAI's `encrypted_content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Who made it, and alone can read it.
    pub maker: Maker,
    /// The text, as it came.
    pub data: String,
    /// The whole thought is inside and nothing of it may be seen (`redacted_thinking`).
    pub redacted: bool,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Joins call and result. Readers of clients' requests take carried thinking out of it first (see [`super::carry`]).
    pub id: String,
    /// Which tool.
    pub name: String,
    /// The input: JSON text of an object for a function, any text for a custom tool. Never empty for a function: `{}`.
    pub input: String,
    /// Whether the tool takes free text instead of JSON.
    pub custom: bool,
    /// A seal on the call itself (Gemini).
    pub seal: Option<Seal>,
}

/// What a tool gave back.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call it answers.
    pub id: String,
    /// The tool's name, where the dialect says it; else writers that need it look at the calls before.
    pub name: Option<String>,
    /// Text, pictures, documents.
    pub content: Vec<Block>,
    /// Whether it failed.
    pub is_error: bool,
}

/// A tool the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// What it is.
    pub kind: ToolKind,
    /// Its name; for a hosted tool the maker's type name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// A prompt-cache mark after it.
    pub cache: Option<CacheHint>,
}

/// What kind of tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    /// The client runs it; input by JSON schema.
    Function {
        /// The schema; `None` takes no input.
        parameters: Option<Value>,
        /// Whether input must keep to the schema.
        strict: Option<bool>,
    },
    /// The client runs it; input is free text, perhaps by a grammar in OpenAI's form.
    Custom {
        /// `format` as OpenAI has it.
        format: Option<Value>,
    },
    /// The provider runs it; of use to its maker alone.
    Hosted {
        /// Whose.
        maker: Maker,
        /// The whole tool as the client wrote it.
        raw: Value,
    },
}

/// Whether and what the model must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// Nothing.
    None,
    /// Something.
    Required,
    /// This one.
    Named(String),
    /// Only these; something of them if `required`.
    Allowed {
        /// Tools by name.
        names: Vec<String>,
        /// Whether one must be called.
        required: bool,
    },
}

/// What the answer must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Words.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema's name; dialects without names leave it empty.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether the answer must keep to it.
        strict: Option<bool>,
    },
}

/// How much to think.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasoning {
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens at most.
    pub budget: Option<u64>,
    /// Plainly on or off, where a dialect says it apart from an effort.
    pub enabled: Option<bool>,
    /// Whether the client wants to see it (a summary or the thing itself); `None` did not say.
    pub shown: Option<bool>,
}

impl Reasoning {
    /// Whether the client said anything about it.
    pub fn is_stated(&self) -> bool {
        self.effort.is_some() || self.budget.is_some() || self.enabled.is_some()
    }
}

/// How hard to think, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Hard.
    High,
    /// Harder.
    XHigh,
    /// As hard as the model can.
    Max,
}

impl Effort {
    /// Every effort, least first.
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    /// The word on the wire; the same in every dialect that has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// Reads the word, lower or upper case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str().eq_ignore_ascii_case(word))
    }
}

/// Wanted sound.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioOut {
    /// The whole `audio` member as OpenAI has it.
    pub raw: Value,
}

/// Why a request cannot be said in a dialect: always the request's own content, never the gateway's state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The member to blame, by its name in the client's dialect: `messages[2].content[0].type`.
    pub param: Cow<'static, str>,
    /// One sentence with its remedy.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal.
    pub fn new(param: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { param: param.into(), message: message.into() }
    }
}

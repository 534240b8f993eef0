//! How each OpenAI-shaped vendor departs from the shape, as data: one row a vendor, and rows inside it for its model families.
//!
//! The writer of requests and the cleaner of passed-through ones ask these rows and nothing else, so that a vendor is changed here and
//! nowhere in code. A vendor without a row of its own is [`PLAIN`].
//!
//! Sources: each vendor's own reference pages, read 2026-11.

use crate::chat::request::Effort;

/// What one vendor, or one family of its models, takes and in which words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ways {
    /// Canonical name of the vendor.
    pub vendor: &'static str,
    /// Families of models with ways of their own, the first that fits counts.
    pub families: &'static [Family],

    /// The member that bounds the answer's tokens.
    pub output_limit: &'static str,
    /// The member for repeatable answers.
    pub seed: Option<&'static str>,
    /// The member that names the end user.
    pub user: Option<&'static str>,
    /// Whether figures for drawing the next token may be other than the default.
    pub sampling: Sampling,
    /// The least and the greatest temperature.
    pub temperature: (f64, f64),
    /// Takes `top_k`.
    pub top_k: bool,
    /// Takes `frequency_penalty`.
    pub frequency_penalty: bool,
    /// Takes `presence_penalty`.
    pub presence_penalty: bool,
    /// Takes `logit_bias`.
    pub logit_bias: bool,
    /// Takes `logprobs` and `top_logprobs`.
    pub logprobs: bool,
    /// Texts that end the answer, at most; 0 takes none.
    pub stop_max: usize,
    /// Bytes of each of them, at most.
    pub stop_bytes_max: usize,
    /// Takes `n` above one.
    pub several_choices: bool,
    /// Takes `verbosity`.
    pub verbosity: bool,
    /// Takes `service_tier`.
    pub service_tier: bool,
    /// Takes `prompt_cache_key`.
    pub prompt_cache_key: bool,
    /// Takes marks for the prompt cache (`cache_control`) on parts and tools.
    pub cache_marks: bool,
    /// Takes, and needs, `stream_options.include_usage` for usage in streams.
    pub include_usage: bool,
    /// Members that are always sent: name, JSON.
    pub always: &'static [(&'static str, &'static str)],

    /// The word that forces a call of some tool; without one, an instruction must do.
    pub forced_tools: Option<&'static str>,
    /// Takes one tool by name as the choice.
    pub named_tools: bool,
    /// Takes `allowed_tools` as the choice.
    pub allowed_tools: bool,
    /// Takes `parallel_tool_calls`.
    pub parallel_tools: bool,
    /// Takes tools with free text for input.
    pub custom_tools: bool,
    /// Takes `strict` in tools.
    pub strict: bool,

    /// Takes `response_format` of type `json_object`.
    pub json_object: bool,
    /// Takes `response_format` of type `json_schema`.
    pub json_schema: bool,

    /// How it is told how much to think.
    pub thinking: Thinking,
    /// The efforts it takes, least first, where the catalogue does not say; empty takes all.
    pub efforts: &'static [Effort],
    /// What becomes of thinking in the conversation so far.
    pub history: History,

    /// Takes the role `developer`.
    pub developer_role: bool,
    /// Where it takes `name` on messages.
    pub names: Names,
    /// Demands ids of tool calls of nine letters and digits.
    pub nine_ids: bool,
    /// The member that marks a last assistant message as a prefix to continue, where one is needed.
    pub prefill: Option<&'static str>,
    /// Takes documents as `file` parts.
    pub files: bool,
    /// Takes ids of its own file store.
    pub file_ids: bool,
    /// Takes `video_url` parts.
    pub video: bool,
    /// Makes sound (`modalities`, `audio`).
    pub sound: bool,
}

/// Models whose ways differ from their vendor's others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// How their names begin.
    pub models: &'static [&'static str],
    /// Their ways; families inside them are not looked at.
    pub ways: &'static Ways,
}

/// Whether temperature, `top_p`, `top_k`, penalties, stop texts and log probabilities may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// As the request has them.
    Free,
    /// Not while the model thinks, which it does unless told otherwise.
    FixedWhileThinking,
    /// Never.
    Fixed,
}

/// The words for how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// `reasoning_effort`.
    Effort,
    /// `thinking: {"type": "enabled" | "disabled"}`.
    Switch,
    /// Both of these.
    SwitchAndEffort,
    /// `enable_thinking`, and `thinking_budget` in tokens.
    Budget,
    /// None: it thinks or does not, as the model is.
    Unsaid,
}

/// What becomes of thinking in the conversation so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Refused: taken out where a client sends it.
    Refused,
    /// Not sent by us; what a client sends passes.
    Passed,
    /// Welcome under this name.
    Welcome(&'static str),
    /// Wanted back as `reasoning_details`.
    Details,
    /// Demanded as `reasoning_content` with every tool call; a space will do where it was lost.
    Demanded,
}

/// Where `name` is taken on messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Everywhere.
    Everywhere,
    /// On tool messages only.
    OnResults,
    /// Nowhere.
    Nowhere,
}

// === impl Ways ===

impl Ways {
    /// The ways of a vendor by its canonical name; [`PLAIN`] for one without a row.
    pub fn of(vendor: &str) -> &'static Self {
        VENDORS.iter().copied().find(|ways| ways.vendor == vendor).unwrap_or(&PLAIN)
    }

    /// The ways of one of the vendor's models.
    pub fn for_model(&'static self, model: &str) -> &'static Self {
        let fits = |family: &&Family| family.models.iter().any(|prefix| model.starts_with(prefix));
        self.families.iter().find(fits).map_or(self, |family| family.ways)
    }
}

/// Every vendor with a row.
pub static VENDORS: &[&Ways] = &[
    &OPENAI,
    &AZURE,
    &XAI,
    &MISTRAL,
    &DEEPSEEK,
    &KIMI,
    &QWEN,
    &MINIMAX,
    &ZAI,
    &GROQ,
    &TOGETHER,
    &OPENROUTER,
    &FIREWORKS,
    &PERPLEXITY,
    &OLLAMA,
    &VLLM,
];

/// The shape itself, as servers that copied it some years ago take it.
pub const PLAIN: Ways = Ways {
    vendor: "",
    families: &[],
    output_limit: "max_tokens",
    seed: Some("seed"),
    user: Some("user"),
    sampling: Sampling::Free,
    temperature: (0.0, 2.0),
    top_k: false,
    frequency_penalty: true,
    presence_penalty: true,
    logit_bias: true,
    logprobs: true,
    stop_max: 4,
    stop_bytes_max: usize::MAX,
    several_choices: true,
    verbosity: false,
    service_tier: false,
    prompt_cache_key: false,
    cache_marks: false,
    include_usage: true,
    always: &[],
    forced_tools: Some("required"),
    named_tools: true,
    allowed_tools: false,
    parallel_tools: true,
    custom_tools: false,
    strict: true,
    json_object: true,
    json_schema: true,
    thinking: Thinking::Effort,
    efforts: &[],
    history: History::Passed,
    developer_role: false,
    names: Names::Everywhere,
    nine_ids: false,
    prefill: None,
    files: true,
    file_ids: false,
    video: false,
    sound: false,
};

/// OpenAI. <https://platform.openai.com/docs/api-reference/chat>
pub const OPENAI: Ways = Ways {
    vendor: "openai",
    families: &[Family { models: &["o1", "o3", "o4", "gpt-5", "gpt-6", "chat-latest"], ways: &OPENAI_REASONING }],
    ..OPENAI_BASE
};

const OPENAI_BASE: Ways = Ways {
    vendor: "openai",
    service_tier: true,
    prompt_cache_key: true,
    user: Some("safety_identifier"),
    allowed_tools: true,
    custom_tools: true,
    thinking: Thinking::Unsaid,
    history: History::Refused,
    developer_role: true,
    file_ids: true,
    sound: true,
    ..PLAIN
};

const OPENAI_REASONING: Ways = Ways {
    output_limit: "max_completion_tokens",
    sampling: Sampling::FixedWhileThinking,
    stop_max: 0,
    verbosity: true,
    thinking: Thinking::Effort,
    sound: false,
    ..OPENAI_BASE
};

/// OpenAI's models on Azure: the deployment's name need not tell the model, so the newer member bounds all of them.
pub const AZURE: Ways = Ways {
    vendor: "azure",
    output_limit: "max_completion_tokens",
    service_tier: false,
    user: Some("user"),
    thinking: Thinking::Effort,
    file_ids: false,
    ..OPENAI_BASE
};

/// xAI. <https://docs.x.ai/docs/api-reference>
pub const XAI: Ways = Ways {
    vendor: "xai",
    families: &[
        Family {
            models: &["grok-4.20", "grok-4-", "grok-code", "grok-build"],
            ways: &Ways { thinking: Thinking::Unsaid, ..XAI_STRICT },
        },
        Family { models: &["grok-4"], ways: &XAI_STRICT },
    ],
    ..XAI_BASE
};

const XAI_BASE: Ways = Ways {
    vendor: "xai",
    logit_bias: false,
    include_usage: false,
    strict: false,
    thinking: Thinking::Unsaid,
    names: Names::OnResults,
    files: false,
    ..PLAIN
};

const XAI_STRICT: Ways = Ways {
    frequency_penalty: false,
    presence_penalty: false,
    stop_max: 0,
    thinking: Thinking::Effort,
    efforts: &[Effort::Low, Effort::Medium, Effort::High],
    ..XAI_BASE
};

/// Mistral. <https://docs.mistral.ai/api>
pub const MISTRAL: Ways = Ways {
    vendor: "mistral",
    families: &[Family {
        models: &["mistral-large-4", "mistral-medium", "mistral-small"],
        ways: &Ways { thinking: Thinking::Effort, ..MISTRAL_BASE },
    }],
    ..MISTRAL_BASE
};

const MISTRAL_BASE: Ways = Ways {
    vendor: "mistral",
    seed: Some("random_seed"),
    user: None,
    temperature: (0.0, 1.5),
    top_k: true,
    logit_bias: false,
    stop_max: usize::MAX,
    service_tier: true,
    prompt_cache_key: true,
    include_usage: false,
    forced_tools: Some("any"),
    thinking: Thinking::Unsaid,
    efforts: &[Effort::None, Effort::High],
    history: History::Refused,
    names: Names::OnResults,
    nine_ids: true,
    prefill: Some("prefix"),
    files: false,
    ..PLAIN
};

/// DeepSeek. <https://api-docs.deepseek.com/api/create-chat-completion>
pub const DEEPSEEK: Ways = Ways {
    vendor: "deepseek",
    families: &[Family {
        // The first generation refuses what the present one demands.
        models: &["deepseek-r1", "deepseek-reasoner", "deepseek-chat", "deepseek-coder", "deepseek-v3"],
        ways: &Ways {
            sampling: Sampling::Free,
            thinking: Thinking::Unsaid,
            history: History::Refused,
            ..DEEPSEEK_BASE
        },
    }],
    ..DEEPSEEK_BASE
};

const DEEPSEEK_BASE: Ways = Ways {
    vendor: "deepseek",
    seed: None,
    user: Some("user_id"),
    sampling: Sampling::FixedWhileThinking,
    logit_bias: false,
    stop_max: 16,
    several_choices: false,
    parallel_tools: false,
    strict: false,
    json_schema: false,
    thinking: Thinking::SwitchAndEffort,
    history: History::Demanded,
    files: false,
    ..PLAIN
};

/// Kimi. <https://platform.moonshot.ai/docs/api/chat>
pub const KIMI: Ways = Ways {
    vendor: "kimi",
    families: &[
        Family {
            models: &["kimi-k3"],
            ways: &Ways {
                thinking: Thinking::Effort,
                efforts: &[Effort::Low, Effort::High, Effort::Max],
                forced_tools: Some("required"),
                ..KIMI_THINKING
            },
        },
        Family { models: &["kimi-k2.7"], ways: &Ways { thinking: Thinking::Unsaid, ..KIMI_THINKING } },
        Family { models: &["kimi-k2.5", "kimi-k2.6"], ways: &KIMI_THINKING },
    ],
    ..KIMI_BASE
};

const KIMI_BASE: Ways = Ways {
    vendor: "kimi",
    seed: None,
    user: None,
    temperature: (0.0, 1.0),
    logit_bias: false,
    logprobs: false,
    stop_max: 5,
    stop_bytes_max: 32,
    prompt_cache_key: true,
    forced_tools: None,
    parallel_tools: false,
    thinking: Thinking::Unsaid,
    prefill: Some("partial"),
    files: false,
    video: true,
    ..PLAIN
};

const KIMI_THINKING: Ways = Ways {
    sampling: Sampling::Fixed,
    several_choices: false,
    thinking: Thinking::Switch,
    history: History::Demanded,
    ..KIMI_BASE
};

/// Qwen on Alibaba's Model Studio. <https://www.alibabacloud.com/help/en/model-studio/use-qwen-by-calling-api>
pub const QWEN: Ways = Ways {
    vendor: "qwen",
    user: None,
    temperature: (0.0, 1.99),
    top_k: true,
    frequency_penalty: false,
    logit_bias: false,
    stop_max: usize::MAX,
    cache_marks: true,
    // Not every model takes the word, and none does while it thinks.
    forced_tools: None,
    strict: false,
    thinking: Thinking::Budget,
    history: History::Welcome("reasoning_content"),
    files: false,
    video: true,
    ..PLAIN
};

/// MiniMax. <https://platform.minimax.io/docs/api-reference/text-openai-api>
pub const MINIMAX: Ways = Ways {
    vendor: "minimax",
    seed: None,
    user: None,
    temperature: (0.01, 1.0),
    frequency_penalty: false,
    presence_penalty: false,
    logit_bias: false,
    logprobs: false,
    several_choices: false,
    // Else thinking comes inside the content.
    always: &[("reasoning_split", "true")],
    forced_tools: None,
    named_tools: false,
    parallel_tools: false,
    strict: false,
    json_object: false,
    json_schema: false,
    thinking: Thinking::Unsaid,
    history: History::Details,
    files: false,
    ..PLAIN
};

/// Z.ai. <https://docs.z.ai/api-reference/llm/chat-completion>
pub const ZAI: Ways = Ways {
    vendor: "zai",
    seed: None,
    user: Some("user_id"),
    temperature: (0.01, 1.0),
    frequency_penalty: false,
    presence_penalty: false,
    logit_bias: false,
    logprobs: false,
    stop_max: 1,
    several_choices: false,
    include_usage: false,
    forced_tools: None,
    named_tools: false,
    parallel_tools: false,
    strict: false,
    json_schema: false,
    thinking: Thinking::Switch,
    history: History::Welcome("reasoning_content"),
    files: false,
    video: true,
    ..PLAIN
};

/// Groq. <https://console.groq.com/docs/api-reference>
pub const GROQ: Ways = Ways {
    vendor: "groq",
    output_limit: "max_completion_tokens",
    logit_bias: false,
    logprobs: false,
    several_choices: false,
    // Zero stands for a figure just above it.
    temperature: (1e-8, 2.0),
    history: History::Refused,
    names: Names::Nowhere,
    files: false,
    ..PLAIN
};

/// Together. <https://docs.together.ai/reference/chat-completions>
pub const TOGETHER: Ways = Ways { vendor: "together", top_k: true, user: None, files: false, ..PLAIN };

/// OpenRouter. <https://openrouter.ai/docs/api-reference/chat-completion>
pub const OPENROUTER: Ways = Ways {
    vendor: "openrouter",
    top_k: true,
    verbosity: true,
    cache_marks: true,
    history: History::Welcome("reasoning"),
    ..PLAIN
};

/// Fireworks. <https://docs.fireworks.ai/api-reference/post-chatcompletions>
pub const FIREWORKS: Ways = Ways { vendor: "fireworks", top_k: true, files: false, ..PLAIN };

/// Perplexity. <https://docs.perplexity.ai/api-reference/chat-completions-post>
pub const PERPLEXITY: Ways = Ways {
    vendor: "perplexity",
    seed: None,
    user: None,
    top_k: true,
    logit_bias: false,
    logprobs: false,
    several_choices: false,
    include_usage: false,
    json_object: false,
    ..PLAIN
};

/// Ollama. <https://docs.ollama.com/api/openai-compatibility>
pub const OLLAMA: Ways = Ways {
    vendor: "ollama",
    logit_bias: false,
    several_choices: false,
    stop_max: usize::MAX,
    // The word is ignored there, and an instruction is not.
    forced_tools: None,
    named_tools: false,
    files: false,
    ..PLAIN
};

/// vLLM. <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>
pub const VLLM: Ways = Ways {
    vendor: "vllm",
    top_k: true,
    stop_max: usize::MAX,
    history: History::Welcome("reasoning_content"),
    files: false,
    video: true,
    ..PLAIN
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_has_one_row() {
        for ways in VENDORS {
            assert_eq!(Ways::of(ways.vendor), *ways, "{}", ways.vendor);
            for family in ways.families {
                assert_eq!(family.ways.vendor, ways.vendor);
                assert!(!family.models.is_empty(), "{}", ways.vendor);
            }
            for (name, json) in ways.always {
                assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{name}");
            }
        }
        assert_eq!(*Ways::of("somebody"), PLAIN);
    }

    #[test]
    fn families_go_by_the_first_name_that_fits() {
        let ways = |vendor: &str, model: &str| Ways::of(vendor).for_model(model);
        assert_eq!(ways("openai", "gpt-4o").output_limit, "max_tokens");
        assert_eq!(ways("openai", "gpt-5.6-sol").output_limit, "max_completion_tokens");
        assert_eq!(ways("xai", "grok-4.7").thinking, Thinking::Effort);
        assert_eq!(ways("xai", "grok-4.20-reasoning").thinking, Thinking::Unsaid);
        assert_eq!((ways("xai", "grok-4.20").stop_max, ways("xai", "grok-3").stop_max), (0, 4));
        assert_eq!(ways("deepseek", "deepseek-v4-pro").history, History::Demanded);
        assert_eq!(ways("deepseek", "deepseek-r1").history, History::Refused);
        assert_eq!(ways("kimi", "kimi-k3.1-pro").thinking, Thinking::Effort);
        assert_eq!(
            (ways("kimi", "kimi-k2.6").history, ways("kimi", "moonshot-v1-8k").history),
            (History::Demanded, History::Passed)
        );
    }
}

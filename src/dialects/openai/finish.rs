//! Why an answer ended, in every vendor's word.
//!
//! Sources, read 2026-11: the finish reasons of OpenAI, xAI, Mistral, DeepSeek, Z.ai, Together, OpenRouter and vLLM.

use crate::chat::response::Finish;

/// Whether the word says that the vendor failed: there is no answer.
pub(super) fn is_failure(word: &str) -> bool {
    matches!(word, "error" | "insufficient_system_resource" | "network_error" | "abort")
}

/// The reason; an unknown word, or none, is a plain stop. An answer with calls waits for their results whatever the vendor says, unless it
/// was cut short.
pub(super) fn read(word: &str, calls: bool) -> Finish {
    match word {
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => Finish::Length,
        "content_filter" | "sensitive" | "safety" | "refusal" => Finish::ContentFilter,
        "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
        _ if calls => Finish::ToolCalls,
        _ => Finish::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_of_ours() {
        let rows = [
            ("stop", Finish::Stop, Finish::ToolCalls),
            ("", Finish::Stop, Finish::ToolCalls),
            ("eos", Finish::Stop, Finish::ToolCalls),
            ("unheard_of", Finish::Stop, Finish::ToolCalls),
            ("tool_calls", Finish::ToolCalls, Finish::ToolCalls),
            ("function_call", Finish::ToolCalls, Finish::ToolCalls),
            ("model_length", Finish::Length, Finish::Length),
            ("sensitive", Finish::ContentFilter, Finish::ContentFilter),
        ];
        for (word, plain, with_calls) in rows {
            assert_eq!((read(word, false), read(word, true)), (plain, with_calls), "{word}");
            assert!(!is_failure(word));
        }
        assert!(is_failure("insufficient_system_resource"));
    }
}

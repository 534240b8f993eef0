//! Any text as a configuration (rule X4): it is refused or accepted, never a panic, and what is shown stays on its lines.
#![no_main]

use igris::config::{Config, Known, KnownProvider};
use libfuzzer_sys::fuzz_target;

const KNOWN: Known<'static> = Known {
    providers: &[KnownProvider {
        name: "openai",
        aliases: &["oai"],
        key_envs: &["OPENAI_API_KEY"],
        dialect: "openai",
        base_url: Some("https://api.openai.com/v1"),
    }],
    dialects: &["openai", "anthropic", "gemini"],
};

fuzz_target!(|text: &str| {
    if let Err(problems) = Config::parse("f", text, &KNOWN) {
        assert!(problems.count() > 0, "a refusal without a reason");
        for line in problems.to_string().split('\n') {
            assert!(line.starts_with("f:") && !line.contains(char::is_control), "{line:?}");
        }
    }
});

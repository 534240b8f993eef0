//! `auto` is what the owner's rules make of it: by category, words, language, length and tools, in every dialect, and only where asked for.

mod support;

use igris_load::Simulator;
use serde_json::json;
use support::{ACCESS_KEY, Answer, Builder, Gateway, SOON, Speaker, Wish, bearer, chat_of, post_with, wait_until};

const RULES: &str = r#"
[[models]]
name = "auto"
policy = "ordered"
targets = [{ provider = "other", model = "gpt-4o" }]
[[models]]
name = "coder"
policy = "ordered"
targets = [{ provider = "large", model = "gpt-4o" }]
[[models]]
name = "cheap"
policy = "ordered"
targets = [{ provider = "small", model = "gpt-4o" }]

[[routing.rules]]
category = "with-tools"
tools = true
model = "coder"
[[routing.rules]]
category = "coding"
model = "coder"
[[routing.rules]]
category = "legal"
keywords = ["contract", "Haftung"]
languages = ["de"]
model = "coder"
[[routing.rules]]
category = "long"
min_tokens = "2k"
model = "coder"
[[routing.rules]]
model = "cheap"
max_tokens = 1500
"#;

const CODE: &str = "Please debug this Python function, it raises an exception.";
const TALK: &str = "What is the capital of France?";
const NARROW_KEY: &str = "sk-igris-canary-cheap-only-0123456789abcdef";

struct Stand {
    _small: Simulator,
    _large: Simulator,
    gateway: Gateway,
}

fn stand(set_up: impl FnOnce(Builder) -> Builder) -> Stand {
    let start = || Simulator::builder().start().expect("a loopback port");
    let (small, large) = (start(), start());
    let builder = Gateway::builder()
        .own_provider("other", &small.base_url(), "")
        .own_provider("small", &small.base_url(), "")
        .own_provider("large", &large.base_url(), "");
    let gateway = set_up(builder).start();
    Stand { _small: small, _large: large, gateway }
}

#[track_caller]
fn must_be_served_by(answer: &Answer, provider: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-igris-provider"), Some(provider), "{:?}", answer.headers);
}

#[test]
fn the_first_rule_that_fits_says_what_auto_is() {
    let stand = stand(|builder| builder.config_toml(RULES));
    let asked = |content: &str, members: &str| stand.gateway.chat(&chat_of("auto", content, members));
    must_be_served_by(&asked(CODE, ""), "large");
    must_be_served_by(&asked(TALK, ""), "small");
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;
    must_be_served_by(&asked(TALK, tools), "large");
    must_be_served_by(&asked("Wie weit geht die Haftung, wenn ich das nicht unterschreibe?", ""), "large");
    must_be_served_by(&asked("How far does Haftung go if I do not sign this?", ""), "small");
    must_be_served_by(&asked(&"word ".repeat(2_000), ""), "large");
    let answer = asked(CODE, "").json();
    assert_eq!(
        (&answer["metadata"]["provider"], &answer["metadata"]["model_used"]),
        (&json!("large"), &json!("gpt-4o"))
    );
    // Between the last two rules: neither fits, so that `auto` is what it is without rules.
    must_be_served_by(&asked(&"word ".repeat(1_400), ""), "other");
}

#[test]
fn every_dialect_is_read() {
    let stand = stand(|builder| builder.config_toml(RULES));
    for speaker in Speaker::ALL {
        for stream in [false, true] {
            let wish = Wish { stream, ..Wish::default() };
            let served = |content: &str| {
                let answer = speaker.ask_raw(&stand.gateway, "auto", &[speaker.user(content)], wish);
                assert_eq!(answer.status, 200, "{speaker:?}: {}", answer.text());
                answer.header("x-igris-provider").unwrap_or_default().to_owned()
            };
            assert_eq!((served(CODE).as_str(), served(TALK).as_str()), ("large", "small"), "{speaker:?} {stream}");
        }
        let answer =
            speaker.ask_raw(&stand.gateway, "auto", &[speaker.user(TALK)], Wish { tools: true, ..Wish::default() });
        must_be_served_by(&answer, "large");
    }
}

#[test]
fn a_request_may_turn_rules_off_and_ask_for_them_by_another_name() {
    let stand = stand(|builder| builder.config_toml(RULES));
    let gateway = &stand.gateway;
    must_be_served_by(&gateway.chat(&chat_of("auto", CODE, r#","enable_semantic_routing":false"#)), "other");
    must_be_served_by(&gateway.chat(&chat_of("cheap", CODE, "")), "small");
    must_be_served_by(&gateway.chat(&chat_of("cheap", CODE, r#","enable_semantic_routing":true"#)), "large");
    let by_header = format!("{}x-igris-enable-semantic-routing: true\r\n", bearer(ACCESS_KEY));
    let body = chat_of("cheap", CODE, "");
    must_be_served_by(&gateway.ask(&post_with("/v1/chat/completions", &by_header, body.as_bytes())), "large");
}

#[test]
fn a_key_that_may_not_ask_for_a_model_does_not_get_it_by_a_rule() {
    let key = "[[access_keys]]\nname = \"cheap-only\"\nkey = { file = \"{home}/cheap-only\" }\nlimits = { models = [\"cheap\"] }\n";
    let stand = stand(|builder| builder.file("cheap-only", NARROW_KEY).config_toml(&format!("{RULES}{key}")));
    let asked = |model: &str| {
        let body = chat_of(model, CODE, r#","enable_semantic_routing":true"#);
        stand.gateway.ask(&post_with("/v1/chat/completions", &bearer(NARROW_KEY), body.as_bytes()))
    };
    must_be_served_by(&asked("cheap"), "small");
    asked("auto").must_be_fault(403, "model_not_allowed");
}

#[test]
fn other_rules_come_with_another_configuration() {
    let stand = stand(|builder| builder.config_toml(RULES));
    let served = || {
        let answer = stand.gateway.chat(&chat_of("auto", TALK, ""));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-igris-provider").unwrap_or_default().to_owned()
    };
    assert_eq!(served(), "small");
    let text = stand.gateway.config().replace("version = 1\n", "version = 2\n");
    stand.gateway.write_config(&text.replace("model = \"cheap\"\nmax_tokens", "model = \"coder\"\nmax_tokens"));
    stand.gateway.signal("HUP");
    wait_until(SOON, "the new rules are in force", || served() == "large");
}

#[test]
fn a_rule_for_a_model_that_nobody_serves_is_told_and_not_hidden() {
    let rules = "[[models]]\nname = \"auto\"\ntargets = [{ provider = \"other\", model = \"gpt-4o\" }]\n\
                 [[routing.rules]]\ncategory = \"coding\"\nmodel = \"no-such-model\"\n";
    let stand = stand(|builder| builder.config_toml(rules));
    let gateway = &stand.gateway;
    wait_until(SOON, "the log names the model", || {
        (gateway.stdout() + &gateway.stderr()).contains("`no-such-model`, which no configured provider serves")
    });
    let answer = gateway.chat(&chat_of("auto", CODE, ""));
    answer.must_be_fault(404, "model_not_found");
    assert!(answer.message().contains("no-such-model"), "{}", answer.message());
    must_be_served_by(&gateway.chat(&chat_of("auto", TALK, "")), "other");
}

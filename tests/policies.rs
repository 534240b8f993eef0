//! Who is asked first follows the policy, the goal and the price, and an answer says so.

mod support;

use igris_load::Simulator;
use support::{Answer, Gateway, chat_of};

/// The same provider's dear and cheap model, in this order.
const DEAR_AND_CHEAP: &str =
    "targets = [{ provider = \"openai\", model = \"gpt-4o\" }, { provider = \"openai\", model = \"gpt-4o-mini\" }]";

fn gateway(simulator: &Simulator) -> Gateway {
    let entry =
        |name: &str, policy: &str| format!("[[models]]\nname = \"{name}\"\npolicy = \"{policy}\"\n{DEAR_AND_CHEAP}\n");
    let models = [entry("learnt", "thompson"), entry("cheap", "cost"), entry("listed", "ordered")].concat();
    Gateway::builder().provider("openai", simulator).config_toml(&models).start()
}

fn model_of(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-igris-model").expect("an answer names its model")
}

#[test]
fn policy_and_goal_decide_who_is_asked_first() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = gateway(&simulator);
    for (model, members, first) in [
        ("cheap", "", "gpt-4o-mini"),
        ("listed", "", "gpt-4o"),
        ("learnt", r#","optimization":"cost""#, "gpt-4o-mini"),
        // A goal weighs what a policy looks at; it does not replace the policy.
        ("listed", r#","optimization":"cost""#, "gpt-4o"),
        ("cheap", r#","optimization":"latency""#, "gpt-4o-mini"),
        ("learnt", r#","optimization":"cost","routing_policy":"ordered""#, "gpt-4o"),
        ("listed", r#","routing_policy":"cost-optimized""#, "gpt-4o-mini"),
    ] {
        let answer = gateway.chat(&chat_of(model, "hello", members));
        assert_eq!(model_of(&answer), first, "{model} {members}");
    }
}

#[test]
fn an_answer_says_how_it_was_chosen() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = gateway(&simulator);
    let learnt = gateway.chat(&chat_of("learnt", "hello", r#","optimization":"cost""#)).json()["metadata"].clone();
    assert_eq!((&learnt["routing_decision"], &learnt["exploration"]), (&"thompson".into(), &false.into()), "{learnt}");
    let score = learnt["thompson_sampling_score"].as_f64().expect("a number");
    let other = &learnt["alternatives"][0];
    assert_eq!((&other["provider"], &other["model"]), (&"openai".into(), &"gpt-4o".into()), "{learnt}");
    assert!(other["score"].as_f64().is_some_and(|other| other < score), "{learnt}");
    let listed = gateway.chat(&chat_of("listed", "hello", "")).json()["metadata"].clone();
    assert!(listed["thompson_sampling_score"].is_null(), "{listed}");
    assert!(listed["alternatives"][0]["score"].is_null(), "the owner's list has no figures: {listed}");
    let alone = gateway.chat(&chat_of("openai/gpt-4o", "hello", "")).json()["metadata"].clone();
    assert_eq!(alone["alternatives"], serde_json::json!([]), "{alone}");
}

#[test]
fn an_unknown_goal_is_refused_with_its_name() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let answer = gateway(&simulator).chat(&chat_of("learnt", "hello", r#","optimization":"speed""#));
    answer.must_be_fault(400, "invalid_request");
    assert_eq!(answer.json()["error"]["param"], "optimization");
}

//! Every built-in provider row keeps its promises: one sweep over the table, its goldens, the catalogue and the aliases.

use igris::chat::fault::{self, FaultClass, UpstreamFault};
use igris::domain::clock::UnixMillis;
use igris::providers::aliases::Aliases;
use igris::providers::catalogue::Mode;
use igris::providers::quirks::Rewrite;
use igris::providers::table::{self, ROWS};
use igris::providers::{Catalogue, Dialect, ProviderSpec, Row};
use igris::routing::resolve::{ModelTable, Resolver, Routes, Via};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// 2026-11-23T06:51:53Z: the instant against which dated retry hints in the goldens are read.
const NOW: UnixMillis = UnixMillis(1_795_416_713_000);

/// Members of OpenAI's chat request. A rewrite may name these only, so that whatever else a client sends survives.
const OPENAI_MEMBERS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

fn openai_shaped() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.dialect == Dialect::OpenAi)
}

fn golden_dir(row: &Row) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(row.id)
}

/// The fault goldens of a row, by file name.
fn fault_goldens(row: &Row) -> Vec<(String, Value)> {
    let mut goldens: Vec<(String, Value)> = std::fs::read_dir(golden_dir(row))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a readable folder").path())
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| name.starts_with("fault-"))
        .map(|(name, path)| {
            let text = std::fs::read_to_string(path).expect("a readable golden");
            let golden = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}/{name}: {error}", row.id));
            (name, golden)
        })
        .collect();
    goldens.sort_by(|(a, _), (b, _)| a.cmp(b));
    goldens
}

/// What the row's reader makes of a golden's answer.
fn read(row: &Row, golden: &Value) -> Option<UpstreamFault> {
    let status = golden["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let header = |name: &str| golden["headers"].get(name).and_then(Value::as_str).map(str::as_bytes);
    let body = match &golden["body"] {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    match status {
        200 => fault::classify_success(&row.faults, &header, body.as_bytes(), NOW),
        status => Some(fault::classify(&row.faults, status, &header, body.as_bytes(), NOW)),
    }
}

#[test]
fn names_and_environment_variables_mean_one_provider() {
    let mut names = HashSet::new();
    let mut variables = HashSet::new();
    for row in ROWS {
        for name in [row.id].iter().chain(row.aliases) {
            assert!(names.insert(*name), "\"{name}\" names two providers");
            let plain =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
            assert!(plain && !name.is_empty(), "\"{name}\"");
            assert_eq!(table::find(name).map(|found| found.id), Some(row.id));
        }
        for variable in row.env_keys {
            assert!(variables.insert(*variable), "{variable} feeds two providers");
        }
        assert!(row.keyless || !row.env_keys.is_empty(), "{} takes its key from nowhere", row.id);
    }
}

#[test]
fn addresses_are_https_unless_they_are_on_this_machine() {
    for row in ROWS {
        let Some(url) = row.base_url else { continue };
        let (scheme, rest) = url.split_once("://").expect("an absolute URL");
        let authority = rest.split('/').next().expect("a first part");
        let local = authority.starts_with("127.0.0.1:");
        assert_eq!(scheme, if local { "http" } else { "https" }, "{}", row.id);
        assert_eq!(row.keyless, local, "{}: only a server on this machine goes without a key", row.id);
        assert!(!authority.is_empty() && !url.ends_with('/') && !url.contains(['@', '?', '#', ' ']), "{url}");
        let spec = ProviderSpec::built_in(row, None).expect("a row with an address");
        assert_eq!((spec.base_url.as_str(), spec.id.as_str()), (url, row.id));
    }
}

#[test]
fn every_row_says_where_it_was_read_and_when() {
    for row in ROWS {
        assert!(row.docs.starts_with("https://"), "{}", row.id);
        assert!(row.read_on.len() == 10 && row.read_on >= "2026-01-01", "{}: {}", row.id, row.read_on);
    }
}

#[test]
fn rewrites_touch_known_members_only_and_each_once() {
    let catalogue = Catalogue::built_in().expect("the embedded list is whole");
    let sent_names = ["max_tokens", "max_completion_tokens", "random_seed"];
    for row in ROWS {
        let listed =
            row.price_source.map(|source| catalogue.models_of(source).map(|(model, _)| model).collect::<Vec<_>>());
        for model in listed.unwrap_or_default().into_iter().chain(["a-model-of-tomorrow"]) {
            let mut named = HashSet::new();
            for rewrite in row.quirks.rewrites(model) {
                assert!(
                    OPENAI_MEMBERS.contains(&rewrite.member()),
                    "{}: {rewrite:?} would lose a client's own member",
                    row.id
                );
                assert!(named.insert(rewrite.member()), "{}: {rewrite:?} comes twice for {model}", row.id);
                if let Rewrite::Rename(_, sent) = rewrite {
                    assert!(sent_names.contains(&sent), "{}: {rewrite:?}", row.id);
                    assert_eq!(
                        row.quirks.rewrite(model, sent),
                        None,
                        "{}: {rewrite:?} leads to another rewrite",
                        row.id
                    );
                }
            }
            for member in
                ["model", "messages", "stream", "tools", "tool_choice", "response_format", "x_vendor_extension"]
            {
                assert_eq!(row.quirks.rewrite(model, member), None, "{}: {member}", row.id);
            }
        }
    }
}

#[test]
fn splits_lead_to_rows_and_prices_to_the_catalogue() {
    let catalogue = Catalogue::built_in().expect("the embedded list is whole");
    for row in ROWS {
        for split in row.quirks.splits {
            let other = table::find(split.provider).expect("a row");
            assert!(other.id == split.provider && other.id != row.id && other.quirks.splits.is_empty(), "{}", row.id);
        }
        if let Some(source) = row.price_source {
            assert!(catalogue.models_of(source).next().is_some(), "{} has no models under {source}", row.id);
        }
    }
    for provider in catalogue.providers() {
        assert!(ROWS.iter().any(|row| row.price_source == Some(provider)), "nobody charges the prices of {provider}");
    }
}

#[test]
fn a_key_prefix_belongs_to_one_row() {
    let prefixes: Vec<_> =
        ROWS.iter().flat_map(|row| row.key_prefixes.iter().map(move |prefix| (row.id, *prefix))).collect();
    for (own, prefix) in &prefixes {
        let key_text = format!("{prefix}0123456789");
        assert_eq!(table::looks_like_other_provider(own, &key_text), None, "{own} warns of its own keys");
        let shared = prefixes.iter().filter(|(_, other)| other == prefix).count();
        assert_eq!(shared, 1, "{prefix} begins the keys of two providers");
    }
}

#[test]
fn every_openai_shaped_row_has_its_fault_goldens() {
    for row in openai_shaped() {
        let goldens = fault_goldens(row);
        for needed in ["fault-bad-key.json", "fault-rate-limit.json"] {
            assert!(goldens.iter().any(|(name, _)| name == needed), "{} lacks {needed}", row.id);
        }
    }
}

#[test]
fn every_fault_golden_is_read_as_it_says() {
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for row in ROWS {
        for (name, golden) in fault_goldens(row) {
            let expect = &golden["expect"];
            let fault = read(row, &golden);
            let class = fault.as_ref().map(|fault| fault.class);
            let code = fault.as_ref().and_then(|fault| fault.code.as_deref());
            let retry_ms = fault.as_ref().and_then(|fault| fault.retry_after).map(|wait| wait.as_millis() as u64);
            let same = class.map(FaultClass::as_str) == expect["class"].as_str()
                && code == expect["code"].as_str()
                && retry_ms == expect["retry_after_ms"].as_u64();
            if !same {
                wrong.push(format!("{}/{name}: read {class:?} {code:?} {retry_ms:?}, expected {expect}", row.id));
            }
            seen.extend(class);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unseen: Vec<_> = FaultClass::ALL.into_iter().filter(|class| !seen.contains(class)).collect();
    assert!(unseen.is_empty(), "no golden shows {unseen:?}");
}

#[test]
fn every_answer_that_looks_like_another_is_pinned() {
    // What the status or the code alone would misread, among OpenAI-shaped providers; the last word is what it really is.
    let traps = [
        ("xai", "fault-bad-key", 400, "bad_key"),
        ("xai", "fault-bad-request-400", 400, "bad_request"),
        ("qwen", "fault-no-credit", 400, "no_credit"),
        ("mistral", "fault-plan-exhausted", 401, "bad_key"),
        ("kimi", "fault-wrong-platform", 401, "bad_key"),
        ("qwen", "fault-wrong-region", 401, "bad_key"),
        ("minimax", "fault-wrong-region", 200, "bad_key"),
        ("deepseek", "fault-no-credit", 402, "no_credit"),
        ("together", "fault-no-credit", 402, "no_credit"),
        ("openrouter", "fault-no-credit", 402, "no_credit"),
        ("kimi", "fault-no-credit-403", 403, "no_credit"),
        ("xai", "fault-no-credit", 403, "no_credit"),
        ("xai", "fault-no-permission", 403, "no_permission"),
        ("together", "fault-context", 403, "context_too_long"),
        ("openai", "fault-no-credit", 429, "no_credit"),
        ("kimi", "fault-no-credit", 429, "no_credit"),
        ("zai", "fault-no-credit", 429, "no_credit"),
        ("qwen", "fault-free-allocation", 429, "no_credit"),
        ("qwen", "fault-quota", 429, "no_credit"),
        ("qwen", "fault-rate-limit-allocation", 429, "rate_limit"),
        ("kimi", "fault-overloaded", 429, "overloaded"),
        ("zai", "fault-overloaded", 429, "overloaded"),
        ("zai", "fault-locked", 429, "no_permission"),
        ("zai", "fault-fair-use", 429, "no_permission"),
        ("zai", "fault-plan-limit", 429, "no_credit"),
        ("openai", "fault-too-large", 429, "context_too_long"),
        ("openai", "fault-too-large-400", 400, "context_too_long"),
        ("groq", "fault-too-large", 413, "context_too_long"),
        ("minimax", "fault-no-credit", 200, "no_credit"),
        ("openrouter", "fault-choice-failed", 200, "server_error"),
        ("openrouter", "fault-no-credit-200", 200, "no_credit"),
        ("openrouter", "fault-in-stream", 200, "server_error"),
        ("mistral", "fault-capacity-503", 503, "overloaded"),
        ("mistral", "fault-capacity", 429, "overloaded"),
        ("openai", "fault-long-user", 400, "bad_request"),
    ];
    for (provider, name, status, class) in traps {
        let goldens = fault_goldens(table::find(provider).expect("a row"));
        let (_, golden) = goldens.iter().find(|(file, _)| *file == format!("{name}.json")).expect(name);
        assert_eq!(
            (&golden["status"], &golden["expect"]["class"]),
            (&status.into(), &class.into()),
            "{provider}/{name}"
        );
    }
}

#[test]
fn a_good_answer_is_no_fault_anywhere() {
    let answers = [
        r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"error"}}]}"#,
        r#"{"choices":[{"index":0,"error":null}],"error":null,"base_resp":{"status_code":0,"status_msg":"success"}}"#,
    ];
    for row in ROWS {
        for answer in answers {
            assert_eq!(fault::classify_success(&row.faults, &|_| None, answer.as_bytes(), NOW), None, "{}", row.id);
        }
    }
}

#[test]
fn aliases_lead_to_living_models_of_known_providers() {
    let catalogue = Catalogue::built_in().expect("the embedded list is whole");
    for alias in Aliases::built_in().expect("the embedded list is whole").in_force(&catalogue, NOW) {
        let row = table::find(&alias.provider).expect("a known provider");
        assert_eq!(row.id, &*alias.provider, "aliases use canonical names");
        let source = row.price_source.expect("a provider with a list");
        let target = catalogue.lookup(source, &alias.model).unwrap_or_else(|| panic!("{} is not listed", alias.model));
        assert!(target.is_living(NOW), "{} leads to {}, which is gone", alias.requested, alias.model);
        assert!(target.price.is_some(), "{} has no price", alias.model);
    }
}

#[test]
fn a_chat_model_that_is_gone_has_an_alias() {
    let catalogue = Catalogue::built_in().expect("the embedded lists are whole");
    let aliases = Aliases::built_in().expect("the embedded list is whole");
    // A year on, every date that is known today has passed.
    for day in [NOW, UnixMillis(NOW.0 + 365 * 86_400_000)] {
        let holding = aliases.in_force(&catalogue, day);
        for provider in catalogue.providers() {
            for (model, entry) in catalogue.models_of(provider).filter(|(_, entry)| !entry.is_living(day)) {
                // Sound has no successor that takes the same requests.
                if matches!(entry.mode, Mode::Chat | Mode::Responses) && !model.starts_with("gpt-audio") {
                    let alias = holding.iter().find(|alias| &*alias.requested == model && &*alias.provider == provider);
                    let target = alias.and_then(|alias| catalogue.lookup(provider, &alias.model));
                    assert!(target.is_some_and(|target| target.is_living(day)), "{provider}/{model} leads nowhere");
                }
            }
        }
    }
}

#[test]
fn with_every_row_configured_the_names_people_still_use_are_served() {
    let catalogue = Catalogue::built_in().expect("the embedded list is whole");
    let address = Some("https://provider.example/v1");
    let specs =
        ROWS.iter().map(|row| ProviderSpec::built_in(row, row.base_url.or(address)).expect("a row with an address"));
    let offers = specs.map(|spec| spec.offer(&catalogue, [])).collect();
    let aliases = Aliases::built_in().expect("the embedded list is whole").in_force(&catalogue, NOW);
    let table = ModelTable::new(Resolver::new(Routes::default(), aliases, offers));
    let cases = [
        ("gpt-4", "openai", "gpt-5.6-sol", Via::Alias),
        ("gpt-4-turbo", "openai", "gpt-5.6-sol", Via::Alias),
        ("gpt-3.5-turbo", "openai", "gpt-5.6-terra", Via::Alias),
        ("claude-3-opus", "anthropic", "claude-opus-5-5", Via::Alias),
        ("claude-3-sonnet", "anthropic", "claude-sonnet-5-5", Via::Alias),
        ("claude-3-haiku", "anthropic", "claude-haiku-5-5", Via::Alias),
        ("gemini-pro", "google", "gemini-pro-latest", Via::Alias),
        ("gemini-ultra", "google", "gemini-pro-latest", Via::Alias),
        ("grok-1", "xai", "grok-4.7", Via::Alias),
        ("mistral-large", "mistral", "mistral-large-latest", Via::Alias),
        ("deepseek-coder", "deepseek", "deepseek-flash", Via::Alias),
        ("moonshot-v1-8k", "kimi", "moonshot-v1-8k", Via::Catalogue),
        ("qwen-turbo", "qwen", "qwen-turbo", Via::Catalogue),
        ("abab6", "minimax", "MiniMax-M3", Via::Alias),
        ("zai/MiniMax-M3", "minimax", "MiniMax-M3", Via::Prefix),
        ("claude/claude-3-5-sonnet-latest", "anthropic", "claude-sonnet-5-5", Via::Prefix),
        ("openai/gpt-4", "openai", "gpt-5.6-sol", Via::Prefix),
        ("zai/abab6", "minimax", "MiniMax-M3", Via::Prefix),
        ("claude-3-7-sonnet-20250219", "anthropic", "claude-sonnet-5-5", Via::Alias),
        ("gemini-1.5-pro", "google", "gemini-pro-latest", Via::Alias),
        ("gemini-2.0-flash", "google", "gemini-flash-latest", Via::Alias),
        ("o1", "openai", "gpt-5.6-sol", Via::Alias),
        ("o3-mini", "openai", "gpt-5.6-terra", Via::Alias),
        ("mistral-medium", "mistral", "mistral-medium-latest", Via::Alias),
        ("qwen-plus", "qwen", "qwen-plus", Via::Catalogue),
        ("moonshot-v1-32k", "kimi", "moonshot-v1-32k", Via::Catalogue),
        ("auto", "openai", "gpt-5.6-sol", Via::Catalogue),
        ("claude/auto", "anthropic", "claude-sonnet-5-5", Via::Prefix),
        ("grok/grok-4.7", "xai", "grok-4.7", Via::Prefix),
        ("openrouter/anthropic/claude-opus-5-5", "openrouter", "anthropic/claude-opus-5-5", Via::Prefix),
    ];
    for (requested, provider, model, via) in cases {
        let resolution = table.resolve(requested).unwrap_or_else(|missing| panic!("{missing}"));
        let first = &resolution.candidates[0];
        assert_eq!((first.provider.as_str(), &*first.model, resolution.via), (provider, model, via), "{requested}");
    }
    for name in table.names() {
        let known = table.find(name).expect("a listed name is a known name");
        assert!(!known.candidates.is_empty(), "{name}");
    }
}

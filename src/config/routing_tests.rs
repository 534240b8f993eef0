//! What `[routing]` and its neighbours mean, key by key, and what is refused.

use crate::config::{Config, Known};
use crate::domain::id::TenantId;
use crate::limits;
use crate::routing::glob::NamePattern;
use crate::routing::semantic::{Category, Conditions, Language, words_of};
use crate::routing::terms::{BreakerTerms, Goal, OnClientGone, Repeat, RoutingTerms, TenantTerms};
use std::time::Duration;

const KNOWN: Known<'static> = Known { providers: &[], dialects: &["openai"] };

fn parsed(text: &str) -> (Config, String) {
    let read = Config::parse_with_warnings("f", text, &KNOWN);
    let (config, warnings) = read.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    (config, warnings.to_string())
}

fn terms(text: &str) -> RoutingTerms {
    (*parsed(text).0.routing).clone()
}

#[test]
fn nothing_typed_means_the_defaults() {
    let terms = terms("[routing]");
    assert_eq!((&terms.usual, terms.breaker), (&TenantTerms::default(), BreakerTerms::default()));
    assert_eq!((terms.no_affinity, terms.probe_interval), (false, None));
    assert_eq!(terms.decisions_kept, limits::DECISIONS_KEPT);
    assert!(terms.quality.is_empty() && terms.rules.is_empty() && terms.tenants.is_empty());
    assert_eq!(Config::default().routing.decisions_kept, limits::DECISIONS_KEPT, "without a section, too");
}

#[test]
fn every_key_of_the_section_is_meant() {
    let terms = terms(
        "[routing]\noptimization = \"cost\"\nrepeat = \"all\"\nhedging = false\nhedged_share = \"7.5%\"\n\
         waste_share = \"10%\"\ncontinue_streams = true\non_client_gone = \"drain\"\naffinity = false\nbreaker = { failures = 5, open = \"10s\" }\n\
         probe_interval = \"60s\"\ndecisions = 64\n\
         [[routing.quality]]\nmodel = \"gpt-5*\"\nscore = 0.95\n[[routing.quality]]\nmodel = \"small\"\nscore = 0",
    );
    let usual = TenantTerms {
        repeat: Repeat::All,
        goal: Goal::Cost,
        hedging: false,
        hedged_share_max: 0.075,
        waste_share_max: 0.10,
        continue_streams: true,
        on_client_gone: OnClientGone::Drain,
    };
    assert_eq!(terms.usual, usual);
    assert_eq!(terms.breaker, BreakerTerms { failures: 5, open_for: Duration::from_secs(10) });
    assert_eq!((terms.no_affinity, terms.probe_interval), (true, Some(Duration::from_secs(60))));
    assert_eq!(terms.decisions_kept, 64);
    let ranked = [(NamePattern::parse("gpt-5*"), 0.95), (NamePattern::parse("small"), 0.0)];
    assert_eq!(terms.quality, ranked);
}

#[test]
fn a_tenant_keeps_what_it_does_not_say() {
    let terms = terms(
        "[routing]\nrepeat = \"refused\"\nhedged_share = \"1%\"\n\
         [[tenants]]\nid = \"a\"\nrouting = { optimization = \"latency\", hedging = false }\n[[tenants]]\nid = \"b\"",
    );
    let own = terms.tenant(&TenantId::new("a"));
    assert_eq!(
        (own.goal, own.hedging, own.repeat, own.hedged_share_max),
        (Goal::Latency, false, Repeat::Refused, 0.01)
    );
    assert_eq!(terms.tenant(&TenantId::new("b")), &terms.usual);
    assert_eq!(terms.tenants.len(), 1);
}

#[test]
fn rules_are_read_in_their_order() {
    let terms = terms(
        "[[routing.rules]]\ncategory = \"coding\"\nmodel = \"coder\"\n\
         [[routing.rules]]\ncategory = \"coding\"\nmodel = \"rusty\"\nkeywords = [\"Rust\", \"cargo test\"]\nkeywords_all = [\"C++\"]\n\
         [[routing.rules]]\ncategory = \"translation\"\nmodel = \"t\"\nmin_tokens = 10\nmax_tokens = \"1k\"\ntools = false\n\
         languages = [\"de\", \"fr\"]\n\
         [[routing.rules]]\ncategory = \"big\"\nmodel = \"b\"\nmin_tokens = \"32k\"\n\
         [[routing.rules]]\nmodel = \"m\"\ncode_share = \"30%\"\n[[routing.rules]]\nmodel = \"usual\"",
    );
    let rules = &terms.rules;
    let models: Vec<&str> = rules.iter().map(|rule| &*rule.model).collect();
    assert_eq!(models, ["coder", "rusty", "t", "b", "m", "usual"]);
    assert_eq!(rules[0].when, Conditions { class: Some(Category::Coding), ..Conditions::default() });
    let any: Vec<Box<str>> = ["Rust", "cargo test"].iter().map(|word| words_of(word).into()).collect();
    let all: Vec<Box<str>> = vec![words_of("c++").into()];
    assert_eq!(rules[1].when, Conditions { any, all, ..Conditions::default() }, "keywords stand for the classifier");
    let languages = ["de", "fr"].map(|code| Language::parse(code).expect("a language")).to_vec();
    let when = Conditions {
        class: Some(Category::Translation),
        input_tokens_min: 10,
        input_tokens_max: Some(1_000),
        tools: Some(false),
        languages,
        ..Conditions::default()
    };
    assert_eq!(rules[2].when, when);
    assert_eq!(rules[3].when, Conditions { input_tokens_min: 32_000, ..Conditions::default() });
    assert_eq!((rules[4].category.as_deref(), rules[4].when.code_share_min), (None, Some(0.3)));
    assert_eq!(rules[5].when, Conditions::default());
}

#[test]
fn percentiles_and_limits_are_read() {
    let model = "[[providers]]\nname = \"p\"\ndialect = \"openai\"\nbase_url = \"https://a.example/v1\"\n[[models]]\nname = \"m\"\n\
                 targets = [{ provider = \"p\", model = \"x\" }]\n";
    let (config, warnings) = parsed(&format!("{model}policy = \"latency\"\npercentile = 95"));
    assert_eq!((config.models[0].percentile, warnings.as_str()), (Some(0.95), ""));
    assert_eq!(parsed(&format!("{model}policy = \"latency\"")).0.models[0].percentile, None);
    let (_, warnings) = parsed(&format!("{model}policy = \"cost\"\npercentile = 95"));
    assert!(warnings.contains("the policy `cost` looks at no percentile"), "{warnings}");
    let limits = parsed("[server.limits]\nmemory_bytes = \"2GiB\"\nexchanges_per_core = \"2k\"").0.server.limits;
    assert_eq!((limits.memory_bytes, limits.exchanges_per_core), (Some(2 << 30), 2_000));
    let limits = parsed("[server.limits]\nmemory_bytes = \"auto\"").0.server.limits;
    assert_eq!((limits.memory_bytes, limits.exchanges_per_core), (None, limits::EXCHANGES_PER_CORE_MAX));
}

/// `(text, line:col, phrase)`: the only problem of the text stands there and says that.
const BAD: &[(&str, &str, &str)] = &[
    ("[routing]\noptimisation = \"cost\"", "2:1", "unknown key `optimisation`; did you mean `optimization`?"),
    ("[routing]\noptimization = \"speed\"", "2:16", "`optimization` is `speed`; known are `balanced`, `latency`"),
    ("[routing]\nrepeat = \"errrors\"", "2:10", "did you mean `errors`?"),
    ("[routing]\nhedging = \"no\"", "2:11", "is text, not a truth value; write `true` or `false` without quotes"),
    ("[routing]\nhedged_share = 0.05", "2:16", "`0.05`, a share without its percent sign; write a number and `%`"),
    ("[routing]\nhedged_share = 5", "2:16", "a share without its percent sign"),
    (
        "[routing]\nhedged_share = \"5\"",
        "2:16",
        "`5`, a share without its percent sign; write a number and `%`, as in \"5%\"",
    ),
    ("[routing]\nwaste_share = \"101%\"", "2:15", "above the ceiling, 100%; write at most 100%"),
    ("[routing]\ncontinue_streams = 1", "2:20", "not a truth value"),
    ("[routing]\non_client_gone = \"wait\"", "2:18", "wait"),
    ("[routing]\naffinity = \"on\"", "2:12", "not a truth value"),
    ("[routing]\nbreaker = 3", "2:11", "`breaker` must be a table, not a number; write `breaker = { failures = 3"),
    ("[routing]\nbreaker = { failures = 0 }", "2:24", "below the least, 1"),
    ("[routing]\nbreaker = { open = 30 }", "2:20", "a number without a unit; write \"30s\""),
    ("[routing]\nbreaker = { open = \"2h\" }", "2:20", "above the ceiling, 3600s"),
    ("[routing]\nprobe_interval = \"10ms\"", "2:18", "below the least, 100ms"),
    ("[routing]\ndecisions = 20000", "2:13", "above the ceiling, 16384"),
    ("[routing]\nquality = { model = \"m\" }", "2:11", "write `[[routing.quality]]` above each entry"),
    ("[[routing.quality]]\nscore = 0.5", "1:1", "`[[routing.quality]]` has no `model`"),
    ("[[routing.quality]]\nmodel = \"m\"", "1:1", "`[[routing.quality]]` has no `score`; add `score = 0.95`"),
    ("[[routing.quality]]\nmodel = \"m\"\nscore = 95", "3:9", "above the ceiling, 1; write at most 1"),
    (
        "[[routing.quality]]\nmodel = \"m\"\nscore = \"1\"",
        "3:9",
        "is text, not a number; write one from 0 to 1 without quotes",
    ),
    ("[[routing.quality]]\nmodel = \"m\"\nscore = nan", "3:9", "not a number"),
    (
        "[[routing.quality]]\nmodel = \"m\"\nscore = 1\n[[routing.quality]]\nmodel = \"m\"\nscore = 1",
        "5:9",
        "model `m` stands twice",
    ),
    ("[routing]\nrules = { model = \"m\" }", "2:9", "write `[[routing.rules]]` above each entry"),
    ("[[routing.rules]]\ncategory = \"coding\"", "1:1", "`[[routing.rules]]` has no `model`"),
    ("[[routing.rules]]\nmodel = \"gpt-*\"", "2:9", "a pattern where one model belongs"),
    (
        "[[routing.rules]]\nmodel = \"m\"\ncategory = \"codng\"",
        "3:12",
        "add `keywords` or another condition, or did you mean `coding`?",
    ),
    ("[[routing.rules]]\nmodel = \"m\"\nkeywords = []", "1:1", "`keywords` has 0 entries; list 1 to 64 words"),
    ("[[routing.rules]]\nmodel = \"m\"\nkeywords_all = [\"!?\"]", "3:17", "`!?`, which is no word"),
    ("[[routing.rules]]\nmodel = \"m\"\nmin_tokens = 5\nmax_tokens = 4", "1:1", "`max_tokens` is below `min_tokens`"),
    ("[[routing.rules]]\nmodel = \"m\"\nmin_tokens = -1", "3:14", "below zero"),
    ("[[routing.rules]]\nmodel = \"m\"\ntools = 1", "3:9", "not a truth value"),
    (
        "[[routing.rules]]\nmodel = \"m\"\nlanguages = [\"xx\"]",
        "3:14",
        "`xx`, which is not recognised in texts; use one of en, de",
    ),
    ("[[routing.rules]]\nmodel = \"m\"\nlanguages = []", "1:1", "`languages` is empty"),
    ("[[routing.rules]]\nmodel = \"m\"\ncode_share = 30", "3:14", "a share without its percent sign"),
    ("[[tenants]]\nid = \"a\"\nrouting = { affinity = false }", "3:13", "unknown key `affinity`"),
    ("[[tenants]]\nid = \"a\"\nrouting = { hedged_share = \"-1%\" }", "3:28", "not a share"),
    ("[server.limits]\nmemory_bytes = 1000", "2:16", "a number without a unit"),
    ("[server.limits]\nmemory_bytes = \"1MiB\"", "2:16", "below the least, 64MiB"),
    ("[server.limits]\nexchanges_per_core = 0", "2:22", "below the least, 1"),
    ("[server.limits]\nexchanges_per_core = 20001", "2:22", "above the ceiling, 20000"),
];

#[test]
fn every_bad_setting_is_refused_at_its_place_with_a_remedy() {
    for (text, place, phrase) in BAD {
        let problems = match Config::parse("f", text, &KNOWN) {
            Ok(_) => panic!("this should have been refused:\n{text}"),
            Err(problems) => problems.to_string(),
        };
        let errors: Vec<&str> = problems.lines().filter(|line| line.contains(": error: ")).collect();
        assert_eq!(errors.len(), 1, "{text}\n{problems}");
        assert!(errors[0].starts_with(&format!("f:{place}: error: ")), "{text}\n{problems}");
        assert!(errors[0].contains(phrase), "{text}\n{problems}");
    }
}

#[test]
fn a_percentile_out_of_range_and_a_rule_behind_a_catch_all_are_told() {
    let text = "[[models]]\nname = \"m\"\npolicy = \"latency\"\npercentile = 99.9\ntargets = [{ provider = \"p\" }]\n\
                [[providers]]\nname = \"p\"\ndialect = \"openai\"\nbase_url = \"https://a.example/v1\"";
    let problems = Config::parse("f", text, &KNOWN).expect_err("refused").to_string();
    assert!(problems.contains("f:4:14: error: `percentile` is `99.9`, above the ceiling, 99"), "{problems}");
    let (_, warnings) = parsed("[[routing.rules]]\nmodel = \"a\"\n[[routing.rules]]\nmodel = \"b\"\ntools = true");
    assert!(warnings.contains("f:3:1: warning: this rule is never reached"), "{warnings}");
}

#[test]
fn rules_are_counted() {
    let rules = "[[routing.rules]]\nmodel = \"m\"\ntools = true\n".repeat(limits::SEMANTIC_RULES_MAX);
    assert_eq!(terms(&rules).rules.len(), limits::SEMANTIC_RULES_MAX);
    let more = format!("{rules}[[routing.rules]]\nmodel = \"m\"");
    let problems = Config::parse("f", &more, &KNOWN).expect_err("refused").to_string();
    assert!(problems.contains("has 129 rules, above the limit of 128"), "{problems}");
}

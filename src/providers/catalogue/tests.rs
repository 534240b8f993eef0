//! The built-in lists as they are, and broken ones as they are refused.

use super::*;
use crate::chat::request::Effort;
use crate::domain::money::{Money, TokenPrice};
use crate::metering::terms::Tier;

const MODELS: &str = "provider,model,input_usd_per_mtok,output_usd_per_mtok,cached_input_usd_per_mtok,\
cache_write_usd_per_mtok,context_window,output_max,mode,retires,status\n";
const TIERS: &str = "provider,model,prompt_over,tier,cache_ttl,window,input_usd_per_mtok,output_usd_per_mtok,\
cached_input_usd_per_mtok,cache_write_usd_per_mtok\n";
const ABILITIES: &str = "provider,model,vision,pdf_input,audio_input,tools,parallel_tools,json_schema,reasoning,\
efforts,thinking_always_on,sampling_params,assistant_prefill,endpoints\n";

const GOOD_MODEL: &str = "openai,m,1,2,0.5,,8192,4096,chat,2027-01-14,listed";
const GOOD_TIER: &str = "openai,m,,flex,,,0.5,1,,";
const GOOD_ABILITY: &str = "openai,m,yes,no,,yes,,,yes,none|low,,,,/v1/responses|/v1/batch";

fn built_in() -> Catalogue {
    Catalogue::built_in().expect("the embedded lists are whole")
}

/// A catalogue of these rows.
fn parsed(models: &str, price_tiers: &str, abilities: &str) -> Result<Catalogue, CatalogueError> {
    let with = |header: &str, rows: &str| format!("# a comment\n{header}{rows}\n");
    let (models, price_tiers) = (with(MODELS, models), with(TIERS, price_tiers));
    Catalogue::parse(Lists { models: &models, price_tiers: &price_tiers, abilities: &with(ABILITIES, abilities) })
}

/// Dollars for a million prompt tokens, or so many as stated, at an instant of 2026-11-23 (a Monday).
fn price_of(provider: &str, model: &str, input: u64, tier: Option<Tier>) -> Option<String> {
    let usage = Usage { input, ..Usage::default() };
    let terms = Terms { service_tier: tier, at: MONDAY_NOON };
    built_in().cost(provider, model, &usage, &terms).map(|cost| cost.total.to_string())
}

const MONDAY_NOON: UnixMillis = UnixMillis(1_795_392_000_000 + 12 * 3_600_000);

#[test]
fn the_built_in_lists_are_whole() {
    let catalogue = built_in();
    assert!(catalogue.len() > 250, "{} models", catalogue.len());
    let gpt = catalogue.lookup("openai", "gpt-5.6-sol").expect("a listed model");
    assert_eq!((gpt.mode, gpt.standing, gpt.context_window), (Mode::Chat, Standing::Recommended, Some(922_000)));
    let abilities = &gpt.abilities;
    assert_eq!((abilities.tools, abilities.vision, abilities.context_window), (Some(true), Some(true), Some(922_000)));
    assert_eq!((abilities.efforts.first(), abilities.efforts.last()), (Some(&Effort::None), Some(&Effort::XHigh)));
    assert_eq!(catalogue.providers_of("openai/gpt-oss-120b").collect::<Vec<_>>(), ["groq", "together"]);
    assert!(catalogue.models_of("mistral").any(|(model, _)| model == "mistral-large-latest"));
    for provider in catalogue.providers() {
        let recommended = catalogue.recommended(provider).unwrap_or_else(|| panic!("{provider} recommends nothing"));
        let entry = catalogue.lookup(provider, recommended).expect("a listed model");
        assert!(entry.is_living(MONDAY_NOON) && entry.price.is_some(), "{provider}/{recommended}");
    }
}

#[test]
fn an_unknown_price_is_no_cost_and_a_free_model_costs_nothing() {
    let (catalogue, usage) = (built_in(), Usage { input: 1_000, output: 10, ..Usage::default() });
    let cost = |provider: &str, model: &str| catalogue.cost(provider, model, &usage, &Terms::default());
    for (provider, model) in [
        ("openai", "no-such"),
        ("no-such", "gpt-4o"),
        ("google", "gemini-ultra"),
        ("cohere", "rerank-v3.5"),
        ("anthropic", "claude-opus-5-5-20261001"),
    ] {
        assert_eq!(cost(provider, model), None, "{provider}/{model}");
    }
    assert_eq!(cost("zai", "glm-4.7-flash"), Some(Cost::default()));
    assert_eq!(cost("openai", "gpt-4o").expect("a listed price").total.to_string(), "0.0026");
}

#[test]
fn long_prompts_and_tiers_have_their_published_prices() {
    let million = 1_000_000;
    for (provider, model, input, tier, dollars) in [
        ("openai", "gpt-6-sol", 272_000, None, Some("0.544")),
        ("openai", "gpt-6-sol", 272_001, None, Some("1.088004")),
        ("openai", "gpt-6-sol", 1_000, Some(Tier::Priority), Some("0.004")),
        ("openai", "gpt-6-sol", million, Some(Tier::Batch), Some("2")),
        ("openai", "gpt-6-sol", 1_000, Some(Tier::Ultrafast), None),
        ("openai", "gpt-6.1-sol", 1_000, Some(Tier::Ultrafast), Some("0.012")),
        ("openai", "gpt-4.1", 1_000, Some(Tier::Flex), None),
        ("openai", "gpt-5-2025-08-07", million, None, Some("1.25")),
        ("openai", "gpt-5-2025-08-07", million, Some(Tier::Flex), Some("0.625")),
        ("openai", "gpt-5-2099-01-01", million, None, None),
        ("google", "gemini-2.5-pro", 200_000, None, Some("0.25")),
        ("google", "gemini-2.5-pro", 200_001, None, Some("0.5000025")),
        ("anthropic", "claude-haiku-5-5", 100_001, None, Some("0.0500005")),
        ("minimax", "MiniMax-M3", million, None, Some("0.6")),
        ("qwen", "qwen3-coder-plus", 32_000, None, Some("0.032")),
        ("qwen", "qwen3-coder-plus", 128_001, None, Some("0.384003")),
        ("qwen", "qwen3-coder-plus", million, None, Some("6")),
        ("groq", "openai/gpt-oss-120b", 1_000, Some(Tier::Flex), Some("0.00015")),
    ] {
        assert_eq!(price_of(provider, model, input, tier).as_deref(), dollars, "{provider}/{model} {input} {tier:?}");
    }
}

#[test]
fn a_cache_write_for_an_hour_has_its_own_price() {
    let catalogue = built_in();
    let usage = Usage { input: 1_000_000, cache_write: 1_000_000, cache_write_long: 400_000, ..Usage::default() };
    let total = |model: &str, tier, input| {
        let terms = Terms { service_tier: tier, at: MONDAY_NOON };
        let usage = Usage { input, cache_write: input, cache_write_long: input * 2 / 5, ..usage };
        catalogue.cost("anthropic", model, &usage, &terms).expect("a listed price").total.to_string()
    };
    // 600,000 at $5 and 400,000 at $8; a batch halves both.
    assert_eq!(total("claude-opus-5-5", None, 1_000_000), "6.2");
    assert_eq!(total("claude-opus-5-5", Some(Tier::Batch), 1_000_000), "3.1");
    // Five times the price over 100,000 tokens: $0.625 and $1.
    assert_eq!(total("claude-haiku-5-5", None, 1_000_000), "0.775");
}

#[test]
fn deepseek_is_half_the_price_off_peak() {
    let catalogue = built_in();
    let usage = Usage { input: 1_000_000, output: 1_000_000, cached_input: 500_000, ..Usage::default() };
    let monday = 1_795_392_000_000_u64;
    let at = |day: u64, hour: u64, second: u64| {
        let terms = Terms::usual(UnixMillis(monday + ((day * 24 + hour) * 3_600 + second) * 1_000));
        catalogue.cost("deepseek", "deepseek-flash", &usage, &terms).expect("a listed price").total.to_string()
    };
    // Half the prompt is cached: at the peak $0.006 a million, else $0.003.
    let (peak, off_peak) = ("1.353", "0.6765");
    for (day, hour, second, expected) in [
        (0, 0, 3_599, off_peak),
        (0, 1, 0, peak),
        (0, 3, 3_599, peak),
        (0, 4, 0, off_peak),
        (0, 5, 3_599, off_peak),
        (0, 6, 0, peak),
        (0, 9, 3_599, peak),
        (0, 10, 0, off_peak),
        (4, 23, 3_599, off_peak),
        (5, 2, 0, off_peak),
        (6, 7, 0, off_peak),
        (7, 7, 0, peak),
    ] {
        assert_eq!(at(day, hour, second), expected, "day {day} {hour}h +{second}s");
    }
}

#[test]
fn retired_and_legacy_models_are_marked() {
    let catalogue = built_in();
    let at = |model: &str, now| catalogue.lookup("openai", model).expect("a listed model").is_retired(UnixMillis(now));
    // gpt-4 ends on 2026-10-23, gpt-4o on 2027-01-14; the instants are the midnights of 2026-10-22, -23 and 2026-11-23.
    assert!(!at("gpt-4", 1_792_627_200_000) && at("gpt-4", 1_792_713_600_000));
    assert!(!at("gpt-4o", 1_795_392_000_000) && !at("gpt-5.6-sol", u64::MAX / 2));
    let grok = catalogue.lookup("xai", "grok-2").expect("a listed model");
    assert!(grok.standing == Standing::Legacy && !grok.is_living(UnixMillis(0)));
}

#[test]
fn an_unlisted_name_has_its_familys_abilities() {
    let catalogue = built_in();
    let opus = catalogue.lookup("anthropic", "claude-opus-5-5").expect("a listed model");
    assert_eq!(opus.abilities.sampling_params, Some(false));
    for (provider, model) in [
        ("anthropic", "claude-opus-5-5"),
        ("anthropic", "claude-opus-5-5-20261001"),
        ("vertex", "claude-opus-5-5@20261001"),
        ("vertex", "publishers/anthropic/models/claude-opus-5-5@20261001"),
        ("bedrock", "anthropic.claude-opus-5-5-v1:0"),
        ("bedrock", "us.anthropic.claude-opus-5-5-20261001-v1:0"),
        ("openrouter", "anthropic/claude-opus-5-5"),
        ("groq", "anthropic/claude-opus-5-5"),
    ] {
        assert_eq!(catalogue.lookup_abilities(provider, model), Some(&opus.abilities), "{provider}/{model}");
    }
    let of = |provider: &str, model: &str| catalogue.lookup_abilities(provider, model).cloned();
    let gemini = catalogue.lookup("google", "gemini-2.5-pro").expect("a listed model");
    assert_eq!(of("google", "models/gemini-2.5-pro"), Some(gemini.abilities.clone()));
    assert_eq!(of("google", "models/gemini-2.5-pro-preview-06-05"), Some(gemini.abilities.clone()));
    // Where others serve a model, its maker's endpoints say nothing.
    let (own, azure) = (of("openai", "gpt-5.4-pro"), of("azure", "gpt-5.4-pro"));
    let (own, azure) = (own.expect("a listed model"), azure.expect("a listed model"));
    assert!(own.endpoints.iter().any(|path| &**path == "/v1/responses") && azure.endpoints.is_empty());
    assert_eq!(own.efforts, azure.efforts);
    for (provider, model) in
        [("openai", "gpt-77"), ("local-vllm", "llama"), ("openai", ""), ("vertex", "-"), ("vertex", "claude-opus.5")]
    {
        assert_eq!(of(provider, model), None, "{provider}/{model}");
    }
}

#[test]
fn the_owner_may_state_prices() {
    let usd = |text: &str| TokenPrice::parse_usd_per_mtok(text).expect("a valid price");
    let price = Price { input: usd("1"), output: usd("2"), ..Price::default() };
    let own = |provider: &str, model: &str| OwnPrice { provider: provider.to_owned(), model: model.to_owned(), price };
    let catalogue = built_in().with_prices([
        own("openai", "gpt-4o"),
        own("local-vllm", "llama"),
        own("xai", "grok-2"),
        own("vertex", "claude-opus-5-5@x"),
    ]);
    let listed = catalogue.lookup("openai", "gpt-4o").expect("a listed model");
    assert_eq!((listed.price.as_deref(), listed.context_window), (Some(&PriceList::flat(price)), Some(128_000)));
    assert_eq!(catalogue.lookup("local-vllm", "llama"), Some(&Entry::of_price(price)));
    assert!(catalogue.lookup("xai", "grok-2").is_some_and(|entry| entry.standing == Standing::Listed));
    let vertex = catalogue.lookup_abilities("vertex", "claude-opus-5-5@x").expect("of its family");
    assert_eq!(vertex.sampling_params, Some(false));
    let usage = Usage { input: 1_000_000, output: 1, ..Usage::default() };
    let cost = catalogue.cost("local-vllm", "llama", &usage, &Terms::default()).expect("a stated price");
    assert_eq!(cost.total, Money::parse_usd("1.000002").expect("an amount"));
}

#[test]
fn broken_lines_are_refused_with_their_file_and_number() {
    let all_good = parsed(GOOD_MODEL, GOOD_TIER, GOOD_ABILITY).expect("good lines");
    assert_eq!(all_good.len(), 1);
    let refused = |models: &str, tiers: &str, abilities: &str, file: &str, line: usize| {
        let fault = parsed(models, tiers, abilities).expect_err(&format!("{models} {tiers} {abilities}"));
        assert_eq!((fault.file, fault.line), (file, line), "{fault}");
    };
    for (from, to) in [
        (",1,2,", ",-1,2,"),
        (",1,2,", ",1e3,2,"),
        (",1,2,", ",,2,"),
        (",1,2,", ",1,,"),
        ("8192", "+8192"),
        ("chat", "chatter"),
        ("2027-01-14", "2027-1-14"),
        ("listed", ""),
        ("chat,2027-01-14,listed", "embedding,,recommended"),
        ("openai,m", ",m"),
        ("listed", "listed,"),
    ] {
        refused(&GOOD_MODEL.replacen(from, to, 1), "", "", "catalog.csv", 3);
    }
    refused(&format!("{GOOD_MODEL}\n{GOOD_MODEL}"), "", "", "catalog.csv", 4);
    let recommended = GOOD_MODEL.replace("listed", "recommended");
    refused(&format!("{recommended}\n{}", recommended.replace(",m,", ",n,")), "", "", "catalog.csv", 4);
    for tier in [
        "openai,m,,,,,1,2,,",
        "openai,m,5,flex,,,1,2,,",
        "openai,m,x,,,,1,2,,",
        "openai,m,,fastest,,,1,2,,",
        "openai,m,,unlisted,,,1,2,,",
        "openai,m,,,1d,,,,,2",
        "openai,m,,,0h,,,,,2",
        "openai,m,,,1h,,1,,,2",
        "openai,m,,,1h,,,,,",
        "openai,m,,,,mon,1,,,",
        "openai,n,,flex,,,1,2,,",
        "openai,m,,flex,,,1,2,",
        "openai,m,,flex,,,a,2,,",
    ] {
        refused(GOOD_MODEL, tier, "", "price_tiers.csv", 3);
    }
    for twice in [GOOD_TIER, "openai,m,9,,,,1,2,,", "openai,m,,,1h,,,,,2", "openai,m,,,,mon 01:00-02:00,1,2,,"] {
        refused(GOOD_MODEL, &format!("{twice}\n{twice}"), "", "price_tiers.csv", 4);
    }
    refused("openai,m,,,,,,,chat,,listed", GOOD_TIER, "", "price_tiers.csv", 3);
    for (from, to) in
        [("yes", "maybe"), ("none|low", "low|none"), ("none", "nil"), ("/v1", "v1"), ("openai,m", "openai,n")]
    {
        refused(GOOD_MODEL, "", &GOOD_ABILITY.replacen(from, to, 1), "abilities.csv", 3);
    }
    refused(GOOD_MODEL, "", &format!("{GOOD_ABILITY}\n{GOOD_ABILITY}"), "abilities.csv", 4);
    let lists = Lists { models: "provider,model\n", price_tiers: TIERS, abilities: ABILITIES };
    assert_eq!(Catalogue::parse(lists).expect_err("another header").line, 1);
}

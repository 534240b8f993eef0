//! The arithmetic of price lists: parts, bands, tiers, long cache writes, hours, and what is not known.

use super::*;
use crate::domain::clock::UnixMillis;
use proptest::prelude::*;

fn per_mtok(text: &str) -> TokenPrice {
    TokenPrice::parse_usd_per_mtok(text).expect("a valid price")
}

fn usd(text: &str) -> Money {
    Money::parse_usd(text).expect("a valid amount")
}

fn full_price() -> Price {
    Price {
        input: per_mtok("4"),
        output: per_mtok("20"),
        cached_input: Some(per_mtok("0.4")),
        cache_write: Some(per_mtok("5")),
        cache_write_long: Some(per_mtok("8")),
    }
}

fn change(input: &str, output: &str, cached_input: &str, cache_write: &str) -> Change {
    let figure = |text: &str| (!text.is_empty()).then(|| per_mtok(text));
    Change {
        input: figure(input),
        output: figure(output),
        cached_input: figure(cached_input),
        cache_write: figure(cache_write),
    }
}

/// Twice the price for long prompts, half of it for batches, half of it in the first hour of a day.
/// The digest of a list that charges nothing.
const EMPTY_VERSION: u64 = 0x40d6_9e0c_f0f6_5c45;

fn full_list() -> PriceList {
    let hours = Hours::parse("mon-sun 00:00-01:00").expect("well written");
    let changes = [
        (Condition::PromptOver(400), change("16", "40", "1.6", "20")),
        (Condition::PromptOver(200), change("8", "30", "0.8", "10")),
        (Condition::Tier(Tier::Batch), change("2", "10", "0.2", "2.5")),
        (Condition::Hours(hours), change("2", "10", "", "")),
    ];
    PriceList::new(full_price(), changes).expect("no two meet")
}

/// Noon: in no special hours.
fn noon(service_tier: Option<Tier>) -> Terms {
    Terms { service_tier, at: UnixMillis(12 * 3_600_000) }
}

fn of(prices: &PriceList, usage: &Usage) -> Cost {
    cost(prices, usage, &noon(None)).expect("a known price")
}

fn of_input(prices: &PriceList, input: u64, terms: &Terms) -> Option<i128> {
    cost(prices, &Usage { input, ..Usage::default() }, terms).map(|cost| cost.total.pico())
}

#[test]
fn cached_and_written_tokens_have_their_own_price() {
    let usage = Usage {
        input: 1_000,
        output: 100,
        cached_input: 500,
        cache_write: 400,
        cache_write_long: 100,
        reasoning: 50,
        ..Usage::default()
    };
    let cost = of(&full_price().into(), &usage);
    // 100 plain at $4, 500 cached at $0.4, 300 written at $5 and 100 for an hour at $8; reasoning is inside the 100 at $20.
    assert_eq!((cost.input, cost.output, cost.total), (usd("0.0029"), usd("0.002"), usd("0.0049")));
}

#[test]
fn without_a_cache_price_cached_tokens_cost_as_input() {
    let price = Price { cached_input: None, cache_write: None, cache_write_long: None, ..full_price() };
    let usage = Usage {
        input: 1_000_000,
        cached_input: 400_000,
        cache_write: 100_000,
        cache_write_long: 50_000,
        ..Usage::default()
    };
    assert_eq!(of(&price.into(), &usage).total, usd("4"));
    let long = Price { cache_write_long: None, ..full_price() };
    let written = Usage { input: 1_000_000, cache_write: 1_000_000, cache_write_long: 1_000_000, ..Usage::default() };
    assert_eq!(of(&long.into(), &written).total, usd("5"), "a long write costs as a short one");
}

#[test]
fn more_parts_than_prompt_tokens_bill_no_token_twice() {
    let usage = Usage { input: 10, cached_input: 25, cache_write: 25, cache_write_long: 25, ..Usage::default() };
    assert_eq!(of(&full_price().into(), &usage).input, Money::from_pico(10 * 400_000));
    let long = Usage { input: 10, cache_write: 4, cache_write_long: 9, ..Usage::default() };
    assert_eq!(of(&full_price().into(), &long).input, Money::from_pico(6 * 4_000_000 + 4 * 8_000_000));
}

#[test]
fn broken_figures_saturate() {
    let huge = TokenPrice::parse_usd_per_mtok("9999999999999").expect("a valid price");
    let price = Price { input: huge, output: huge, ..Price::default() };
    let changes = [
        (Condition::PromptOver(0), Change { input: Some(huge), ..Change::default() }),
        (Condition::Tier(Tier::Flex), Change { input: Some(huge), output: Some(huge), ..Change::default() }),
    ];
    let list = PriceList::new(price, changes).expect("no two meet");
    let usage = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
    let cost = cost(&list, &usage, &noon(Some(Tier::Flex))).expect("a known price");
    assert!(cost.total >= cost.input && cost.total >= cost.output);
}

#[test]
fn the_whole_request_is_billed_at_the_band_of_its_prompt() {
    let list = full_list();
    for (input, per_token) in [
        (199, 4_000_000),
        (200, 4_000_000),
        (201, 8_000_000),
        (400, 8_000_000),
        (401, 16_000_000),
        (u64::MAX, 16_000_000),
    ] {
        let expected = i128::from(input) * per_token;
        assert_eq!(of_input(&list, input, &noon(None)), Some(expected), "{input}");
    }
    let long = of(&list, &Usage { input: 201, output: 1, cached_input: 200, ..Usage::default() });
    assert_eq!((long.input.pico(), long.output.pico()), (200 * 800_000 + 8_000_000, 30_000_000));
}

#[test]
fn a_tier_has_its_price_or_none() {
    let list = full_list();
    assert_eq!(of_input(&list, 1, &noon(Some(Tier::Batch))), Some(2_000_000));
    for tier in [Tier::Flex, Tier::Priority, Tier::Unlisted] {
        assert_eq!(of_input(&list, 1, &noon(Some(tier))), None, "{tier:?}");
    }
    let written = Usage { input: 2, cache_write: 2, cache_write_long: 1, ..Usage::default() };
    // A batch halves the short write, and so the long one.
    let batch = cost(&list, &written, &noon(Some(Tier::Batch))).expect("a known price");
    assert_eq!(batch.total.pico(), 2_500_000 + 4_000_000);
}

#[test]
fn conditions_that_hold_together_multiply() {
    let list = full_list();
    // Twice for the length, half for the batch, half for the hour.
    let night = Terms { service_tier: Some(Tier::Batch), at: UnixMillis(59 * 60_000) };
    assert_eq!(of_input(&list, 300, &night), Some(300 * 2_000_000));
    assert_eq!(of_input(&list, 300, &Terms { service_tier: None, ..night }), Some(300 * 4_000_000));
    assert_eq!(of_input(&list, 300, &noon(Some(Tier::Batch))), Some(300 * 4_000_000));
    let next_hour = Terms { at: UnixMillis(60 * 60_000), ..night };
    assert_eq!(of_input(&list, 300, &next_hour), Some(300 * 4_000_000));
}

#[test]
fn sound_has_no_known_price() {
    for usage in [Usage { input: 9, audio_input: 1, ..Usage::default() }, Usage { audio_output: 1, ..Usage::default() }]
    {
        assert_eq!(cost(&full_list(), &usage, &noon(None)), None);
    }
}

#[test]
fn two_prices_for_one_case_are_refused() {
    let hours = |text: &str| Condition::Hours(Hours::parse(text).expect("well written"));
    for (first, second, error) in [
        (Condition::PromptOver(5), Condition::PromptOver(5), PriceListError::PromptTwice(5)),
        (Condition::Tier(Tier::Flex), Condition::Tier(Tier::Flex), PriceListError::TierTwice(Tier::Flex)),
        (hours("mon 01:00-03:00"), hours("mon-tue 02:00-04:00"), PriceListError::HoursMeet),
    ] {
        let made = PriceList::new(full_price(), [(first, Change::default()), (second, Change::default())]);
        assert_eq!(made, Err(error));
    }
}

#[test]
fn a_list_has_a_version_of_its_own_that_stays() {
    let flat = |input| PriceList::flat(Price { input: TokenPrice::from_pico(input), ..full_price() });
    assert_eq!(full_list().version(), full_list().version());
    let with = |condition| PriceList::new(full_price(), [(condition, Change::default())]).expect("one condition");
    let hours = |text: &str| Condition::Hours(Hours::parse(text).expect("well written"));
    let mut versions: Vec<u64> = [
        full_list(),
        flat(1),
        flat(2),
        with(Condition::PromptOver(1)),
        with(Condition::PromptOver(2)),
        with(Condition::Tier(Tier::Flex)),
        with(Condition::Tier(Tier::Batch)),
        with(hours("mon 01:00-03:00")),
        with(hours("mon 01:00-04:00")),
    ]
    .map(|list| list.version())
    .to_vec();
    assert!(!versions.contains(&0));
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 9);
    // Journals that were written name it: the digest does not change with the program.
    assert_eq!(PriceList::flat(Price::default()).version(), EMPTY_VERSION);
}

#[test]
fn rates_are_those_of_a_plain_token_on_the_terms() {
    let list = full_list();
    let usage = |input, output| Usage { input, output, ..Usage::default() };
    for terms in [noon(None), noon(Some(Tier::Batch))] {
        let (input, output) = list.rates(500, &terms).expect("a known price");
        let whole = cost(&list, &usage(500, 7), &terms).expect("a known price").total;
        assert_eq!(whole.pico(), i128::from(input) * 500 + i128::from(output) * 7);
    }
    assert_eq!(list.rates(5, &noon(Some(Tier::Unlisted))), None);
}

fn any_terms() -> impl Strategy<Value = Terms> {
    (any::<bool>(), 0..2_000_000_000_000_u64)
        .prop_map(|(batch, at)| Terms { service_tier: batch.then_some(Tier::Batch), at: UnixMillis(at) })
}

proptest! {
    #[test]
    fn parts_add_up_and_more_output_costs_more(
        input in 0..u64::MAX, output in 0..u64::MAX, cached: u64, written: u64, long: u64, terms in any_terms()
    ) {
        let usage =
            Usage { input, output, cached_input: cached, cache_write: written, cache_write_long: long, ..Usage::default() };
        let before = cost(&full_list(), &usage, &terms).expect("a known price");
        prop_assert_eq!(before.total, before.input + before.output);
        let after = cost(&full_list(), &Usage { output: output + 1, ..usage }, &terms).expect("a known price");
        prop_assert!(after.total > before.total && after.input == before.input);
    }

    #[test]
    fn within_a_band_more_prompt_costs_more_and_a_longer_band_never_less(
        input in 0..1_000_u64, cached in 0..1_000_u64, written in 0..1_000_u64, terms in any_terms()
    ) {
        let usage = |input| Usage { input, cached_input: cached, cache_write: written, ..Usage::default() };
        let (less, more) = (cost(&full_list(), &usage(input), &terms), cost(&full_list(), &usage(input + 1), &terms));
        prop_assert!(more.expect("a known price").total > less.expect("a known price").total);
    }

    #[test]
    fn a_part_never_costs_more_than_the_dearest_token(input in 0..1_000_u64, parts in [0..2_000_u64, 0..2_000, 0..2_000]) {
        let [cached_input, cache_write, cache_write_long] = parts;
        let usage = Usage { input, cached_input, cache_write, cache_write_long, ..Usage::default() };
        let total = of(&full_price().into(), &usage).total.pico();
        prop_assert!((i128::from(input) * 400_000..=i128::from(input) * 8_000_000).contains(&total));
    }
}

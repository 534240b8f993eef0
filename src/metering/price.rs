//! What an exchange cost: tokens times prices, in whole picodollars.
//!
//! Pure and total: any usage and any price give an amount, saturating where a broken figure would overflow. There is no price of
//! "unknown": a model without a price has no [`Price`] and so no [`Cost`], and callers show `null`, never zero.
//! Bands (prompt length, tier, time of day) choose *which* `Price` is passed in; the arithmetic here stays the same.

use crate::domain::money::{Money, TokenPrice};
use crate::domain::token::Usage;

/// What one model charges, per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// A prompt token that came from no cache.
    pub input: TokenPrice,
    /// A generated token, reasoning included.
    pub output: TokenPrice,
    /// A prompt token read from the provider's cache; `None` where no other price is published: then it costs as `input`.
    pub cached_input: Option<TokenPrice>,
    /// A prompt token written to the provider's cache; `None` where no other price is published: then it costs as `input`.
    pub cache_write: Option<TokenPrice>,
}

/// What one exchange cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The prompt: plain, cached and cache-written tokens.
    pub input: Money,
    /// The answer.
    pub output: Money,
    /// Both.
    pub total: Money,
}

/// What `usage` costs at `price`.
///
/// Cached and cache-written tokens are parts of [`Usage::input`]; where a provider states more of them than it has prompt tokens,
/// the parts are cut to fit (cached first), so that nothing is billed twice.
pub fn cost(price: &Price, usage: &Usage) -> Cost {
    let cached = usage.cached_input.min(usage.input);
    let written = usage.cache_write.min(usage.input - cached);
    let plain = usage.input - cached - written;
    let input = times(price.input, plain)
        + times(price.cached_input.unwrap_or(price.input), cached)
        + times(price.cache_write.unwrap_or(price.input), written);
    let output = times(price.output, usage.output);
    Cost { input, output, total: input + output }
}

/// `TokenPrice::times` for figures off the wire: the product of two 64-bit numbers may exceed what money holds.
fn times(price: TokenPrice, tokens: u64) -> Money {
    Money::from_pico(i128::from(price.pico()).saturating_mul(i128::from(tokens)))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        }
    }

    #[test]
    fn cached_and_written_tokens_have_their_own_price() {
        let usage =
            Usage { input: 1_000, output: 100, cached_input: 600, cache_write: 300, reasoning: 50, ..Usage::default() };
        let cost = cost(&full_price(), &usage);
        // 100 plain at $4, 600 cached at $0.4, 300 written at $5; reasoning is inside the 100 at $20.
        assert_eq!(cost.input, usd("0.00214"));
        assert_eq!(cost.output, usd("0.002"));
        assert_eq!(cost.total, usd("0.00414"));
    }

    #[test]
    fn without_a_cache_price_cached_tokens_cost_as_input() {
        let price = Price { cached_input: None, cache_write: None, ..full_price() };
        let usage = Usage { input: 1_000_000, cached_input: 400_000, cache_write: 100_000, ..Usage::default() };
        assert_eq!(cost(&price, &usage).total, usd("4"));
    }

    #[test]
    fn more_cached_than_prompt_tokens_bills_no_token_twice() {
        let usage = Usage { input: 10, cached_input: 25, cache_write: 25, ..Usage::default() };
        assert_eq!(cost(&full_price(), &usage).input, Money::from_pico(10 * 400_000));
    }

    #[test]
    fn broken_figures_saturate() {
        let huge = TokenPrice::parse_usd_per_mtok("9999999999999").expect("a valid price");
        let price = Price { input: huge, output: huge, cached_input: None, cache_write: None };
        let usage = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
        let cost = cost(&price, &usage);
        assert!(cost.total >= cost.input && cost.total >= cost.output);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_more_tokens_never_cost_less(input in 0..u64::MAX, output in 0..u64::MAX, cached: u64, written: u64) {
            let usage = Usage { input, output, cached_input: cached, cache_write: written, ..Usage::default() };
            let before = cost(&full_price(), &usage);
            prop_assert_eq!(before.total, before.input + before.output);
            let after = cost(&full_price(), &Usage { output: output + 1, ..usage });
            prop_assert!(after.total > before.total);
        }
    }
}

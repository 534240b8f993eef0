//! What an exchange cost: tokens times prices, in whole picodollars.
//!
//! Pure and total: any usage and any price list give an amount, saturating where a broken figure would overflow, or say that the price
//! is not known. That is `None` and never zero; callers show `null`. A [`PriceList`] is a model's base price and what departs from it
//! on a condition: a prompt's length, a service tier, an hour. The whole request is billed at what holds for it. Conditions that hold
//! together multiply, each taken for a factor upon the base price, which is how price lists state them ("half", "twice").

use super::terms::{Hours, Terms, Tier};
use crate::domain::money::{Money, TokenPrice};
use crate::domain::token::Usage;

/// What one model charges, per token, as a price list states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// A prompt token that came from no cache.
    pub input: TokenPrice,
    /// A generated token, reasoning included.
    pub output: TokenPrice,
    /// A prompt token read from the provider's cache; `None` where no other price is published: then it costs as `input`.
    pub cached_input: Option<TokenPrice>,
    /// A prompt token written to the provider's cache; `None` where no other price is published: then it costs as `input`.
    pub cache_write: Option<TokenPrice>,
    /// One written to be kept for an hour or longer; `None` where no other price is published: then it costs as `cache_write`.
    pub cache_write_long: Option<TokenPrice>,
}

/// Figures that replace those of the base price; one that is not stated stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As [`Price::input`].
    pub input: Option<TokenPrice>,
    /// As [`Price::output`].
    pub output: Option<TokenPrice>,
    /// As [`Price::cached_input`].
    pub cached_input: Option<TokenPrice>,
    /// As [`Price::cache_write`].
    pub cache_write: Option<TokenPrice>,
}

/// When a [`Change`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The prompt has more tokens than this, and no more than the next such condition says.
    PromptOver(u64),
    /// The request was served in this tier.
    Tier(Tier),
    /// It was sent in these hours.
    Hours(Hours),
}

/// Why conditions do not make a price list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceListError {
    /// Two changes hold for prompts over the same length.
    #[error("two prices hold for prompts over {0} tokens")]
    PromptTwice(u64),
    /// Two changes hold for the same tier.
    #[error("two prices hold for the tier {}", .0.as_str())]
    TierTwice(Tier),
    /// Two changes hold at the same hour.
    #[error("two prices hold at the same hour")]
    HoursMeet,
}

/// All that one model charges. Shared by reference; the request path reads it and allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    base: Figures,
    /// By the number of tokens that a prompt has more than, ascending.
    bands: Vec<(u64, Figures)>,
    tiers: Vec<(Tier, Figures)>,
    hours: Vec<(Hours, Figures)>,
    /// A digest of all the above, never 0.
    version: u64,
}

/// What a token of each sort costs, nothing left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figures {
    input: TokenPrice,
    output: TokenPrice,
    cached_input: TokenPrice,
    cache_write: TokenPrice,
    cache_write_long: TokenPrice,
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

/// What `usage` costs on these terms; `None` when no price is known for them: a tier that the list does not have, or sound, which
/// has prices of its own that no list of ours has.
///
/// Cached and cache-written tokens are parts of [`Usage::input`]; where a provider states more of them than it has prompt tokens,
/// the parts are cut to fit (cached first), so that nothing is billed twice.
pub fn cost(prices: &PriceList, usage: &Usage, terms: &Terms) -> Option<Cost> {
    if usage.audio_input > 0 || usage.audio_output > 0 {
        return None;
    }
    let figures = prices.figures(usage.input, terms)?;
    let cached = usage.cached_input.min(usage.input);
    let written = usage.cache_write.min(usage.input - cached);
    let written_long = usage.cache_write_long.min(written);
    let plain = usage.input - cached - written;
    let input = times(figures.input, plain)
        + times(figures.cached_input, cached)
        + times(figures.cache_write, written - written_long)
        + times(figures.cache_write_long, written_long);
    let output = times(figures.output, usage.output);
    Some(Cost { input, output, total: input + output })
}

/// `TokenPrice::times` for figures off the wire: the product of two 64-bit numbers may exceed what money holds.
fn times(price: TokenPrice, tokens: u64) -> Money {
    let product = u128::from(price.pico()) * u128::from(tokens);
    Money::from_pico(i128::try_from(product).unwrap_or(i128::MAX))
}

// === impl PriceList ===

impl PriceList {
    /// A model that charges the same whatever the prompt's length and the hour, and has no other tier.
    pub fn flat(price: Price) -> Self {
        let list =
            Self { base: Figures::of(&price), bands: Vec::new(), tiers: Vec::new(), hours: Vec::new(), version: 0 };
        list.stamped()
    }

    /// A base price and what departs from it.
    ///
    /// # Errors
    /// When two conditions of one kind hold at once.
    pub fn new(price: Price, changes: impl IntoIterator<Item = (Condition, Change)>) -> Result<Self, PriceListError> {
        let mut list = Self::flat(price);
        for (condition, change) in changes {
            let figures = Figures::changed(&price, &change);
            match condition {
                Condition::PromptOver(tokens) => {
                    let place = list.bands.partition_point(|(over, _)| *over < tokens);
                    if list.bands.get(place).is_some_and(|(over, _)| *over == tokens) {
                        return Err(PriceListError::PromptTwice(tokens));
                    }
                    list.bands.insert(place, (tokens, figures));
                }
                Condition::Tier(tier) => {
                    if list.tiers.iter().any(|(known, _)| *known == tier) {
                        return Err(PriceListError::TierTwice(tier));
                    }
                    list.tiers.push((tier, figures));
                }
                Condition::Hours(hours) => {
                    if list.hours.iter().any(|(known, _)| known.meet(&hours)) {
                        return Err(PriceListError::HoursMeet);
                    }
                    list.hours.push((hours, figures));
                }
            }
        }
        Ok(list.stamped())
    }

    /// Which list this is: the same for the same figures, on any machine and in any later version, and never 0. A bill says by which list it
    /// was made (rule L1).
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What a token in and a token out cost at the beginning of an exchange, picodollars: of a prompt of so many tokens, none of them out of a
    /// cache. `None` where the price is not known on these terms.
    pub fn rates(&self, prompt_tokens: u64, terms: &Terms) -> Option<(u64, u64)> {
        let figures = self.figures(prompt_tokens, terms)?;
        Some((figures.input.pico(), figures.output.pico()))
    }

    fn stamped(mut self) -> Self {
        let mut digest = Digest::default();
        digest.figures(&self.base);
        for (over, figures) in &self.bands {
            digest.number(*over);
            digest.figures(figures);
        }
        for (tier, figures) in &self.tiers {
            tier.as_str().bytes().for_each(|byte| digest.number(u64::from(byte)));
            digest.figures(figures);
        }
        for (hours, figures) in &self.hours {
            hours.numbers().for_each(|number| digest.number(number));
            digest.figures(figures);
        }
        self.version = digest.0.max(1);
        self
    }

    /// Whether it charges by the hour of the day.
    pub fn is_by_hour(&self) -> bool {
        !self.hours.is_empty()
    }

    /// What holds for a prompt of so many tokens on these terms; `None` for a tier that is not in the list.
    #[inline]
    fn figures(&self, prompt_tokens: u64, terms: &Terms) -> Option<Figures> {
        // Most lists have one price.
        match terms.service_tier {
            None if self.bands.is_empty() && self.hours.is_empty() => Some(self.base),
            _ => self.figures_on_terms(prompt_tokens, terms),
        }
    }

    fn figures_on_terms(&self, prompt_tokens: u64, terms: &Terms) -> Option<Figures> {
        let tier = match terms.service_tier {
            Some(tier) => Some(&self.tiers.iter().find(|(known, _)| *known == tier)?.1),
            None => None,
        };
        let band = self.bands.iter().rev().find(|(over, _)| prompt_tokens > *over).map(|(_, figures)| figures);
        let hours = self.hours.iter().find(|(hours, _)| hours.hold_at(terms.at)).map(|(_, figures)| figures);
        let holding = [band, tier, hours].into_iter().flatten();
        Some(holding.fold(self.base, |figures, change| figures.times(change, &self.base)))
    }
}

impl From<Price> for PriceList {
    fn from(price: Price) -> Self {
        Self::flat(price)
    }
}

/// FNV-1a over 64-bit numbers: small, and for ever the same.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn figures(&mut self, figures: &Figures) {
        let Figures { input, output, cached_input, cache_write, cache_write_long } = figures;
        for price in [input, output, cached_input, cache_write, cache_write_long] {
            self.number(price.pico());
        }
    }
}

// === impl Figures ===

impl Figures {
    fn of(price: &Price) -> Self {
        let cache_write = price.cache_write.unwrap_or(price.input);
        Self {
            input: price.input,
            output: price.output,
            cached_input: price.cached_input.unwrap_or(price.input),
            cache_write,
            cache_write_long: price.cache_write_long.unwrap_or(cache_write),
        }
    }

    /// The base price with a change. A long cache write keeps its distance from a short one.
    fn changed(price: &Price, change: &Change) -> Self {
        let base = Self::of(price);
        let input = change.input.unwrap_or(price.input);
        let cache_write = change.cache_write.or(price.cache_write).unwrap_or(input);
        Self {
            input,
            output: change.output.unwrap_or(price.output),
            cached_input: change.cached_input.or(price.cached_input).unwrap_or(input),
            cache_write,
            cache_write_long: scaled(base.cache_write_long, cache_write, base.cache_write),
        }
    }

    /// These figures where `change` holds too; a single change comes out exactly as it is stated.
    fn times(self, change: &Self, base: &Self) -> Self {
        Self {
            input: scaled(self.input, change.input, base.input),
            output: scaled(self.output, change.output, base.output),
            cached_input: scaled(self.cached_input, change.cached_input, base.cached_input),
            cache_write: scaled(self.cache_write, change.cache_write, base.cache_write),
            cache_write_long: scaled(self.cache_write_long, change.cache_write_long, base.cache_write_long),
        }
    }
}

/// `price` times `change / base`, rounded up to a whole picodollar. Upon a base of nothing no factor can be told: then the larger.
fn scaled(price: TokenPrice, change: TokenPrice, base: TokenPrice) -> TokenPrice {
    if base.pico() == 0 {
        return price.max(change);
    }
    let product = u128::from(price.pico()) * u128::from(change.pico());
    TokenPrice::from_pico(u64::try_from(product.div_ceil(u128::from(base.pico()))).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;

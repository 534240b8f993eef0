//! Reads `config/price_tiers.csv`: where a model's price departs from its base price, one condition a line.
//!
//! Of long cache writes a model has one price, however long they last: an answer says only that they are long.

use super::csv::{self, CatalogueError};
use crate::metering::price::{Change, Condition, Price, PriceList};
use crate::metering::terms::{Hours, Tier};
use std::collections::BTreeMap;

const FILE: &str = "price_tiers.csv";

const COLUMNS: [&str; 10] = [
    "provider",
    "model",
    "prompt_over",
    "tier",
    "cache_ttl",
    "window",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
];

/// The lines of one model.
#[derive(Default)]
pub(super) struct Lines {
    /// The last one of them, for what can be said of all of them only.
    pub(super) last_line: usize,
    changes: Vec<(Condition, Change)>,
    long_write: Option<Change>,
}

/// All lines, by provider and model.
pub(super) fn read(text: &str) -> Result<BTreeMap<(&str, &str), Lines>, CatalogueError> {
    let mut by_model: BTreeMap<(&str, &str), Lines> = BTreeMap::new();
    csv::for_each_row(FILE, text, COLUMNS, |line, fields| {
        let [provider, model, prompt_over, tier, cache_ttl, window, input, output, cached_input, cache_write] = fields;
        let change = Change {
            input: csv::figure(input)?,
            output: csv::figure(output)?,
            cached_input: csv::figure(cached_input)?,
            cache_write: csv::figure(cache_write)?,
        };
        let lines = by_model.entry((provider, model)).or_default();
        lines.last_line = line;
        let condition = match (prompt_over, tier, cache_ttl, window) {
            (_, "", "", "") => csv::count(prompt_over)?.map(Condition::PromptOver),
            ("", _, "", "") => Some(Condition::Tier(Tier::listed(tier).ok_or_else(|| format!("no tier \"{tier}\""))?)),
            ("", "", _, "") => return lines.add_long_write(cache_ttl, change),
            ("", "", "", _) => {
                Some(Condition::Hours(Hours::parse(window).ok_or_else(|| format!("no hours \"{window}\""))?))
            }
            _ => None,
        };
        lines.changes.push((condition.ok_or("a row has exactly one condition")?, change));
        Ok(())
    })?;
    Ok(by_model)
}

/// A fault of the lines of one model, named by the last of them.
pub(super) fn fault(line: usize, problem: String) -> CatalogueError {
    CatalogueError { file: FILE, line, problem }
}

impl Lines {
    fn add_long_write(&mut self, cache_ttl: &str, change: Change) -> Result<(), String> {
        let hours = cache_ttl.strip_suffix('h').map(csv::count).transpose()?.flatten();
        if hours.is_none_or(|hours| hours == 0) {
            return Err(format!("\"{cache_ttl}\" is no time in hours, such as 1h"));
        }
        if change.cache_write.is_none() || (Change { cache_write: None, ..change }) != Change::default() {
            return Err("a cache_ttl row states a cache write price and no other".to_owned());
        }
        match self.long_write.replace(change) {
            None => Ok(()),
            Some(_) => Err("two prices hold for long cache writes".to_owned()),
        }
    }

    /// The whole price list of the model.
    pub(super) fn upon(self, base: Price) -> Result<PriceList, String> {
        let base = Price { cache_write_long: self.long_write.and_then(|change| change.cache_write), ..base };
        PriceList::new(base, self.changes).map_err(|error| error.to_string())
    }
}

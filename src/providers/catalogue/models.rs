//! Reads `config/catalog.csv`: one model a line, its base price and its bounds.

use super::csv::{self, CatalogueError};
use super::{Entry, Mode, Standing};
use crate::chat::ability::Abilities;
use crate::domain::money::TokenPrice;
use crate::metering::price::Price;
use std::sync::Arc;

const FILE: &str = "catalog.csv";

const COLUMNS: [&str; 11] = [
    "provider",
    "model",
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "context_window",
    "output_max",
    "mode",
    "retires",
    "status",
];

/// One line: the entry without its price, and its base price.
pub(super) struct Listed<'t> {
    pub(super) provider: &'t str,
    pub(super) model: &'t str,
    pub(super) entry: Entry,
    pub(super) base: Option<Price>,
}

/// Shows every model to `each`, which may refuse it.
pub(super) fn read<'t>(
    text: &'t str,
    mut each: impl FnMut(Listed<'t>) -> Result<(), String>,
) -> Result<(), CatalogueError> {
    csv::for_each_row(FILE, text, COLUMNS, |_, fields| {
        let [provider, model, input, output, cached, written, window, output_max, mode, retires, status] = fields;
        if provider.is_empty() || model.is_empty() {
            return Err("a provider and a model are needed".to_owned());
        }
        let mode = parse_mode(mode)?;
        let (context_window, output_max) = (csv::count(window)?, csv::count(output_max)?);
        let entry = Entry {
            price: None,
            context_window,
            output_max,
            mode,
            abilities: Arc::new(Abilities { context_window, output_max, ..Abilities::default() }),
            retires: csv::day(retires)?,
            standing: parse_standing(status)?,
        };
        if entry.standing == Standing::Recommended && mode != Mode::Chat {
            return Err("only a chat model is recommended".to_owned());
        }
        each(Listed { provider, model, entry, base: parse_price(mode, [input, output, cached, written])? })
    })
}

/// A price needs an input and an output figure; an embedding has no output tokens to charge for.
fn parse_price(mode: Mode, figures: [&str; 4]) -> Result<Option<Price>, String> {
    let [input, output, cached_input, cache_write] = figures;
    let output = csv::figure(output)?.or((mode == Mode::Embedding).then(TokenPrice::default));
    let (input, cached_input) = (csv::figure(input)?, csv::figure(cached_input)?);
    let cache_write = csv::figure(cache_write)?;
    match (input, output) {
        (Some(input), Some(output)) => {
            Ok(Some(Price { input, output, cached_input, cache_write, cache_write_long: None }))
        }
        _ if cached_input.is_some() || cache_write.is_some() => Err("a cache price without a base price".to_owned()),
        (Some(_), None) => Err("an input price without an output price".to_owned()),
        _ => Ok(None),
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "chat" => Ok(Mode::Chat),
        "responses" => Ok(Mode::Responses),
        "embedding" => Ok(Mode::Embedding),
        "completion" => Ok(Mode::Completion),
        "rerank" => Ok(Mode::Rerank),
        other => Err(format!("mode \"{other}\" is unknown")),
    }
}

fn parse_standing(text: &str) -> Result<Standing, String> {
    match text {
        "listed" => Ok(Standing::Listed),
        "recommended" => Ok(Standing::Recommended),
        "legacy" => Ok(Standing::Legacy),
        other => Err(format!("status \"{other}\" is neither listed nor recommended nor legacy")),
    }
}

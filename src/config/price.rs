//! `[[prices]]`: what the owner pays for a model, in place of the catalogue's price or where there is none.
//!
//! Amounts are per million tokens and say so. A price of the owner holds for every prompt, tier and hour.

use super::leaf::{model_name, name, text};
use super::model::provider_id;
use super::problem::{Complaint, Findings, quoted};
use super::read::{At, Leaf, Typed};
use super::{Known, Provider, raw};
use crate::domain::money::TokenPrice;
use crate::metering::price::Price;
use crate::providers::catalogue::OwnPrice;

/// All entries as meant. Two entries for one model of a provider are refused.
pub(super) fn prices(
    raw: Vec<raw::Price>,
    providers: &[Provider],
    known: &Known<'_>,
    findings: &mut Findings,
) -> Vec<OwnPrice> {
    let mut pairs: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for entry in raw {
        let at = entry.at;
        let provider = findings.required(("`[[prices]]`", at, "provider", "\"local-vllm\""), entry.provider, name);
        let provider = provider.and_then(|typed| provider_id(&typed, providers, known, findings));
        let model = findings.required(("`[[prices]]`", at, "model", "\"qwen3-32b\""), entry.model, model_name);
        let mut base = |key, leaf| {
            findings.required(("`[[prices]]`", at, key, "\"$0.50/Mtok\""), leaf, token_price).map(|price| price.value)
        };
        let (input, output) = (base("input", entry.input), base("output", entry.output));
        let mut part = |key, leaf: Option<Leaf>| findings.value(key, leaf, token_price);
        let price = Price {
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            cached_input: part("cached_input", entry.cached_input),
            cache_write: part("cache_write", entry.cache_write),
            cache_write_long: part("cache_write_long", entry.cache_write_long),
        };
        let (Some(provider), Some(model)) = (provider, model) else { continue };
        pairs.push(At { value: format!("{provider}/{}", model.value), at });
        meant.push(OwnPrice { provider: provider.as_str().to_owned(), model: model.value, price });
    }
    findings.distinct("the price of", &pairs);
    meant
}

/// `"$2.50/Mtok"`.
fn token_price(typed: &Typed) -> Result<TokenPrice, Complaint> {
    let refused = |what: String| Complaint::new(what, "write dollars per million tokens, as in \"$2.50/Mtok\"");
    let written = match typed {
        Typed::Text(_) => text(typed)?,
        _ => return Err(refused("is not text".to_owned())),
    };
    let amount = written.strip_prefix('$').and_then(|rest| rest.strip_suffix("/Mtok"));
    amount
        .and_then(TokenPrice::parse_usd_per_mtok)
        .ok_or_else(|| refused(format!("is {}, not a price of tokens", quoted(&written))))
}

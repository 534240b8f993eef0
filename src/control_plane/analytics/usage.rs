//! What was used: exact sums, and what each provider, model, key and policy had of them.

use super::window::Window;
use super::{Books, ControlError};
use crate::domain::money::Money;
use crate::limits::analytics::{FOLD_ROWS_MAX, NAMES_MAX};
use crate::store::{Dimension, SumQuestion, Sums};
use serde::Serialize;
use std::collections::BTreeMap;

/// Sums of a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageAnswer {
    /// `hour`, `day`, `week` or `month`; `custom` for other times.
    pub period: &'static str,
    /// RFC 3339, UTC; the first instant counted.
    pub from: String,
    /// RFC 3339, UTC; now, or the end that was asked for.
    pub to: String,
    /// Everything.
    #[serde(flatten)]
    pub total: Sums,
    /// By provider.
    pub by_provider: BTreeMap<String, Sums>,
    /// By the model that ran.
    pub by_model: BTreeMap<String, Sums>,
    /// By provider key: its id, `none`, or `shared` for those of somebody else.
    pub by_key: BTreeMap<String, Sums>,
    /// By the policy that chose.
    pub by_policy: BTreeMap<String, Sums>,
}

/// Adds up a time.
///
/// # Errors
/// The store cannot be read, or it takes too long.
pub fn usage(books: &Books, window: Window) -> Result<UsageAnswer, ControlError> {
    const BY: [Dimension; 4] = [Dimension::Provider, Dimension::Model, Dimension::Key, Dimension::Policy];
    let counted = window.counted(books.now);
    let total = books.total(counted.hours.clone())?;
    let question =
        SumQuestion { hours: counted.hours, group_by: BY.to_vec(), bucket: None, skip: 0, most: FOLD_ROWS_MAX };
    let mut by: [BTreeMap<String, Sums>; BY.len()] = Default::default();
    for row in books.sums(&question)? {
        for (sums, name) in by.iter_mut().zip(row.names) {
            sums.entry(name).or_default().add(&row.sums);
        }
    }
    let [by_provider, by_model, by_key, by_policy] = by.map(bounded);
    let (period, from, to) = (counted.period, counted.from, counted.to);
    Ok(UsageAnswer { period, from, to, total, by_provider, by_model, by_key, by_policy })
}

/// The costliest names; the others are one.
pub(super) fn bounded(mut sums: BTreeMap<String, Sums>) -> BTreeMap<String, Sums> {
    if sums.len() > NAMES_MAX {
        let mut costs: Vec<Money> = sums.values().map(|sums| sums.cost).collect();
        costs.sort_unstable();
        let least = costs[costs.len() - NAMES_MAX];
        let mut others = Sums::default();
        sums.retain(|_, one| {
            let stays = one.cost >= least && one.cost > Money::ZERO;
            if !stays {
                others.add(one);
            }
            stays
        });
        sums.entry(OTHERS.to_owned()).or_default().add(&others);
    }
    sums
}

const OTHERS: &str = "(others)";

impl Sums {
    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.attempts, other.attempts),
            (&mut self.failed, other.failed),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self.cost += other.cost;
    }
}

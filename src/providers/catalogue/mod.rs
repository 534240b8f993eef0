//! What models there are, what they cost and what they can do: the embedded `config/catalog.csv`, `config/price_tiers.csv` and
//! `config/abilities.csv`, parsed strictly at start.
//!
//! A model that is not listed has no price, and none is ever guessed: only exact names have one. Its abilities are those of the
//! listed model whose family its name belongs to (`family`). Rows of the owner replace prices and add models.

mod abilities;
mod csv;
mod family;
mod models;
mod price_tiers;

pub use csv::CatalogueError;

use crate::chat::ability::Abilities;
use crate::domain::clock::UnixMillis;
use crate::domain::token::Usage;
use crate::metering::price::{Cost, Price, PriceList, cost};
use crate::metering::terms::Terms;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The text of the three lists.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'t> {
    /// As `config/catalog.csv`.
    pub models: &'t str,
    /// As `config/price_tiers.csv`.
    pub price_tiers: &'t str,
    /// As `config/abilities.csv`.
    pub abilities: &'t str,
}

/// The built-in lists.
const BUILT_IN: Lists<'_> = Lists {
    models: include_str!("../../../config/catalog.csv"),
    price_tiers: include_str!("../../../config/price_tiers.csv"),
    abilities: include_str!("../../../config/abilities.csv"),
};

/// What a model is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Chat completions, in any dialect.
    Chat,
    /// OpenAI's Responses only.
    Responses,
    /// Text in, vector out.
    Embedding,
    /// Legacy text completions.
    Completion,
    /// Documents in, order out; billed by the search.
    Rerank,
}

/// How a listed model stands with its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the price list.
    Listed,
    /// It is, and it is the one to ask when nobody says which.
    Recommended,
    /// Retired or no longer list-priced: the price is the last published one.
    Legacy,
}

/// What is known of one model at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What a token costs; `None` where no price is known.
    pub price: Option<Arc<PriceList>>,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u64>,
    /// Tokens of the answer at most.
    pub output_max: Option<u64>,
    /// What it is called with.
    pub mode: Mode,
    /// What it can do and takes, as far as anybody says.
    pub abilities: Arc<Abilities>,
    /// The day on which the provider stops serving it, `YYYY-MM-DD`.
    pub retires: Option<Box<str>>,
    /// How it stands with its provider.
    pub standing: Standing,
}

impl Entry {
    /// A model of which only the price is known.
    pub fn of_price(price: impl Into<PriceList>) -> Self {
        Self {
            price: Some(Arc::new(price.into())),
            context_window: None,
            output_max: None,
            mode: Mode::Chat,
            abilities: Arc::default(),
            retires: None,
            standing: Standing::Listed,
        }
    }

    /// Whether the provider has stopped serving it by the day of `now` (UTC).
    pub fn is_retired(&self, now: UnixMillis) -> bool {
        // Both are ISO 8601 dates, which sort as text.
        self.retires.as_deref().is_some_and(|day| now.to_rfc3339().get(..10).is_some_and(|today| day <= today))
    }

    /// Whether it is in the price list and still served on the day of `now` (UTC).
    pub fn is_living(&self, now: UnixMillis) -> bool {
        self.standing != Standing::Legacy && !self.is_retired(now)
    }
}

/// A price that the owner states for a model, listed or not.
#[derive(Clone, Debug)]
pub struct OwnPrice {
    /// The provider's name in the catalogue or in configuration.
    pub provider: String,
    /// The model's name as the provider knows it.
    pub model: String,
    /// What a token costs there.
    pub price: Price,
}

/// All models of all providers, by provider and name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    providers: BTreeMap<Box<str>, BTreeMap<Box<str>, Entry>>,
    /// Abilities by model name alone, for providers that serve models of others. Without endpoints:
    /// those are the maker's.
    anywhere: BTreeMap<Box<str>, Arc<Abilities>>,
}

impl Catalogue {
    /// The built-in lists.
    ///
    /// # Errors
    /// When an embedded file is broken, which the tests exclude.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::parse(BUILT_IN)
    }

    /// Reads the lists: each with `#` comments, a header line, then one row a line.
    ///
    /// # Errors
    /// The first line that is not exactly as described, that says something twice, or that is about a model without a row (for
    /// prices: without a base price) in the first list.
    pub fn parse(lists: Lists<'_>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        let mut bases = BTreeMap::new();
        models::read(lists.models, |models::Listed { provider, model, mut entry, base }| {
            if bases.insert((provider, model), base).is_some() {
                return Err(format!("{provider} lists \"{model}\" twice"));
            }
            if entry.standing == Standing::Recommended
                && let Some(first) = catalogue.recommended(provider)
            {
                return Err(format!("{provider} recommends \"{first}\" already"));
            }
            entry.price = base.map(|base| Arc::new(PriceList::flat(base)));
            catalogue.insert(provider, model, entry);
            Ok(())
        })?;
        for ((provider, model), lines) in price_tiers::read(lists.price_tiers)? {
            let line = lines.last_line;
            let list = match bases.get(&(provider, model)) {
                Some(Some(base)) => lines.upon(*base),
                Some(None) => Err("a price upon no base price".to_owned()),
                None => Err("no such model is listed".to_owned()),
            };
            let fault = |problem| price_tiers::fault(line, format!("{provider}/{model}: {problem}"));
            let list = Arc::new(list.map_err(fault)?);
            catalogue.entry_mut(provider, model).into_iter().for_each(|entry| entry.price = Some(list.clone()));
        }
        catalogue.add_abilities(lists.abilities)?;
        Ok(catalogue)
    }

    fn add_abilities(&mut self, text: &str) -> Result<(), CatalogueError> {
        let mut seen = std::collections::HashSet::new();
        abilities::read(text, |provider, model, abilities| {
            if !seen.insert(format!("{provider},{model}")) {
                return Err(format!("{provider} lists \"{model}\" twice"));
            }
            let entry = self.entry_mut(provider, model).ok_or_else(|| format!("{provider} lists no \"{model}\""))?;
            let (context_window, output_max) = (entry.context_window, entry.output_max);
            entry.abilities = Arc::new(Abilities { context_window, output_max, ..abilities });
            Ok(())
        })?;
        for (model, entry) in self.providers.values().flatten() {
            let elsewhere = || Arc::new(Abilities { endpoints: Vec::new(), ..(*entry.abilities).clone() });
            self.anywhere.entry(model.clone()).or_insert_with(elsewhere);
        }
        Ok(())
    }

    /// The same list with the owner's prices: of a listed model only the price changes, and the mark of an old price goes.
    pub fn with_prices(mut self, own: impl IntoIterator<Item = OwnPrice>) -> Self {
        for OwnPrice { provider, model, price } in own {
            let entry = match self.lookup(&provider, &model) {
                Some(known) => {
                    let standing = if known.standing == Standing::Legacy { Standing::Listed } else { known.standing };
                    Entry { price: Some(Arc::new(price.into())), standing, ..known.clone() }
                }
                None => {
                    let abilities = self.lookup_abilities(&provider, &model).cloned().unwrap_or_default();
                    Entry { abilities, ..Entry::of_price(price) }
                }
            };
            self.insert(&provider, &model, entry);
        }
        self
    }

    /// What is known of a model at a provider. Allocates nothing.
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&Entry> {
        self.providers.get(provider)?.get(model)
    }

    /// What a model charges at a provider, where that is known: by its exact name. Allocates nothing.
    pub fn price(&self, provider: &str, model: &str) -> Option<&Arc<PriceList>> {
        self.lookup(provider, model)?.price.as_ref()
    }

    /// What `usage` cost; `None` when the price is not known: unknown, not free.
    pub fn cost(&self, provider: &str, model: &str, usage: &Usage, terms: &Terms) -> Option<Cost> {
        cost(self.price(provider, model)?, usage, terms)
    }

    /// What a model can do at a provider: of the listed model of that name, else of the one whose family the name belongs to, such as
    /// `claude-opus-5-5-20261001`. A provider may serve models of others. Allocates nothing.
    pub fn lookup_abilities(&self, provider: &str, model: &str) -> Option<&Arc<Abilities>> {
        let bare = family::bare(model);
        let own = |name: &str| self.lookup(provider, name).map(|entry| &entry.abilities);
        let anywhere = |name: &str| self.anywhere.get(name);
        let mut found = family::lineage(model).find_map(own);
        found = found.or_else(|| family::lineage(bare).find_map(own));
        found.or_else(|| family::lineage(bare).find_map(anywhere))
    }

    /// The model of a provider to ask for when nobody says which.
    pub fn recommended(&self, provider: &str) -> Option<&str> {
        self.models_of(provider).find(|(_, entry)| entry.standing == Standing::Recommended).map(|(model, _)| model)
    }

    /// The providers that list a model, in order of their names.
    pub fn providers_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a str> {
        self.providers.iter().filter(move |(_, models)| models.contains_key(model)).map(|(provider, _)| &**provider)
    }

    /// A provider's models, in order of their names.
    pub fn models_of(&self, provider: &str) -> impl Iterator<Item = (&str, &Entry)> {
        self.providers.get(provider).into_iter().flatten().map(|(model, entry)| (&**model, entry))
    }

    /// The providers that list any model.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(|provider| &**provider)
    }

    /// How many models are listed.
    pub fn len(&self) -> usize {
        self.providers.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    fn entry_mut(&mut self, provider: &str, model: &str) -> Option<&mut Entry> {
        self.providers.get_mut(provider)?.get_mut(model)
    }

    fn insert(&mut self, provider: &str, model: &str, entry: Entry) {
        self.providers.entry(provider.into()).or_default().insert(model.into(), entry);
    }
}

#[cfg(test)]
mod tests;

//! What models there are, what they cost and what they can do: the embedded `config/catalog.csv`, parsed strictly at start.
//!
//! A model that is not listed has no price and no known abilities, and neither is ever guessed. Rows of the owner replace prices
//! and add models. Prices by prompt length, tier or hour select another [`Price`] for the same entry before the arithmetic.

use crate::domain::clock::UnixMillis;
use crate::domain::money::TokenPrice;
use crate::domain::token::Usage;
use crate::metering::price::{Cost, Price, cost};
use std::collections::BTreeMap;

/// The built-in list.
const BUILT_IN: &str = include_str!("../../config/catalog.csv");

/// Names of the columns, in order.
const COLUMNS: &str = "provider,model,input_usd_per_mtok,output_usd_per_mtok,cached_input_usd_per_mtok,cache_write_usd_per_mtok,\
context_window,output_max,mode,tools,vision,json_schema,retires,status";

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

/// What is known of one model at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What a token costs; `None` where no price is known.
    pub price: Option<Price>,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u64>,
    /// Tokens of the answer at most.
    pub output_max: Option<u64>,
    /// What it is called with.
    pub mode: Mode,
    /// Whether it takes tools; `None` where nobody says.
    pub tools: Option<bool>,
    /// Whether it takes images.
    pub vision: Option<bool>,
    /// Whether it can be held to a JSON schema.
    pub json_schema: Option<bool>,
    /// The day on which the provider stops serving it, `YYYY-MM-DD`.
    pub retires: Option<Box<str>>,
    /// Retired or no longer list-priced: the price is the last published one.
    pub legacy: bool,
}

impl Entry {
    /// A model of which only the price is known.
    pub fn of_price(price: Price) -> Self {
        Self {
            price: Some(price),
            context_window: None,
            output_max: None,
            mode: Mode::Chat,
            tools: None,
            vision: None,
            json_schema: None,
            retires: None,
            legacy: false,
        }
    }

    /// Whether the provider has stopped serving it by the day of `now` (UTC).
    pub fn is_retired(&self, now: UnixMillis) -> bool {
        // Both are ISO 8601 dates, which sort as text.
        self.retires.as_deref().is_some_and(|day| now.to_rfc3339().get(..10).is_some_and(|today| day <= today))
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

/// A line of the list that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("catalogue line {line}: {problem}")]
pub struct CatalogueError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// All models of all providers, by provider and name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    providers: BTreeMap<Box<str>, BTreeMap<Box<str>, Entry>>,
}

impl Catalogue {
    /// The built-in list.
    ///
    /// # Errors
    /// When the embedded file is broken, which the tests exclude.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::parse(BUILT_IN)
    }

    /// Reads a list: `#` comments, the header line, then one model a line.
    ///
    /// # Errors
    /// The first line that is not exactly as described, or that names a model twice.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        let mut header_seen = false;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let fault = |problem: String| CatalogueError { line: index + 1, problem };
            if !header_seen {
                header_seen = true;
                if line != COLUMNS {
                    return Err(fault(format!("expected the header \"{COLUMNS}\"")));
                }
                continue;
            }
            let (provider, model, entry) = parse_line(line).map_err(fault)?;
            if catalogue.lookup(provider, model).is_some() {
                return Err(fault(format!("{provider} lists \"{model}\" twice")));
            }
            catalogue.insert(provider, model, entry);
        }
        Ok(catalogue)
    }

    /// The same list with the owner's prices: of a listed model only the price changes, and the mark of an old price goes.
    pub fn with_prices(mut self, own: impl IntoIterator<Item = OwnPrice>) -> Self {
        for OwnPrice { provider, model, price } in own {
            let entry = match self.lookup(&provider, &model) {
                Some(known) => Entry { price: Some(price), legacy: false, ..known.clone() },
                None => Entry::of_price(price),
            };
            self.insert(&provider, &model, entry);
        }
        self
    }

    /// What is known of a model at a provider. Allocates nothing.
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&Entry> {
        self.providers.get(provider)?.get(model)
    }

    /// What a model's tokens cost at a provider, where that is known. Allocates nothing.
    pub fn price(&self, provider: &str, model: &str) -> Option<Price> {
        self.lookup(provider, model)?.price
    }

    /// What `usage` cost; `None` when the price is not known: unknown, not free.
    pub fn cost(&self, provider: &str, model: &str, usage: &Usage) -> Option<Cost> {
        let price = self.lookup(provider, model)?.price.as_ref()?;
        Some(cost(price, usage))
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

    fn insert(&mut self, provider: &str, model: &str, entry: Entry) {
        self.providers.entry(provider.into()).or_default().insert(model.into(), entry);
    }
}

fn parse_line(line: &str) -> Result<(&str, &str, Entry), String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [
        provider,
        model,
        input,
        output,
        cached,
        written,
        window,
        output_max,
        mode,
        tools,
        vision,
        schema,
        retires,
        status,
    ] = fields[..]
    else {
        return Err(format!("expected 14 fields, found {}", fields.len()));
    };
    if provider.is_empty() || model.is_empty() {
        return Err("a provider and a model are needed".to_owned());
    }
    let mode = parse_mode(mode)?;
    let entry = Entry {
        price: parse_price(mode, [input, output, cached, written])?,
        context_window: parse_count(window)?,
        output_max: parse_count(output_max)?,
        mode,
        tools: parse_ability(tools)?,
        vision: parse_ability(vision)?,
        json_schema: parse_ability(schema)?,
        retires: parse_day(retires)?,
        legacy: match status {
            "listed" => false,
            "legacy" => true,
            other => return Err(format!("status \"{other}\" is neither listed nor legacy")),
        },
    };
    Ok((provider, model, entry))
}

/// A price needs an input and an output figure; an embedding has no output tokens to charge for.
fn parse_price(mode: Mode, figures: [&str; 4]) -> Result<Option<Price>, String> {
    let [input, output, cached_input, cache_write] = figures;
    let figure = |text: &str| match text {
        "" => Ok(None),
        text => TokenPrice::parse_usd_per_mtok(text).map(Some).ok_or_else(|| format!("\"{text}\" is no price")),
    };
    let output = figure(output)?.or((mode == Mode::Embedding).then(TokenPrice::default));
    let (input, cached_input, cache_write) = (figure(input)?, figure(cached_input)?, figure(cache_write)?);
    match (input, output) {
        (Some(input), Some(output)) => Ok(Some(Price { input, output, cached_input, cache_write })),
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

fn parse_count(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| format!("\"{digits}\" is too large"))
        }
        other => Err(format!("\"{other}\" is no count")),
    }
}

fn parse_ability(text: &str) -> Result<Option<bool>, String> {
    match text {
        "" => Ok(None),
        "yes" => Ok(Some(true)),
        "no" => Ok(Some(false)),
        other => Err(format!("\"{other}\" is neither yes nor no")),
    }
}

fn parse_day(text: &str) -> Result<Option<Box<str>>, String> {
    let is_day = |text: &str| {
        let shape =
            |(place, byte): (usize, u8)| if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        text.len() == 10 && text.bytes().enumerate().all(shape)
    };
    match text {
        "" => Ok(None),
        day if is_day(day) => Ok(Some(day.into())),
        other => Err(format!("\"{other}\" is no day (YYYY-MM-DD)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Catalogue {
        Catalogue::built_in().expect("the embedded list is whole")
    }

    fn with_line(line: &str) -> Result<Catalogue, CatalogueError> {
        Catalogue::parse(&format!("# a comment\n{COLUMNS}\n{line}\n"))
    }

    #[test]
    fn the_built_in_list_is_whole() {
        let catalogue = built_in();
        assert!(catalogue.len() > 250, "{} models", catalogue.len());
        let gpt = catalogue.lookup("openai", "gpt-5.6-sol").expect("a listed model");
        assert_eq!(
            (gpt.tools, gpt.mode, gpt.legacy, gpt.context_window),
            (Some(true), Mode::Chat, false, Some(922_000))
        );
        assert_eq!(catalogue.providers_of("openai/gpt-oss-120b").collect::<Vec<_>>(), ["groq", "together"]);
        assert!(catalogue.models_of("mistral").any(|(model, _)| model == "mistral-large-latest"));
    }

    #[test]
    fn an_unknown_price_is_no_cost_and_a_free_model_costs_nothing() {
        let (catalogue, usage) = (built_in(), Usage { input: 1_000, output: 10, ..Usage::default() });
        for (provider, model) in
            [("openai", "no-such"), ("no-such", "gpt-4o"), ("google", "gemini-ultra"), ("cohere", "rerank-v3.5")]
        {
            assert_eq!(catalogue.cost(provider, model, &usage), None, "{provider}/{model}");
        }
        assert_eq!(catalogue.cost("zai", "glm-4.7-flash", &usage), Some(Cost::default()));
        let gpt_4o = catalogue.cost("openai", "gpt-4o", &usage).expect("a listed price");
        assert_eq!(gpt_4o.total.to_string(), "0.0026");
    }

    #[test]
    fn retired_and_legacy_models_are_marked() {
        let catalogue = built_in();
        let at =
            |model: &str, now| catalogue.lookup("openai", model).expect("a listed model").is_retired(UnixMillis(now));
        // gpt-4 ends on 2026-10-23, gpt-4o on 2027-01-14; the instants are the midnights of 2026-10-22, -23 and 2026-11-23.
        assert!(!at("gpt-4", 1_792_627_200_000) && at("gpt-4", 1_792_713_600_000));
        assert!(!at("gpt-4o", 1_795_392_000_000) && !at("gpt-5.6-sol", u64::MAX / 2));
        assert!(catalogue.lookup("xai", "grok-2").is_some_and(|entry| entry.legacy));
    }

    #[test]
    fn the_owner_may_state_prices() {
        let price = Price {
            input: TokenPrice::parse_usd_per_mtok("1").expect("a valid price"),
            output: TokenPrice::parse_usd_per_mtok("2").expect("a valid price"),
            cached_input: None,
            cache_write: None,
        };
        let own =
            |provider: &str, model: &str| OwnPrice { provider: provider.to_owned(), model: model.to_owned(), price };
        let catalogue = built_in().with_prices([own("openai", "gpt-4o"), own("local-vllm", "llama")]);
        let listed = catalogue.lookup("openai", "gpt-4o").expect("a listed model");
        assert_eq!((listed.price, listed.context_window), (Some(price), Some(128_000)));
        assert_eq!(catalogue.lookup("local-vllm", "llama"), Some(&Entry::of_price(price)));
    }

    #[test]
    fn broken_lines_are_refused_with_their_number() {
        let good = "openai,m,1,2,0.5,,8192,4096,chat,yes,no,,2027-01-14,listed";
        assert_eq!(with_line(good).map(|catalogue| catalogue.len()), Ok(1));
        for (from, to) in [
            (",1,2,", ",-1,2,"),
            (",1,2,", ",1e3,2,"),
            (",1,2,", ",,2,"),
            (",1,2,", ",1,,"),
            ("8192", "+8192"),
            ("chat", "chatter"),
            ("yes", "maybe"),
            ("2027-01-14", "2027-1-14"),
            ("listed", ""),
            ("openai,m", ",m"),
            ("listed", "listed,"),
        ] {
            let fault = with_line(&good.replacen(from, to, 1)).expect_err(to);
            assert_eq!(fault.line, 3, "{to}");
        }
        assert_eq!(with_line(&format!("{good}\n{good}")).expect_err("twice").line, 4);
        assert_eq!(Catalogue::parse("provider,model\n").expect_err("another header").line, 1);
    }
}

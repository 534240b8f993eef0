//! Which providers can serve the model name that a client wrote.
//!
//! Order: an exact entry of the owner; a glob entry, the most specific first; [`AUTO`]; `provider/model`; the alias table; the model
//! lists of all configured providers, built-in before the owner's; and last, a lone provider without a list, which takes any name.
//! Pure: configured providers come in as [`Offer`]s. [`ModelTable`] answers every known name ahead of time, so that the request path
//! is one lookup; only globs and names unknown to every list are worked out when asked.

use super::glob::Glob;
use crate::domain::id::ProviderId;
use crate::limits::{MODEL_NAME_BYTES_MAX, NEAREST_NAMES_MAX};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The name that leaves the choice to us: every provider's recommended model, in the listed order, unless an entry of the owner has
/// this name. After a provider's name and a slash it is that provider's recommended model.
pub const AUTO: &str = "auto";

/// One `[[models]]` entry: a name or glob, and who serves it.
#[derive(Clone, Debug)]
pub struct Route {
    /// What clients ask for; `*` stands for any run of characters, `?` for one.
    pub name: String,
    /// Who serves it, in the owner's order.
    pub targets: Vec<Target>,
}

/// One target of a route.
#[derive(Clone, Debug)]
pub struct Target {
    /// A provider's name or alias.
    pub provider: String,
    /// The model to ask it for; `None` passes the requested name on.
    pub model: Option<String>,
    /// Share of requests under a weighted policy.
    pub weight: u32,
}

/// A retired name and the model that answers for it at one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What clients ask for.
    pub requested: Arc<str>,
    /// The provider's canonical name.
    pub provider: Arc<str>,
    /// The model that runs.
    pub model: Arc<str>,
    /// What is sent along to keep the old name's behaviour.
    pub insert: Option<Insert>,
}

/// A top-level request member that is sent unless the client stated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The member's name; needs no escaping.
    pub member: Arc<str>,
    /// Its value, valid JSON.
    pub json: Arc<str>,
}

/// What one configured provider can serve.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The provider.
    pub provider: ProviderId,
    /// Other names that clients may put before the slash.
    pub aliases: Vec<String>,
    /// The models it lists, from the catalogue or from its configuration; empty when it has no list.
    pub models: HashSet<Box<str>>,
    /// The chat model to ask it for when nobody says which.
    pub recommended: Option<Box<str>>,
    /// Whether it is the owner's own rather than a built-in row.
    pub custom: bool,
    /// Prefixes of model names that another provider serves in its stead, when that one is configured.
    pub splits: Vec<(String, String)>,
}

/// How a name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the owner's entry of this index.
    Route(usize),
    /// By `provider/model`.
    Prefix,
    /// By the alias table.
    Alias,
    /// By the catalogue of a built-in provider.
    Catalogue,
    /// By a provider of the owner's own, listed or taking any name.
    Custom,
}

/// One provider that can serve the request, and the model to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Index into the offers given to [`Resolver::new`].
    pub offer: usize,
    /// The provider.
    pub provider: ProviderId,
    /// The model as that provider knows it.
    pub model: Arc<str>,
    /// Share of requests under a weighted policy; 1 unless a route says otherwise.
    pub weight: u32,
    /// What is sent along.
    pub insert: Option<Insert>,
}

/// A model name, resolved. `candidates` is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The name as the client wrote it.
    pub requested: Arc<str>,
    /// Who can serve it, in order of preference where nothing else decides.
    pub candidates: Vec<Candidate>,
    /// How it was found.
    pub via: Via,
}

/// Nobody serves the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no configured provider serves the model {requested:?}{}", remedy(.nearest))]
pub struct NotFound {
    /// The name as the client wrote it, at most [`MODEL_NAME_BYTES_MAX`] bytes of it.
    pub requested: String,
    /// Known names that resemble it, the nearest first.
    pub nearest: Vec<String>,
}

fn remedy(nearest: &[String]) -> String {
    match nearest {
        [] => "; ask GET /v1/models for the names it knows, or write provider/model".to_owned(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Why the owner's entries cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two entries have one name.
    #[error("two entries are named \"{0}\"")]
    Twice(String),
    /// An entry serves nothing.
    #[error("the entry \"{0}\" has no targets")]
    NoTargets(String),
    /// An entry's name is empty, or longer than any name that is looked up.
    #[error("the name \"{0}\" is empty or longer than {MODEL_NAME_BYTES_MAX} bytes")]
    BadName(String),
}

/// The owner's entries, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
    exact: HashMap<Box<str>, usize>,
    /// Most specific first.
    globs: Vec<(Glob, usize)>,
}

// === impl Routes ===

impl Routes {
    /// Puts entries in order. Of two globs that match, the one with more literal characters wins, then the one with fewer `*`, then
    /// the earlier entry.
    ///
    /// # Errors
    /// When an entry has no usable name, no targets, or a name that another has.
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        let mut names = HashSet::new();
        let (mut exact, mut globs) = (HashMap::new(), Vec::new());
        for (index, route) in routes.iter().enumerate() {
            if route.name.is_empty() || route.name.len() > MODEL_NAME_BYTES_MAX {
                return Err(RouteError::BadName(route.name.chars().take(64).collect()));
            }
            if route.targets.is_empty() {
                return Err(RouteError::NoTargets(route.name.clone()));
            }
            if !names.insert(route.name.as_str()) {
                return Err(RouteError::Twice(route.name.clone()));
            }
            match Glob::parse(&route.name) {
                Some(glob) => globs.push((glob, index)),
                None => drop(exact.insert(Box::from(route.name.as_str()), index)),
            }
        }
        globs.sort_by_key(|(glob, index)| (glob.looseness(), *index));
        Ok(Self { routes, exact, globs })
    }

    /// The entry that holds for a name.
    pub fn find(&self, model: &str) -> Option<usize> {
        let by_glob = || self.globs.iter().find(|(glob, _)| glob.matches(model)).map(|(_, index)| *index);
        self.exact.get(model).copied().or_else(by_glob)
    }

    /// The entry of an index.
    pub fn route(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }
}

/// Everything that a model name is resolved against.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    routes: Routes,
    aliases: HashMap<Arc<str>, Vec<Alias>>,
    offers: Vec<Offer>,
    /// Canonical names and aliases of the configured providers.
    by_name: HashMap<String, usize>,
}

// === impl Resolver ===

impl Resolver {
    /// Gathers the facts. A provider's own name wins over another's alias.
    pub fn new(routes: Routes, aliases: Vec<Alias>, offers: Vec<Offer>) -> Self {
        let mut by_name = HashMap::new();
        for (index, offer) in offers.iter().enumerate() {
            by_name.entry(offer.provider.as_str().to_owned()).or_insert(index);
        }
        for (index, offer) in offers.iter().enumerate() {
            for alias in &offer.aliases {
                by_name.entry(alias.clone()).or_insert(index);
            }
        }
        let mut by_requested: HashMap<Arc<str>, Vec<Alias>> = HashMap::new();
        for alias in aliases {
            by_requested.entry(alias.requested.clone()).or_default().push(alias);
        }
        Self { routes, aliases: by_requested, offers, by_name }
    }

    /// Who can serve `model`.
    ///
    /// # Errors
    /// [`NotFound`] when nobody can, with the nearest known names.
    pub fn resolve(&self, model: &str) -> Result<Resolution, NotFound> {
        if model.is_empty() || model.len() > MODEL_NAME_BYTES_MAX {
            return Err(NotFound { requested: cut(model), nearest: Vec::new() });
        }
        self.served(model).ok_or_else(|| NotFound { requested: cut(model), nearest: self.nearest(model) })
    }

    /// Who can serve `model`, without a search for what else could be meant.
    fn served(&self, model: &str) -> Option<Resolution> {
        // An entry of the owner decides alone: with none of its targets configured, the name is served by nobody.
        let found = match self.routes.find(model) {
            Some(index) => self.by_route(index, model),
            None => self
                .by_recommendation(model)
                .or_else(|| self.by_prefix(model))
                .or_else(|| some(self.by_alias(model, None), Via::Alias))
                .or_else(|| self.by_list(model))
                .or_else(|| self.by_lone_provider(model)),
        };
        found.map(|(candidates, via)| Resolution { requested: Arc::from(model), candidates, via })
    }

    fn by_route(&self, index: usize, model: &str) -> Option<(Vec<Candidate>, Via)> {
        let candidate = |target: &Target| {
            let offer = *self.by_name.get(&target.provider)?;
            let asked = target.model.as_deref().unwrap_or(model);
            Some(Candidate { weight: target.weight, ..self.candidate(offer, asked) })
        };
        let targets = &self.routes.route(index)?.targets;
        some(targets.iter().filter_map(candidate).collect(), Via::Route(index))
    }

    /// The recommended model of every provider, in the order of the offers.
    fn by_recommendation(&self, model: &str) -> Option<(Vec<Candidate>, Via)> {
        let candidate = |offer| Some(self.candidate(offer, self.offers.get(offer)?.recommended.as_deref()?));
        let every = (model == AUTO).then_some(0..self.offers.len())?;
        some(every.filter_map(candidate).collect(), Via::Catalogue)
    }

    /// `provider/model`. Some providers' own model names look like that (`openai/gpt-oss-120b` at Groq): a list that has the whole
    /// name wins, unless the named provider lists the rest.
    fn by_prefix(&self, model: &str) -> Option<(Vec<Candidate>, Via)> {
        let (prefix, rest) = model.split_once('/').filter(|(_, rest)| !rest.is_empty())?;
        let offer = self.split_of(*self.by_name.get(prefix)?, rest);
        let aliased = self.by_alias(rest, Some(offer));
        if !aliased.is_empty() {
            return some(aliased, Via::Prefix);
        }
        let listed = self.offers[offer].models.contains(rest);
        if let Some(recommended) = self.offers[offer].recommended.as_deref().filter(|_| rest == AUTO && !listed) {
            return Some((vec![self.candidate(offer, recommended)], Via::Prefix));
        }
        let listed_whole = self.offers.iter().any(|offer| offer.models.contains(model));
        (listed || !listed_whole).then(|| (vec![self.candidate(offer, rest)], Via::Prefix))
    }

    /// The offer that serves `model` in the stead of `offer`, else `offer` itself.
    fn split_of(&self, offer: usize, model: &str) -> usize {
        let mut splits = self.offers[offer].splits.iter();
        let split = splits.find(|(prefix, _)| model.starts_with(prefix.as_str()));
        split.and_then(|(_, provider)| self.by_name.get(provider)).copied().unwrap_or(offer)
    }

    /// Alias rows of configured providers, or of one of them.
    fn by_alias(&self, model: &str, only: Option<usize>) -> Vec<Candidate> {
        let candidate = |alias: &Alias| {
            let offer =
                self.by_name.get(&*alias.provider).copied().filter(|offer| only.is_none_or(|only| only == *offer))?;
            let candidate = self.candidate(offer, "");
            Some(Candidate { model: alias.model.clone(), insert: alias.insert.clone(), ..candidate })
        };
        self.aliases.get(model).into_iter().flatten().filter_map(candidate).collect()
    }

    fn by_list(&self, model: &str) -> Option<(Vec<Candidate>, Via)> {
        let mut found: Vec<usize> =
            (0..self.offers.len()).filter(|offer| self.offers[*offer].models.contains(model)).collect();
        found.sort_by_key(|offer| self.offers[*offer].custom);
        let via = if self.offers[*found.first()?].custom { Via::Custom } else { Via::Catalogue };
        some(found.into_iter().map(|offer| self.candidate(offer, model)).collect(), via)
    }

    /// Of several providers without a list none is meant more than another, so only a lone one takes unknown names.
    fn by_lone_provider(&self, model: &str) -> Option<(Vec<Candidate>, Via)> {
        let mut open = (0..self.offers.len()).filter(|offer| self.offers[*offer].models.is_empty());
        let offer = open.next().filter(|_| open.next().is_none())?;
        Some((vec![self.candidate(offer, model)], Via::Custom))
    }

    fn candidate(&self, offer: usize, model: &str) -> Candidate {
        let provider = self.offers[offer].provider.clone();
        Candidate { offer, provider, model: Arc::from(model), weight: 1, insert: None }
    }

    /// Every name that resolves without a glob or a guess: the owner's, retired ones, listed ones, and listed ones with their
    /// provider before them.
    fn known_names(&self) -> HashSet<Cow<'_, str>> {
        let mut names: HashSet<Cow<'_, str>> = self.plain_names().map(Cow::Borrowed).collect();
        for (prefix, offer) in &self.by_name {
            names.extend(self.offers[*offer].models.iter().map(|model| Cow::Owned(format!("{prefix}/{model}"))));
        }
        names
    }

    fn plain_names(&self) -> impl Iterator<Item = &str> {
        let routes = self.routes.exact.keys().map(|name| &**name);
        let auto = self.offers.iter().any(|offer| offer.recommended.is_some()).then_some(AUTO);
        let listed = self.offers.iter().flat_map(|offer| &offer.models).map(|name| &**name);
        routes.chain(auto).chain(self.aliases.keys().map(|name| &**name)).chain(listed)
    }

    /// Known names that resemble `model`, the nearest first, that somebody serves.
    fn nearest(&self, model: &str) -> Vec<String> {
        let distinct: HashSet<&str> = self.plain_names().collect();
        let mut near: Vec<(f64, &str)> = distinct
            .into_iter()
            // Distance in length bounds the likeness: far lengths are not worth the comparison.
            .filter(|name| name.len().abs_diff(model.len()) <= name.len() / 2)
            .map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &model.to_lowercase()), name))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        near.sort_by(|(a, a_name), (b, b_name)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
        let served = near.into_iter().map(|(_, name)| name).filter(|name| self.is_served(name));
        served.take(NEAREST_NAMES_MAX).map(str::to_owned).collect()
    }

    /// Whether a known name has somebody to serve it: an alias may lead to a provider that is not configured.
    fn is_served(&self, name: &str) -> bool {
        if let Some(index) = self.routes.find(name) {
            return self.by_route(index, name).is_some();
        }
        name == AUTO || !self.by_alias(name, None).is_empty() || self.by_list(name).is_some()
    }
}

fn some(candidates: Vec<Candidate>, via: Via) -> Option<(Vec<Candidate>, Via)> {
    (!candidates.is_empty()).then_some((candidates, via))
}

fn cut(model: &str) -> String {
    let end = (0..=MODEL_NAME_BYTES_MAX.min(model.len())).rev().find(|end| model.is_char_boundary(*end)).unwrap_or(0);
    model[..end].to_owned()
}

/// Likeness (Jaro-Winkler, 0 to 1) from which a name is worth suggesting.
const LIKENESS_MIN: f64 = 0.85;

/// Every known name, resolved ahead of time: part of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct ModelTable {
    known: HashMap<Box<str>, Resolution>,
    resolver: Resolver,
}

// === impl ModelTable ===

impl ModelTable {
    /// Resolves every known name.
    pub fn new(resolver: Resolver) -> Self {
        // Many names lead to providers that are not configured: nobody reads what resembles them.
        let usable = |name: &str| !name.is_empty() && name.len() <= MODEL_NAME_BYTES_MAX;
        let resolved = |name: Cow<'_, str>| {
            let found = usable(&name).then(|| resolver.served(&name))??;
            Some((Box::from(&*name), found))
        };
        let known = resolver.known_names().into_iter().filter_map(resolved).collect();
        Self { known, resolver }
    }

    /// A known name's resolution: one lookup, no allocation.
    pub fn find(&self, model: &str) -> Option<&Resolution> {
        self.known.get(model)
    }

    /// Any name's resolution: borrowed when known, worked out for globs and names that only a lone provider may know.
    ///
    /// # Errors
    /// As [`Resolver::resolve`].
    pub fn resolve(&self, model: &str) -> Result<Cow<'_, Resolution>, NotFound> {
        match self.find(model) {
            Some(known) => Ok(Cow::Borrowed(known)),
            None => self.resolver.resolve(model).map(Cow::Owned),
        }
    }

    /// The names to show in a model list: those that resolve and carry no provider prefix, in order.
    pub fn names(&self) -> Vec<&str> {
        let distinct: HashSet<&str> =
            self.resolver.plain_names().filter(|name| self.known.contains_key(*name)).collect();
        let mut names: Vec<&str> = distinct.into_iter().collect();
        names.sort_unstable();
        names
    }

    /// The owner's entries, for what an entry says beside its targets.
    pub fn routes(&self) -> &Routes {
        &self.resolver.routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(provider: &str, aliases: &[&str], models: &[&str]) -> Offer {
        Offer {
            provider: ProviderId::new(provider),
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
            models: models.iter().map(|model| Box::from(*model)).collect(),
            recommended: models
                .last()
                .filter(|_| matches!(provider, "openai" | "deepseek" | "own-a"))
                .map(|m| Box::from(*m)),
            custom: provider.starts_with("own"),
            splits: if provider == "zai" { vec![("MiniMax".to_owned(), "minimax".to_owned())] } else { Vec::new() },
        }
    }

    fn alias(requested: &str, provider: &str, model: &str) -> Alias {
        let insert = (provider == "deepseek").then(|| Insert { member: "thinking".into(), json: "{}".into() });
        Alias { requested: requested.into(), provider: provider.into(), model: model.into(), insert }
    }

    fn route(name: &str, targets: &[(&str, Option<&str>)]) -> Route {
        let target = |(provider, model): &(&str, Option<&str>)| Target {
            provider: provider.to_string(),
            model: model.map(str::to_owned),
            weight: 2,
        };
        Route { name: name.to_owned(), targets: targets.iter().map(target).collect() }
    }

    fn resolver(routes: Vec<Route>) -> Resolver {
        let offers = vec![
            offer("openai", &["oai"], &["gpt-4o", "gpt-6-sol", "shared"]),
            offer("groq", &[], &["openai/gpt-oss-120b", "shared"]),
            offer("zai", &["glm"], &["glm-5"]),
            offer("minimax", &[], &["MiniMax-M3"]),
            offer("deepseek", &[], &["deepseek-flash"]),
            offer("own-a", &[], &["shared", "mine"]),
        ];
        let aliases = vec![
            alias("gpt-4", "openai", "gpt-6-sol"),
            alias("deepseek-chat", "deepseek", "deepseek-flash"),
            alias("claude-3-opus", "anthropic", "claude-opus-5-5"),
            alias("MiniMax-Old", "minimax", "MiniMax-M3"),
        ];
        Resolver::new(Routes::new(routes).expect("valid entries"), aliases, offers)
    }

    /// `provider:model` of each candidate, and how they were found.
    fn found(resolver: &Resolver, model: &str) -> Option<(Vec<String>, Via)> {
        let resolution = resolver.resolve(model).ok()?;
        assert_eq!(&*resolution.requested, model);
        let shown = |candidate: &Candidate| format!("{}:{}", candidate.provider, candidate.model);
        Some((resolution.candidates.iter().map(shown).collect(), resolution.via))
    }

    fn is(candidates: &[&str], via: Via) -> Option<(Vec<String>, Via)> {
        Some((candidates.iter().map(|candidate| candidate.to_string()).collect(), via))
    }

    #[test]
    fn each_way_leads_to_its_candidates() {
        let resolver = resolver(Vec::new());
        let cases = [
            ("gpt-4", is(&["openai:gpt-6-sol"], Via::Alias)),
            ("oai/gpt-4", is(&["openai:gpt-6-sol"], Via::Prefix)),
            ("openai/gpt-4o", is(&["openai:gpt-4o"], Via::Prefix)),
            ("oai/brand-new", is(&["openai:brand-new"], Via::Prefix)),
            ("openai/gpt-oss-120b", is(&["groq:openai/gpt-oss-120b"], Via::Catalogue)),
            ("groq/openai/gpt-oss-120b", is(&["groq:openai/gpt-oss-120b"], Via::Prefix)),
            ("glm/MiniMax-M3", is(&["minimax:MiniMax-M3"], Via::Prefix)),
            ("glm/MiniMax-Old", is(&["minimax:MiniMax-M3"], Via::Prefix)),
            ("minimax/MiniMax-Old", is(&["minimax:MiniMax-M3"], Via::Prefix)),
            ("openai/deepseek-chat", is(&["openai:deepseek-chat"], Via::Prefix)),
            ("auto", is(&["openai:shared", "deepseek:deepseek-flash", "own-a:mine"], Via::Catalogue)),
            ("oai/auto", is(&["openai:shared"], Via::Prefix)),
            ("groq/auto", is(&["groq:auto"], Via::Prefix)),
            ("zai/glm-9", is(&["zai:glm-9"], Via::Prefix)),
            ("shared", is(&["openai:shared", "groq:shared", "own-a:shared"], Via::Catalogue)),
            ("mine", is(&["own-a:mine"], Via::Custom)),
            ("claude-3-opus", None),
            ("nobody/gpt-4o", None),
            ("openai/", None),
            ("", None),
        ];
        for (model, expected) in cases {
            assert_eq!(found(&resolver, model), expected, "{model}");
        }
    }

    #[test]
    fn an_alias_carries_what_keeps_the_old_behaviour() {
        let resolution = resolver(Vec::new()).resolve("deepseek-chat").expect("an alias");
        let insert = resolution.candidates[0].insert.as_ref().expect("a member to send along");
        assert_eq!((&*insert.member, &*insert.json), ("thinking", "{}"));
    }

    #[test]
    fn the_owners_entries_come_first_and_the_most_specific_glob_wins() {
        let resolver = resolver(vec![
            route("*", &[("own-a", None)]),
            route("gpt-4*", &[("openai", Some("gpt-4o")), ("oai", None)]),
            route("gpt-*", &[("groq", Some("shared"))]),
            route("gpt-4", &[("groq", Some("shared")), ("absent", None)]),
            route("dead", &[("absent", None)]),
        ]);
        let cases = [
            ("gpt-4", is(&["groq:shared"], Via::Route(3))),
            ("gpt-4-turbo", is(&["openai:gpt-4o", "openai:gpt-4-turbo"], Via::Route(1))),
            ("gpt-6-sol", is(&["groq:shared"], Via::Route(2))),
            ("anything", is(&["own-a:anything"], Via::Route(0))),
            ("dead", None),
        ];
        for (model, expected) in cases {
            assert_eq!(found(&resolver, model), expected, "{model}");
        }
        assert_eq!(resolver.resolve("gpt-4").expect("an entry").candidates[0].weight, 2);
    }

    #[test]
    fn an_entry_of_the_owner_beats_aliases_and_auto() {
        let glob = resolver(vec![route("deepseek-*", &[("own-a", Some("mine"))]), route("au*", &[("groq", None)])]);
        assert_eq!(found(&glob, "deepseek-chat"), is(&["own-a:mine"], Via::Route(0)));
        assert_eq!(found(&glob, "auto"), is(&["groq:auto"], Via::Route(1)));
        assert_eq!(found(&glob, "gpt-4"), is(&["openai:gpt-6-sol"], Via::Alias), "no entry holds");
        assert_eq!(found(&glob, "deepseek/deepseek-chat"), is(&["deepseek:deepseek-flash"], Via::Prefix));
        let exact = resolver(vec![route("auto", &[("openai", Some("gpt-4o"))])]);
        assert_eq!(found(&exact, "auto"), is(&["openai:gpt-4o"], Via::Route(0)));
        let dead = resolver(vec![route("auto", &[("absent", None)])]);
        assert_eq!(found(&dead, "auto"), None);
    }

    #[test]
    fn auto_is_no_name_where_nothing_is_recommended() {
        let offers = vec![offer("groq", &[], &["shared"]), offer("minimax", &[], &["MiniMax-M3"])];
        let table = ModelTable::new(Resolver::new(Routes::default(), Vec::new(), offers));
        assert!(table.resolve("auto").is_err() && !table.names().contains(&"auto"));
    }

    #[test]
    fn a_lone_provider_without_a_list_takes_any_name() {
        let with = |offers: Vec<Offer>| Resolver::new(Routes::default(), Vec::new(), offers);
        let lone = with(vec![offer("openai", &[], &["gpt-4o"]), offer("own-a", &[], &[])]);
        assert_eq!(found(&lone, "whatever"), is(&["own-a:whatever"], Via::Custom));
        assert_eq!(found(&lone, "gpt-4o"), is(&["openai:gpt-4o"], Via::Catalogue));
        let two = with(vec![offer("own-a", &[], &[]), offer("own-b", &[], &[])]);
        assert_eq!(found(&two, "whatever"), None);
        assert_eq!(found(&two, "own-b/whatever"), is(&["own-b:whatever"], Via::Prefix));
    }

    #[test]
    fn a_name_that_is_not_there_suggests_names_that_are() {
        let resolver = resolver(Vec::new());
        let missing = resolver.resolve("gpt-4oo").expect_err("not a model");
        assert_eq!(missing.nearest.first().map(String::as_str), Some("gpt-4o"));
        assert!(missing.to_string().contains("did you mean gpt-4o"), "{missing}");
        // The nearest name of all leads to a provider that is not configured, so it is no advice.
        let unserved = resolver.resolve("claude-3-opuss").expect_err("not a model");
        assert!(!unserved.nearest.iter().any(|name| name == "claude-3-opus"));
        let odd = resolver.resolve("a\nb").expect_err("not a model");
        assert!(!odd.to_string().contains('\n'));
    }

    #[test]
    fn a_name_is_looked_up_to_its_bound() {
        let lone = Resolver::new(Routes::default(), Vec::new(), vec![offer("own-a", &[], &[])]);
        for (length, served) in
            [(MODEL_NAME_BYTES_MAX - 1, true), (MODEL_NAME_BYTES_MAX, true), (MODEL_NAME_BYTES_MAX + 1, false)]
        {
            assert_eq!(lone.resolve(&"m".repeat(length)).is_ok(), served, "{length}");
        }
        let cut = lone.resolve(&"é".repeat(MODEL_NAME_BYTES_MAX)).expect_err("too long");
        assert_eq!(cut.requested.len(), MODEL_NAME_BYTES_MAX);
    }

    #[test]
    fn broken_entries_are_refused() {
        let refused = |routes| Routes::new(routes).expect_err("a broken entry");
        let good = || route("a", &[("openai", None)]);
        assert_eq!(refused(vec![good(), good()]), RouteError::Twice("a".to_owned()));
        assert_eq!(refused(vec![route("a", &[])]), RouteError::NoTargets("a".to_owned()));
        assert!(matches!(refused(vec![route("", &[("openai", None)])]), RouteError::BadName(_)));
    }

    #[test]
    fn the_table_says_what_the_resolver_says() {
        let table = ModelTable::new(resolver(vec![
            route("house", &[("openai", Some("gpt-4o"))]),
            route("dead", &[("absent", None)]),
        ]));
        for name in [
            "house",
            "auto",
            "gpt-4",
            "gpt-4o",
            "oai/gpt-4o",
            "groq/openai/gpt-oss-120b",
            "openai/gpt-oss-120b",
            "mine",
        ] {
            let known = table.find(name).expect(name);
            assert_eq!(Ok(known), table.resolver.resolve(name).as_ref(), "{name}");
        }
        assert!(table.find("dead").is_none() && table.find("claude-3-opus").is_none());
        assert!(matches!(table.resolve("oai/brand-new"), Ok(Cow::Owned(_))));
        assert!(table.resolve("nothing-like-it").is_err());
        let names = table.names();
        assert!(
            names.contains(&"house")
                && names.contains(&"gpt-4")
                && names.contains(&"auto")
                && !names.contains(&"dead")
                && !names.contains(&"oai/gpt-4o")
        );
        assert!(names.is_sorted());
    }
}

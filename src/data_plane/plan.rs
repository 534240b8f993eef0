//! The ordered choice of who serves an exchange: every usable pair of target and credential, best first.
//!
//! This file finds who could serve it at all: the model's targets by the snapshot, those that the access key allows and that have the
//! task, each with its credentials. `facts` gathers what is known of them, and `routing::order` puts them in order.

use super::account;
use super::ask::Ask;
use super::draft::is_openai_shaped;
use super::fault::Fault;
use super::lineups::{Cast, Lineup};
use super::lone::Figures;
use super::per_core::Core;
use super::steer::Known;
use super::surface::Task;
use super::{facts, features, need};
use crate::chat::ability::Abilities;
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::text::bounded;
use crate::limits;
use crate::metering::price::PriceList;
use crate::providers::{Dialect, ProviderSpec};
use crate::routing::decision::{Considered, Sorted};
use crate::routing::lane::LaneKey;
use crate::routing::need::Need;
use crate::routing::policy::Policy;
use crate::routing::resolve::{self, Insert, NotFound, Resolution, Via};
use crate::routing::terms::Goal;
use crate::snapshot::{AccessKey, Credential, Provider, ProviderIx, RoutePolicy, Snapshot};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// One provider and the name the model has there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where.
    pub provider: ProviderIx,
    /// What it is called there.
    pub model: Arc<str>,
    /// Share under the `weighted` policy.
    pub weight: u32,
    /// List price, if known.
    pub price: Option<Arc<PriceList>>,
    /// What the model can do, as far as the catalogue knows.
    pub abilities: Arc<Abilities>,
    /// What is sent along to keep a retired name's behaviour.
    pub insert: Option<Insert>,
}

// === impl Target ===

impl Target {
    /// Tokens of prompt and answer that the model takes, if the catalogue knows. A prompt that is too long for one model may be asked of
    /// another whose window is larger.
    pub fn context_window(&self) -> Option<u64> {
        self.abilities.context_window
    }
}

/// One try that could be made.
#[derive(Clone)]
pub struct Candidate {
    /// Provider and model.
    pub target: Target,
    /// The key to show, unless the provider wants none.
    pub credential: Option<Arc<Credential>>,
    /// The same as a name.
    pub lane: LaneKey,
    /// The owner's rank of its model, 0 to 1, if there is one.
    pub quality: Option<f64>,
    /// For whom.
    pub tenant: TenantId,
    /// What this core knows of the lane.
    pub known: Known,
    /// What was made of it where it stood alone.
    pub figures: Figures,
}

// === impl Candidate ===

impl Candidate {
    fn new(
        snapshot: &Snapshot,
        key: &AccessKey,
        provider: &Provider,
        target: Target,
        credential: Option<Arc<Credential>>,
    ) -> Rc<Self> {
        let id = credential.as_ref().map(|credential| credential.id);
        let lane = LaneKey { provider: provider.id.clone(), model: target.model.clone(), credential: id };
        let quality = snapshot.settings.routing.rank(&lane);
        let (tenant, known, figures) = (key.tenant.clone(), Known::default(), Figures::default());
        Rc::new(Self { target, credential, lane, quality, tenant, known, figures })
    }

    /// Gives a candidate that stays on its core names and prices of its own, so that a request that counts references to them changes no
    /// line that other cores change.
    pub fn settle_here(&mut self, tenant: &TenantId) {
        self.tenant = tenant.clone();
        self.lane.provider = ProviderId::new(self.lane.provider.as_str());
        self.lane.model = Arc::from(&*self.lane.model);
        self.target.model = self.lane.model.clone();
        self.target.price = self.target.price.as_ref().map(|price| Arc::new(PriceList::clone(price)));
    }
}

/// The candidates of one exchange in the order they are to be tried, and why.
pub struct Plan {
    /// When it was made.
    pub at: Instant,
    /// Best first; never empty.
    pub candidates: Cast,
    /// What ordered them.
    pub policy: Policy,
    /// The percentile that the owner's entry names, 0 to 1.
    pub percentile: Option<f64>,
    /// What the choice was to be good at.
    pub goal: Goal,
    /// What the request needs.
    pub need: Need,
    /// The category that a rule for `auto` found.
    pub category: Option<Sorted>,
    /// Whether the first candidate is not the one that looks best.
    pub exploration: bool,
    /// Every candidate as it was seen, in the order of `candidates`, rejected ones last.
    pub considered: Vec<Considered>,
}

/// Makes the plan. `body` is what the client sent.
pub fn plan(core: &Core, snapshot: &Snapshot, key: &AccessKey, ask: &Ask, body: &[u8]) -> Result<Plan, Fault> {
    let need = need::read(ask, body);
    let chosen = features::chosen(snapshot, key, ask, body, &need);
    let sought = chosen.as_ref().map_or(&*ask.model_name, |chosen| &*chosen.model);
    let lineup = match asks_for_a_name_alone(ask, sought) {
        true => core.lineups.find(snapshot, key, sought, || lineup(snapshot, key, ask, sought))?,
        false => lineup(snapshot, key, ask, sought)?,
    };
    let category = chosen.map(|chosen| Sorted { category: chosen.category, confidence: chosen.confidence });
    facts::rank(core, snapshot, key, ask, need, &lineup, category)
}

/// Whether who could serve a request depends on nothing of it but the name it asks for.
fn asks_for_a_name_alone(ask: &Ask, sought: &str) -> bool {
    let is_plain = matches!(ask.task, Task::Generate) && ask.provider.is_none() && !account::reaches_account(ask);
    is_plain && !sought.is_empty() && *ask.model_name == *sought && sought.len() <= limits::MODEL_NAME_BYTES_MAX
}

/// Everybody who could serve the request, as listed, and how they are to be ordered. `sought` is the name to look up: the one asked for,
/// or what a rule puts in its place.
fn lineup(snapshot: &Snapshot, key: &AccessKey, ask: &Ask, sought: &str) -> Result<Rc<Lineup>, Fault> {
    let forced = forced_provider(snapshot, key, ask)?;
    if ask.model_name.is_empty() {
        if !key.models.is_empty() {
            // What a passthrough or a file asks of which model, nobody here reads.
            return Err(not_allowed("(one that the request does not name)"));
        }
        return unlisted(snapshot, key, ask, forced);
    }
    let model = &*ask.model_name;
    if !key.models.is_empty() && !key.models.iter().any(|pattern| pattern.matches(model)) {
        return Err(not_allowed(model));
    }
    let resolution = match snapshot.routes.models.resolve(sought) {
        Err(_) if has_usual_maker(&ask.task) => return unlisted(snapshot, key, ask, forced),
        resolved => resolved.map_err(not_found)?,
    };
    let visible = |target: &Target| {
        snapshot.provider(target.provider).is_some_and(|there| account::is_visible(snapshot, &key.tenant, there))
    };
    let mut targets: Vec<Target> =
        resolution.candidates.iter().filter_map(|candidate| target(snapshot, candidate)).filter(visible).collect();
    if targets.is_empty() {
        return Err(not_found(NotFound { requested: model.to_owned(), nearest: Vec::new() }));
    }
    targets.retain(|target| forced.is_none_or(|ix| target.provider == ix) && allowed(snapshot, key, target.provider));
    if targets.is_empty() {
        return Err(if forced.is_some() { not_served_there() } else { not_allowed(model) });
    }
    targets.retain(|target| snapshot.provider(target.provider).is_some_and(|there| serves(&there.spec, &ask.task)));
    if targets.is_empty() {
        return Err(no_such_task());
    }
    keep_own(snapshot, key, ask, &mut targets, |target| target.provider)?;
    let (candidates, by) = (with_all_credentials(snapshot, key, targets), policy_of(snapshot, &resolution));
    Ok(Rc::new(Lineup { candidates, by, is_open: true }))
}

/// Whether the models of a task are on no list: they neither talk nor make vectors, and their names are OpenAI's or a vendor's own.
fn has_usual_maker(task: &Task) -> bool {
    matches!(task, Task::Completions | Task::Moderations | Task::Images(_) | Task::Audio(_) | Task::Realtime)
}

/// A task with a usual model may name none, and the models of some tasks are on no list: then any provider that has the task may choose or
/// say that it does not know the name, OpenAI first, since its names are the usual ones.
fn unlisted(snapshot: &Snapshot, key: &AccessKey, ask: &Ask, forced: Option<ProviderIx>) -> Result<Rc<Lineup>, Fault> {
    let ixs = (0..snapshot.providers.len()).filter_map(|place| u16::try_from(place).ok().map(ProviderIx));
    let mut ixs: Vec<ProviderIx> = ixs
        .filter(|ix| forced.is_none_or(|forced| forced == *ix) && allowed(snapshot, key, *ix))
        .filter(|ix| {
            let there = snapshot.provider(*ix);
            there.is_some_and(|it| account::is_visible(snapshot, &key.tenant, it) && serves(&it.spec, &ask.task))
        })
        .collect();
    ixs.sort_by_key(|ix| snapshot.provider(*ix).is_none_or(|there| there.id.as_str() != "openai"));
    if ixs.is_empty() {
        return Err(if forced.is_some() { not_served_there() } else { no_such_task() });
    }
    keep_own(snapshot, key, ask, &mut ixs, |ix| *ix)?;
    if matches!(ask.task, Task::Object(_)) {
        // What is stored at one provider is not at another: one alone is asked, however it answers.
        ixs.retain(|ix| snapshot.provider(*ix).is_some_and(|there| has_credential(snapshot, key, there)));
        ixs.truncate(1);
    }
    let target = |provider| Target {
        provider,
        model: Arc::from(&*ask.model_name),
        weight: 1,
        price: None,
        abilities: Arc::default(),
        insert: None,
    };
    let by = RoutePolicy { policy: Policy::Ordered, percentile: None };
    let candidates = with_all_credentials(snapshot, key, ixs.into_iter().map(target).collect());
    Ok(Rc::new(Lineup { candidates, by, is_open: false }))
}

/// Drops what lies in accounts that are not the tenant's own, where the request reaches into them.
fn keep_own<T>(
    snapshot: &Snapshot,
    key: &AccessKey,
    ask: &Ask,
    targets: &mut Vec<T>,
    at: impl Fn(&T) -> ProviderIx,
) -> Result<(), Fault> {
    if !account::reaches_account(ask) {
        return Ok(());
    }
    let own =
        |target: &T| snapshot.provider(at(target)).is_some_and(|there| account::is_own(snapshot, &key.tenant, there));
    let shared = targets.iter().filter(|target| !own(target)).filter_map(|target| snapshot.provider(at(target)));
    let shared = shared.filter(|there| has_credential(snapshot, key, there)).map(account::not_own).next();
    match shared {
        Some(fault) if !targets.iter().any(own) => Err(fault),
        Some(_) => {
            targets.retain(own);
            Ok(())
        }
        // Where nobody has a key, that is what is said.
        None => Ok(()),
    }
}

/// Each target with each of its credentials, those of one target together.
fn with_all_credentials(snapshot: &Snapshot, key: &AccessKey, targets: Vec<Target>) -> Cast {
    targets.into_iter().flat_map(|target| with_credentials(snapshot, key, target)).collect()
}

/// Whether a provider has an endpoint for the task, or one that it can be translated for.
fn serves(spec: &ProviderSpec, task: &Task) -> bool {
    match task {
        Task::Generate | Task::CountTokens | Task::Raw(_) => true,
        Task::Embeddings => is_openai_shaped(spec) || matches!(spec.dialect, Dialect::Gemini | Dialect::Cohere),
        Task::EmbedContent(_) => spec.dialect == Dialect::Gemini,
        Task::Rerank => is_openai_shaped(spec) || spec.dialect == Dialect::Cohere,
        Task::Object(_) => is_openai_shaped(spec) || spec.dialect == Dialect::Anthropic,
        Task::Completions | Task::Moderations | Task::Images(_) | Task::Audio(_) | Task::Realtime => {
            is_openai_shaped(spec)
        }
    }
}

fn no_such_task() -> Fault {
    Fault::invalid("No provider of this model has this endpoint; ask for another model or provider.", Some("model"))
}

fn target(snapshot: &Snapshot, candidate: &resolve::Candidate) -> Option<Target> {
    let provider = ProviderIx(u16::try_from(candidate.offer).ok()?);
    let spec = &snapshot.provider(provider)?.spec;
    let source = spec.price_source.unwrap_or(spec.id.as_str());
    let price = snapshot.routes.catalogue.price(source, &candidate.model).cloned();
    let abilities = snapshot.routes.catalogue.lookup_abilities(source, &candidate.model).cloned().unwrap_or_default();
    let (model, insert) = (candidate.model.clone(), candidate.insert.clone());
    Some(Target { provider, model, weight: candidate.weight, price, abilities, insert })
}

/// An owner's entry has its own policy; every other name has the usual one.
fn policy_of(snapshot: &Snapshot, resolution: &Resolution) -> RoutePolicy {
    match resolution.via {
        Via::Route(index) => snapshot.routes.policies.get(index).copied().unwrap_or_default(),
        Via::Prefix | Via::Alias | Via::Catalogue | Via::Custom => RoutePolicy::default(),
    }
}

fn not_allowed(model: &str) -> Fault {
    Fault::ModelNotAllowed { model: bounded(model, limits::MODEL_NAME_BYTES_MAX) }
}

fn not_served_there() -> Fault {
    Fault::invalid(
        "The provider asked for does not serve this model; leave `provider` out or change it.",
        Some("provider"),
    )
}

fn not_found(miss: NotFound) -> Fault {
    Fault::ModelNotFound { model: bounded(&miss.requested, limits::MODEL_NAME_BYTES_MAX), near: miss.nearest }
}

fn forced_provider(snapshot: &Snapshot, key: &AccessKey, ask: &Ask) -> Result<Option<ProviderIx>, Fault> {
    let Some(name) = &ask.provider else { return Ok(None) };
    match account::named(snapshot, &key.tenant, name) {
        Some(ix) => Ok(Some(ix)),
        None => {
            let message = "The provider asked for is not configured here; see GET /v1/providers.";
            Err(Fault::invalid(message, Some("provider")))
        }
    }
}

fn allowed(snapshot: &Snapshot, key: &AccessKey, ix: ProviderIx) -> bool {
    key.providers.is_empty() || snapshot.provider(ix).is_some_and(|provider| key.providers.contains(&provider.id))
}

fn has_credential(snapshot: &Snapshot, key: &AccessKey, provider: &Provider) -> bool {
    provider.keyless || !snapshot.credentials.find(&key.tenant, &provider.id).is_empty()
}

fn with_credentials(snapshot: &Snapshot, key: &AccessKey, target: Target) -> Vec<Rc<Candidate>> {
    let Some(provider) = snapshot.provider(target.provider) else { return Vec::new() };
    let credentials = snapshot.credentials.find(&key.tenant, &provider.id);
    if credentials.is_empty() && provider.keyless {
        return vec![Candidate::new(snapshot, key, provider, target, None)];
    }
    let with = |credential: &Arc<Credential>| {
        Candidate::new(snapshot, key, provider, target.clone(), Some(credential.clone()))
    };
    credentials.iter().map(with).collect()
}

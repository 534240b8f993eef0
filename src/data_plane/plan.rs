//! The ordered choice of who serves an exchange: every usable pair of target and credential, best first.
//!
//! Cold facts (routes, prices, credentials) come from the snapshot; this file only filters and orders them. Credentials of one target
//! stand together, so that a bad key falls back to another key of the same provider before another provider is asked.

use super::ask::Ask;
use super::draft::is_openai_shaped;
use super::fault::Fault;
use super::need;
use super::per_core::Core;
use super::surface::Task;
use crate::chat::ability::Abilities;
use crate::domain::clock::UnixMillis;
use crate::domain::text::bounded;
use crate::limits;
use crate::metering::price::{self, PriceList};
use crate::metering::terms::Terms;
use crate::providers::{Dialect, ProviderSpec, table};
use crate::routing::decision::Considered;
use crate::routing::lane::LaneKey;
use crate::routing::need::Need;
use crate::routing::policy::Policy;
use crate::routing::resolve::{self, Insert, NotFound, Resolution, Via};
use crate::routing::standing::Standing;
use crate::routing::terms::Goal;
use crate::snapshot::{AccessKey, Credential, Provider, ProviderIx, Snapshot};
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

/// One try that could be made.
#[derive(Clone)]
pub struct Candidate {
    /// Provider and model.
    pub target: Target,
    /// The key to show, unless the provider wants none.
    pub credential: Option<Arc<Credential>>,
    /// The same as a name.
    pub lane: LaneKey,
}

impl Candidate {
    fn new(provider: &Provider, target: Target, credential: Option<Arc<Credential>>) -> Self {
        let id = credential.as_ref().map(|credential| credential.id);
        let lane = LaneKey { provider: provider.id.clone(), model: target.model.clone(), credential: id };
        Self { target, credential, lane }
    }
}

/// The candidates of one exchange in the order they are to be tried, and why.
pub struct Plan {
    /// Best first; never empty.
    pub candidates: Vec<Candidate>,
    /// What ordered them.
    pub policy: Policy,
    /// What the choice was to be good at.
    pub goal: Goal,
    /// What the request needs.
    pub need: Need,
    /// The category that a rule for `auto` found.
    pub category: Option<Arc<str>>,
    /// Whether the first candidate is not the one that looks best.
    pub exploration: bool,
    /// Every candidate as it was seen, in the order of `candidates`, rejected ones last.
    pub considered: Vec<Considered>,
}

/// Makes the plan. `body` is what the client sent.
pub fn plan(core: &Core, snapshot: &Snapshot, key: &AccessKey, ask: &Ask, body: &[u8]) -> Result<Plan, Fault> {
    let mut plan = ordered(core, snapshot, key, ask)?;
    plan.need = need::read(ask, body);
    Ok(plan)
}

fn ordered(core: &Core, snapshot: &Snapshot, key: &AccessKey, ask: &Ask) -> Result<Plan, Fault> {
    let forced = forced_provider(snapshot, ask)?;
    if ask.model_name.is_empty() {
        if !key.models.is_empty() {
            // What a passthrough or a file asks of which model, nobody here reads.
            return Err(not_allowed("(one that the request does not name)"));
        }
        return plan_unlisted(core, snapshot, key, ask, forced);
    }
    let model = ask.model_name.as_str();
    if !key.models.is_empty() && !key.models.iter().any(|pattern| pattern.matches(model)) {
        return Err(not_allowed(model));
    }
    let resolution = match snapshot.routes.models.resolve(model) {
        Err(_) if has_usual_maker(&ask.task) => return plan_unlisted(core, snapshot, key, ask, forced),
        resolved => resolved.map_err(not_found)?,
    };
    let mut targets: Vec<Target> = resolution
        .candidates
        .iter()
        .filter_map(|candidate| target(snapshot, candidate))
        .filter(|target| forced.is_none_or(|ix| target.provider == ix) && allowed(snapshot, key, target.provider))
        .collect();
    if targets.is_empty() {
        return Err(if forced.is_some() { not_served_there() } else { not_allowed(model) });
    }
    targets.retain(|target| snapshot.provider(target.provider).is_some_and(|there| serves(&there.spec, &ask.task)));
    if targets.is_empty() {
        return Err(no_such_task());
    }
    let policy = ask.policy.unwrap_or_else(|| policy_of(snapshot, &resolution));
    order(core, policy, &mut targets);
    candidates(core, snapshot, key, targets, policy)
}

/// Whether the models of a task are on no list: they neither talk nor make vectors, and their names are OpenAI's or a vendor's own.
fn has_usual_maker(task: &Task) -> bool {
    matches!(task, Task::Completions | Task::Moderations | Task::Images(_) | Task::Audio(_) | Task::Realtime)
}

/// A task with a usual model may name none, and the models of some tasks are on no list: then any provider that has the task may choose or
/// say that it does not know the name, OpenAI first, since its names are the usual ones.
fn plan_unlisted(
    core: &Core,
    snapshot: &Snapshot,
    key: &AccessKey,
    ask: &Ask,
    forced: Option<ProviderIx>,
) -> Result<Plan, Fault> {
    let ixs = (0..snapshot.providers.len()).filter_map(|place| u16::try_from(place).ok().map(ProviderIx));
    let mut ixs: Vec<ProviderIx> = ixs
        .filter(|ix| forced.is_none_or(|forced| forced == *ix) && allowed(snapshot, key, *ix))
        .filter(|ix| snapshot.provider(*ix).is_some_and(|there| serves(&there.spec, &ask.task)))
        .collect();
    ixs.sort_by_key(|ix| snapshot.provider(*ix).is_none_or(|there| there.id.as_str() != "openai"));
    if ixs.is_empty() {
        return Err(if forced.is_some() { not_served_there() } else { no_such_task() });
    }
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
    candidates(core, snapshot, key, ixs.into_iter().map(target).collect(), Policy::Ordered)
}

fn candidates(
    core: &Core,
    snapshot: &Snapshot,
    key: &AccessKey,
    targets: Vec<Target>,
    policy: Policy,
) -> Result<Plan, Fault> {
    let mut candidates: Vec<Candidate> =
        targets.into_iter().flat_map(|target| with_credentials(snapshot, key, target)).collect();
    parked_last(core, &mut candidates);
    if candidates.is_empty() {
        return Err(Fault::AllUnavailable { tried: Vec::new() });
    }
    let considered = candidates.iter().map(considered).collect();
    Ok(Plan {
        candidates,
        policy,
        goal: Goal::default(),
        need: Need::default(),
        category: None,
        exploration: false,
        considered,
    })
}

/// A candidate as it was seen.
fn considered(candidate: &Candidate) -> Considered {
    Considered {
        lane: candidate.lane.clone(),
        score: 0.0,
        cost: None,
        latency_us: None,
        error_rate: None,
        warm: false,
        rejection: None,
    }
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

/// An owner's entry has its own policy; every other name is tried in the listed order.
fn policy_of(snapshot: &Snapshot, resolution: &Resolution) -> Policy {
    match resolution.via {
        Via::Route(index) => snapshot.routes.policies.get(index).copied().unwrap_or_default().policy,
        Via::Prefix | Via::Alias | Via::Catalogue | Via::Custom => Policy::Thompson,
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

fn forced_provider(snapshot: &Snapshot, ask: &Ask) -> Result<Option<ProviderIx>, Fault> {
    let Some(name) = &ask.provider else { return Ok(None) };
    let canonical = table::find(name).map_or(name.as_str(), |row| row.id);
    match snapshot.provider_named(name).or_else(|| snapshot.provider_named(canonical)) {
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

fn with_credentials(snapshot: &Snapshot, key: &AccessKey, target: Target) -> Vec<Candidate> {
    let Some(provider) = snapshot.provider(target.provider) else { return Vec::new() };
    let credentials = snapshot.credentials.find(&key.tenant, &provider.id);
    if credentials.is_empty() && provider.keyless {
        return vec![Candidate::new(provider, target, None)];
    }
    credentials.iter().map(|credential| Candidate::new(provider, target.clone(), Some(credential.clone()))).collect()
}

/// Candidates whose provider asked us to wait go to the end, in their order: steering before the next refusal.
fn parked_last(core: &Core, candidates: &mut [Candidate]) {
    let now = Instant::now();
    let halts = core.steer.halts();
    if !halts.is_empty() {
        candidates.sort_by_key(|candidate| core.steer.standing(&halts, &candidate.lane, now) != Standing::Free);
    }
}

/// Orders targets by what a single request can know. Policies that learn from outcomes start from the listed order.
fn order(core: &Core, policy: Policy, targets: &mut Vec<Target>) {
    match policy {
        Policy::Cost => targets.sort_by_key(list_price),
        Policy::Weighted => draw_by_weight(core, targets),
        Policy::Ordered | Policy::Thompson | Policy::Latency | Policy::Quality | Policy::Hedged => {}
    }
}

/// What a thousand tokens in and out cost at list price; unknown prices come last.
fn list_price(target: &Target) -> i128 {
    let sample = crate::domain::token::Usage { input: 750, output: 250, ..Default::default() };
    let cost = target.price.as_ref().and_then(|list| price::cost(list, &sample, &Terms::usual(UnixMillis::now())));
    cost.map_or(i128::MAX, |cost| cost.total.pico())
}

/// Puts one target in front, drawn by weight; the others keep their order as fallbacks.
fn draw_by_weight(core: &Core, targets: &mut Vec<Target>) {
    let total: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
    if total == 0 {
        return;
    }
    let mut left = core.roll(total);
    let drawn = targets.iter().position(|target| {
        let weight = u64::from(target.weight);
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    });
    if let Some(place) = drawn {
        let first = targets.remove(place);
        targets.insert(0, first);
    }
}

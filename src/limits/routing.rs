//! Bounds of routing: plans, scores, breakers, races and councils.

use super::*;

/// Failures in a row that open a breaker, unless configured.
pub const BREAKER_FAILURES: u32 = 3;
/// How long a breaker stays open before one probe may pass, unless configured.
pub const BREAKER_OPEN: Duration = Duration::from_secs(30);
/// How long it stays open at most, however many probes have failed; a longer configured time holds instead.
pub const BREAKER_OPEN_MAX: Duration = Duration::from_secs(300);
/// Failures within ten seconds below which no share of them opens a breaker: fewer than the least floor of a retry budget, so that a
/// provider is left before its failures can no longer be repeated elsewhere.
pub const BREAKER_SHARE_FAILURES_MIN: u32 = 8;
/// A breaker opens when one in so many attempts of ten seconds fails: what a retry budget can cover ([`RETRY_ONE_IN`]), and no more.
pub const BREAKER_SHARE_ONE_IN: u32 = RETRY_ONE_IN;
/// A probe that has not ended after this long is taken for lost, and another one may pass.
pub const PROBE_LIFE: Duration = Duration::from_secs(10);
/// How far ahead the end of a halt is put that only its owner ends.
pub const HALT_FORCED: Duration = Duration::from_secs(24 * 3_600);
/// Lanes and providers whose failures one core counts; what failed nowhere lately needs no place.
pub const TALLIES_MAX: usize = 4_096;
/// Retries per first attempts of a tenant at a provider within ten seconds, as one in so many (rule Q2: 20 %).
pub const RETRY_ONE_IN: u32 = 5;
/// Retries a second that a tenant has at any provider however little it asks, over all cores (rule Q2).
pub const RETRY_FLOOR_PER_SECOND: u32 = 3;
/// The bound of the first back-off before the same provider is asked again; it doubles with every retry (rule Q2).
pub const RETRY_BACK_OFF: Duration = Duration::from_millis(50);
/// Pairs of tenant and provider for which one core counts retries; further ones share a budget.
pub const RETRY_BUDGETS_MAX: usize = 16_384;
/// How often it is looked whether an active probe is due.
pub const PROBE_TICK: Duration = Duration::from_millis(250);
/// Active probes of halted providers under way at a time.
pub const PROBES_MAX: usize = 8;
/// Changes of breakers that one tick writes to the events; further ones are summed up in one line.
pub const BREAKER_NOTES_MAX: usize = 16;
/// Share of requests that may be hedged, unless configured (rule Q4).
pub const HEDGED_SHARE_MAX: f64 = 0.05;
/// Share of a tenant's spend that may go to attempts that lose a race, unless configured.
pub const WASTE_SHARE_MAX: f64 = 0.30;
/// Weight of the attempts behind a lane's distribution from which it is believed when a hedge depends on it.
pub const HEDGE_SAMPLES_MIN: f64 = 20.0;
/// Share of a lane's attempts that are faster than the wait before a hedge, where no deadline decides.
pub const HEDGE_PERCENTILE: f64 = 0.95;
/// Hedges that a tenant may have saved up on one core: what a bad minute may use at once.
pub const HEDGES_SAVED_MAX: f64 = 10.0;
/// Tenants whose hedges one core counts; further ones are not hedged.
pub const HEDGED_TENANTS_MAX: usize = 4_096;
/// Time in which what was spent and wasted on races loses half its weight.
pub const WASTE_HALF_LIFE: Duration = Duration::from_secs(60);
/// Lost attempts, decayed, before their share of the spend is judged: below that, one dear answer decides.
pub const WASTE_JUDGED_MIN: f64 = 5.0;
/// A tenant that wasted too much is served by one attempt at a time for so long.
pub const WASTE_PAUSE: Duration = Duration::from_secs(300);
/// Providers in one race.
pub const RACE_RUNNERS_MAX: usize = 3;
/// Without a first token by then, a race is over and the most promising attempt goes on alone.
pub const RACE_FIRST_TOKEN: Duration = Duration::from_secs(5);
/// After the first token of a race, how long one that would win by quality or price is waited for.
pub const RACE_WINDOW: Duration = Duration::from_millis(150);
/// How far the plan's scores of two that race may be apart.
pub const RACE_SCORE_GAP_MAX: f64 = 0.15;
/// What all runners of one race may be expected to cost together, picodollars: half a dollar.
pub const RACE_COST_MAX_PICO: i128 = 500_000_000_000;
/// Tokens of an answer that a race reckons with where the request states no bound.
pub const RACE_OUTPUT_TOKENS: u64 = 500;
/// Agreement from which a council asks no judge, unless the request says so.
pub const COUNCIL_THRESHOLD: f64 = 0.7;
/// A member of a council that has not answered by then is left out if others have.
pub const COUNCIL_PATIENCE: Duration = Duration::from_secs(60);
/// Characters of each member's answer that the judge of a council reads.
pub const COUNCIL_JUDGED_CHARS_MAX: usize = 24_000;
/// Bytes of one exchange under way, its whole work included, apart from what it borrows from the core's pool: a session holds them while it
/// serves a request.
pub const EXCHANGE_BYTES_MAX: usize = 8 << 10;
/// Candidates of a plan that need no memory of their own.
pub const CANDIDATES_INLINE: usize = 3;
/// Names whose candidates one core keeps at hand, with who asked for them; further ones take the place of others. A kilobyte
/// for each candidate.
pub const LINEUPS_KEPT: usize = 1_024;
/// Memories of rate-limit fields that one core keeps for connections that have none, a kilobyte each.
pub const ALLOWANCES_KEPT: usize = 16;
/// Lists of candidates that one core keeps for its next plans; some hundred bytes each.
pub const PLAN_LISTS_KEPT: usize = 64;
/// How often a core hands what it observed to the control plane, which then computes scores.
pub const SCORE_TICK: Duration = Duration::from_millis(500);
/// Lanes that one core observes apart; further ones are not scored, so that no client can make lanes without end.
pub const LANES_MAX: usize = 4_096;
/// Tenants that one core keeps apart on one lane, between two hand-overs; the others are in the lane's sums alone.
pub const TENANTS_OBSERVED_MAX: usize = 32;
/// Tenants with a posterior of their own, over all lanes: some fifteen megabytes.
pub const TENANTS_SCORED_MAX: usize = 8_192;
/// What a busy lane did this long ago counts half: a change shows within seconds.
pub const SCORE_HALF_LIFE: Duration = Duration::from_secs(15);
/// What a quiet lane did this long ago counts half: long enough to know it at the next request, short enough to try it again.
pub const SCORE_MEMORY_HALF_LIFE: Duration = Duration::from_secs(600);
/// Scores of lanes that nobody asks are computed anew this often, since they fade.
pub const SCORE_AGE_TICK: Duration = Duration::from_secs(10);
/// Hand-overs of one core that may wait for the control plane: two seconds of it being busy.
pub const OBSERVED_WAITING_MAX: usize = 4;
/// Share of a quota below which a lane is left to those that have no other: cores do not see one another's requests in flight.
pub const QUOTA_SHARE_SHORT: f64 = 0.02;
/// A prompt's tokens are estimated from its bytes; only one this many times longer than a window is known not to fit.
pub const TOKENS_ESTIMATE_SLACK: u64 = 2;
/// The chance that a cache which is thought to hold a prompt's beginning does: providers promise none, and drop entries when they need room.
pub const WARM_HIT_CHANCE: f64 = 0.9;
/// Tokens of an answer, to compare prices where nothing was measured yet.
pub const OUTPUT_TOKENS_GUESS: u64 = 256;
/// Share of requests that find out how fast a lane is that nobody has measured lately, under policies that do not draw.
pub const EXPLORED_SHARE: f64 = 0.02;
/// The same while there is a lane that nobody has ever asked: the sooner all are known, the sooner the fastest serves.
pub const EXPLORED_SHARE_NEW: f64 = 0.1;
/// Utility, of 1, that two lanes may differ by to count as equally good for a prompt whose beginning one of them keeps.
pub const AFFINITY_CLOSE: f64 = 0.04;
/// Share of failures by which a lane may exceed the first and still keep a prompt.
pub const AFFINITY_ERRORS: f64 = 0.05;
/// Requests of one core that a lane must be ahead of the idlest one to be thought half as good at keeping a prompt.
pub const AFFINITY_LOAD: f64 = 64.0;
/// Other candidates that the `metadata` of an answer names.
pub const ALTERNATIVES_SHOWN_MAX: usize = 4;
/// Decisions that one core keeps for explanations, unless configured.
pub const DECISIONS_KEPT: usize = 1_024;
/// A reset that is further away is taken for this long: the longest window that a vendor counts in.
pub const QUOTA_RESET_MAX: Duration = Duration::from_secs(31 * 86_400);
/// What an answer said of a lane's quota is believed this long after its reset, or where it named none.
pub const QUOTA_BELIEVED: Duration = Duration::from_secs(60);
/// Tokens left, as one part of so many of the limit, at which a lane lets others go first: less than a few usual prompts.
pub const QUOTA_LOW_PART: u64 = 50;
/// A shortage of quota that is over sooner is not told to other cores: the telling would take as long.
pub const QUOTA_HALT_MIN: Duration = Duration::from_millis(20);
/// A lane without quota is asked again after this long at the latest, however far its reset is: plans change.
pub const QUOTA_HALT_MAX: Duration = RETRY_HINT_MAX;
/// Ceiling of the decisions that one core keeps: some 16 MiB of them.
pub const DECISIONS_KEPT_CEILING: usize = 16_384;
/// Ceiling of the time that a breaker stays open and between two probes.
pub const ROUTING_PAUSE_CEILING: Duration = Duration::from_secs(3_600);
/// The largest body that is looked into for what it needs; of a larger one nothing is known beforehand.
pub const NEED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of an answer beside its words and figures up to which the next one is read by it: the usual ones have a thousand at most.
pub const MOULD_BYTES_MAX: usize = 4 * 1024;
/// Tokens of a prompt's beginning from which providers cache it (OpenAI, Anthropic and Gemini: 1,024 for most models).
pub const PREFIX_TOKENS_MIN: u64 = 1_024;
/// Bytes of a prompt's beginning that tell it from others; what follows them need not be looked at.
pub const PREFIX_BYTES_MAX: usize = 32 * 1024;
/// Beginnings that one core knows to be in a cache, at least; it may remember twice as many.
pub const WARM_PREFIXES_MIN: usize = 4_096;
/// Bytes of what a user said that rules for `auto` look at: half from its beginning, half from its end.
pub const SEMANTIC_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Rules for `auto`; each is tried in turn for every request that asks for it.
pub const SEMANTIC_RULES_MAX: usize = 128;
/// Keywords of one list of one rule.
pub const SEMANTIC_KEYWORDS_MAX: usize = 64;
/// Candidates kept of one decision, best first; a model that more can serve is still explained by those that were near.
pub const DECISION_CANDIDATES_MAX: usize = 16;
/// Attempts kept of one decision: those of a council beside [`ATTEMPTS_MAX`].
pub const DECISION_ATTEMPTS_MAX: usize = 8;
/// Decisions in one answer that is not a dump, unless asked for fewer.
pub const DECISIONS_LISTED: usize = 100;
/// Times that a preview lets the policy draw at most, to say how sure its choice is.
pub const PREVIEW_DRAWS_MAX: usize = 32;
/// Bytes of requests that one preview reads in all its draws: about a millisecond.
pub const PREVIEW_BYTES_MAX: usize = 1024 * 1024;
/// Scopes that may be halted at a time.
pub const HALTS_MAX: usize = 4_096;

//! One run: requests arrive, an order is made, attempts are made until one is answered, and what was seen is published twice a second.
//!
//! Discrete events in simulated time, one core. The policies are the gateway's own code; the yardsticks beside them have the same breakers
//! and obey the same 429s, so that the order alone makes the difference.

use super::knowledge::Knowledge;
use super::world::{Met, Prompt, QUOTA_SECONDS, Scenario, Truth, prompts};
use fastrand::Rng;
use igris::domain::money::Money;
use igris::limits;
use igris::routing::need::Need;
use igris::routing::order::{Facts, Question, Turn, Weights, order};
use igris::routing::policy::Policy;
use igris::routing::score::Beta;
use igris::routing::standing::Standing;
use igris::routing::terms::Goal;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Who makes the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// Knows the truth of the moment, but no single request's luck.
    Oracle,
    /// In turn.
    RoundRobin,
    /// Of two at random, the one with the lower moving average of the duration, times the requests under way.
    PowerOfTwo,
    /// The gateway.
    Gateway(Policy),
}

/// Everybody, yardsticks first.
pub const ROUTERS: [Router; 9] = [
    Router::Oracle,
    Router::RoundRobin,
    Router::PowerOfTwo,
    Router::Gateway(Policy::Thompson),
    Router::Gateway(Policy::Latency),
    Router::Gateway(Policy::Cost),
    Router::Gateway(Policy::Quality),
    Router::Gateway(Policy::Weighted),
    Router::Gateway(Policy::Ordered),
];

/// What became of all requests of some runs.
#[derive(Clone, Default)]
pub struct Tally {
    pub requests: u64,
    pub failed: u64,
    pub attempts: u64,
    /// Attempts that were sent away with a 429.
    pub limited: u64,
    /// Of every request, answered or not; seconds.
    pub durations: Vec<f64>,
    /// Microdollars.
    pub cost: f64,
    pub reward: f64,
}

struct World<'a> {
    scenario: &'a Scenario,
    seed: u64,
    prompts: Vec<Prompt>,
    lanes: Vec<Knowledge>,
    /// Requests that each provider took in the current window of its quota.
    taken: Vec<(u64, u32)>,
    start: Instant,
    dice: Rng,
    turn: usize,
}

/// A request under way.
struct Exchange {
    order: Vec<usize>,
    tried: usize,
    cost: f64,
}

/// When, and as which of all, so that the order of events is never left to chance; then which request, and what.
type Event = Reverse<(u64, u64, usize, What)>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives,
    Ends { good: bool, limited: bool, took_us: u64 },
    Publishes,
}

/// Runs one scenario under one router.
pub fn run(scenario: &Scenario, router: Router, seed: u64, tally: &mut Tally) {
    let count = scenario.scripts.len();
    let start = Instant::now();
    let mut world = World {
        scenario,
        seed,
        prompts: prompts(scenario, seed),
        lanes: (0..count).map(|_| Knowledge::new(start)).collect(),
        taken: vec![(0, 0); count],
        start,
        dice: Rng::with_seed(seed),
        turn: 0,
    };
    let mut events: BinaryHeap<Event> = BinaryHeap::new();
    let mut number = 0;
    let mut push = |events: &mut BinaryHeap<Event>, at: f64, request: usize, what: What| {
        number += 1;
        events.push(Reverse((micros(at), number, request, what)));
    };
    for (request, prompt) in world.prompts.iter().enumerate() {
        push(&mut events, prompt.at, request, What::Arrives);
    }
    let tick = limits::SCORE_TICK.as_secs_f64();
    push(&mut events, tick, 0, What::Publishes);
    let mut exchanges: Vec<Option<Exchange>> = world.prompts.iter().map(|_| None).collect();
    let mut open = world.prompts.len();
    while open > 0 {
        let Some(Reverse((at, _, request, what))) = events.pop() else { break };
        let now = at as f64 / 1e6;
        let exchange = match what {
            What::Publishes => {
                world.publish(now, tick);
                push(&mut events, now + tick, 0, What::Publishes);
                continue;
            }
            What::Arrives => {
                let order = world.order(router, request, now);
                exchanges[request].insert(Exchange { order, tried: 0, cost: 0.0 })
            }
            What::Ends { good, limited, took_us } => {
                let exchange = exchanges[request].as_mut().expect("an attempt belongs to a request");
                let lane = exchange.order[exchange.tried - 1];
                world.note(lane, now, good, limited, took_us);
                exchange
            }
        };
        let answered = matches!(what, What::Ends { good: true, .. });
        let may_try = exchange.tried < exchange.order.len().min(limits::ATTEMPTS_MAX as usize);
        if answered || !may_try {
            world.settle(tally, request, exchange, answered, now);
            open -= 1;
            continue;
        }
        let lane = exchange.order[exchange.tried];
        exchange.tried += 1;
        tally.attempts += 1;
        let (met, limited) = world.attempt(lane, request, now);
        tally.limited += u64::from(limited);
        if met.good {
            let prompt = &world.prompts[request];
            exchange.cost += world.truth(lane, now).cost(prompt.input, prompt.output);
        }
        let took_us = micros(met.seconds);
        push(&mut events, now + met.seconds, request, What::Ends { good: met.good, limited, took_us });
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

impl World<'_> {
    fn truth(&self, lane: usize, now: f64) -> Truth {
        self.scenario.scripts[lane](now)
    }

    fn window_of(now: f64) -> u64 {
        (now / QUOTA_SECONDS) as u64
    }

    fn taken(&self, lane: usize, now: f64) -> u32 {
        let (window, count) = self.taken[lane];
        if window == Self::window_of(now) { count } else { 0 }
    }

    /// Sends a request; what it meets, and whether that is a 429.
    fn attempt(&mut self, lane: usize, request: usize, now: f64) -> (Met, bool) {
        self.lanes[lane].begin(now);
        let taken = self.taken(lane, now);
        let truth = self.truth(lane, now);
        if taken >= truth.quota {
            return (Met { good: false, seconds: 0.02 }, true);
        }
        self.taken[lane] = (Self::window_of(now), taken + 1);
        (truth.meet(self.seed, request, lane, &self.prompts[request]), false)
    }

    /// Takes in how an attempt ended.
    fn note(&mut self, lane: usize, now: f64, good: bool, limited: bool, took_us: u64) {
        let resets_at = (Self::window_of(now) + 1) as f64 * QUOTA_SECONDS;
        let (taken, limit) = (self.taken(lane, now), self.truth(lane, now).quota);
        let knowledge = &mut self.lanes[lane];
        if limited {
            knowledge.limited(resets_at);
        } else {
            knowledge.ended(now, good, took_us as f64 / 1e6);
        }
        knowledge.told(limit, limit.saturating_sub(taken), resets_at);
    }

    /// Makes scores of what was seen.
    fn publish(&mut self, now: f64, seconds: f64) {
        self.lanes.iter_mut().for_each(|lane| lane.score_now(seconds));
        let fastest = self.lanes.iter().filter_map(Knowledge::reference).reduce(f64::min);
        let prices: Vec<f64> = (0..self.lanes.len()).map(|lane| self.truth(lane, now).price).collect();
        let cheapest = prices.iter().copied().fold(f64::MAX, f64::min);
        self.lanes.iter_mut().zip(prices).for_each(|(lane, price)| lane.reward(fastest, cheapest / price));
    }

    /// Counts what became of a request. Its reward is measured by the fastest and the cheapest of the moment, whoever that is.
    fn settle(&self, tally: &mut Tally, request: usize, exchange: &Exchange, answered: bool, now: f64) {
        let prompt = &self.prompts[request];
        let took = now - prompt.at;
        tally.requests += 1;
        tally.failed += u64::from(!answered);
        tally.durations.push(took);
        tally.cost += exchange.cost;
        if answered {
            let (fastest, cheapest) = self.best(prompt);
            let weights = Weights::of(Goal::Balanced);
            let speed = (fastest / took).min(1.0);
            let cheapness = (cheapest / exchange.cost).min(1.0);
            tally.reward += weights.latency * speed + weights.cost * cheapness + weights.success;
        }
    }

    fn best(&self, prompt: &Prompt) -> (f64, f64) {
        let truths = || (0..self.lanes.len()).map(|lane| self.truth(lane, prompt.at)).filter(|truth| truth.fails < 0.5);
        let fastest = truths().map(|truth| truth.mean_seconds(prompt)).fold(f64::MAX, f64::min);
        let cheapest = truths().map(|truth| truth.cost(prompt.input, prompt.output)).fold(f64::MAX, f64::min);
        (fastest, cheapest)
    }

    // ---- Orders ----

    fn order(&mut self, router: Router, request: usize, now: f64) -> Vec<usize> {
        match router {
            Router::Oracle => self.by_truth(request, now),
            Router::RoundRobin => {
                let (turn, count) = (self.turn, self.lanes.len());
                self.turn += 1;
                self.willing_first((0..count).map(|at| (turn + at) % count).collect(), now)
            }
            Router::PowerOfTwo => self.by_two(now),
            Router::Gateway(policy) => self.by_gateway(policy, request, now),
        }
    }

    /// Those that are halted last, otherwise as given.
    fn willing_first(&self, mut order: Vec<usize>, now: f64) -> Vec<usize> {
        order.sort_by_key(|lane| matches!(self.lanes[*lane].standing(now), Standing::Halted { .. }));
        order
    }

    fn by_truth(&self, request: usize, now: f64) -> Vec<usize> {
        let prompt = &self.prompts[request];
        let (fastest, cheapest) = self.best(prompt);
        let weights = Weights::of(Goal::Balanced);
        let worth = |lane: &usize| {
            let truth = self.truth(*lane, now);
            if self.taken(*lane, now) >= truth.quota {
                return 0.0;
            }
            let speed = (fastest / truth.mean_seconds(prompt)).min(1.0);
            let cheapness = (cheapest / truth.cost(prompt.input, prompt.output)).min(1.0);
            (1.0 - truth.fails) * (weights.latency * speed + weights.cost * cheapness + weights.success)
        };
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        order.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
        order
    }

    fn by_two(&mut self, now: f64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.lanes.len()).collect();
        self.dice.shuffle(&mut order);
        let mut order = self.willing_first(order, now);
        let load = |lane: usize| self.lanes[lane].ewma.max(0.001) * f64::from(self.lanes[lane].in_flight + 1);
        let halted = |lane: usize| matches!(self.lanes[lane].standing(now), Standing::Halted { .. });
        if halted(order[0]) == halted(order[1]) && load(order[1]) < load(order[0]) {
            order.swap(0, 1);
        }
        order
    }

    fn by_gateway(&mut self, policy: Policy, request: usize, now: f64) -> Vec<usize> {
        let prompt = self.prompts[request];
        let need = Need { input_tokens: prompt.input as u64, ..Need::default() };
        let question = Question {
            policy,
            goal: Goal::Balanced,
            percentile: None,
            need: &need,
            streaming: false,
            deadline: None,
            now: self.start + std::time::Duration::from_secs_f64(now),
        };
        let facts: Vec<Facts<'_>> =
            self.lanes.iter().enumerate().map(|(at, lane)| self.facts(at, lane, &prompt, now)).collect();
        let ranking = order(&question, &facts, &mut self.dice).expect("every provider can do everything here");
        ranking.lanes.iter().map(|lane| lane.place).collect()
    }

    fn facts<'a>(&self, place: usize, lane: &'a Knowledge, prompt: &Prompt, now: f64) -> Facts<'a> {
        let truth = self.truth(place, now);
        let expected = truth.cost(prompt.input, limits::OUTPUT_TOKENS_GUESS as f64);
        Facts {
            target: place,
            turn: Turn::Usual,
            behind: None,
            weight: 1,
            quality: Some(truth.quality),
            lacks: None,
            context_window: None,
            score: lane.score.as_ref(),
            posterior: lane.score.as_ref().map_or(Beta::default(), |score| score.posterior),
            cost: Some(Money::from_pico((expected * 1e6) as i128)),
            standing: lane.standing(now),
            headroom: lane.headroom(now),
            in_flight: lane.in_flight,
            warm: false,
            affinity_weight: 0,
        }
    }
}

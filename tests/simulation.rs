//! Policies against providers that brown out, flap, ration, drift and change their prices, in simulated time.
//!
//! Every router meets the same requests and the same luck, over several seeds; an oracle that knows the truth of each moment is the measure.
//! `cargo test --test simulation -- --nocapture` prints the table. What is asserted are relations that hold for every set of seeds we
//! tried, not figures.

#[path = "simulation/knowledge.rs"]
mod knowledge;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/world.rs"]
mod world;

use igris::routing::policy::Policy;
use run::{ROUTERS, Router, Tally, run};
use scenarios::SCENARIOS;
use std::sync::OnceLock;
use std::time::Instant;

/// Seeds per scenario and router; `IGRIS_SIMULATION_SEEDS` asks for more.
const SEEDS: u64 = if cfg!(debug_assertions) { 4 } else { 32 };

const THOMPSON: Router = Router::Gateway(Policy::Thompson);

/// What every router made of every scenario.
struct Table {
    /// By scenario, then by router.
    tallies: Vec<Vec<Tally>>,
}

impl Table {
    fn of(&self, scenario: &str, router: Router) -> &Tally {
        let scenario = SCENARIOS.iter().position(|known| known.name == scenario).expect("the scenario is there");
        &self.tallies[scenario][column(router)]
    }

    /// Reward that was missed, of 1 a request.
    fn regret(&self, scenario: &str, router: Router) -> f64 {
        self.of(scenario, Router::Oracle).mean_reward() - self.of(scenario, router).mean_reward()
    }

    /// A figure's mean over all scenarios.
    fn mean(&self, router: Router, figure: impl Fn(&Tally) -> f64) -> f64 {
        let all = self.tallies.iter().map(|row| figure(&row[column(router)]));
        all.sum::<f64>() / self.tallies.len() as f64
    }
}

impl Tally {
    fn mean_reward(&self) -> f64 {
        self.reward / self.requests as f64
    }

    fn mean_ms(&self) -> f64 {
        self.durations.iter().sum::<f64>() / self.durations.len() as f64 * 1e3
    }

    fn p99_ms(&self) -> f64 {
        let mut sorted = self.durations.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() * 99 / 100] * 1e3
    }

    /// Microdollars a request.
    fn mean_cost(&self) -> f64 {
        self.cost / self.requests as f64
    }

    fn error_rate(&self) -> f64 {
        self.failed as f64 / self.requests as f64
    }

    fn attempts_per_request(&self) -> f64 {
        self.attempts as f64 / self.requests as f64
    }
}

fn column(router: Router) -> usize {
    ROUTERS.iter().position(|known| *known == router).expect("the router is there")
}

fn name(router: Router) -> String {
    match router {
        Router::Oracle => "oracle".to_owned(),
        Router::RoundRobin => "round robin".to_owned(),
        Router::PowerOfTwo => "P2C+EWMA".to_owned(),
        Router::Gateway(policy) => policy.as_str().to_owned(),
    }
}

/// Runs everything once and prints it.
fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let asked = std::env::var("IGRIS_SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
        let seeds: u64 = asked.unwrap_or(SEEDS);
        let began = Instant::now();
        let run_all = |scenario, router| {
            let mut tally = Tally::default();
            (1..=seeds).for_each(|seed| run(scenario, router, seed, &mut tally));
            tally
        };
        let of_scenario = |scenario| ROUTERS.iter().map(|router| run_all(scenario, *router)).collect();
        let table = Table { tallies: SCENARIOS.iter().map(of_scenario).collect() };
        let runs = seeds * (SCENARIOS.len() * ROUTERS.len()) as u64;
        let requests: u64 = table.tallies.iter().flatten().map(|tally| tally.requests).sum();
        println!("{runs} runs, {requests} requests in {:.1} s", began.elapsed().as_secs_f64());
        print(&table);
        table
    })
}

fn print(table: &Table) {
    for (scenario, row) in SCENARIOS.iter().zip(&table.tallies) {
        println!(
            "\n{:<14}{:>9}{:>10}{:>9}{:>10}{:>9}{:>8}{:>9}",
            scenario.name, "failed", "attempts", "429s", "mean ms", "p99 ms", "$/1000", "regret"
        );
        for (router, tally) in ROUTERS.iter().zip(row) {
            println!(
                "  {:<12}{:>8.3}%{:>10.3}{:>9.4}{:>10.0}{:>9.0}{:>8.3}{:>9.4}",
                name(*router),
                tally.error_rate() * 100.0,
                tally.attempts_per_request(),
                tally.limited as f64 / tally.requests as f64,
                tally.mean_ms(),
                tally.p99_ms(),
                tally.mean_cost() / 1e3,
                table.regret(scenario.name, *router),
            );
        }
    }
}

#[test]
fn a_run_repeats_by_its_seed() {
    for router in ROUTERS {
        let once = || {
            let mut tally = Tally::default();
            run(&SCENARIOS[1], router, 5, &mut tally);
            (tally.attempts, tally.failed, tally.cost, tally.reward, tally.durations)
        };
        assert_eq!(once(), once(), "{router:?}");
    }
}

#[test]
fn thompson_misses_less_than_round_robin_everywhere_and_less_than_the_lesser_of_two_over_all() {
    let table = table();
    for scenario in SCENARIOS {
        let (own, turn) = (table.regret(scenario.name, THOMPSON), table.regret(scenario.name, Router::RoundRobin));
        assert!(own < 0.85 * turn, "{}: {own:.4} to {turn:.4}", scenario.name);
    }
    let over_all = |router| table.mean(router, Tally::mean_reward);
    assert!(over_all(THOMPSON) > over_all(Router::PowerOfTwo));
}

#[test]
fn each_policy_is_best_at_what_it_is_for() {
    let table = table();
    for (policy, what, figure) in
        [(Policy::Latency, "fast", Tally::mean_ms as fn(&Tally) -> f64), (Policy::Cost, "cheap", Tally::mean_cost)]
    {
        let own = table.mean(Router::Gateway(policy), figure);
        for router in ROUTERS.into_iter().filter(|router| *router != Router::Oracle) {
            let other = table.mean(router, figure);
            assert!(own <= other * 1.001, "{what}: {own:.1} to {other:.1} of {router:?}");
        }
    }
}

#[test]
fn what_a_provider_does_wrong_is_not_seen_by_clients() {
    let table = table();
    for scenario in SCENARIOS {
        for policy in [Policy::Thompson, Policy::Latency, Policy::Cost, Policy::Quality, Policy::Ordered] {
            let tally = table.of(scenario.name, Router::Gateway(policy));
            assert!(tally.error_rate() < 0.002, "{} {policy:?}: {}", scenario.name, tally.error_rate());
        }
        let tally = table.of(scenario.name, THOMPSON);
        assert!(tally.attempts_per_request() < 1.05, "{}: {}", scenario.name, tally.attempts_per_request());
    }
}

#[test]
fn a_quota_is_seen_coming() {
    let tally = table().of("quota", THOMPSON);
    assert!((tally.limited as f64) < 0.002 * tally.requests as f64, "{} of {}", tally.limited, tally.requests);
}

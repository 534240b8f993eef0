//! From a core's hand-over to the published table and its pages, over a clock of our own.

use super::*;
use crate::board::{Halt, Scope};
use crate::control_plane::tests::{CONFIG, House};
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::token::Usage;
use crate::limits::SCORE_MEMORY_HALF_LIFE;
use crate::routing::observed::{Sample, Verdict};
use crate::routing::standing::Why;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

fn lane(provider: &str, model: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new(provider), model: Arc::from(model), credential: None }
}

fn observe(core: &CoreReports, lane: &LaneKey, verdict: Verdict, wait_ms: u32, count: usize) {
    let mut seen = Observed::new();
    let sample = Sample {
        tenant: TenantId::new("acme"),
        verdict,
        connect_us: None,
        first_byte_us: Some(wait_ms * 1_000),
        first_token_us: None,
        inter_token_us: None,
        total_us: wait_ms * 1_000,
        usage: Usage { input: 10, output: 10, ..Usage::default() },
        cost: None,
    };
    (0..count).for_each(|_| seen.record(&sample));
    core.push_observed(vec![(lane.clone(), seen)]).expect("room");
}

fn open(name: &str) -> (House, Mutex<Control>) {
    let house = House::new(name);
    let control = Mutex::new(house.open(CONFIG));
    (house, control)
}

fn samples(control: &Mutex<Control>, lane: &LaneKey) -> Option<f64> {
    let published = lock(control).published.load_full();
    published.scores.lanes.get(lane).map(|score| score.samples.round())
}

#[test]
fn what_a_core_observed_is_published_without_a_new_generation() {
    let (house, control) = open("scores");
    let (own, start) = (lane("openai", "gpt-4o"), Instant::now());
    assert!(!score_due(&control, start), "nothing is known, so nothing is published");
    let generation = lock(&control).published.load().generation;
    observe(&house.reports, &own, Verdict::Good, 100, 30);
    observe(&house.reports, &own, Verdict::Good, 100, 10);
    assert!(score_due(&control, start));
    assert_eq!(samples(&control, &own), Some(40.0), "hand-overs of one lane are one");
    assert_eq!(lock(&control).published.load().generation, generation);
    assert!(house.reports.pop_spare().is_some_and(|spare| spare[0].1.is_empty()), "the memory goes back");

    let before = Arc::as_ptr(&lock(&control).published.load().scores);
    assert!(!score_due(&control, start + Duration::from_millis(500)), "nothing was observed and nothing has faded");
    assert_eq!(Arc::as_ptr(&lock(&control).published.load().scores), before);
    assert!(score_due(&control, start + Duration::from_secs(240)), "a good part has faded");
    assert!(!score_due(&control, start + Duration::from_secs(241)), "too early to look again");
    assert!(!score_due(&control, start + Duration::from_secs(251)), "hardly anything more has faded");
    assert!(score_due(&control, start + SCORE_MEMORY_HALF_LIFE * 12), "all of it");
    assert_eq!(samples(&control, &own), None);
    assert!(!score_due(&control, start + SCORE_MEMORY_HALF_LIFE * 13));
}

#[test]
fn other_publications_keep_the_scores() {
    let (house, control) = open("kept-scores");
    let own = lane("openai", "gpt-4o");
    observe(&house.reports, &own, Verdict::Good, 100, 30);
    assert!(score_due(&control, Instant::now()));
    let before = lock(&control).published.load().generation;
    lock(&control).create_tenant("uid:1000", "new").expect("made");
    lock(&control).dirty = super::super::Dirty::ALL;
    lock(&control).publish().expect("published");
    assert!(lock(&control).published.load().generation > before);
    assert_eq!(samples(&control, &own), Some(30.0));
}

#[test]
fn targets_of_one_entry_are_measured_against_each_other() {
    let (house, control) = open("alternatives");
    let (slow, fast, apart) = (lane("openai", "gpt-4o"), lane("local-vllm", "llama"), lane("openai", "gpt-4o-mini"));
    for (lane, wait_ms) in [(&slow, 400), (&fast, 100), (&apart, 400)] {
        observe(&house.reports, lane, Verdict::Good, wait_ms, 300);
    }
    assert!(score_due(&control, Instant::now()));
    let table = lock(&control).published.load().scores.clone();
    let mean = |lane| {
        let posterior = table.score(lane).expect("scored").posterior;
        posterior.alpha / (posterior.alpha + posterior.beta)
    };
    // No price is known: half of the part of the cost, for all.
    assert!(
        (mean(&fast) - 0.85).abs() < 0.03 && (mean(&apart) - 0.85).abs() < 0.03,
        "{} {}",
        mean(&fast),
        mean(&apart)
    );
    assert!((mean(&slow) - 0.55).abs() < 0.03, "{}", mean(&slow));
}

#[test]
fn pages_show_lanes_halts_and_histograms_that_decode() {
    let (house, control) = open("score-pages");
    let (own, now) = (lane("openai", "gpt-4o"), Instant::now());
    assert!(lock(&control).histograms("openai", "gpt-4o").is_none());
    observe(&house.reports, &own, Verdict::Good, 100, 99);
    observe(&house.reports, &own, Verdict::Good, 900, 1);
    observe(&house.reports, &lane("openai", "evil-\"1"), Verdict::Good, 100, 30);
    assert!(score_due(&control, now));
    let halt = Halt { why: Why::Breaker, until: now + Duration::from_secs(30) };
    lock(&control).board.halt(&Scope::Lane(own.clone()), &halt, now);

    let sheet = lock(&control).score_sheet().page(now);
    let row = sheet["data"].as_array().expect("rows").iter().find(|row| row["model"] == "gpt-4o").expect("the lane");
    assert_eq!((&row["halted"]["why"], &row["halted"]["scope"]), (&"breaker".into(), &"lane".into()));
    assert_eq!((&row["halted"]["seconds_left"], &row["prior"]), (&30.0.into(), &false.into()));
    let ms = |point: &str| row["first_byte_ms"][point].as_f64().expect("a number");
    assert!((98.0..=102.0).contains(&ms("p50")) && ms("p10") <= ms("p50") && ms("p99") >= ms("p95"), "{row}");
    assert!(row["connect_ms"].is_null() && sheet["unscored"] == 0, "{sheet}");

    let page = lock(&control).histograms("oai", "gpt-4o").expect("answers");
    let bytes = STANDARD.decode(page["phases"]["total"]["hdr"].as_str().expect("text")).expect("base64");
    let decoded: Histogram<u64> =
        hdrhistogram::serialization::Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
    assert_eq!((decoded.len(), page["phases"]["total"]["count"].as_u64()), (100, Some(100)));
    assert!((99_000..=101_000).contains(&decoded.value_at_quantile(0.5)) && decoded.max() >= 900_000);
    assert_eq!(page["phases"]["connect"]["count"], 0);
    let page = lock(&control).histograms("openai", "other").expect("a model that a client made up");
    assert_eq!(page["phases"]["total"]["count"], 30);

    let metrics = lock(&control).metrics();
    for line in [
        "igris_thompson_sampling_score{provider=\"openai\",model=\"gpt-4o\"} 0.",
        "igris_thompson_sampling_score{provider=\"openai\",model=\"other\"} 0.",
        "igris_circuit_breaker_state{provider=\"openai\"} 0",
        "igris_first_byte_seconds_bucket{provider=\"openai\",model=\"gpt-4o\",le=\"0.25\"} 99",
        "igris_first_byte_seconds_count{provider=\"openai\",model=\"gpt-4o\"} 100",
        "igris_unscored_attempts_total 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(!metrics.contains("evil"), "rule R5");
}

#[test]
fn the_statistics_of_a_provider_are_those_routing_goes_by() {
    let (house, control) = open("provider-scores");
    let now = Instant::now();
    let stats = || lock(&control).provider_stats("openai").expect("configured");
    assert_eq!((&stats()["alpha"], &stats()["beta"]), (&1.0.into(), &1.0.into()));
    observe(&house.reports, &lane("openai", "gpt-4o"), Verdict::Good, 100, 60);
    observe(&house.reports, &lane("openai", "gpt-4o-mini"), Verdict::Bad, 100, 40);
    assert!(score_due(&control, now));
    let sum = stats()["alpha"].as_f64().expect("a number") + stats()["beta"].as_f64().expect("a number");
    assert!((100.0..=104.0).contains(&sum), "{}", stats());

    let state = |control: &Mutex<Control>| stats_of(control, "circuit_breaker_state");
    assert_eq!(state(&control), "closed");
    let board = lock(&control).board.clone();
    let until = |seconds| Instant::now() + Duration::from_secs(seconds);
    let provider = Scope::Provider(ProviderId::new("openai"));
    board.halt(&provider, &Halt { why: Why::RateLimit, until: until(60) }, now);
    assert_eq!(state(&control), "closed", "a rate limit is no breaker");
    board.halt(&provider, &Halt { why: Why::Breaker, until: until(60) }, now);
    assert_eq!(state(&control), "open");
    board.halt(&provider, &Halt { why: Why::Breaker, until: now }, now);
    assert_eq!(state(&control), "half_open");
    board.lift(&provider);
    let halt = Halt { why: Why::Breaker, until: until(60) };
    board.halt(&Scope::Lane(lane("openai", "gpt-4o")), &halt, now);
    assert_eq!(state(&control), "closed", "one lane of two");
    board.halt(&Scope::Lane(lane("openai", "gpt-4o-mini")), &halt, now);
    assert_eq!(state(&control), "open", "all of them");
}

fn stats_of(control: &Mutex<Control>, member: &str) -> String {
    let stats = lock(control).provider_stats("openai").expect("configured");
    stats[member].as_str().expect("text").to_owned()
}

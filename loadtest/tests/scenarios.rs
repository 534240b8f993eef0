#![cfg(feature = "load")]
//! Scenario files: every one that is shipped loads and runs, and any plan reads back from what was written of it.

use igris_load::engine::{Done, Observer, Stop, drive};
use igris_load::measure::Outcome;
use igris_load::workload::{Arrivals, Endpoint, Lengths, Plan, Share, Source, Span, Tenant, Waits};
use igris_load::{Simulator, Surface};
use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/load");
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios");
    let mut all: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    all.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    all.sort();
    all
}

#[test]
fn all_seven_scenarios_are_good_plans() {
    let names: Vec<_> =
        shipped().iter().map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["agents", "burst", "chat", "key-rotation", "provider-outage", "rag", "soak"]);
    for path in shipped() {
        let plan = Plan::read(&path).expect("a good file");
        assert_eq!(plan.problems(), Vec::<String>::new(), "{}", path.display());
        assert!(plan.arrivals.is_open() && plan.connections == 1_024, "{}", path.display());
        let again = Plan::from_toml(&plan.resolved(), "resolved").expect("what was written reads back");
        assert_eq!(again, plan, "{}", path.display());
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("# ") && text.contains("igris-load mock") && text.contains("igris-load run"));
    }
}

/// What ended how, and the longest session.
#[derive(Default)]
struct Ends {
    ok: u64,
    others: Vec<String>,
    longest: u32,
}

impl Observer for Ends {
    fn gap(&mut self, _counts: bool, _nanos: u64) {}

    fn done(&mut self, done: &Done<'_>) {
        match done.outcome {
            Outcome::Ok => self.ok += 1,
            other => self.others.push(format!("{other:?} {} {}", done.status, done.reason)),
        }
        self.longest = self.longest.max(done.ask.session.map_or(0, |(_, turn)| turn + 1));
    }

    fn tick(&mut self, _since_start: Duration, _in_flight: usize) {}
}

/// Every scenario, made short, against the simulator that plays all its providers: both sides count the same.
#[test]
fn every_scenario_runs() {
    for path in shipped() {
        let mut plan = Plan::read(&path).expect("a good file");
        let models = plan.traffic.iter().map(|share| share.model.clone()).collect::<Vec<_>>();
        let simulator = Simulator::builder().dialect(Surface::OpenAi).dialect(Surface::Anthropic).models(models);
        let simulator = simulator.start().expect("a loopback port");
        plan.endpoints[0].url = simulator.origin();
        plan.arrivals = Arrivals::Poisson { rate: 200.0 };
        plan.duration = Some(Span(Duration::from_secs(10)));
        plan.requests = Some(60);
        plan.warm_up = Span::default();
        for share in &mut plan.traffic {
            share.think = share.think.as_ref().map(|_| Waits::from(Duration::from_millis(1)));
            share.output_tokens = share.output_tokens.as_ref().map(|_| Lengths::from(5));
        }
        let driven = drive(&plan, &Stop::default(), |_| Ends::default()).expect("the run starts");
        let ends = &driven.observers[0];
        assert_eq!((ends.ok, &ends.others[..]), (60, &[][..]), "{}", path.display());
        assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
        assert_eq!(simulator.truth().counts().completed, 60, "{}", path.display());
        assert!(simulator.truth().violations().is_empty(), "{:?}", simulator.truth().violations());
        let sessions = plan.traffic.iter().any(|share| share.turns.is_some());
        assert_eq!(ends.longest > 1, sessions, "{}", path.display());
    }
}

/// A plan of random members, each often left as it is.
fn random_plan(draw: &mut Pcg64Mcg) -> Plan {
    let mut plan = Plan::default();
    let endpoints = draw.random_range(1..3);
    plan.endpoints = (0..endpoints).map(|number| random_endpoint(number, draw)).collect();
    plan.tenants = (0..draw.random_range(1..4)).map(|number| random_tenant(number, draw)).collect();
    plan.traffic = (0..draw.random_range(1..4)).map(|number| random_share(number, draw)).collect();
    plan.arrivals = random_arrivals(draw);
    plan.name = text(draw);
    plan.seed = draw.random::<u64>() >> 1;
    plan.duration = maybe(draw, |draw| Span(Duration::from_nanos(draw.random_range(1..100_000_000_000))));
    plan.requests = maybe(draw, |draw| draw.random_range(1..1_000_000));
    plan.warm_up = Span(Duration::from_micros(draw.random_range(0..5_000_000)));
    plan.connections = draw.random_range(1..2_000);
    plan.threads = draw.random_range(1..9);
    plan.timeout = Span(Duration::from_millis(draw.random_range(1..60_000)));
    plan.verify = draw.random();
    plan.verify_model = maybe(draw, text);
    plan.simulator_hints = draw.random();
    plan.objectives = if draw.random() { vec!["ttft<250ms".parse().expect("a bound")] } else { Vec::new() };
    plan.watch_pid = maybe(draw, |draw| draw.random_range(1..100_000));
    plan
}

fn maybe<T>(draw: &mut Pcg64Mcg, make: impl FnOnce(&mut Pcg64Mcg) -> T) -> Option<T> {
    draw.random::<bool>().then(|| make(draw))
}

/// Words with all that has to be escaped.
fn text(draw: &mut Pcg64Mcg) -> String {
    const PARTS: [&str; 8] = ["gpt-4o", " ", "\"quoted\"", "\\", "\n", "é", "日本", "#=[]"];
    (0..draw.random_range(1..5)).map(|_| PARTS[draw.random_range(0..PARTS.len())]).collect()
}

fn random_endpoint(number: u32, draw: &mut Pcg64Mcg) -> Endpoint {
    let url = format!("http://127.0.0.1:{}", 8_000 + number);
    Endpoint { name: format!("e{number}"), url, ca: maybe(draw, |draw| format!("/{}", text(draw))) }
}

fn random_tenant(number: u32, draw: &mut Pcg64Mcg) -> Tenant {
    Tenant { name: format!("t{number}"), weight: maybe(draw, |draw| draw.random_range(0.0..9.0)), ..Tenant::default() }
}

fn random_arrivals(draw: &mut Pcg64Mcg) -> Arrivals {
    let rate = draw.random_range(0.1..500.0);
    let poisson = draw.random();
    let span = |draw: &mut Pcg64Mcg| Span(Duration::from_millis(draw.random_range(1..90_000)));
    match draw.random_range(0..7) {
        0 => Arrivals::Closed,
        1 => Arrivals::Constant { rate },
        2 => Arrivals::Poisson { rate },
        3 => Arrivals::Ramp { from: rate, to: rate * 2.0, over: span(draw), poisson },
        4 => Arrivals::Steps { rates: vec![rate, 1.0, 0.0], each: span(draw), poisson },
        5 => Arrivals::Bursts { rate, burst_rate: rate * 3.5, every: span(draw), lasting: span(draw), poisson },
        _ => Arrivals::Trace { file: format!("/{}", text(draw)), speed: rate },
    }
}

fn length(draw: &mut Pcg64Mcg) -> Lengths {
    let texts = [
        "7",
        "uniform:3..90",
        "normal:200,50,min=1",
        "lognormal:200,0.631",
        "zipf:2000,1.1,max=50",
        "list:1,2",
        "recorded",
    ];
    texts[draw.random_range(0..texts.len())].parse().expect("a length")
}

fn random_share(number: u32, draw: &mut Pcg64Mcg) -> Share {
    const DIALECTS: [&str; 6] = ["openai", "responses", "anthropic", "gemini", "bedrock", "cohere"];
    const WAITS: [&str; 4] = ["250us", "uniform:1s..2500ms", "exponential:3s,max=9s", "lognormal:1500ms,0.7"];
    Share {
        name: format!("s{number}"),
        weight: draw.random_range(0.0..10.0),
        dialect: DIALECTS[draw.random_range(0..6)].parse().expect("a dialect"),
        model: text(draw),
        stream: draw.random(),
        include_usage: draw.random(),
        prompt_bytes: draw.random_range(0..5_000),
        prompt_tokens: maybe(draw, length),
        output_tokens: maybe(draw, length),
        system: text(draw),
        shared_prefix: maybe(draw, length),
        shared_prefixes: draw.random_range(1..9),
        conversations: maybe(draw, |draw| format!("/{}", text(draw))),
        turns: maybe(draw, length),
        think: maybe(draw, |draw| WAITS[draw.random_range(0..4)].parse().expect("a wait")),
        tools: draw.random_range(0..9),
        tool_use: draw.random(),
        tenants: maybe(draw, |_| vec!["t0".to_owned()]).unwrap_or_default(),
        endpoint: maybe(draw, |_| "e0".to_owned()).unwrap_or_default(),
    }
}

#[test]
fn any_plan_reads_back() {
    for seed in 0..300 {
        let plan = random_plan(&mut Pcg64Mcg::seed_from_u64(seed));
        let toml = plan.resolved();
        assert_eq!(Plan::from_toml(&toml, "toml").expect(&toml), plan, "seed {seed}: {toml}");
        let json = serde_json::to_string(&plan).expect("JSON");
        assert_eq!(Plan::from_json(&json, "json").expect(&json), plan, "seed {seed}: {json}");
    }
}

/// One to three bytes of a text changed, taken away, or doubled.
fn mutated(text: &str, draw: &mut Pcg64Mcg) -> String {
    const NEW: &[u8] = b"0129-.,:=\"[]#\n .aemnsx";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..draw.random_range(1..4) {
        let at = draw.random_range(0..bytes.len());
        match draw.random_range(0..4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, bytes[at]),
            2 => bytes.insert(at, NEW[draw.random_range(0..NEW.len())]),
            _ => bytes[at] = NEW[draw.random_range(0..NEW.len())],
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines of a file that say something.
fn bare(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn no_file_breaks_the_program() {
    let texts: Vec<String> = shipped().iter().map(|path| bare(path)).collect();
    let (mut good, mut misread) = (0, 0);
    for seed in 0..4_000 {
        let mut draw = Pcg64Mcg::seed_from_u64(seed);
        let text = mutated(&texts[seed as usize % texts.len()], &mut draw);
        match Plan::from_toml(&text, "x.toml") {
            Err(wrong) => {
                let said = wrong.to_string();
                assert!(said.starts_with("x.toml:") && said.len() > 12, "seed {seed}: {said}");
                misread += 1;
            }
            Ok(plan) => {
                let _ = (plan.problems(), plan.planned_requests(), plan.resolved());
                let Ok(mut source) = Source::new(&plan, 0, 1) else { continue };
                for _ in 0..3 {
                    let Some(arrival) = source.next_arrival() else { break };
                    let _ = source.follow_up(&arrival.ask, "an answer");
                }
                good += 1;
            }
        }
    }
    assert!(good > 400 && misread > 400, "{good} good and {misread} misread: the mutations are too mild or too wild");
}

#[test]
fn paths_are_relative_to_their_file() {
    let folder = std::env::temp_dir().join(format!("igris-load-scenario-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("replay.toml");
    let text = "[arrivals]\nkind = \"trace\"\nfile = \"day.csv\"\n[[traffic]]\nconversations = \"/talk.json\"\n";
    std::fs::write(&path, text).expect("a file");
    let plan = Plan::read(&path).expect("a good file");
    std::fs::remove_dir_all(&folder).expect("ours");
    let Arrivals::Trace { file, speed } = &plan.arrivals else { panic!("{plan:?}") };
    assert_eq!((file.as_str(), *speed), (&*folder.join("day.csv").to_string_lossy(), 1.0));
    assert_eq!(plan.traffic[0].conversations.as_deref(), Some("/talk.json"));
    let missing = Plan::read(&folder.join("none.toml")).expect_err("no file").to_string();
    assert!(missing.contains("give the path of a TOML file"), "{missing}");
}

#![cfg(feature = "load")]
//! The engine against the simulator: both sides count the same, every failure has its own name, and the clock starts when planned.

use igris_load::Simulator;
use igris_load::engine::{Done, Driven, Observer, Stop, drive};
use igris_load::measure::Outcome;
use igris_load::simulator::{Behaviour, Fault, When};
use igris_load::workload::{Arrivals, Endpoint, Plan, Secret, Share, Span, Tenant};
use std::time::Duration;

/// What became of one request.
#[derive(Clone, Debug)]
struct Record {
    index: u64,
    endpoint: usize,
    counts: bool,
    planned: u64,
    sent: Option<u64>,
    first_token: Option<u64>,
    ended: u64,
    outcome: Outcome,
    reason: String,
    generated: u32,
    events: u32,
    longest_gap: Option<u64>,
    output_tokens: Option<u64>,
    connect_ns: Option<u64>,
    verified: bool,
    session: Option<(u64, u32)>,
}

/// Keeps everything it is told.
#[derive(Default)]
struct Log {
    done: Vec<Record>,
    gaps: Vec<u64>,
    late: usize,
    ticks: Vec<Duration>,
}

impl Observer for Log {
    fn gap(&mut self, _counts: bool, nanos: u64) {
        self.gaps.push(nanos);
    }

    fn late(&mut self, _nanos: u64) {
        self.late += 1;
    }

    fn done(&mut self, done: &Done<'_>) {
        assert!(done.planned <= done.ended, "{done:?}");
        let marks = [done.sent, done.first_byte, done.first_token, done.last_token, Some(done.ended)];
        let marks: Vec<u64> = marks.into_iter().flatten().collect();
        assert!(marks.is_sorted(), "{done:?}");
        assert_eq!(done.reason.is_empty(), done.outcome == Outcome::Ok, "{done:?}");
        self.done.push(Record {
            index: done.ask.index,
            endpoint: done.ask.endpoint,
            counts: done.counts,
            planned: done.planned,
            sent: done.sent,
            first_token: done.first_token,
            ended: done.ended,
            outcome: done.outcome,
            reason: done.reason.clone(),
            generated: done.generated,
            events: done.events,
            longest_gap: done.longest_gap,
            output_tokens: done.output_tokens,
            connect_ns: done.connect_ns,
            verified: done.verified,
            session: done.ask.session,
        });
    }

    fn tick(&mut self, since_start: Duration, _in_flight: usize) {
        self.ticks.push(since_start);
    }
}

fn span(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

fn endpoint(url: String) -> Endpoint {
    Endpoint { url, ..Endpoint::default() }
}

/// A hundred requests in a closed loop over four connections.
fn plan(simulator: &Simulator, stream: bool) -> Plan {
    Plan {
        endpoints: vec![endpoint(simulator.base_url())],
        tenants: vec![Tenant {
            key: Secret { text: "sk-load-test-00000001".into(), ..Secret::default() },
            ..Tenant::default()
        }],
        requests: Some(100),
        traffic: vec![Share { stream, include_usage: stream, ..Share::default() }],
        connections: 4,
        timeout: span(20_000),
        verify: true,
        ..Plan::default()
    }
}

fn run(plan: &Plan) -> (Vec<Record>, Driven<Log>) {
    let driven = drive(plan, &Stop::default(), |_| Log::default()).expect("the run starts");
    let mut done: Vec<Record> = driven.observers.iter().flat_map(|log| log.done.iter().cloned()).collect();
    done.sort_by_key(|record| record.index);
    (done, driven)
}

fn ended(records: &[Record], outcome: Outcome) -> usize {
    records.iter().filter(|record| record.outcome == outcome).count()
}

#[test]
fn both_sides_count_the_same() {
    for (stream, threads) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
        let simulator = Simulator::builder().start().expect("a loopback port");
        let plan = Plan { threads, ..plan(&simulator, stream) };
        let (done, driven) = run(&plan);
        assert_eq!(ended(&done, Outcome::Ok), 100, "{done:?}");
        assert!(done.iter().map(|record| record.index).eq(0..100), "each exactly once");
        assert!(simulator.truth().wait_settled(Duration::from_secs(5)));
        let counts = simulator.truth().counts();
        assert_eq!((counts.requests, counts.completed, counts.completion_tokens), (100, 100, 1600));
        let sum = |of: fn(&Record) -> u64| done.iter().map(of).sum::<u64>();
        assert_eq!(counts.events, sum(|record| record.events.into()));
        assert_eq!(counts.completion_tokens, sum(|record| record.output_tokens.unwrap_or_default()));
        let opened = done.iter().filter(|record| record.connect_ns.is_some()).count();
        assert_eq!((counts.connections_opened, opened), (4, 4));
        assert!(simulator.truth().violations().is_empty(), "{:?}", simulator.truth().violations());
        assert!(
            done.iter().all(|record| record.verified && record.counts && record.planned == record.sent.unwrap_or(0))
        );
        let gaps: usize = driven.observers.iter().map(|log| log.gaps.len()).sum();
        let generated = sum(|record| record.generated.into());
        assert_eq!(gaps as u64, if stream { generated - 100 } else { 0 });
        assert_eq!((driven.observers.len(), driven.health.len(), driven.stopped), (threads, threads, false));
        let last = done.iter().map(|record| record.ended).max();
        assert_eq!(last, Some(driven.elapsed.as_nanos() as u64));
    }
}

#[test]
fn another_answer_is_a_mismatch() {
    let simulator = Simulator::builder().tokens(9).start().expect("a loopback port");
    let plan = plan(&simulator, false);
    let (done, _) = run(&plan);
    assert_eq!(ended(&done, Outcome::Mismatch), 100, "nine words are not sixteen");
    let (done, _) = run(&Plan { verify: false, ..plan });
    assert_eq!(ended(&done, Outcome::Ok), 100);
}

#[test]
fn every_failure_has_its_own_name() {
    let table = [
        (Fault::status(429), Outcome::RateLimited),
        (Fault::status(404), Outcome::Refused),
        (Fault::status(503), Outcome::ServerError),
        (Fault::CloseBeforeResponse, Outcome::Closed),
        (Fault::GarbageHead, Outcome::Malformed),
        (Fault::CutMidEvent { after_events: 2 }, Outcome::Truncated),
        (Fault::Reset { after_bytes: 0 }, Outcome::Closed),
        (Fault::Reset { after_bytes: 600 }, Outcome::Truncated),
        (Fault::ErrorInStream { after_events: 2 }, Outcome::StreamError),
        (Fault::Stall { after_events: 1 }, Outcome::Timeout),
        (Fault::Stall { after_events: 0 }, Outcome::Timeout),
        (Fault::StaleKeepAlive, Outcome::Closed),
        (Fault::SlowFirstByte { delay: Duration::from_millis(700) }, Outcome::Timeout),
    ];
    for (fault, outcome) in table {
        let simulator = Simulator::builder().fault(fault.clone(), When::Every(4)).start().expect("a loopback port");
        let plan = Plan { requests: Some(12), connections: 2, timeout: span(400), ..plan(&simulator, true) };
        let (done, _) = run(&plan);
        assert_eq!((ended(&done, outcome), ended(&done, Outcome::Ok)), (3, 9), "{fault:?} gave {done:?}");
    }
}

#[test]
fn nobody_there_is_a_failed_connection() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let plan = Plan { requests: Some(3), ..plan(&simulator, true) };
    simulator.stop();
    let (done, _) = run(&plan);
    assert_eq!(ended(&done, Outcome::ConnectFailed), 3, "{done:?}");
    assert!(done.iter().all(|record| record.sent.is_none() && record.reason.contains("127.0.0.1")), "{done:?}");
}

#[test]
fn a_schedule_counts_from_the_planned_instant() {
    // One connection, answers of 50 ms, one request every 10 ms: the last of 20 waits about 19 times 40 ms.
    let simulator = Simulator::builder().latency(Duration::from_millis(50)).start().expect("a loopback port");
    let arrivals = Arrivals::Constant { rate: 100.0 };
    let plan = Plan { arrivals, requests: None, duration: Some(span(200)), connections: 1, ..plan(&simulator, false) };
    let (done, driven) = run(&plan);
    assert_eq!((ended(&done, Outcome::Ok), done.len()), (20, 20));
    for (number, record) in done.iter().enumerate() {
        assert_eq!(record.planned, number as u64 * 10_000_000, "the schedule was fixed beforehand");
    }
    let last = &done[19];
    assert!(last.ended - last.planned >= 760_000_000, "the queue must be part of the latency: {last:?}");
    assert!(last.sent.is_some_and(|sent| sent - last.planned >= 700_000_000), "{last:?}");
    assert!(driven.health[0].queued >= 15 && driven.health[0].late.len() == 20, "{:?}", driven.health[0]);
    assert_eq!(driven.observers[0].late, 20);
}

#[test]
fn who_waits_too_long_for_a_connection_has_timed_out_unsent() {
    let simulator = Simulator::builder().latency(Duration::from_millis(600)).start().expect("a loopback port");
    let arrivals = Arrivals::Constant { rate: 100.0 };
    let bounds = Plan {
        requests: Some(10),
        duration: Some(span(9000)),
        connections: 1,
        timeout: span(300),
        ..plan(&simulator, false)
    };
    let (done, _) = run(&Plan { arrivals, ..bounds });
    assert_eq!((ended(&done, Outcome::Timeout), done.len()), (10, 10), "{done:?}");
    let unsent = done.iter().filter(|record| record.sent.is_none()).count();
    assert!(unsent >= 5, "{done:?}");
    for record in done {
        let took = record.ended - record.planned;
        assert!(took >= 300_000_000, "{record:?}");
    }
}

#[test]
fn warm_up_does_not_count() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let arrivals = Arrivals::Constant { rate: 100.0 };
    let plan = Plan {
        arrivals,
        requests: Some(30),
        duration: Some(span(9000)),
        warm_up: span(100),
        ..plan(&simulator, false)
    };
    let (done, _) = run(&plan);
    assert_eq!((done.len(), done.iter().filter(|record| record.counts).count()), (30, 20));
    let slow = Simulator::builder().latency(Duration::from_millis(20)).start().expect("a loopback port");
    let plan = Plan { duration: Some(span(300)), requests: None, warm_up: span(100), ..self::plan(&slow, false) };
    let (done, _) = run(&plan);
    for record in &done {
        assert_eq!(record.counts, record.planned >= 100_000_000, "{record:?}");
        assert!(record.planned < 400_000_000, "nothing is sent after the duration: {record:?}");
    }
    assert!(done.iter().any(|record| record.counts) && done.iter().any(|record| !record.counts), "{done:?}");
}

#[test]
fn streams_are_stamped_by_their_tokens() {
    let simulator = Simulator::builder()
        .latency(Duration::from_millis(30))
        .event_gap(Duration::from_millis(10))
        .tokens(5)
        .start()
        .expect("a loopback port");
    let plan = Plan { requests: Some(8), verify: false, ..plan(&simulator, true) };
    let (done, driven) = run(&plan);
    for record in &done {
        assert_eq!((record.outcome, record.generated), (Outcome::Ok, 5), "{record:?}");
        let first = record.first_token.expect("a first token") - record.planned;
        assert!(first >= 40_000_000, "latency, the event of the role, one gap: {record:?}");
        assert!(record.ended - record.planned >= 80_000_000, "{record:?}");
        assert!(record.longest_gap.is_some_and(|gap| gap >= 9_000_000), "{record:?}");
    }
    let gaps = &driven.observers[0].gaps;
    assert_eq!(gaps.len(), 8 * 4);
    assert!(gaps.iter().sum::<u64>() >= 8 * 4 * 9_000_000, "{gaps:?}");
}

#[test]
fn a_stopped_run_sends_nothing_more_and_tells_everything() {
    let simulator = Simulator::builder().latency(Duration::from_secs(30)).start().expect("a loopback port");
    let arrivals = Arrivals::Constant { rate: 50.0 };
    let plan = Plan {
        arrivals,
        requests: Some(500),
        duration: Some(span(90_000)),
        connections: 2,
        timeout: span(60_000),
        ..plan(&simulator, false)
    };
    let stop = Stop::default();
    let driven = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            stop.stop();
        });
        drive(&plan, &stop, |_| Log::default()).expect("the run starts")
    });
    let log = &driven.observers[0];
    assert!(driven.stopped);
    assert_eq!(ended(&log.done, Outcome::Abandoned), log.done.len());
    let told = log.done.len() as u64;
    assert!(
        (15..250).contains(&(told + driven.health[0].unsent)),
        "what was due is told or counted, and nothing else: {told}"
    );
    let mut indexes: Vec<u64> = log.done.iter().map(|record| record.index).collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..told), "each of them exactly once");
    assert_eq!(log.done.iter().filter(|record| record.sent.is_some()).count(), 2);
    assert!(driven.elapsed >= Duration::from_millis(1300), "what is in flight has a second: {:?}", driven.elapsed);
    assert!(driven.elapsed < Duration::from_secs(25), "{:?}", driven.elapsed);
    let ticks = &log.ticks;
    assert!(ticks.is_sorted() && ticks.len() >= 5, "{ticks:?}");
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let simulator = Simulator::builder().idle_timeout(Duration::from_millis(50)).start().expect("a loopback port");
    let arrivals = Arrivals::Constant { rate: 5.0 };
    let (done, _) = run(&Plan {
        arrivals,
        requests: Some(5),
        duration: Some(span(9000)),
        connections: 1,
        ..plan(&simulator, false)
    });
    assert_eq!(ended(&done, Outcome::Ok), 5, "{done:?}");
    assert_eq!(simulator.truth().counts().connections_opened, 5);
}

#[test]
fn an_answer_may_come_in_the_smallest_pieces() {
    for stream in [false, true] {
        let behaviour = Behaviour { write_bytes: Some(1), ..Behaviour::default() };
        let simulator = Simulator::builder().behaviour(behaviour).start().expect("a loopback port");
        let (done, _) = run(&Plan { requests: Some(8), ..plan(&simulator, stream) });
        assert_eq!(ended(&done, Outcome::Ok), 8, "{done:?}");
    }
}

#[test]
fn a_session_goes_on_from_its_answers() {
    let simulator = Simulator::builder().keep_bodies().start().expect("a loopback port");
    let (turns, think) = ("3".parse().expect("turns"), "30ms".parse().expect("a wait"));
    let share = Share { turns: Some(turns), think: Some(think), ..Share::default() };
    for (arrivals, requests) in [(Arrivals::Closed, 12), (Arrivals::Constant { rate: 100.0 }, 14)] {
        let before = simulator.truth().counts().requests;
        let traffic = vec![share.clone()];
        let plan = Plan { arrivals, requests: Some(requests), traffic, connections: 2, ..plan(&simulator, false) };
        let (mut done, _) = run(&plan);
        assert_eq!((ended(&done, Outcome::Ok), done.len() as u64), (requests as usize, requests), "{done:?}");
        assert_eq!(simulator.truth().counts().requests - before, requests);
        done.sort_by_key(|record| (record.session, record.planned));
        for pair in done.windows(2) {
            let [(first, turn), (second, next)] =
                [pair[0].session, pair[1].session].map(|known| known.expect("a turn"));
            if first == second {
                assert_eq!(turn + 1, next, "{pair:?}");
                assert!(pair[1].planned >= pair[0].ended + 30_000_000, "thinking comes first: {pair:?}");
            }
        }
    }
    let bodies: Vec<Vec<u8>> = simulator.truth().requests().into_iter().filter_map(|record| record.body).collect();
    let turns = |body: &[u8]| memchr::memmem::find_iter(body, b"\"role\":\"assistant\"").count();
    for answers in 0..3 {
        assert!(bodies.iter().any(|body| turns(body) == answers), "a turn after {answers} answers");
    }
}

#[test]
fn a_failed_answer_ends_its_session() {
    let simulator = Simulator::builder().fault(Fault::status(503), When::Always).start().expect("a loopback port");
    let share = Share { turns: Some("4".parse().expect("turns")), ..Share::default() };
    let (done, _) = run(&Plan { requests: Some(20), traffic: vec![share], ..plan(&simulator, false) });
    assert_eq!((ended(&done, Outcome::ServerError), done.len()), (5, 5), "{done:?}");
}

#[test]
fn two_endpoints_share_the_connections() {
    let both = [false, true].map(|_| Simulator::builder().start().expect("a loopback port"));
    let endpoints: Vec<Endpoint> = both
        .iter()
        .enumerate()
        .map(|(number, simulator)| Endpoint { name: number.to_string(), ..endpoint(simulator.base_url()) })
        .collect();
    let share = |endpoint: &str| Share { name: endpoint.into(), endpoint: endpoint.into(), ..Share::default() };
    let traffic = vec![share("0"), share("1")];
    // With one connection each change of endpoint closes one and opens another.
    for connections in [1, 6] {
        let before = [0, 1].map(|at: usize| both[at].truth().counts().requests);
        let (done, _) =
            run(&Plan { endpoints: endpoints.clone(), traffic: traffic.clone(), connections, ..plan(&both[0], false) });
        assert_eq!(ended(&done, Outcome::Ok), 100, "{done:?}");
        for (at, simulator) in both.iter().enumerate() {
            let asked = done.iter().filter(|record| record.endpoint == at).count() as u64;
            assert!(asked > 20, "both are asked about as often: {asked}");
            assert_eq!(simulator.truth().counts().requests - before[at], asked);
        }
        if connections == 1 {
            let changes = done.windows(2).filter(|pair| pair[0].endpoint != pair[1].endpoint).count();
            let opened = done.iter().filter(|record| record.connect_ns.is_some()).count();
            assert_eq!(opened, changes + 1);
        }
    }
}

#[test]
fn a_long_request_leaves_in_parts() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let share = Share { prompt_bytes: 4_000_000, ..Share::default() };
    let plan = Plan { requests: Some(4), traffic: vec![share], connections: 2, ..plan(&simulator, false) };
    let (done, _) = run(&plan);
    assert_eq!(ended(&done, Outcome::Ok), 4, "{done:?}");
}

#[test]
fn what_cannot_be_carried_out_names_the_fix() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let good = plan(&simulator, false);
    let table = [
        (Plan { endpoints: Vec::new(), ..good.clone() }, "--url"),
        (Plan { connections: 0, ..good.clone() }, "--connections"),
        (Plan { connections: 1 << 40, ..good.clone() }, "ulimit -n"),
        (Plan { requests: None, ..good.clone() }, "--duration"),
        (Plan { endpoints: vec![endpoint("127.0.0.1".into())], ..good.clone() }, "http://"),
        (Plan { endpoints: vec![endpoint("http://nobody.invalid".into())], ..good }, "nobody.invalid"),
    ];
    for (plan, words) in table {
        let said = drive(&plan, &Stop::default(), |_| Log::default()).err().map(|reason| format!("{reason:#}"));
        assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{words}: {said:?}");
    }
    assert_eq!(simulator.truth().counts().requests, 0);
}

#[cfg(feature = "certs")]
mod encrypted {
    use super::*;
    use igris_load::certs::Authority;

    fn authority_file(authority: &Authority, name: &str) -> String {
        let path = std::env::temp_dir().join(format!("igris-load-{}-{name}.pem", std::process::id()));
        std::fs::write(&path, authority.cert_pem()).expect("a temporary file");
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn https_is_spoken_and_strangers_are_not_trusted() {
        let authority = Authority::new("engine test").expect("an authority");
        let issued = authority.issue(&["127.0.0.1", "localhost"]).expect("a certificate");
        let simulator = Simulator::builder().tls(issued.cert_pem, issued.key_pem).start().expect("a loopback port");
        let ca = authority_file(&authority, "good");
        for stream in [false, true] {
            let trusting = Endpoint { url: simulator.base_url(), ca: Some(ca.clone()), ..Endpoint::default() };
            let plan = Plan { endpoints: vec![trusting], ..plan(&simulator, stream) };
            let (done, _) = run(&plan);
            assert_eq!(ended(&done, Outcome::Ok), 100, "{done:?}");
            assert_eq!(done.iter().filter(|record| record.connect_ns.is_some()).count(), 4);
        }
        let (done, _) = run(&Plan { requests: Some(2), ..plan(&simulator, false) });
        assert_eq!(ended(&done, Outcome::ConnectFailed), 2, "{done:?}");
        assert!(done[0].reason.contains("certificate"), "{done:?}");
        let absent = Endpoint { url: simulator.base_url(), ca: Some("no/such.pem".into()), ..Endpoint::default() };
        let plan = Plan { endpoints: vec![absent], ..plan(&simulator, false) };
        let said = drive(&plan, &Stop::default(), |_| Log::default()).err().map(|reason| format!("{reason:#}"));
        assert!(said.is_some_and(|said| said.contains("no/such.pem")));
        std::fs::remove_file(ca).expect("it was written");
    }

    #[test]
    fn faults_have_the_same_names_under_tls() {
        let authority = Authority::new("engine test").expect("an authority");
        let issued = authority.issue(&["127.0.0.1"]).expect("a certificate");
        let ca = authority_file(&authority, "faults");
        let table = [
            (Fault::CloseBeforeResponse, Outcome::Closed),
            (Fault::CutMidEvent { after_events: 2 }, Outcome::Truncated),
            (Fault::Reset { after_bytes: 600 }, Outcome::Truncated),
            (Fault::Stall { after_events: 1 }, Outcome::Timeout),
        ];
        for (fault, outcome) in table {
            let builder = Simulator::builder().fault(fault.clone(), When::Every(4));
            let simulator = builder.tls(issued.cert_pem.clone(), issued.key_pem.clone()).start().expect("a port");
            let trusting = Endpoint { url: simulator.base_url(), ca: Some(ca.clone()), ..Endpoint::default() };
            let base = Plan { requests: Some(12), timeout: span(700), ..plan(&simulator, true) };
            let (done, _) = run(&Plan { endpoints: vec![trusting], ..base });
            assert_eq!((ended(&done, outcome), ended(&done, Outcome::Ok)), (3, 9), "{fault:?} gave {done:?}");
        }
        std::fs::remove_file(ca).expect("it was written");
    }
}

//! Sends all pairs and keeps what became of each request.
//!
//! It does not use `engine::drive`: a pair needs an order drawn within it, instants of both its requests under one number, and
//! gaps that belong to their request. Each target has its own threads, each with one warm connection, so a target that stalls
//! holds up its own requests only; those count from the instant at which they should have left.

use super::link::{Link, Place, Reply};
use super::schedule::Schedule;
use crate::dialect::Dialect;
use crate::engine::Stop;
use crate::simulator::monotonic_ns;
use crate::workload::{Ask, Role, Turn};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// What is asked, of everybody alike.
#[derive(Clone, Debug)]
pub struct Question {
    /// The wire format.
    pub dialect: Dialect,
    /// The model to ask for.
    pub model: String,
    /// Whether to ask for a stream.
    pub stream: bool,
    /// Words of an answer, for a simulated provider.
    pub tokens: Option<u32>,
    /// Bytes of a prompt, about.
    pub prompt_bytes: usize,
}

impl Question {
    /// The ask with this number. All have prompts of one length, and no two have the same, so that no cache answers for the provider.
    pub fn ask(&self, id: u64) -> Ask {
        let mut text = format!("sim:id={id:020}");
        if let Some(tokens) = self.tokens {
            let _ = write!(text, ";tokens={tokens}");
        }
        while text.len() < self.prompt_bytes {
            text.push_str(" What does a gateway add to an answer?");
        }
        Ask {
            index: id,
            endpoint: 0,
            tenant: 0,
            share: 0,
            dialect: self.dialect,
            model: self.model.as_str().into(),
            stream: self.stream,
            include_usage: false,
            system: None,
            turns: vec![Turn { role: Role::User, text: Arc::from(text) }],
            output_tokens: None,
            tools: 0,
            session: None,
        }
    }
}

/// One target of the measurement.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// Its URL as typed.
    pub url: String,
    /// Where that is.
    pub place: Place,
    /// The key it is shown.
    pub key: String,
}

/// One request that was sent. Instants are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug)]
pub struct Row {
    /// The number of its pair.
    pub pair: u64,
    /// Which target.
    pub target: usize,
    /// When it should have left.
    pub planned: u64,
    /// Whether its connection was still busy then; its clock starts at `planned`, otherwise at the send.
    pub held: bool,
    /// What became of it.
    pub reply: Reply,
}

impl Row {
    /// When its clock starts.
    pub fn begin(&self) -> u64 {
        if self.held { self.planned } else { self.reply.sent }
    }
}

/// All that a run of pairs brought.
#[derive(Debug, Default)]
pub struct Sent {
    /// Every request, warm-up left out, by pair and then by target.
    pub rows: Vec<Row>,
    /// Connections opened after the warm-up: each is a request that met a cold path.
    pub reopened: u64,
    /// Threads for each target.
    pub lanes: usize,
    /// From the first planned instant to the last answer.
    pub elapsed: Duration,
}

/// How requests are spread over time and threads.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Which request leaves when.
    pub schedule: Schedule,
    /// Threads, and so connections, for each target; `None` finds out how many keep the schedule.
    pub lanes: Option<usize>,
    /// Requests to each target and thread before those that count.
    pub warm_up: u64,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// Threads of one target at most.
pub const LANES_MAX: usize = 64;

/// Sends everything and returns when all has been answered, or soon after `stop`.
///
/// # Errors
/// No target answers even one request of the warm-up; the sentence says which and why.
pub fn send(targets: &[Target], question: &Question, pace: &Pace, stop: &Stop) -> anyhow::Result<Sent> {
    let slowest = probe(targets, question, pace)?;
    let lanes = pace.lanes.unwrap_or_else(|| lanes_for(slowest, pace.schedule.rate)).clamp(1, LANES_MAX);
    let ready = std::sync::Barrier::new(lanes * targets.len() + 1);
    let start = std::sync::OnceLock::new();
    let mut sent = Sent { lanes, ..Sent::default() };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, target) in targets.iter().enumerate() {
            for lane in 0..lanes {
                let lane = Lane { target, number, lane, lanes, question, pace };
                let (ready, start) = (&ready, &start);
                threads.push(scope.spawn(move || {
                    let link = lane.warm();
                    ready.wait();
                    // Set before the barrier opens a second time.
                    ready.wait();
                    lane.run(link, start.get().copied().unwrap_or_default(), stop)
                }));
            }
        }
        ready.wait();
        let begin = *start.get_or_init(|| monotonic_ns() + 20_000_000);
        ready.wait();
        for thread in threads {
            // A thread that panicked has said why and has no rows.
            if let Ok((rows, reopened)) = thread.join() {
                sent.rows.extend(rows);
                sent.reopened += reopened;
            }
        }
        sent.elapsed = Duration::from_nanos(monotonic_ns().saturating_sub(begin));
    });
    sent.rows.sort_by_key(|row| (row.pair, row.target));
    Ok(sent)
}

/// Asks each target a few times and returns how long the slowest answer took.
fn probe(targets: &[Target], question: &Question, pace: &Pace) -> anyhow::Result<Duration> {
    let mut slowest = 0;
    for (number, target) in targets.iter().enumerate() {
        let mut link = Link::new(target.place.clone(), pace.timeout);
        let mut request = Vec::new();
        for round in 0..PROBES {
            let (name, url) = (&target.name, &target.url);
            link.warm()
                .map_err(|error| anyhow::anyhow!("{name} at {url} does not listen ({error}); start it first"))?;
            let ask = question.ask(warm_id(pace, round, number));
            request.clear();
            link.compose(&ask, &target.key, &mut request);
            let reply = link.exchange(&ask, &request);
            anyhow::ensure!(
                reply.is_ok(),
                "{name} at {url} does not answer ({}); check its path, --model and the key it wants",
                reply.reason
            );
            slowest = slowest.max(reply.ended - reply.sent);
        }
    }
    Ok(Duration::from_nanos(slowest))
}

/// Answers of each target that tell how long one takes.
const PROBES: u64 = 5;

/// Threads that keep the schedule although each answer takes three times as long as the slowest so far, and 50 ms at least.
fn lanes_for(slowest: Duration, rate: f64) -> usize {
    let busy = (3.0 * slowest.as_secs_f64()).max(0.05);
    ((rate * busy).ceil() as usize).clamp(1, LANES_MAX)
}

/// A number that no pair has: the provider's stamps of the warm-up are of no use.
fn warm_id(pace: &Pace, round: u64, target: usize) -> u64 {
    pace.schedule.id(round, target) | 1 << 62
}

/// One thread's part.
struct Lane<'a> {
    target: &'a Target,
    number: usize,
    lane: usize,
    lanes: usize,
    question: &'a Question,
    pace: &'a Pace,
}

impl Lane<'_> {
    /// A connection over which the warm-up has gone.
    fn warm(&self) -> Link {
        let mut link = Link::new(self.target.place.clone(), self.pace.timeout);
        let mut request = Vec::new();
        for round in 0..self.pace.warm_up {
            if link.warm().is_err() {
                break;
            }
            let ask = self.question.ask(warm_id(self.pace, round * LANES_MAX as u64 + self.lane as u64, self.number));
            request.clear();
            link.compose(&ask, &self.target.key, &mut request);
            link.exchange(&ask, &request);
        }
        link
    }

    fn run(&self, mut link: Link, start: u64, stop: &Stop) -> (Vec<Row>, u64) {
        let schedule = &self.pace.schedule;
        // Whether or not it stands already: a connection of the warm-up is not counted.
        let _ = link.warm();
        let opened = link.opened;
        let mut rows = Vec::new();
        let mut request = Vec::new();
        for pair in (self.lane as u64..schedule.pairs).step_by(self.lanes) {
            let planned = start + u64::try_from(schedule.at(pair, self.number).as_nanos()).unwrap_or(u64::MAX / 2);
            let ask = self.question.ask(schedule.id(pair, self.number));
            request.clear();
            link.compose(&ask, &self.target.key, &mut request);
            let held = monotonic_ns() > planned;
            // A connection that cannot be opened shows as the request's outcome.
            let _ = link.warm();
            sleep_until(planned);
            if stop.is_stopped() {
                break;
            }
            let reply = link.exchange(&ask, &request);
            rows.push(Row { pair, target: self.number, planned, held, reply });
        }
        (rows, link.opened - opened)
    }
}

fn sleep_until(instant: u64) {
    let now = monotonic_ns();
    if instant > now {
        std::thread::sleep(Duration::from_nanos(instant - now));
    }
}

//! A run: so many workers, each with its own connection, take requests one by one until count or time is up.
//!
//! In the closed loop a worker takes the next request when it has finished the last. On a schedule a thread of its own wakes
//! for every planned instant and hands the request to whichever worker is free; if none is, the request waits, and its wait
//! counts.

use super::client::{Connection, Reading, Response, Trouble};
use super::prompt::Prompts;
use super::report::Report;
use super::tally::{Ending, Tally};
use super::target::Target;
use super::verify::Expectation;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};

/// In what rhythm requests leave.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// As fast as answers come, until so many were sent or the time is up.
    Closed {
        /// Requests at most.
        requests: u64,
        /// Time at most.
        at_most: Option<Duration>,
    },
    /// One every 1/rate seconds, however long answers take.
    Open {
        /// Requests per second.
        rate: f64,
        /// For how long.
        duration: Duration,
    },
}

/// Everything a run needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// What they say.
    pub prompts: Prompts,
    /// The access key they show.
    pub key: String,
    /// Connections, and so requests in flight, at most.
    pub connections: usize,
    /// In what rhythm they leave.
    pub shape: Shape,
    /// How long one answer may take, connecting included.
    pub timeout: Duration,
    /// Compare every answer with what the simulator must have sent.
    pub verify: bool,
    /// The model that answers, where the gateway maps the one asked for.
    pub verify_model: Option<String>,
}

/// What the workers of one run share; they live on one thread.
struct Floor {
    plan: Plan,
    tally: RefCell<Tally>,
    taken: Cell<u64>,
    closing: Option<Instant>,
}

/// Runs a plan to its end on a runtime of its own.
///
/// # Errors
/// The event loop or the pacing thread could not be started.
pub fn run(plan: &Plan) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let closing = match plan.shape {
        Shape::Closed { at_most, .. } => at_most.map(|time| started + time),
        Shape::Open { .. } => None,
    };
    let floor = Rc::new(Floor { plan: plan.clone(), tally: RefCell::default(), taken: Cell::new(0), closing });
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, all_workers(&floor))?;
    let elapsed = started.elapsed();
    let tally = floor.tally.take();
    Ok(Report { plan: plan.clone(), tally, elapsed })
}

async fn all_workers(floor: &Rc<Floor>) -> anyhow::Result<()> {
    let queue = match floor.plan.shape {
        Shape::Closed { .. } => None,
        Shape::Open { rate, duration } => Some(Rc::new(Mutex::new(pacer(rate, duration)?))),
    };
    let mut workers = Vec::with_capacity(floor.plan.connections);
    for _ in 0..floor.plan.connections {
        let (floor, queue) = (Rc::clone(floor), queue.clone());
        workers.push(tokio::task::spawn_local(async move {
            let mut worker = Worker { floor, connection: None };
            match queue {
                None => worker.closed_loop().await,
                Some(queue) => worker.open_loop(&queue).await,
            }
        }));
    }
    for worker in workers {
        worker.await?;
    }
    Ok(())
}

/// Starts the thread that keeps the schedule. It sleeps to shortly before each instant and spins the rest, since sleeps
/// are late by tens of microseconds and event-loop timers by up to a millisecond.
fn pacer(rate: f64, duration: Duration) -> anyhow::Result<mpsc::UnboundedReceiver<(u64, Instant)>> {
    let (planned, queue) = mpsc::unbounded_channel();
    let count = (rate * duration.as_secs_f64()).round().max(1.0) as u64;
    std::thread::Builder::new().name("pacer".into()).spawn(move || {
        let start = Instant::now() + LEAD;
        for index in 0..count {
            let instant = start + Duration::from_secs_f64(index as f64 / rate);
            if let Some(sleep) = instant.checked_duration_since(Instant::now() + SPIN) {
                std::thread::sleep(sleep);
            }
            while Instant::now() < instant {
                std::hint::spin_loop();
            }
            if planned.send((index, instant)).is_err() {
                return;
            }
        }
    })?;
    Ok(queue)
}

/// Time for the workers to be ready before the first request.
const LEAD: Duration = Duration::from_millis(20);
/// The end of a wait that is spun instead of slept.
const SPIN: Duration = Duration::from_micros(120);

struct Worker {
    floor: Rc<Floor>,
    connection: Option<Connection>,
}

impl Worker {
    async fn closed_loop(&mut self) {
        let Shape::Closed { requests, .. } = self.floor.plan.shape else { return };
        loop {
            let index = self.floor.taken.get();
            let closed = self.floor.closing.is_some_and(|closing| Instant::now() >= closing);
            if index >= requests || closed {
                return;
            }
            self.floor.taken.set(index + 1);
            self.request(index, None).await;
        }
    }

    async fn open_loop(&mut self, queue: &Mutex<mpsc::UnboundedReceiver<(u64, Instant)>>) {
        loop {
            let next = queue.lock().await.recv().await;
            match next {
                Some((index, planned)) => self.request(index, Some(planned)).await,
                None => return,
            }
        }
    }

    /// Sends one request and counts its one outcome. Without a planned instant, latency counts from when it was ready.
    async fn request(&mut self, index: u64, planned: Option<Instant>) {
        let floor = Rc::clone(&self.floor);
        let plan = &floor.plan;
        let body = plan.prompts.body(index);
        let bytes = request_bytes(plan, &body);
        let planned = planned.unwrap_or_else(Instant::now);
        let reading = Reading { stream: plan.prompts.stream, keep_body: plan.verify };
        let attempt = tokio::time::timeout(plan.timeout, self.exchange(&bytes, reading)).await;
        let mut tally = floor.tally.borrow_mut();
        match attempt {
            Err(_) => {
                self.connection = None;
                tally.count(Ending::Timeout);
                tally.sample(|| format!("request {index}: no whole answer within {:?}", plan.timeout));
            }
            Ok(Err(trouble)) => {
                self.connection = None;
                tally.count(Ending::from(&trouble));
                tally.sample(|| format!("request {index}: {trouble:?}"));
            }
            Ok(Ok((_, response))) if response.status != 200 => {
                tally.count(Ending::of_status(response.status));
                tally.sample(|| format!("request {index}: status {}", response.status));
            }
            Ok(Ok((sent, response))) => match check(plan, &body, &response, &mut tally) {
                Ok(()) => tally.count_ok(planned, sent, &response),
                Err(difference) => {
                    tally.count(Ending::Mismatch);
                    tally.sample(|| format!("request {index}: {difference}"));
                }
            },
        }
    }

    async fn exchange(&mut self, bytes: &[u8], reading: Reading) -> Result<(Instant, Response), Trouble> {
        let kept = self.connection.take().and_then(|mut kept| kept.usable().then_some(kept));
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                self.floor.tally.borrow_mut().connections += 1;
                Connection::open(&self.floor.plan.target).await?
            }
        };
        let sent = Instant::now();
        let response = connection.exchange(bytes, reading).await?;
        self.connection = Some(connection);
        Ok((sent, response))
    }
}

fn check(plan: &Plan, body: &[u8], response: &Response, tally: &mut Tally) -> Result<(), String> {
    if !plan.verify {
        return Ok(());
    }
    tally.verified += 1;
    Expectation::new(body, plan.verify_model.as_deref())?.check(&response.body)
}

fn request_bytes(plan: &Plan, body: &[u8]) -> Vec<u8> {
    let (target, key) = (&plan.target, &plan.key);
    let accept = if plan.prompts.stream { "text/event-stream" } else { "application/json" };
    let mut bytes = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         accept: {accept}\r\nuser-agent: igris-load/{}\r\ncontent-length: {}\r\n\r\n",
        target.path,
        target.host,
        env!("CARGO_PKG_VERSION"),
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

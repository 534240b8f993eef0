//! The only file that sees everything: builds both planes, starts them, passes signals on, and ends them in order.
//!
//! The data plane runs on one thread per core, the control plane on one thread of its own; this thread waits for signals. Stopping is the
//! reverse of starting (`stop`). A process may hand over to another one instead (`succession`, and `takeover` in the other).

mod books;
mod control;
mod cores;
mod inbox;
mod invocation;
mod listening;
mod service;
mod stop;
mod succession;
mod takeover;

pub use invocation::Invocation;

use crate::admin;
use crate::board::Board;
use crate::config::{self, Config};
use crate::control_plane::{self, Chosen, ConfigSource, Control, ControlError, Footing, Guard, Opened, Start};
use crate::data_plane::per_core::PhaseSwitch;
use crate::domain::clock::UnixMillis;
use crate::domain::text::bounded;
use crate::handover::Passed;
use crate::ledger::Ledger;
use crate::limits;
use crate::report::{AttemptReport, CoreReports};
use crate::rt::{self, DriverChoice, Workers};
use crate::telemetry::{self, LogFormat};
use crate::vault;
use anyhow::Context;
use books::Books;
use control::{ControlPlan, Office};
use cores::Crew;
use inbox::Inbox;
use listening::Listening;
use service::Service;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use takeover::Heir;

/// What `igris serve` was told on its command line.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Configuration file; without it the environment says what to serve.
    pub config: Option<PathBuf>,
    /// Addresses instead of the configured ones.
    pub listen: Vec<SocketAddr>,
    /// Admin socket instead of the configured one.
    pub admin_socket: Option<PathBuf>,
    /// Where state lives.
    pub data_dir: PathBuf,
    /// Cores instead of the configured number; 0 takes all.
    pub workers: Option<usize>,
    /// I/O driver instead of the configured one.
    pub io: Option<DriverChoice>,
    /// How log lines look.
    pub log: Option<LogFormat>,
    /// Whether every attempt has its log line.
    pub verbose: bool,
    /// Whether to go on where core dumps cannot be forbidden.
    pub insecure_dumps: bool,
    /// Address of the dashboard instead of the configured one.
    pub dashboard: Option<SocketAddr>,
    /// Public keys that must have signed the configuration, as texts or files.
    pub trust_keys: Vec<String>,
    /// How many of them; all unless set.
    pub trust_threshold: Option<usize>,
    /// What this gateway's fleet is called, for `not_for`.
    pub fleet_label: Option<String>,
    /// Whether to go on without what follows a damaged record of the journal.
    pub ledger_degraded: bool,
    /// How the process was started; without it, it neither hands over nor speaks to systemd.
    pub invocation: Option<Invocation>,
    /// The disk of the ledger journal instead of the machine's own, for tests of what a bad one does.
    pub ledger_disk: Option<Arc<dyn crate::ledger::Disk>>,
}

/// A gateway that is up.
pub struct Running {
    /// Addresses it listens on, ports filled in.
    pub addresses: Vec<SocketAddr>,
    /// Text of the access key that was made on this start, to be shown once.
    pub minted: Option<vault::access_key::AccessKeyText>,
    /// How to speak to them: `http` or `https`.
    pub scheme: &'static str,
    /// Where the dashboard is, with its one-time login.
    pub dashboard_url: Option<String>,
    control: Shared,
    phase: PhaseSwitch,
    workers: Workers,
    listening: Arc<Listening>,
    reports: Vec<Arc<CoreReports>>,
    ledger: Option<Arc<Ledger>>,
    office: Office,
    books: Arc<Books>,
    inbox: Inbox,
    service: Service,
    invocation: Option<Invocation>,
    /// Threads that book what the process before this one still counts.
    before: Vec<JoinHandle<()>>,
    /// Whether another process serves.
    parted: bool,
    drain_timeout: Duration,
    log: LogFormat,
}

type Shared = Arc<Mutex<Control>>;

/// Serves until told to stop.
pub fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let running = start(options, |name| std::env::var(name).ok())?;
    announce(&running);
    running.wait()
}

fn announce(running: &Running) {
    if let Some(key) = &running.minted {
        println!("access key (shown once): {}", String::from_utf8_lossy(key.expose()));
    }
    for address in &running.addresses {
        println!("listening on {}://{address}", running.scheme);
    }
    if let Some(url) = &running.dashboard_url {
        println!("dashboard: {url}");
    }
}

/// Starts both planes. A process that shall take over does so before this returns.
pub fn start(options: ServeOptions, env: Environment) -> anyhow::Result<Running> {
    harden(options.insecure_dumps)?;
    let (mut heir, passed) = match &options.invocation {
        Some(invocation) if invocation.takes_over => {
            let (heir, passed) = Heir::join()?;
            (Some(heir), passed)
        }
        Some(invocation) => (None, service::passed(invocation)?),
        None => (None, Vec::new()),
    };
    let running = begin(options, env, heir.as_mut(), passed);
    match (running, heir) {
        (Ok(running), Some(heir)) => running.succeed(heir),
        (Err(error), Some(mut heir)) => {
            heir.refuse(&error);
            Err(error)
        }
        (running, None) => running,
    }
}

fn begin(
    options: ServeOptions,
    env: Environment,
    mut heir: Option<&mut Heir>,
    mut passed: Vec<Passed>,
) -> anyhow::Result<Running> {
    let (Chosen { config, stamp, footing, .. }, source) = read_config(&options, env)?;
    let driver = rt::resolve(options.io.unwrap_or(choice(config.server.io)))?;
    let cores = match options.workers.unwrap_or(config.server.workers) {
        0 => rt::allowed_cpus().len().max(1),
        count => count,
    };
    let log = log_format(&options, &config);
    let board = Arc::new(Board::default());
    let reports: Vec<Arc<CoreReports>> =
        (0..cores).map(|_| Arc::new(CoreReports::new(limits::REPORTS_WAITING_MAX))).collect();
    let listen = if options.listen.is_empty() { config.server.listen.clone() } else { options.listen.clone() };
    let plan = plan(&options, &config, env, log)?;
    let (drain_timeout, journal) = (config.server.drain_timeout, config.ledger.clone());
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let per_core = config.server.limits.connections_per_core;
    // What another process listens on is ours only when it says so; a new address may be bound before, since nobody knows it yet.
    let early = match &heir {
        Some(_) => Some(Arc::new(Listening::open(&listen, &mut passed, cores)?)),
        None => None,
    };
    let start = Start {
        config,
        stamp,
        footing,
        source,
        data_dir: options.data_dir.clone(),
        reports: reports.clone(),
        board: board.clone(),
        driver: driver.to_string(),
        workers: cores,
        control_socket: plan.internal_socket.clone(),
        env: Box::new(env),
        clock: UnixMillis::now,
        entropy: Box::new(vault::OsEntropy),
    };
    let Opened { mut control, minted } = Control::open_after(start, || prepared(&mut heir))?;
    if options.verbose {
        control.observe(Box::new(move |report| {
            telemetry::log(log, &attempt_time(report), "attempt", &attempt_line(report))
        }));
    }
    let ledger = books::open_ledger(&options, &journal, cores, &mut control)?;
    if let Some(ledger) = ledger.clone() {
        control.watch_ledger(Box::new(move || ledger.status()));
    }
    let (phase, inbox) = (PhaseSwitch::default(), Inbox::new());
    let published = control.published();
    // Sockets last: whoever can connect finds a gateway that is ready.
    let listening = match early {
        Some(listening) => listening,
        None => Arc::new(Listening::open(&listen, &mut passed, cores)?),
    };
    let control = Arc::new(Mutex::new(control));
    let office = Office::open(plan, control.clone(), phase.clone(), inbox.sender(), passed)?;
    if let Some(heir) = heir {
        heir.wait_for_sockets()?;
    }
    let workers = cores::start(Crew {
        driver,
        listening: listening.clone(),
        published,
        reports: reports.clone(),
        ledger: ledger.clone(),
        board,
        phase: phase.clone(),
        connections_max: per_core.min(cores::descriptors_per_core(cores)),
    })?;
    Ok(Running {
        addresses: listening.addresses(),
        minted,
        scheme,
        dashboard_url: office.dashboard_url.clone(),
        books: Books::new(control.clone(), log),
        service: Service::new(options.invocation.as_ref()),
        control,
        phase,
        workers,
        listening,
        reports,
        ledger,
        office,
        inbox,
        invocation: options.invocation,
        before: Vec::new(),
        parted: false,
        drain_timeout,
        log,
    })
}

impl Running {
    /// The last step of a take-over: once every core accepts, the old process is told, and what it still counts is booked here.
    fn succeed(mut self, mut heir: Heir) -> anyhow::Result<Self> {
        if !stop::all_accept(&self) {
            let error = anyhow::anyhow!("a core of the new process does not start; see its log");
            heir.refuse(&error);
            return Err(error);
        }
        // From the next word on the old one does not end us any more, and signals are meant for us.
        self.inbox.hear_signals()?;
        let channel = heir.serve()?;
        self.office.own();
        self.before.push(books::attend(channel, self.books.clone())?);
        control_plane::lock(&self.control).note_handover("took over from the process before");
        Ok(self)
    }
}

/// Says that everything but the store is read and good, if somebody waits for it.
fn prepared(heir: &mut Option<&mut Heir>) -> Result<(), ControlError> {
    heir.as_mut().map_or(Ok(()), |heir| heir.wait_for_store())
}

fn plan(options: &ServeOptions, config: &Config, env: Environment, log: LogFormat) -> anyhow::Result<ControlPlan> {
    let admin_socket = options.admin_socket.clone().or_else(|| config.admin.socket.clone());
    let admission = admin::Admission::new(&config.admin, &env);
    Ok(ControlPlan {
        admin_socket: admin_socket.unwrap_or_else(|| options.data_dir.join("admin.sock")),
        allowed_uids: config.admin.allowed_uids.iter().map(|user| user.uid).collect(),
        dashboard_hosts: config.admin.dashboard_hosts.clone(),
        admission: admission.context("a token of [[admin.tokens]] cannot be used")?,
        internal_socket: options.data_dir.join("control.sock"),
        dashboard: options.dashboard.or(config.admin.dashboard),
        metrics: config.admin.metrics,
        log,
    })
}

fn log_format(options: &ServeOptions, config: &Config) -> LogFormat {
    options.log.unwrap_or(match config.log.format {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Text => LogFormat::Text,
    })
}

/// Keeps memory out of core dumps and other processes' reach (rule V12).
fn harden(insecure_dumps: bool) -> anyhow::Result<()> {
    match vault::harden_process() {
        Err(error) if !insecure_dumps => Err(error)
            .context("cannot forbid core dumps; start with --insecure-dumps to accept that keys may be dumped"),
        _ => Ok(()),
    }
}

/// How variables of the environment are read.
type Environment = fn(&str) -> Option<String>;

/// What to serve: the environment, or the file, or what the store knows to stand above the file.
fn read_config(options: &ServeOptions, env: Environment) -> anyhow::Result<(Chosen, ConfigSource)> {
    let guard = Guard::read(&options.trust_keys, options.trust_threshold, options.fleet_label.clone())?;
    match &options.config {
        None if guard.pins.is_some() => {
            let what = "--trust-key asks for a signed file and there is none; add --config FILE".to_owned();
            Err(ControlError::Config(vec![what]).into())
        }
        None => {
            let (config, stamp) = control_plane::sidecar_config(&env)?;
            let chosen = Chosen { config, stamp, warnings: Vec::new(), footing: Footing::default() };
            Ok((chosen, ConfigSource::Environment))
        }
        Some(path) => {
            let chosen = control_plane::choose(path, &options.data_dir, guard, UnixMillis::now())?;
            chosen.warnings.iter().for_each(|warning| eprintln!("{warning}"));
            Ok((chosen, ConfigSource::File(path.clone())))
        }
    }
}

fn choice(io: config::Io) -> DriverChoice {
    match io {
        config::Io::Auto => DriverChoice::Auto,
        config::Io::IoUring => DriverChoice::IoUring,
        config::Io::Epoll => DriverChoice::Epoll,
    }
}

fn attempt_time(report: &AttemptReport) -> String {
    report.started.to_rfc3339()
}

/// One attempt on one line: ids, names and figures, no text of client or provider (rule R1).
fn attempt_line(report: &AttemptReport) -> String {
    format!(
        "{} tenant={} provider={} model={} outcome={} status={} input={} output={} cost_usd={} first_byte_us={} total_us={}",
        report.exchange,
        report.tenant,
        report.provider,
        bounded(&report.model, limits::LOG_TEXT_BYTES_MAX),
        report.outcome.name(),
        report.status,
        report.usage.input,
        report.usage.output,
        report.cost.map_or_else(|| "unknown".to_owned(), |cost| cost.to_string()),
        report.first_byte_us,
        report.total_us
    )
}

//! The only file that sees everything: builds both planes, starts them, passes signals on, and ends them in order.
//!
//! The data plane runs on one thread per core, the control plane on one thread of its own; this thread waits for signals. Stopping is the
//! reverse of starting: no new connections, exchanges in flight finish, what is left is cut, the last reports are stored (rule S1).

use crate::admin::{self, Ceiling, Drain};
use crate::board::Board;
use crate::config::{self, Config};
use crate::control_plane::{self, ConfigSource, Control, Start};
use crate::dashboard::{self, Token};
use crate::data_plane::idempotency::Outcomes;
use crate::data_plane::per_core::{Phase, PhaseSwitch};
use crate::data_plane::vitals::Vitals;
use crate::data_plane::worker::{self, Post};
use crate::domain::clock::UnixMillis;
use crate::domain::text::bounded;
use crate::limits;
use crate::report::{AttemptReport, CoreReports};
use crate::rt::{self, Driver, DriverChoice, WorkerSpec, Workers};
use crate::snapshot::{ConfigStamp, Published};
use crate::telemetry::{self, LogFormat};
use crate::vault;
use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::TcpListener as TcpMetrics;
use tokio::sync::watch;

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
    sockets: Sockets,
    reports: Vec<Arc<CoreReports>>,
    stop: watch::Sender<bool>,
    control_thread: JoinHandle<()>,
    drain_timeout: Duration,
    log: LogFormat,
}

type Shared = Arc<Mutex<Control>>;

/// Listening sockets by address and core. Kept beside the workers, so that a worker started again finds its sockets and what waits in
/// them; emptied when the drain begins, so that the kernel refuses new connections.
type Sockets = Arc<Mutex<Vec<Vec<TcpListener>>>>;

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

/// Starts both planes.
pub fn start(options: ServeOptions, env: Environment) -> anyhow::Result<Running> {
    harden(options.insecure_dumps)?;
    let (config, stamp, source) = read_config(&options, env)?;
    let driver = rt::resolve(options.io.unwrap_or(choice(config.server.io)))?;
    let cores = match options.workers.unwrap_or(config.server.workers) {
        0 => rt::allowed_cpus().len().max(1),
        count => count,
    };
    let log = options.log.unwrap_or(match config.log.format {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Text => LogFormat::Text,
    });
    let board = Arc::new(Board::default());
    let reports: Vec<Arc<CoreReports>> =
        (0..cores).map(|_| Arc::new(CoreReports::new(limits::REPORTS_WAITING_MAX))).collect();
    let listen = if options.listen.is_empty() { config.server.listen.clone() } else { options.listen.clone() };
    let plan = ControlPlan {
        admin_socket: options
            .admin_socket
            .clone()
            .or_else(|| config.admin.socket.clone())
            .unwrap_or_else(|| options.data_dir.join("admin.sock")),
        allowed_uids: config.admin.allowed_uids.clone(),
        internal_socket: options.data_dir.join("control.sock"),
        dashboard: options.dashboard.or(config.admin.dashboard),
        metrics: config.admin.metrics,
        log,
    };
    let drain_timeout = config.server.drain_timeout;
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let per_core = config.server.limits.connections_per_core;
    let mut opened = Control::open(Start {
        config,
        stamp,
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
    })?;
    if options.verbose {
        opened.control.observe(Box::new(move |report| {
            telemetry::log(log, &attempt_time(report), "attempt", &attempt_line(report))
        }));
    }
    let phase = PhaseSwitch::default();
    let published = opened.control.published();
    // Sockets last: whoever can connect finds a gateway that is ready.
    let bound = listen.iter().map(|address| bind(*address, cores)).collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = bound.iter().filter_map(|per_core| per_core.first()?.local_addr().ok()).collect();
    let sockets = Arc::new(Mutex::new(bound));
    let control = Arc::new(Mutex::new(opened.control));
    let (stop, stopped) = watch::channel(false);
    let (control_thread, dashboard_url) = start_control(plan, control.clone(), phase.clone(), stopped)?;
    let connections_max = per_core.min(descriptors_per_core(cores));
    let workers =
        start_workers(driver, cores, sockets.clone(), published, &reports, (&board, &phase), connections_max)?;
    let minted = opened.minted;
    Ok(Running {
        addresses,
        minted,
        scheme,
        dashboard_url,
        control,
        phase,
        workers,
        sockets,
        reports,
        stop,
        control_thread,
        drain_timeout,
        log,
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

fn read_config(options: &ServeOptions, env: Environment) -> anyhow::Result<(Config, ConfigStamp, ConfigSource)> {
    match &options.config {
        None => {
            let (config, stamp) = control_plane::sidecar_config(&env)?;
            Ok((config, stamp, ConfigSource::Environment))
        }
        Some(path) => {
            let (config, stamp, warnings) = control_plane::read_config(path)?;
            warnings.iter().for_each(|warning| eprintln!("{warning}"));
            Ok((config, stamp, ConfigSource::File(path.clone())))
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

// ---- Data plane -------------------------------------------------------------------------------------------------------------

/// One listening socket per core on the same address, so that the kernel spreads connections (`SO_REUSEPORT`).
fn bind(address: SocketAddr, cores: usize) -> anyhow::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = listen_on(address)
            .with_context(|| format!("cannot listen on {address}; stop what uses it or choose another --listen"))?;
        // Where port 0 was asked for, the first socket decides.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Connections a core may hold so that descriptors for providers and files remain: each may need one more upstream.
fn descriptors_per_core(cores: usize) -> usize {
    let limit =
        rlimit::increase_nofile_limit(u64::MAX).map_or(1024, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.saturating_sub(limits::DESCRIPTORS_RESERVED);
    (limit / 2 / cores.max(1)).clamp(16, limits::CONNECTIONS_PER_CORE_MAX)
}

fn start_workers(
    driver: Driver,
    cores: usize,
    sockets: Sockets,
    published: Published,
    reports: &[Arc<CoreReports>],
    (board, phase): (&Arc<Board>, &PhaseSwitch),
    connections_max: usize,
) -> anyhow::Result<Workers> {
    let (reports, board, phase) = (reports.to_vec(), board.clone(), phase.clone());
    let descriptors_max = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let vitals = Arc::new(Vitals::of_process(descriptors_max, cores));
    let outcomes = Arc::new(Outcomes::default());
    let workers = Workers::start(driver, WorkerSpec::one_per_core(cores), move |index| {
        let bound = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let own = bound.iter().filter_map(|per_core| per_core.get(index.0)?.try_clone().ok()).collect();
        worker::run(Post {
            index: index.0,
            listeners: own,
            published: published.clone(),
            reports: reports[index.0].clone(),
            board: board.clone(),
            phase: phase.clone(),
            vitals: vitals.clone(),
            outcomes: outcomes.clone(),
            connections_max,
        })
    })?;
    Ok(workers)
}

// ---- Control plane ----------------------------------------------------------------------------------------------------------

struct ControlPlan {
    admin_socket: PathBuf,
    allowed_uids: Vec<u32>,
    internal_socket: PathBuf,
    dashboard: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    log: LogFormat,
}

/// Starts the control plane's thread; returns once its sockets are bound.
fn start_control(
    plan: ControlPlan,
    control: Shared,
    phase: PhaseSwitch,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(JoinHandle<()>, Option<String>)> {
    let (ready, bound) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("igris-control".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(anyhow::Error::from(error)))),
        };
        runtime.block_on(async move {
            match bind_control(&plan, &control, &phase, &stopped).await {
                Ok((tasks, url)) => {
                    drop(ready.send(Ok(url)));
                    run_control(plan.log, control, tasks, stopped).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    })?;
    let url = bound.recv().context("the control plane ended before it began")??;
    Ok((thread, url))
}

type Task = tokio::task::JoinHandle<()>;

/// Binds the control plane's sockets and starts what serves them.
async fn bind_control(
    plan: &ControlPlan,
    control: &Shared,
    phase: &PhaseSwitch,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<(Vec<Task>, Option<String>)> {
    let internal = admin::bind(&plan.internal_socket, &[])?;
    let api = admin::tenant_api::router(control.clone());
    let socket = admin::bind(&plan.admin_socket, &plan.allowed_uids)?;
    let phase = phase.clone();
    let drain: Drain = Arc::new(move || phase.advance(Phase::Draining));
    let mut tasks = vec![
        tokio::spawn(admin::serve(internal, api, Ceiling::INTERNAL, stopped.clone())),
        tokio::spawn(admin::serve(socket, admin::router(control.clone(), drain), Ceiling::ADMIN, stopped.clone())),
    ];
    if let Some(address) = plan.metrics {
        let listener = TcpMetrics::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} for metrics; choose another `admin.metrics`"))?;
        let router = admin::metrics_router(control.clone());
        tasks.push(tokio::spawn(admin::serve(listener, router, Ceiling::ADMIN, stopped.clone())));
    }
    let Some(address) = plan.dashboard else { return Ok((tasks, None)) };
    let dashboard = dashboard::bind(address, Token::make(&mut vault::OsEntropy)?).await?;
    let link = dashboard.link()?;
    tasks.push(tokio::spawn(dashboard.serve(control.clone(), stopped.clone())));
    Ok((tasks, Some(link)))
}

/// The control plane's own work, and its events as log lines, until the end.
async fn run_control(log: LogFormat, control: Shared, tasks: Vec<Task>, stopped: watch::Receiver<bool>) {
    let lines = tokio::spawn(write_events(log, control.clone()));
    control_plane::run(control, stopped).await;
    for task in tasks {
        let _ = task.await;
    }
    lines.abort();
    let _ = lines.await;
}

async fn write_events(log: LogFormat, control: Shared) {
    let mut last = 0;
    loop {
        print_events(log, &control, &mut last);
        tokio::time::sleep(limits::EVENT_LOG_TICK).await;
    }
}

/// Prints the events after `last`, and moves it on.
fn print_events(log: LogFormat, control: &Shared, last: &mut u64) {
    let events = control_plane::lock(control).recent_events();
    for event in events.iter().filter(|event| event.sequence > *last) {
        telemetry::log(log, &event.at, event.kind, &event.text);
    }
    *last = events.last().map_or(*last, |event| event.sequence);
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

// ---- Signals and the end ----------------------------------------------------------------------------------------------------

impl Running {
    /// Serves until told to stop, then ends in order.
    pub fn wait(self) -> anyhow::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let drainer = signals.handle();
        let watcher = {
            let phase = self.phase.clone();
            thread::spawn(move || until_draining(&phase, &drainer))
        };
        for signal in signals.forever() {
            match signal {
                SIGHUP => self.reload(),
                _ => break,
            }
        }
        self.phase.advance(Phase::Draining);
        let _ = watcher.join();
        self.drain()
    }

    fn reload(&self) {
        let mut control = control_plane::lock(&self.control);
        // What came of it is among the events; every problem of a refused file is said here.
        if let Err(error) = control.reload("signal", None) {
            let at = UnixMillis::now().to_rfc3339();
            error.lines().iter().for_each(|line| telemetry::log(self.log, &at, "config", line));
        }
    }

    /// Lets exchanges finish, cuts what is left, stores the last reports (rule S1).
    fn drain(self) -> anyhow::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let began = Instant::now();
        while self.workers.alive() > 0 {
            let streams: u64 = self.sum(|gauges| gauges.streams.load(Ordering::Relaxed));
            let patience =
                if streams > 0 { limits::SHUTDOWN_STREAM_GRACE.max(self.drain_timeout) } else { self.drain_timeout };
            if began.elapsed() > patience || signals.pending().next().is_some() {
                self.phase.advance(Phase::Cutting);
            }
            thread::sleep(limits::WORKER_TICK);
        }
        self.workers.join()?;
        let _ = self.stop.send(true);
        let _ = self.control_thread.join();
        control_plane::lock(&self.control).ingest()?;
        Ok(())
    }

    fn sum(&self, gauge: impl Fn(&crate::report::CoreGauges) -> u64) -> u64 {
        self.reports.iter().map(|core| gauge(&core.gauges)).sum()
    }
}

/// Ends the wait for signals when somebody drains over the admin socket.
fn until_draining(phase: &PhaseSwitch, signals: &signal_hook::iterator::Handle) {
    while phase.phase() == Phase::Serving {
        thread::sleep(limits::WORKER_TICK);
    }
    signals.close();
}

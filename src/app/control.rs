//! The control plane's thread: its sockets, what serves them, and its own work.

use super::Shared;
use super::inbox::Wake;
use crate::admin::{self, AdminSocket, Ceiling, Drain, Hold, Keeper, UpgradeDesk};
use crate::control_plane;
use crate::dashboard::{Behind, Dashboard, Token};
use crate::data_plane::per_core::{Phase, PhaseSwitch};
use crate::handover::{Passed, SocketKind};
use crate::limits;
use crate::telemetry::{self, LogFormat};
use crate::vault;
use anyhow::Context;
use axum::extract::Extension;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

/// Where it shall be found.
pub(super) struct ControlPlan {
    pub(super) admin_socket: PathBuf,
    pub(super) allowed_uids: Vec<u32>,
    pub(super) admission: admin::Admission,
    pub(super) internal_socket: PathBuf,
    pub(super) dashboard: Option<SocketAddr>,
    /// Names under which the dashboard may be reached.
    pub(super) dashboard_hosts: Vec<String>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) log: LogFormat,
}

/// The thread and its doors.
pub(super) struct Office {
    thread: JoinHandle<()>,
    /// Where the dashboard is, with its one-time login.
    pub(super) dashboard_url: Option<String>,
    doors: Doors,
    stop: watch::Sender<bool>,
}

/// The listening sockets.
#[derive(Default)]
struct Doors {
    /// Requests that the data plane forwards.
    forwarded: Hold,
    /// Everything else.
    operators: Hold,
    /// The same sockets for the next process.
    passed: Vec<Passed>,
    /// Over the names of those that are ours.
    keepers: Vec<Keeper>,
}

type Task = tokio::task::JoinHandle<()>;

impl Office {
    /// Starts the thread; returns once its sockets are bound, or taken out of what was passed.
    pub(super) fn open(
        mut plan: ControlPlan,
        control: Shared,
        phase: PhaseSwitch,
        wakes: Sender<Wake>,
        passed: Vec<Passed>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (ready, bound) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("igris-control".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(anyhow::Error::from(error)))),
            };
            runtime.block_on(async move {
                let opening = Opening { control: control.clone(), phase, wakes, stopped: stopped.clone(), passed };
                match opening.bind(&mut plan).await {
                    Ok((tasks, doors, url)) => {
                        drop(ready.send(Ok((doors, url))));
                        run(plan.log, control, tasks, stopped).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        })?;
        let (doors, dashboard_url) = bound.recv().context("the control plane ended before it began")??;
        Ok(Self { thread, dashboard_url, doors, stop })
    }

    /// The same sockets for the next process.
    pub(super) fn passed(&self) -> std::io::Result<Vec<Passed>> {
        self.doors.passed.iter().map(Passed::try_clone).collect()
    }

    /// Takes no connections any more, and waits a moment for what the data plane has under way.
    pub(super) fn hold(&self) {
        self.doors.forwarded.hold();
        self.doors.operators.hold();
        let end = Instant::now() + limits::HANDOVER_FORWARDED_DEADLINE;
        loop {
            // A connection that was accepted in this moment is counted in the next.
            thread::sleep(limits::HANDOVER_SLICE);
            if self.doors.forwarded.connections() == 0 || Instant::now() > end {
                return;
            }
        }
    }

    /// Answers again.
    pub(super) fn answer(&self) {
        self.doors.forwarded.release();
        self.doors.operators.release();
    }

    /// The sockets and their names are another process's.
    pub(super) fn leave(&mut self) {
        self.doors.keepers.iter().for_each(Keeper::leave);
        self.doors.forwarded.over();
        self.doors.operators.over();
        self.doors.passed.clear();
    }

    /// The names of the sockets are ours.
    pub(super) fn own(&self) {
        self.doors.keepers.iter().for_each(Keeper::own);
    }

    /// Ends the thread after its last work.
    pub(super) fn close(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// What is needed to open the doors.
struct Opening {
    control: Shared,
    phase: PhaseSwitch,
    wakes: Sender<Wake>,
    stopped: watch::Receiver<bool>,
    passed: Vec<Passed>,
}

impl Opening {
    /// Binds the control plane's sockets and starts what serves them.
    async fn bind(mut self, plan: &mut ControlPlan) -> anyhow::Result<(Vec<Task>, Doors, Option<String>)> {
        let mut doors = Doors::default();
        let internal = self.unix(SocketKind::Control, &plan.internal_socket, &[], &mut doors)?;
        let admin = self.unix(SocketKind::Admin, &plan.admin_socket, &plan.allowed_uids, &mut doors)?;
        let metrics = match plan.metrics {
            Some(address) => Some(self.tcp(SocketKind::Metrics, address, "admin.metrics", &mut doors)?),
            None => None,
        };
        let dashboard = match plan.dashboard {
            Some(address) => {
                let listener = self.tcp(SocketKind::Dashboard, address, "admin.dashboard", &mut doors)?;
                Some(Dashboard::over(listener, Token::make(&mut vault::OsEntropy)?)?)
            }
            None => None,
        };
        let (control, stopped) = (self.control.clone(), self.stopped.clone());
        let (forwarded, operators) = (doors.forwarded.clone(), doors.operators.clone());
        let api = admin::gated(admin::tenant_api::router(control.clone()), forwarded.clone());
        let admission = Arc::new(std::mem::take(&mut plan.admission));
        let router =
            admin::router_for(control.clone(), self.drain(), admission.clone()).layer(Extension(self.upgrade_desk()));
        let router = admin::gated(router, operators.clone());
        let behind = Behind {
            api: router.clone(),
            admission,
            control: control.clone(),
            hosts: std::mem::take(&mut plan.dashboard_hosts),
        };
        let mut tasks = vec![
            tokio::spawn(admin::serve(forwarded.over_listener(internal), api, Ceiling::INTERNAL, stopped.clone())),
            tokio::spawn(admin::serve(operators.over_listener(admin), router, Ceiling::ADMIN, stopped.clone())),
        ];
        if let Some(listener) = metrics {
            listener.set_nonblocking(true)?;
            let listener = operators.over_listener(TcpListener::from_std(listener)?);
            let router = admin::metrics_router(control.clone());
            tasks.push(tokio::spawn(admin::serve(listener, router, Ceiling::ADMIN, stopped.clone())));
        }
        let Some(dashboard) = dashboard else { return Ok((tasks, doors, None)) };
        let link = dashboard.link()?;
        tasks.push(tokio::spawn(dashboard.serve(behind, operators, stopped)));
        Ok((tasks, doors, Some(link)))
    }

    fn drain(&self) -> Drain {
        let (phase, wakes) = (self.phase.clone(), self.wakes.clone());
        Arc::new(move || {
            phase.advance(Phase::Draining);
            let _ = wakes.send(Wake::Drain);
        })
    }

    fn upgrade_desk(&self) -> UpgradeDesk {
        let wakes = self.wakes.clone();
        UpgradeDesk::new(move |ask| {
            let (reply, outcome) = oneshot::channel();
            // Nobody there to take it drops the reply, which is an answer.
            let _ = wakes.send(Wake::Upgrade(ask, Some(reply)));
            outcome
        })
    }

    /// A Unix socket: passed, or bound.
    fn unix(
        &mut self,
        kind: SocketKind,
        path: &Path,
        allowed_uids: &[u32],
        doors: &mut Doors,
    ) -> anyhow::Result<AdminSocket> {
        let asked = path.display().to_string();
        let (socket, asked, lasting) = match self.take(kind, &asked) {
            Some(passed) => {
                let listener = UnixListener::from(passed.socket);
                let socket = admin::adopt(listener, Path::new(&passed.asked), passed.file, allowed_uids)?;
                (socket, passed.asked, passed.lasting)
            }
            None => (admin::bind(path, allowed_uids)?, asked, false),
        };
        let file = (!lasting).then(|| socket.file());
        doors.passed.push(Passed { kind, asked, lasting, file, socket: socket.duplicate()? });
        if !lasting {
            doors.keepers.push(socket.keeper());
        }
        Ok(socket)
    }

    /// A TCP socket: passed, or bound.
    fn tcp(
        &mut self,
        kind: SocketKind,
        address: SocketAddr,
        key: &str,
        doors: &mut Doors,
    ) -> anyhow::Result<std::net::TcpListener> {
        let asked = address.to_string();
        let (listener, asked, lasting) = match self.take(kind, &asked) {
            Some(passed) => (std::net::TcpListener::from(passed.socket), passed.asked, passed.lasting),
            None => {
                let bound = std::net::TcpListener::bind(address);
                (bound.with_context(|| format!("cannot listen on {address}; choose another `{key}`"))?, asked, false)
            }
        };
        let socket = listener.as_fd().try_clone_to_owned()?;
        doors.passed.push(Passed { kind, asked, lasting, file: None, socket });
        Ok(listener)
    }

    fn take(&mut self, kind: SocketKind, asked: &str) -> Option<Passed> {
        let fits = |passed: &Passed| passed.kind == kind && (passed.lasting || passed.asked == asked);
        let place = self.passed.iter().position(fits)?;
        Some(self.passed.swap_remove(place))
    }
}

/// The control plane's own work, and its events as log lines, until the end.
async fn run(log: LogFormat, control: Shared, tasks: Vec<Task>, stopped: watch::Receiver<bool>) {
    let lines = tokio::spawn(write_events(log, control.clone()));
    control_plane::run(control.clone(), stopped).await;
    for task in tasks {
        let _ = task.await;
    }
    lines.abort();
    let _ = lines.await;
}

async fn write_events(log: LogFormat, control: Shared) {
    let (mut last, mut tick) = (0, control_plane::every(limits::EVENT_LOG_TICK));
    loop {
        tick.tick().await;
        print_events(log, &control, &mut last);
    }
}

/// Prints the events after `last`, and moves it on.
fn print_events(log: LogFormat, control: &Shared, last: &mut u64) {
    let events = control_plane::lock(control).events_after(*last);
    for event in &events {
        telemetry::log(log, &event.at, event.kind, &event.text);
    }
    *last = events.last().map_or(*last, |event| event.sequence);
}

//! The service manager: what systemd is told (sd_notify(3)), and the sockets it passes (sd_listen_fds(3)).
//!
//! Without systemd nothing happens here. What is told goes to the socket in `NOTIFY_SOCKET`, which only the next process inherits.

use super::invocation::Invocation;
use crate::handover::{Passed, SocketKind, adopt};
use anyhow::{Context, bail};
use sd_notify::NotifyState;
use socket2::Socket;
use std::time::{Duration, Instant};

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// What we are to systemd.
pub(super) struct Service {
    /// Whether this is the service's main process.
    speaks: bool,
    /// How often the watchdog wants to hear of us, at the latest.
    watchdog: Option<Duration>,
    heard: Instant,
}

impl Service {
    /// Of a process that was started as a service; another one says nothing.
    pub(super) fn new(started: Option<&Invocation>) -> Self {
        let watchdog = started.and_then(|_| sd_notify::watchdog_enabled());
        Self { speaks: started.is_some(), watchdog, heard: Instant::now() }
    }

    /// It serves.
    pub(super) fn ready(&self, status: &str) {
        self.say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A configuration is being read; [`Service::ready`] ends it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration")]),
            Err(_) => self.status("reading the configuration"),
        }
    }

    /// It is going down.
    pub(super) fn stopping(&self, status: &str) {
        self.say(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// For people.
    pub(super) fn status(&self, status: &str) {
        self.say(&[NotifyState::Status(status)]);
    }

    /// Another process is the service from here on; this one falls silent.
    pub(super) fn hand_over(&mut self, pid: u32, status: &str) {
        // All in one message: what the other one says before systemd knows of it is not heard.
        self.say(&[NotifyState::MainPid(pid), NotifyState::Ready, NotifyState::Status(status)]);
        self.speaks = false;
    }

    /// Tells the watchdog that all is well, twice as often as it must hear it.
    pub(super) fn tend(&mut self, well: bool) {
        let Some(interval) = self.watchdog else { return };
        if well && self.heard.elapsed() >= interval / 2 {
            self.heard = Instant::now();
            self.say(&[NotifyState::Watchdog]);
        }
    }

    /// How long whoever tends it may wait for other things.
    pub(super) fn patience(&self) -> Duration {
        self.watchdog.map_or(Duration::from_secs(3_600), |interval| interval / 4)
    }

    fn say(&self, words: &[NotifyState<'_>]) {
        if self.speaks {
            // A manager that does not listen is no reason to stop serving.
            let _ = sd_notify::notify(words);
        }
    }
}

/// The sockets that systemd passed, by their names: `admin`, `dashboard` and `metrics` are those; any other is the public one.
pub(super) fn passed(invocation: &Invocation) -> anyhow::Result<Vec<Passed>> {
    let mut sockets = Vec::with_capacity(invocation.passed.len());
    for (number, name) in (FIRST..).zip(&invocation.passed) {
        let socket = adopt(number).with_context(|| format!("cannot use the socket {number} that systemd passed"))?;
        sockets.push(known(name, Socket::from(socket))?);
    }
    Ok(sockets)
}

fn known(name: &str, socket: Socket) -> anyhow::Result<Passed> {
    if !socket.is_listener().unwrap_or(false) {
        bail!("the socket `{name}` does not listen; use ListenStream= and Accept=no in the socket unit");
    }
    let address = socket.local_addr()?;
    let (kind, unix) = match name {
        "admin" => (SocketKind::Admin, true),
        "dashboard" => (SocketKind::Dashboard, false),
        "metrics" => (SocketKind::Metrics, false),
        _ => (SocketKind::Public, false),
    };
    let asked = match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) if !unix => address.to_string(),
        (_, Some(path)) if unix => path.to_str().context("the admin socket's path is not UTF-8; rename it")?.to_owned(),
        _ => bail!(
            "the socket `{name}` is of the wrong kind; `admin` is a path, every other one an address: see FileDescriptorName="
        ),
    };
    Ok(Passed { kind, asked, lasting: true, file: None, socket: socket.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_are_known_by_their_names() {
        let tcp = || Socket::from(TcpListener::bind("127.0.0.1:0").expect("bound"));
        for (name, kind) in [
            ("igris", SocketKind::Public),
            ("public", SocketKind::Public),
            ("unknown", SocketKind::Public),
            ("dashboard", SocketKind::Dashboard),
            ("metrics", SocketKind::Metrics),
        ] {
            let passed = known(name, tcp()).expect("known");
            assert!(passed.kind == kind && passed.lasting && passed.asked.starts_with("127.0.0.1:"), "{passed:?}");
        }
        assert!(known("admin", tcp()).expect_err("no address").to_string().contains("FileDescriptorName="));
        let path = std::env::temp_dir().join(format!("igris-service-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let passed = known("admin", UnixListener::bind(&path).expect("bound").into()).expect("known");
        assert_eq!((passed.kind, passed.asked.as_str()), (SocketKind::Admin, path.to_str().expect("text")));
        assert!(known("igris", UnixListener::from(passed.socket).into()).is_err());
        let _ = std::fs::remove_file(&path);
        let (silent, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(known("igris", silent.into()).expect_err("silent").to_string().contains("Accept=no"));
    }
}

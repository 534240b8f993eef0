//! What wakes the thread that sees everything: signals, and words from the admin socket.

use crate::admin::{UpgradeAsk, UpgradeOutcome};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Something to be done.
pub(super) enum Wake {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR2, or `POST /upgrade` with somebody who waits for the answer.
    Upgrade(UpgradeAsk, Option<oneshot::Sender<UpgradeOutcome>>),
    /// `POST /drain`.
    Drain,
}

/// Where they arrive, in order.
pub(super) struct Inbox {
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
    /// Looked at and not yet taken.
    kept: VecDeque<Wake>,
    hears_signals: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, kept: VecDeque::new(), hears_signals: false }
    }

    /// Where others put something in.
    pub(super) fn sender(&self) -> Sender<Wake> {
        self.sender.clone()
    }

    /// From here on signals arrive here instead of ending the process.
    pub(super) fn hear_signals(&mut self) -> io::Result<()> {
        if self.hears_signals {
            return Ok(());
        }
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
        let sender = self.sender();
        let forward = move || {
            for signal in signals.forever() {
                let wake = match signal {
                    SIGHUP => Wake::Reload,
                    SIGUSR2 => Wake::Upgrade(UpgradeAsk { who: "signal".to_owned(), ..UpgradeAsk::default() }, None),
                    _ => Wake::Stop,
                };
                if sender.send(wake).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("igris-signals".to_owned()).spawn(forward)?;
        self.hears_signals = true;
        Ok(())
    }

    /// The next one, unless none comes for `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Wake> {
        if let Some(wake) = self.kept.pop_front() {
            return Some(wake);
        }
        // There is always our own sender, so that the one error is that of time.
        self.receiver.recv_timeout(patience).ok()
    }

    /// Whether somebody wants the process to end; everything stays where it is.
    pub(super) fn is_told_to_stop(&mut self) -> bool {
        self.kept.extend(self.receiver.try_iter());
        self.kept.iter().any(|wake| matches!(wake, Wake::Stop | Wake::Drain))
    }
}

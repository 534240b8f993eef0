//! SIGINT and SIGTERM.

use igris_load::engine::Stop;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, caught from the moment this exists.
pub(super) struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Returns at the first of them.
    pub(super) fn wait(mut self) {
        self.wait_for_next();
    }

    /// Lets the first end a run, which is then reported, and the second end the program at once.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(super) fn end(mut self, stop: Stop) -> anyhow::Result<()> {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            self.wait_for_next();
            stop.stop();
            self.wait_for_next();
            igris_load::live::restore();
            std::process::exit(INTERRUPTED);
        })?;
        Ok(())
    }

    fn wait_for_next(&mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        });
    }
}

/// The exit code of a program that SIGINT ended, as shells have it.
const INTERRUPTED: i32 = 130;

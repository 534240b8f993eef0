//! The old process hands over: it starts the new one, gives up one thing after another, and takes everything back if anything fails.

use super::Running;
use super::invocation::Invocation;
use crate::admin::{UpgradeAsk, UpgradeOutcome, Upgraded};
use crate::control_plane::lock;
use crate::data_plane::per_core::Phase;
use crate::handover::{Channel, HandoverFault, Message, Prepared, Step, Undo, lend};
use crate::limits;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// One attempt.
struct Attempt {
    child: Child,
    channel: Channel,
    step: Step,
    patience: Duration,
}

impl Running {
    /// Hands over to a new process. `Ok`: it serves, and this one has only to finish what it has.
    pub(super) fn upgrade(&mut self, ask: &UpgradeAsk) -> UpgradeOutcome {
        let Some(invocation) = self.invocation.clone() else {
            return Err("it was not started by `igris serve`; stop it and start another".to_owned());
        };
        self.service.status("handing over to a new process");
        let mut attempt = match self.begin(&invocation, ask) {
            Ok(attempt) => attempt,
            Err(error) => {
                let path = ask.binary.as_ref().unwrap_or(&invocation.binary);
                return Err(self.stay(format!("{} does not start ({error}); check the path", path.display())));
            }
        };
        match self.walk(&mut attempt, &ask.who) {
            Ok(prepared) => Ok(self.part(attempt, prepared)),
            Err(fault) => {
                self.take_back(attempt);
                Err(self.stay(fault.to_string()))
            }
        }
    }

    /// Starts the new process with everything it may take.
    fn begin(&self, invocation: &Invocation, ask: &UpgradeAsk) -> io::Result<Attempt> {
        let mut sockets = self.listening.passed()?;
        sockets.extend(self.office.passed()?);
        let lent = lend(&sockets)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = invocation.next(ask.binary.as_deref(), Stdio::from(OwnedFd::from(theirs))).spawn()?;
        let patience = ask.patience.unwrap_or(limits::HANDOVER_PATIENCE);
        let channel = Channel::over(ours);
        let said = channel.map_err(HandoverFault::from).and_then(|mut channel| {
            channel.send(&Message::Offer(lent.offer.clone()))?;
            Ok(channel)
        });
        match said {
            Ok(channel) => Ok(Attempt { child, channel, step: Step::Preparing, patience }),
            Err(fault) => {
                end(&mut child);
                Err(io::Error::other(fault))
            }
        }
    }

    /// The way to the last step.
    fn walk(&mut self, attempt: &mut Attempt, who: &str) -> Result<Prepared, HandoverFault> {
        let message = self.hear(attempt)?;
        let prepared = match &message {
            Message::Prepared(prepared) => prepared.clone(),
            other => Prepared { version: other.name().to_owned(), pid: 0 },
        };
        attempt.step = attempt.step.after(message)?;
        self.office.hold();
        let released = lock(&self.control).release(who);
        released.map_err(|error| HandoverFault::Refused(format!("the store cannot be let go: {error}")))?;
        attempt.channel.send(&Message::StoreFree)?;
        let message = self.hear(attempt)?;
        attempt.step = attempt.step.after(message)?;
        self.stop_accepting();
        attempt.channel.send(&Message::Take)?;
        let message = self.hear(attempt)?;
        attempt.step = attempt.step.after(message)?;
        Ok(prepared)
    }

    /// The next word of the new process, unless something else comes first.
    fn hear(&mut self, attempt: &mut Attempt) -> Result<Message, HandoverFault> {
        let deadline = Instant::now() + attempt.step.patience(attempt.patience);
        let (step, workers) = (attempt.step, self.workers.alive());
        let Self { inbox, service, control, reports, .. } = self;
        attempt.channel.receive(deadline, &mut || {
            service.tend(workers == reports.len());
            if inbox.is_told_to_stop() {
                return Some("it was told to stop meanwhile".to_owned());
            }
            let waits = step != Step::Preparing;
            let full = waits && lock(control).fullest_queue_percent() >= limits::HANDOVER_QUEUE_PERCENT;
            full.then(|| {
                "the new process took too long with the store, and reports pile up; try at a quieter time".to_owned()
            })
        })
    }

    /// Waits until no core accepts.
    fn stop_accepting(&self) {
        let word = self.phase.hold(true);
        let end = Instant::now() + limits::HANDOVER_HOLD_DEADLINE;
        while Instant::now() < end && !self.reports.iter().all(|core| core.gauges.hold_seen.is(word)) {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the new process first, so that it holds nothing any more; then undoes what was done.
    fn take_back(&mut self, mut attempt: Attempt) {
        end(&mut attempt.child);
        for undo in attempt.step.undo() {
            match undo {
                Undo::Accept => drop(self.phase.hold(false)),
                Undo::OpenStore => {
                    if let Err(error) = lock(&self.control).reclaim() {
                        let text = format!("the store could not be opened again: {error}; requests go on as they are");
                        lock(&self.control).note_handover(text);
                    }
                }
                Undo::AnswerOperators => self.office.answer(),
            }
        }
    }

    /// The new process serves.
    fn part(&mut self, attempt: Attempt, prepared: Prepared) -> Upgraded {
        self.phase.advance(Phase::Leaving);
        self.parted = true;
        let pid = attempt.child.id();
        let status = self.serving_at();
        self.service.hand_over(pid, &status);
        self.office.leave();
        self.listening.close();
        let mut control = lock(&self.control);
        control.part();
        let version = prepared.version;
        control.note_handover(format!("igris {version} (process {pid}) serves; this one finishes what it has"));
        drop(control);
        self.books.hand_over(attempt.channel);
        Upgraded { pid, version, draining_pid: std::process::id() }
    }

    fn stay(&self, why: String) -> String {
        let mut control = lock(&self.control);
        control.note_handover(format!("the upgrade failed and this process goes on: {why}"));
        drop(control);
        self.service.status(&self.serving_at());
        why
    }
}

fn end(child: &mut Child) {
    // One that has ended already is no error.
    let _ = child.kill();
    let _ = child.wait();
}

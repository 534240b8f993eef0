//! The view of a run while it runs: a full screen in a terminal, a line each second elsewhere.
//!
//! It sees each finished second and nothing else, on a thread that measures nothing, a few times a second at most. It draws on
//! standard error, so that standard output stays the result's. `q` or Ctrl-C ends the run, which is then reported; a second
//! one ends the program. However the program ends, the terminal is as it was before.

mod board;
mod line;
mod screen;
mod terminal;

pub use board::Board;
pub use line::line;
pub use screen::draw;
pub use terminal::restore;

use crate::engine::Stop;
use crate::measure::Interval;
use crate::workload::Plan;
use std::io::{IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When the view is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// A full screen if standard error and input are a terminal, lines if they are not.
    #[default]
    Auto,
    /// A full screen wherever one can be drawn.
    Always,
    /// Nothing.
    Never,
}

impl FromStr for Show {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!("'{text}' is no way to show a run; write auto, always or never")),
        }
    }
}

/// Between two drawings of the screen.
const FRAME: Duration = Duration::from_millis(250);
/// Runs that are planned to be longer than this get fewer lines.
const MANY_LINES: Duration = Duration::from_secs(120);
/// Seconds between two lines of a long run.
const LINE_EVERY: u64 = 10;

/// A view that is being shown.
pub struct View {
    sender: Option<Sender<Interval>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Begins to show a run; what cannot be shown is left out, never an error.
    pub fn start(show: Show, plan: &Plan, stop: &Stop) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        if show == Show::Never {
            return Self { sender: None, ended, thread: None };
        }
        let (sender, receiver) = channel();
        let viewer = Viewer {
            board: Board::new(plan),
            receiver,
            stop: stop.clone(),
            ended: ended.clone(),
            began: Instant::now(),
        };
        let full = show == Show::Always || (std::io::stderr().is_terminal() && std::io::stdin().is_terminal());
        let thread = std::thread::Builder::new().name("view".into()).spawn(move || viewer.show(full)).ok();
        Self { sender: Some(sender), ended, thread }
    }

    /// What takes each second as it ends, as [`crate::measure::run`] wants it.
    pub fn on_second(&self) -> impl FnMut(&Interval) + Send + 'static {
        let sender = self.sender.clone();
        move |interval| {
            if let Some(sender) = &sender {
                // A view that has gone misses nothing that the result needs.
                let _ = sender.send(interval.clone());
            }
        }
    }

    /// Ends the view and gives the terminal back.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.sender = None;
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, its panic has been told and the terminal restored.
            let _ = thread.join();
        }
    }
}

/// What the view's thread holds.
struct Viewer {
    board: Board,
    receiver: Receiver<Interval>,
    stop: Stop,
    ended: Arc<AtomicBool>,
    began: Instant,
}

impl Viewer {
    fn show(mut self, full: bool) {
        if full && let Ok(mut screen) = terminal::Screen::open() {
            self.show_screen(&mut screen);
        } else {
            self.show_lines();
        }
    }

    fn show_screen(&mut self, screen: &mut terminal::Screen) {
        while !self.ended.load(Ordering::Relaxed) {
            while let Ok(interval) = self.receiver.try_recv() {
                self.board.take(&interval);
            }
            let (elapsed, stopping) = (self.began.elapsed(), self.stop.is_stopped());
            // A frame that could not be drawn is one frame less.
            let _ = screen.draw(|frame| draw(frame, &self.board, elapsed, stopping));
            if terminal::asked_to_stop(FRAME) {
                if self.stop.is_stopped() {
                    restore();
                    std::process::exit(130);
                }
                self.stop.stop();
            }
        }
    }

    fn show_lines(&mut self) {
        let every = if self.board.planned_time().is_some_and(|time| time <= MANY_LINES) { 1 } else { LINE_EVERY };
        while !self.ended.load(Ordering::Relaxed) {
            match self.receiver.recv_timeout(FRAME) {
                Ok(interval) => {
                    self.board.take(&interval);
                    if interval.second.is_multiple_of(every) {
                        let _ = writeln!(std::io::stderr(), "{}", line(&self.board));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_shows_nothing_needs_nothing() {
        let view = View::start(Show::Never, &Plan::default(), &Stop::default());
        view.on_second()(&Interval::new(0));
        view.finish();
        assert_eq!("always".parse(), Ok(Show::Always));
        assert!("maybe".parse::<Show>().expect_err("no such way").contains("never"));
    }

    #[test]
    fn a_view_ends_though_someone_still_holds_its_sender() {
        let view = View::start(Show::Auto, &Plan::default(), &Stop::default());
        let mut on_second = view.on_second();
        on_second(&Interval::new(0));
        view.finish();
        on_second(&Interval::new(1));
    }
}

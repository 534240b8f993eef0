//! Time as the engine counts it: nanoseconds since the run's start, and a timer that wakes at an instant of it.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::time::Duration;

/// Nanoseconds of a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// A clock that shows nanoseconds since the run's start; all threads of a run have the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The start, by the system's monotonic clock.
    start: u64,
}

impl Clock {
    /// A run that starts so much later than now.
    pub(super) fn starting_in(lead: Duration) -> Self {
        Self { start: monotonic() + nanos(lead) }
    }

    /// Whether the start is behind us.
    pub(super) fn has_started(&self) -> bool {
        monotonic() >= self.start
    }

    /// Nanoseconds since the start; 0 before it.
    pub(super) fn now(&self) -> u64 {
        monotonic().saturating_sub(self.start)
    }
}

/// A length of time as nanoseconds; lengths beyond 584 years count as that.
pub(super) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// The processor time this thread has used.
pub(super) fn thread_cpu() -> Duration {
    Duration::from_nanos(count(clock_gettime(ClockId::ThreadCPUTime)))
}

fn monotonic() -> u64 {
    count(clock_gettime(ClockId::Monotonic))
}

fn count(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Wakes a poll at an instant, to the precision of the kernel's high-resolution timers: a poll's own timeout is whole
/// milliseconds and has slack.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    clock: Clock,
    armed: Option<u64>,
}

impl Timer {
    /// A timer that is not set, whose expiry shows as `token`.
    pub(super) fn new(clock: Clock, registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, clock, armed: None })
    }

    /// Wakes at this instant instead of the one before; never reads the descriptor, since setting it again resets it.
    pub(super) fn arm(&mut self, at: u64) -> io::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        let value = self.clock.start.saturating_add(at).max(1);
        let time = Timespec { tv_sec: (value / SECOND) as i64, tv_nsec: (value % SECOND) as i64 };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: never, it_value: time })?;
        self.armed = Some(at);
        Ok(())
    }
}

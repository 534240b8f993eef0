//! Walks the journal as it lies on the disk, beside whoever writes it: for exports. Each attempt's close is shown once.

use super::repeats::Repeats;
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::ledger::{Entry, LedgerFault, Reader};
use crate::limits::books::SCAN_RECORDS;
use crate::report::AttemptReport;
use std::io;
use std::ops::ControlFlow;
use thiserror::Error;

/// Which attempts are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those that began at this instant or later.
    pub from: Option<UnixMillis>,
    /// Those that began before.
    pub to: Option<UnixMillis>,
    /// Those of one tenant.
    pub tenant: Option<TenantId>,
}

/// What a walk came to.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Attempts that were shown.
    pub attempts: u64,
    /// Lanes that could not be read to their end, and why.
    pub faults: Vec<LedgerFault>,
}

/// Why a walk ended early.
#[derive(Debug, Error)]
pub enum ScanFault {
    /// The journal is not there.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// Whoever was shown the attempts has had enough.
    #[error("what was read cannot be written: {0}; check the place it goes to")]
    Write(#[from] io::Error),
}

impl Wanted {
    /// Whether an attempt is among them.
    pub fn covers(&self, report: &AttemptReport) -> bool {
        self.from.is_none_or(|from| report.started >= from)
            && self.to.is_none_or(|to| report.started < to)
            && self.tenant.as_ref().is_none_or(|tenant| report.tenant == *tenant)
    }
}

/// Shows the close of every attempt that is wanted, with its lane and number: lane by lane, in the order in which they were written.
///
/// # Errors
/// [`ScanFault`]; a lane that is damaged ends there, and the others go on.
pub fn each_close(
    reader: &mut Reader,
    wanted: &Wanted,
    each: &mut dyn FnMut(&str, u64, &AttemptReport) -> io::Result<()>,
) -> Result<Scanned, ScanFault> {
    let mut scanned = Scanned::default();
    for lane in reader.lanes()? {
        let mut repeats = Repeats::default();
        let walked = walk(reader, &lane, &mut |number, entry| {
            let Entry::Close(report) = entry else { return ControlFlow::Continue(()) };
            if !repeats.is_first(number, report.attempt) || !wanted.covers(&report) {
                return ControlFlow::Continue(());
            }
            scanned.attempts += 1;
            match each(&lane, number, &report) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        match walked {
            Ok(ControlFlow::Continue(_)) => {}
            Ok(ControlFlow::Break(error)) => return Err(error.into()),
            Err(fault) => scanned.faults.push(fault),
        }
    }
    Ok(scanned)
}

/// Shows every record of a lane, piece by piece. Answers the number of the last one, or what ended it.
pub(super) fn walk<B>(
    reader: &mut Reader,
    lane: &str,
    each: &mut dyn FnMut(u64, Entry) -> ControlFlow<B>,
) -> Result<ControlFlow<B, u64>, LedgerFault> {
    let (mut after, mut end) = (0, None);
    loop {
        let last = reader.read(lane, after, SCAN_RECORDS, &mut |number, entry| {
            if end.is_none()
                && let ControlFlow::Break(why) = each(number, entry)
            {
                end = Some(why);
            }
        })?;
        if let Some(why) = end {
            return Ok(ControlFlow::Break(why));
        }
        if last == after {
            return Ok(ControlFlow::Continue(last));
        }
        after = last;
    }
}

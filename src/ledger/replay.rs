//! What becomes of a run whose process is gone (rules L6, L7): its torn end is cut off, and every open attempt is closed as interrupted.
//!
//! All that is written is a function of what was there before, and each step is whole or not done: a replay that is killed at any place and
//! begun anew, or done twice, leaves the same bytes.
//!
//! ```text
//!   bad record, nothing valid behind it ------------------------------------------> torn: cut there
//!   bad record, a valid one behind it, the machine ran on, or it was synced ------> damaged: stop, or quarantine
//!   bad record, a valid one behind it, the machine went down, not synced ---------> torn: pages come to the disk in any order
//! ```

use super::LedgerFault;
use super::disk::Disk;
use super::keeper::{FINISHED, LedgerPlan, RESERVE, RUN_LOCK, Recovered};
use super::lane::{segment_name, segment_of};
use super::opens::Opens;
use super::record;
use super::segment::{FRAME_BYTES, HEAD_BYTES, Head, HeadState, Place, Trail};
use super::segment::{has_record, place, seal_frame, synced_of, used};
use crate::limits::ledger::SEGMENT_BYTES_MAX;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A lane of a run that is over.
pub(super) struct Lane {
    directory: PathBuf,
    core: u32,
    /// Numbers of its segments, in order.
    numbers: Vec<u64>,
}

impl Lane {
    /// The lanes of a run, from the names in its directory.
    pub(super) fn all_of(directory: &Path, names: &[String]) -> Vec<Self> {
        let mut lanes: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (core, number) in names.iter().filter_map(|name| segment_of(name)) {
            lanes.entry(core).or_default().push(number);
        }
        let lane = |(core, mut numbers): (u32, Vec<u64>)| {
            numbers.sort_unstable();
            Self { directory: directory.to_owned(), core, numbers }
        };
        lanes.into_iter().map(lane).collect()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(segment_name(self.core, number))
    }
}

/// A segment that matters, by its head.
struct Candidate {
    number: u64,
    path: PathBuf,
    state: HeadState,
}

/// Where a walk stands.
struct Walk<'a> {
    plan: &'a LedgerPlan,
    boot: [u8; 16],
    opens: Opens,
    /// The last segment that is whole up to where it ends, and where the next record goes.
    last: Option<(Head, Trail)>,
    /// Whether a gap may follow: what stood there was put aside.
    may_leap: bool,
    /// Whether the last one may have lost its end when the machine went down.
    may_be_torn: bool,
    /// Segments to be sealed, and where they end.
    cuts: Vec<(PathBuf, usize)>,
    torn_bytes: u64,
    quarantined: Vec<PathBuf>,
}

/// What is to be done with a place at which something is wrong.
enum Verdict {
    /// Nothing was lost that was promised: the lane ends here.
    Torn,
    /// What was written is not there any more.
    Damaged(&'static str),
}

/// Cuts, closes and seals a lane.
pub(super) fn replay(plan: &LedgerPlan, lane: &Lane, recovered: &mut Recovered) -> Result<(), LedgerFault> {
    let candidates = from_floor(plan, lane)?;
    let mut walk = Walk::new(plan);
    let mut whole = 0;
    for (place_of, candidate) in candidates.iter().enumerate() {
        let is_last = place_of + 1 == candidates.len();
        whole = place_of + 1;
        if !walk.segment(candidate, is_last)? {
            break;
        }
    }
    // First what may not be met again, and last what makes the rest look whole: a replay that is killed in between decides the same.
    for torn in candidates[whole..].iter().rev() {
        walk.torn_bytes += size_of(plan, &torn.path)?;
        put_aside(plan, &torn.path, "torn")?;
    }
    for (path, at) in walk.cuts.iter().rev() {
        plan.disk.truncate(path, *at as u64).map_err(LedgerFault::file(path))?;
    }
    recovered.torn_bytes += walk.torn_bytes;
    recovered.quarantined.append(&mut walk.quarantined);
    let Some((head, trail)) = walk.last else { return Ok(()) };
    recovered.interrupted += close_open(plan, lane, &head, trail, &walk.opens)?;
    Ok(())
}

/// Writes the closes that nobody else will write, as a further segment.
fn close_open(
    plan: &LedgerPlan,
    lane: &Lane,
    last: &Head,
    mut trail: Trail,
    opens: &Opens,
) -> Result<u64, LedgerFault> {
    let closes = opens.interrupted();
    if closes.is_empty() {
        return Ok(0);
    }
    // All of its head is taken from the lane, so that it is the same whenever this is done.
    let number = last.number + 1;
    let head = Head { number, first: trail.next, link: trail.link, floor: number, ..last.clone() };
    let (mut bytes, mut frame) = (head.write().to_vec(), Vec::new());
    for close in &closes {
        frame.clear();
        frame.resize(FRAME_BYTES, 0);
        record::write_close(close, &mut frame);
        trail = Trail { link: seal_frame(&mut frame, trail.next, &trail.link, &plan.key), next: trail.next + 1 };
        bytes.extend_from_slice(&frame);
    }
    let path = lane.path(number);
    plan.disk.replace(&path, &bytes).map_err(LedgerFault::file(path))?;
    Ok(closes.len() as u64)
}

/// Says that a run needs no replay any more, and takes away what only a living one needs.
pub(super) fn mark_finished(disk: &dyn Disk, directory: &Path) -> Result<(), LedgerFault> {
    // The mark comes when nothing large is left: behind it nobody looks again.
    let (reserve, finished, lock) = (directory.join(RESERVE), directory.join(FINISHED), directory.join(RUN_LOCK));
    disk.remove(&reserve).map_err(LedgerFault::file(reserve))?;
    disk.replace(&finished, b"").map_err(LedgerFault::file(finished))?;
    disk.remove(&lock).map_err(LedgerFault::file(lock))
}

/// The segments that matter: from the first one that has an attempt which was open when the last one began, or that was not sealed yet.
/// Spares are removed.
fn from_floor(plan: &LedgerPlan, lane: &Lane) -> Result<Vec<Candidate>, LedgerFault> {
    let mut candidates = Vec::new();
    let mut needed = u64::MAX;
    for number in lane.numbers.iter().rev().copied() {
        let path = lane.path(number);
        let bytes = plan.disk.read(&path, 0, HEAD_BYTES).map_err(LedgerFault::file(&path))?;
        let state = match Head::read(&bytes) {
            HeadState::Unused if !stores_records(plan, &path)? => {
                // A spare, or one that was begun when the process was killed. Were it more, what follows would not follow.
                plan.disk.remove(&path).map_err(LedgerFault::file(path))?;
                continue;
            }
            HeadState::Good(head) if head.core != lane.core || head.number != number => {
                HeadState::Bad("it is the content of another segment")
            }
            state => state,
        };
        if let HeadState::Good(head) = &state {
            let is_sealed = is_sealed(plan, &path, head)?;
            if number < needed && is_sealed && !candidates.is_empty() {
                break;
            }
            if candidates.is_empty() || !is_sealed {
                // The lane may end here, and then what was open when this began is open.
                needed = needed.min(head.floor);
            }
        }
        candidates.push(Candidate { number, path, state });
    }
    candidates.reverse();
    Ok(candidates)
}

fn is_sealed(plan: &LedgerPlan, path: &Path, head: &Head) -> Result<bool, LedgerFault> {
    let last = u64::from(head.capacity).saturating_sub(1);
    plan.disk.read(path, last, 1).map(|bytes| bytes.is_empty()).map_err(LedgerFault::file(path))
}

fn stores_records(plan: &LedgerPlan, path: &Path) -> Result<bool, LedgerFault> {
    let bytes = read_whole(plan, path)?;
    Ok(has_record(tail(&bytes, HEAD_BYTES), 1, u64::MAX))
}

impl<'a> Walk<'a> {
    fn new(plan: &'a LedgerPlan) -> Self {
        Self {
            plan,
            boot: plan.disk.boot(),
            opens: Opens::default(),
            last: None,
            may_leap: false,
            may_be_torn: false,
            cuts: Vec::new(),
            torn_bytes: 0,
            quarantined: Vec::new(),
        }
    }

    /// Goes along one segment. `false` where the lane ends torn: the segments behind it are put aside.
    fn segment(&mut self, candidate: &Candidate, is_last: bool) -> Result<bool, LedgerFault> {
        let head = match (&candidate.state, self.joint(candidate)) {
            (HeadState::Good(head), None) => head.clone(),
            (_, Some(Verdict::Torn)) => {
                self.torn_bytes += size_of(self.plan, &candidate.path)?;
                put_aside(self.plan, &candidate.path, "torn")?;
                return Ok(false);
            }
            (HeadState::Good(head), Some(Verdict::Damaged(what))) => {
                // The segment itself is whole; what is missing stood before it.
                self.stop_or(&candidate.path, 0, what)?;
                let gap = aside(&candidate.path, "damaged");
                self.plan.disk.replace(&gap, b"").map_err(LedgerFault::file(&gap))?;
                self.quarantined.push(gap);
                head.clone()
            }
            (_, verdict) => {
                let what = if let Some(Verdict::Damaged(what)) = verdict { what } else { "it has no head" };
                self.stop_or(&candidate.path, 0, what)?;
                self.quarantined.push(put_aside(self.plan, &candidate.path, "damaged")?);
                self.may_leap = true;
                return Ok(true);
            }
        };
        let bytes = read_whole(self.plan, &candidate.path)?;
        let mut trail = Trail::after(&head);
        let (at, fault) = self.records(&bytes, candidate.number, &mut trail);
        let rest = tail(&bytes, at);
        let is_sealed = bytes.len() < usize::try_from(head.capacity).unwrap_or(usize::MAX);
        self.may_be_torn = !is_sealed && head.boot != self.boot;
        self.may_leap = false;
        let Some(fault) = fault else {
            self.seal(candidate, at, &bytes);
            self.last = Some((head, trail));
            return Ok(true);
        };
        let is_synced = is_sealed || (at as u64) < synced_of(&bytes).unwrap_or(0);
        let is_followed = !is_last || has_record(tail(rest, 8), trail.next, u64::MAX);
        let is_damaged = fault.is_written || is_synced || (head.boot == self.boot && is_followed);
        if !is_damaged {
            self.seal(candidate, at, &bytes);
            self.last = Some((head, trail));
            return Ok(false);
        }
        self.stop_or(&candidate.path, at as u64, fault.what)?;
        let copy = aside(&candidate.path, "damaged");
        for (path, content) in [(&copy, &bytes[..]), (&candidate.path, &bytes[..at])] {
            self.plan.disk.replace(path, content).map_err(LedgerFault::file(path))?;
        }
        self.quarantined.push(copy);
        self.may_leap = true;
        // A number that no record behind the damage can have had.
        trail.next = head.first + (bytes.len() / FRAME_BYTES) as u64;
        self.last = Some((head, trail));
        Ok(true)
    }

    /// What is wrong with how a segment follows the one before it.
    fn joint(&self, candidate: &Candidate) -> Option<Verdict> {
        let boot = self.last.as_ref().map(|(head, _)| head.boot);
        match (&candidate.state, &self.last) {
            (HeadState::Bad(what), _) => Some(Verdict::Damaged(what)),
            (HeadState::Unused, _) if boot.is_none_or(|boot| boot != self.boot) => Some(Verdict::Torn),
            (HeadState::Unused, _) => Some(Verdict::Damaged("its head is missing")),
            (HeadState::Good(_), None) => None,
            (HeadState::Good(head), Some((before, trail))) => {
                // A number may be missing: a spare that came too late.
                let follows = head.first == trail.next && head.link == trail.link;
                let leaps = head.first >= trail.next && (self.may_leap || self.is_known_gap(before, candidate));
                match follows || leaps {
                    true => None,
                    false if self.may_be_torn => Some(Verdict::Torn),
                    false => Some(Verdict::Damaged("records before it are missing")),
                }
            }
        }
    }

    /// Whether what stood between two segments was put aside by an earlier replay.
    fn is_known_gap(&self, before: &Head, candidate: &Candidate) -> bool {
        gap_marks(before.number, candidate.number, before.core)
            .any(|name| self.plan.disk.read(&candidate.path.with_file_name(name), 0, 1).is_ok())
    }

    fn records(&mut self, bytes: &[u8], number: u64, trail: &mut Trail) -> (usize, Option<Fault>) {
        let mut at = HEAD_BYTES;
        loop {
            let rest = tail(bytes, at);
            let fault = match place(rest) {
                Place::Empty if has_record(tail(rest, 8), trail.next, u64::MAX) => Fault::lost("a record is missing"),
                Place::Empty => return (at, None),
                Place::Cut => Fault::lost("a record is cut off"),
                Place::Bad(what) => Fault::lost(what),
                Place::Record(frame) => {
                    let (sequence, before) = (trail.next, *trail);
                    match (trail.step(&frame, Some(&self.plan.key)), record::read(frame.content)) {
                        (Ok(()), Some(entry)) => {
                            self.opens.take(&entry, sequence, number, frame.content);
                            at += frame.bytes;
                            continue;
                        }
                        (Ok(()), None) => {
                            *trail = before;
                            Fault::written("it is no record")
                        }
                        (Err(what), _) => Fault::written(what),
                    }
                }
            };
            return (at, Some(fault));
        }
    }

    fn seal(&mut self, candidate: &Candidate, at: usize, bytes: &[u8]) {
        self.torn_bytes += used(tail(bytes, at)) as u64;
        if bytes.len() != at {
            self.cuts.push((candidate.path.clone(), at));
        }
    }

    /// Stops at damage, unless the operator said to go on.
    fn stop_or(&self, path: &Path, offset: u64, what: &'static str) -> Result<(), LedgerFault> {
        if self.plan.degraded { Ok(()) } else { Err(LedgerFault::Damaged { path: path.to_owned(), offset, what }) }
    }
}

/// What is wrong at a place.
struct Fault {
    what: &'static str,
    /// Whether somebody wrote it so: no lost page has a checksum that fits.
    is_written: bool,
}

impl Fault {
    fn lost(what: &'static str) -> Self {
        Self { what, is_written: false }
    }

    fn written(what: &'static str) -> Self {
        Self { what, is_written: true }
    }
}

/// The names that say that records between two segments of a lane were put aside.
pub(super) fn gap_marks(before: u64, after: u64, core: u32) -> impl Iterator<Item = String> {
    (before..=after.min(before + 64)).map(move |number| format!("{}.damaged", segment_name(core, number)))
}

fn read_whole(plan: &LedgerPlan, path: &Path) -> Result<Vec<u8>, LedgerFault> {
    let max = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX);
    plan.disk.read(path, 0, max).map_err(LedgerFault::file(path))
}

fn size_of(plan: &LedgerPlan, path: &Path) -> Result<u64, LedgerFault> {
    read_whole(plan, path).map(|bytes| used(&bytes) as u64)
}

fn aside(path: &Path, why: &str) -> PathBuf {
    path.with_extension(format!("seg.{why}"))
}

/// Gives a segment a name that nobody reads.
fn put_aside(plan: &LedgerPlan, path: &Path, why: &str) -> Result<PathBuf, LedgerFault> {
    let aside = aside(path, why);
    plan.disk.rename(path, &aside).map_err(LedgerFault::file(path))?;
    Ok(aside)
}

fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

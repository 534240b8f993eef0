//! Proof, offline and from the files alone, that a journal is whole: every record is what was written, each follows from the one before it,
//! and each attempt has one close. Nothing is changed.

use super::LedgerFault;
use super::disk::{Disk, OsDisk};
use super::keeper::FINISHED;
use super::lane::{segment_name, segment_of};
use super::opens::Opens;
use super::reader::LaneName;
use super::record::{self, Entry};
use super::replay::gap_marks;
use super::segment::{HEAD_BYTES, Head, HeadState, Place, Trail, place, synced_of, used};
use crate::limits::ledger::SEGMENT_BYTES_MAX;
use crate::vault::LedgerKey;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What.
    pub what: &'static str,
}

/// What was found of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Its name.
    pub lane: LaneName,
    /// Whether its run is finished: nothing is written to it any more.
    pub finished: bool,
    /// Segments in use.
    pub segments: u64,
    /// Records that are what was written.
    pub records: u64,
    /// Attempts that were begun there.
    pub attempts: u64,
    /// Attempts without a close: those under way, or in an unfinished run those that a replay will close.
    pub open: u64,
    /// Attempts with their close.
    pub closed: u64,
    /// Intents that were written again with the same attempt id (rule L8); the attempt is counted once.
    pub restated: u64,
    /// Closes of attempts that were not open: a second close, or one whose intent was pruned.
    pub unmatched: u64,
    /// Bytes behind the last record that are no record.
    pub torn_bytes: u64,
    /// Segments that were put aside as damaged by an earlier start.
    pub put_aside: u64,
    /// Bytes that are known to survive power loss, in segments that are not sealed.
    pub synced_bytes: u64,
    /// The first problem. What stands behind it in its lane was not looked at.
    pub problem: Option<Problem>,
}

/// What was found of all lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Each lane, in the order of runs.
    pub lanes: Vec<LaneReport>,
    /// Whether links were checked; without the key only checksums and numbers are.
    pub chain: bool,
}

impl Verification {
    /// Whether no lane has a problem, and no attempt of a finished run is open or closed twice.
    pub fn is_whole(&self) -> bool {
        let is_whole =
            |lane: &LaneReport| lane.problem.is_none() && lane.unmatched == 0 && !(lane.finished && lane.open > 0);
        self.lanes.iter().all(is_whole)
    }
}

/// Verifies all runs in a directory.
///
/// # Errors
/// A file cannot be read. What is wrong with what was read is in the report.
pub fn verify(directory: &Path, key: Option<&LedgerKey>) -> Result<Verification, LedgerFault> {
    let mut lanes = Vec::new();
    for run in OsDisk.list(directory).map_err(LedgerFault::file(directory))? {
        let path = directory.join(&run);
        if run.starts_with('.') || !path.is_dir() {
            continue;
        }
        let names = OsDisk.list(&path).map_err(LedgerFault::file(&path))?;
        let mut segments: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (core, number) in names.iter().filter_map(|name| segment_of(name)) {
            segments.entry(core).or_default().push(number);
        }
        for (core, mut numbers) in segments {
            numbers.sort_unstable();
            let report = LaneReport {
                lane: format!("{run}/{core}"),
                finished: names.iter().any(|name| name == FINISHED),
                put_aside: names.iter().filter(|name| is_aside(name, core)).count() as u64,
                ..LaneReport::default()
            };
            let place = LanePlace { directory: &path, run: &run, core };
            lanes.push(Check { key, report, opens: Opens::default(), trail: None }.lane(&place, &numbers)?);
        }
    }
    Ok(Verification { lanes, chain: key.is_some() })
}

fn is_aside(name: &str, core: u32) -> bool {
    name.strip_suffix(".damaged").and_then(segment_of).is_some_and(|(lane, _)| lane == core)
}

struct LanePlace<'a> {
    directory: &'a Path,
    run: &'a str,
    core: u32,
}

struct Check<'a> {
    key: Option<&'a LedgerKey>,
    report: LaneReport,
    opens: Opens,
    /// The last segment's number, and what must come behind it.
    trail: Option<(u64, Trail)>,
}

impl Check<'_> {
    fn lane(mut self, place: &LanePlace<'_>, numbers: &[u64]) -> Result<LaneReport, LedgerFault> {
        for (index, number) in numbers.iter().enumerate() {
            let path = place.directory.join(segment_name(place.core, *number));
            let max = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX);
            let bytes = OsDisk.read(&path, 0, max).map_err(LedgerFault::file(&path))?;
            let is_last = index + 1 == numbers.len();
            if let Err((offset, what)) = self.segment(place, *number, &bytes, is_last) {
                self.report.problem = Some(Problem { path, offset, what });
                break;
            }
        }
        self.report.open = self.opens.len() as u64;
        Ok(self.report)
    }

    fn segment(
        &mut self,
        place: &LanePlace<'_>,
        number: u64,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), (u64, &'static str)> {
        let head = match Head::read(bytes) {
            // A spare; before another segment that is in use there is none, which shows as missing records there.
            HeadState::Unused if used(bytes) == 0 => return Ok(()),
            HeadState::Unused if is_last => {
                self.report.torn_bytes += used(bytes) as u64;
                return Ok(());
            }
            HeadState::Unused => return Err((0, "its head is missing")),
            HeadState::Bad(what) => return Err((0, what)),
            HeadState::Good(head) => head,
        };
        if (head.core, head.number, head.run.as_str()) != (place.core, number, place.run) {
            return Err((0, "it is the content of another segment"));
        }
        let Some(synced) = synced_of(bytes) else {
            return Err((super::segment::SYNCED_AT as u64, "its synced mark is not what was written"));
        };
        self.joint(place, &head)?;
        self.report.segments += 1;
        let mut trail = Trail::after(&head);
        let at = self.records(bytes, number, &mut trail)?;
        self.trail = Some((number, trail));
        let is_sealed = bytes.len() < usize::try_from(head.capacity).unwrap_or(usize::MAX);
        if synced > at as u64 {
            return Err((at as u64, "records that were synced are missing"));
        }
        match used(bytes.get(at..).unwrap_or_default()) {
            0 => {}
            _ if is_sealed => return Err((at as u64, "something stands behind the last record of a sealed segment")),
            torn => self.report.torn_bytes += torn as u64,
        }
        if !is_sealed {
            self.report.synced_bytes += synced;
        }
        Ok(())
    }

    /// Whether a segment follows the one before it.
    fn joint(&self, place: &LanePlace<'_>, head: &Head) -> Result<(), (u64, &'static str)> {
        let Some((before, trail)) = &self.trail else {
            let origin = |key: &LedgerKey| head.link == Head::origin(key, place.run, place.core);
            return match head.number == 0 && self.key.is_some_and(|key| !origin(key)) {
                true => Err((0, "it does not begin as a lane of this ledger does")),
                false => Ok(()),
            };
        };
        if head.first == trail.next && head.link == trail.link {
            return Ok(());
        }
        let is_marked = || gap_marks(*before, head.number, place.core).any(|name| place.directory.join(name).exists());
        match head.first >= trail.next && is_marked() {
            true => Ok(()),
            false => Err((0, "records before it are missing")),
        }
    }

    fn records(&mut self, bytes: &[u8], number: u64, trail: &mut Trail) -> Result<usize, (u64, &'static str)> {
        let mut at = HEAD_BYTES;
        loop {
            let fail = |what| Err((at as u64, what));
            let frame = match place(bytes.get(at..).unwrap_or_default()) {
                Place::Record(frame) => frame,
                Place::Empty => return Ok(at),
                Place::Cut => return fail("a record is cut off"),
                Place::Bad(what) => return fail(what),
            };
            let sequence = trail.next;
            if let Err(what) = trail.step(&frame, self.key) {
                return fail(what);
            }
            let Some(entry) = record::read(frame.content) else { return fail("it is no record") };
            self.count(&entry);
            self.opens.take(&entry, sequence, number, frame.content);
            self.report.records += 1;
            at += frame.bytes;
        }
    }

    fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Intent(intent) if self.opens.of(intent.report.attempt).is_some() => self.report.restated += 1,
            Entry::Intent(_) => self.report.attempts += 1,
            Entry::Close(report) if self.opens.of(report.attempt).is_some() => self.report.closed += 1,
            Entry::Close(_) => self.report.unmatched += 1,
            Entry::Mark(_) => {}
        }
    }
}

//! What was written, read in order: by the control plane while it is written, and offline.
//!
//! It opens files for reading and nothing else, follows a lane from segment to segment, and stops where a record is still being written.
//! Checksums are checked always, and with the key also that each record follows from the one before it.

use super::LedgerFault;
use super::disk::{Disk, OsDisk};
use super::lane::{segment_name, segment_of};
use super::record::{self, Entry};
use super::replay::gap_marks;
use super::segment::{HEAD_BYTES, Head, HeadState, Place, Trail, place};
use crate::limits::ledger::READ_BYTES;
use crate::vault::LedgerKey;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A lane's name: `<run>/<core>`, as it stands in the books.
pub type LaneName = String;

/// Reads the lanes of all runs.
pub struct Reader {
    directory: PathBuf,
    /// Without it the chain is not checked, only checksums.
    key: Option<Arc<LedgerKey>>,
    places: BTreeMap<LaneName, Stand>,
}

/// Where a reader stands in a lane.
#[derive(Clone, Copy, Debug)]
struct Stand {
    number: u64,
    at: u64,
    trail: Trail,
}

/// What a look at the bytes behind a place came to.
enum Look {
    /// Something was read: look again.
    Further,
    /// Nothing more stands in this segment.
    End,
    /// It is not what was written.
    Bad(&'static str),
}

impl Reader {
    /// A reader of a ledger's directory, at its beginning.
    pub fn new(directory: &Path, key: Option<Arc<LedgerKey>>) -> Self {
        Self { directory: directory.to_owned(), key, places: BTreeMap::new() }
    }

    /// The lanes that there are now, in the order of their runs.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn lanes(&self) -> Result<Vec<LaneName>, LedgerFault> {
        let mut lanes = Vec::new();
        for run in OsDisk.list(&self.directory).map_err(LedgerFault::file(&self.directory))? {
            let directory = self.directory.join(&run);
            if run.starts_with('.') || !directory.is_dir() {
                continue;
            }
            let names = OsDisk.list(&directory).map_err(LedgerFault::file(&directory))?;
            let mut cores: Vec<u32> = names.iter().filter_map(|name| segment_of(name)).map(|(core, _)| core).collect();
            cores.sort_unstable();
            cores.dedup();
            lanes.extend(cores.iter().map(|core| format!("{run}/{core}")));
        }
        Ok(lanes)
    }

    /// Shows the records of a lane that follow number `after` (the first has number 1), at most `max` of them, with their numbers. Answers the
    /// number of the last one shown, or `after`. Where a record is still being written, it stops. Numbers may leap over what was put aside as
    /// damaged. An intent may come again with the same attempt id (rule L8): it is the same attempt.
    ///
    /// # Errors
    /// [`LedgerFault::Damaged`] at a record that is not what was written; what stands before it has been shown.
    pub fn read(
        &mut self,
        lane: &str,
        after: u64,
        max: usize,
        each: &mut dyn FnMut(u64, Entry),
    ) -> Result<u64, LedgerFault> {
        let Some((directory, core)) = self.find(lane) else { return Ok(after) };
        let known = self.places.get(lane).copied().filter(|stand| stand.trail.next <= after.saturating_add(1));
        let Some(mut stand) = known.map_or_else(|| begin(&directory, core, after), |stand| Ok(Some(stand)))? else {
            return Ok(after);
        };
        let mut shown = Shown { after, left: max, last: after, each };
        let result = self.follow(&directory, core, &mut stand, &mut shown);
        self.places.insert(lane.to_owned(), stand);
        result.map(|()| shown.last)
    }

    fn find(&self, lane: &str) -> Option<(PathBuf, u32)> {
        let (run, core) = lane.split_once('/')?;
        // A name from the books is a part of a path: nothing that leads elsewhere.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        run.bytes().all(is_plain).then(|| Some((self.directory.join(run), core.parse().ok()?)))?
    }

    fn follow(&self, directory: &Path, core: u32, stand: &mut Stand, shown: &mut Shown<'_>) -> Result<(), LedgerFault> {
        let mut doubted = false;
        while shown.left > 0 {
            let path = directory.join(segment_name(core, stand.number));
            match self.look(&path, stand, shown)? {
                Look::Further => doubted = false,
                // A core may be in the middle of it: what is still there at a second look stays.
                Look::Bad(_) if !doubted => doubted = true,
                Look::Bad(what) => return Err(LedgerFault::Damaged { path, offset: stand.at, what }),
                Look::End => match next_head(directory, core, stand.number)? {
                    None => return Ok(()),
                    Some(head) if follows(&head, stand) => {
                        *stand = Stand { number: head.number, at: HEAD_BYTES as u64, trail: Trail::after(&head) };
                        doubted = false;
                    }
                    // It was written to the end after the look, and left.
                    Some(_) if !doubted => doubted = true,
                    Some(head) if leaps(directory, core, &head, stand) => {
                        *stand = Stand { number: head.number, at: HEAD_BYTES as u64, trail: Trail::after(&head) };
                        doubted = false;
                    }
                    Some(_) => {
                        let what = "records behind this are missing";
                        return Err(LedgerFault::Damaged { path, offset: stand.at, what });
                    }
                },
            }
        }
        Ok(())
    }

    /// Reads what stands behind a place in its segment.
    fn look(&self, path: &Path, stand: &mut Stand, shown: &mut Shown<'_>) -> Result<Look, LedgerFault> {
        let bytes = match OsDisk.read(path, stand.at, READ_BYTES) {
            // Pruned: what comes next says whether it was all read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::End),
            bytes => bytes.map_err(LedgerFault::file(path))?,
        };
        let (mut rest, mut moved) = (&bytes[..], false);
        while shown.left > 0 {
            let frame = match place(rest) {
                Place::Record(frame) => frame,
                Place::Empty if moved && rest.is_empty() => return Ok(Look::Further),
                Place::Empty => return Ok(Look::End),
                Place::Cut if moved => return Ok(Look::Further),
                Place::Cut => return Ok(Look::Bad("a record is cut off")),
                Place::Bad(what) => return Ok(Look::Bad(what)),
            };
            let mut trail = stand.trail;
            if let Err(what) = trail.step(&frame, self.key.as_deref()) {
                return Ok(Look::Bad(what));
            }
            let Some(entry) = record::read(frame.content) else { return Ok(Look::Bad("it is no record")) };
            (stand.trail, stand.at, moved) = (trail, stand.at + frame.bytes as u64, true);
            shown.show(frame.sequence, entry);
            rest = &rest[frame.bytes..];
        }
        Ok(Look::Further)
    }
}

/// What has been shown, and to whom.
struct Shown<'a> {
    after: u64,
    left: usize,
    last: u64,
    each: &'a mut dyn FnMut(u64, Entry),
}

impl Shown<'_> {
    fn show(&mut self, sequence: u64, entry: Entry) {
        if sequence > self.after {
            (self.each)(sequence, entry);
            self.last = sequence;
            self.left -= 1;
        }
    }
}

/// The last segment that begins at or before the wanted record.
fn begin(directory: &Path, core: u32, after: u64) -> Result<Option<Stand>, LedgerFault> {
    let mut found = None;
    for number in numbers(directory, core)?.into_iter().rev() {
        if let Some(head) = head_of(directory, core, number)? {
            found = Some(Stand { number, at: HEAD_BYTES as u64, trail: Trail::after(&head) });
            if head.first <= after.saturating_add(1) {
                break;
            }
        }
    }
    Ok(found)
}

/// The head of the next segment that is in use.
fn next_head(directory: &Path, core: u32, number: u64) -> Result<Option<Head>, LedgerFault> {
    for next in numbers(directory, core)?.into_iter().filter(|next| *next > number) {
        if let Some(head) = head_of(directory, core, next)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// A segment's head, if it is in use.
fn head_of(directory: &Path, core: u32, number: u64) -> Result<Option<Head>, LedgerFault> {
    let path = directory.join(segment_name(core, number));
    let bytes = match OsDisk.read(&path, 0, HEAD_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(LedgerFault::file(&path))?,
    };
    match Head::read(&bytes) {
        HeadState::Unused => Ok(None),
        HeadState::Good(head) if head.core == core && head.number == number => Ok(Some(head)),
        HeadState::Good(_) => {
            Err(LedgerFault::Damaged { path, offset: 0, what: "it is the content of another segment" })
        }
        HeadState::Bad(what) => Err(LedgerFault::Damaged { path, offset: 0, what }),
    }
}

fn numbers(directory: &Path, core: u32) -> Result<Vec<u64>, LedgerFault> {
    let names = match OsDisk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(LedgerFault::file(directory))?,
    };
    let own = names.iter().filter_map(|name| segment_of(name)).filter(|(lane, _)| *lane == core);
    let mut numbers: Vec<u64> = own.map(|(_, number)| number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn follows(head: &Head, stand: &Stand) -> bool {
    head.first == stand.trail.next && head.link == stand.trail.link
}

/// Whether what is missing was put aside (`--ledger-degraded`).
fn leaps(directory: &Path, core: u32, head: &Head, stand: &Stand) -> bool {
    let is_marked = || gap_marks(stand.number, head.number, core).any(|name| directory.join(name).exists());
    head.first >= stand.trail.next && is_marked()
}

//! What was written, read in order: by the control plane while it is written, and offline.
//!
//! It opens files for reading and nothing else, follows a lane from segment to segment, and stops where a record is still being written.
//! Checksums are checked always, and with the key also that each record follows from the one before it: but for the run that this very process
//! writes ([`Reader::trust`]), whose links it has computed itself a moment ago.

use super::LedgerFault;
use super::disk::{Disk, OsDisk};
use super::lane::{segment_name, segment_of};
use super::record::{self, Entry};
use super::replay::gap_marks;
use super::segment::{Frame, HEAD_BYTES, Head, HeadState, Place, Trail, place};
use crate::limits::ledger::{READ_BYTES, READ_FIRST_BYTES};
use crate::report::brief::Brief;
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
    /// The run whose links are not computed anew.
    trusted: Option<String>,
    places: BTreeMap<LaneName, Stand>,
    /// What was read last; kept, so that reading on allocates nothing.
    bytes: Vec<u8>,
}

/// Where a reader stands in a lane.
#[derive(Clone, Copy, Debug)]
struct Stand {
    number: u64,
    at: u64,
    trail: Trail,
    /// How much is read at once: little where little is new, since the rest of a segment is zeros that were made beforehand.
    piece: usize,
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
        Self { directory: directory.to_owned(), key, trusted: None, places: BTreeMap::new(), bytes: Vec::new() }
    }

    /// Takes the links of this run for granted, because this process holds its pens: whoever could change its files between a pen and this
    /// reader could as well change the books that are made of them. Numbers, checksums and how segments follow each other are checked as ever;
    /// the chain is by the next start, [`verify`](super::verify()) and every other reader.
    pub fn trust(&mut self, run: &str) {
        self.trusted = Some(run.to_owned());
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
        self.walk(lane, after, max, &mut |number, content| {
            let entry = record::read(content)?;
            if number > after {
                each(number, entry);
            }
            Some(())
        })
    }

    /// The same with what the books need of each record: of a close its figures, of others nothing. Takes no memory for a record.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_briefly(
        &mut self,
        lane: &str,
        after: u64,
        max: usize,
        each: &mut dyn FnMut(u64, Option<Brief<'_>>),
    ) -> Result<u64, LedgerFault> {
        self.walk(lane, after, max, &mut |number, content| {
            let brief = record::read_brief(content)?;
            if number > after {
                each(number, brief);
            }
            Some(())
        })
    }

    /// Shows the contents of a lane's records behind the place where this reader stands in it, those up to number `after` included where it has to
    /// begin before them.
    fn walk(&mut self, lane: &str, after: u64, max: usize, each: Each<'_>) -> Result<u64, LedgerFault> {
        let Some((directory, core)) = self.find(lane) else { return Ok(after) };
        let known = self.places.get(lane).copied().filter(|stand| stand.trail.next <= after.saturating_add(1));
        let Some(mut stand) = known.map_or_else(|| begin(&directory, core, after), |stand| Ok(Some(stand)))? else {
            return Ok(after);
        };
        let is_trusted = self.trusted.as_deref().is_some_and(|run| lane.split('/').next() == Some(run));
        let key = self.key.clone().filter(|_| !is_trusted);
        let mut shown = Shown { after, left: max, last: after, key, each };
        let result = self.follow(&directory, core, &mut stand, &mut shown);
        match self.places.get_mut(lane) {
            Some(place) => *place = stand,
            None => drop(self.places.insert(lane.to_owned(), stand)),
        }
        result.map(|()| shown.last)
    }

    fn find(&self, lane: &str) -> Option<(PathBuf, u32)> {
        let (run, core) = lane.split_once('/')?;
        // A name from the books is a part of a path: nothing that leads elsewhere.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        run.bytes().all(is_plain).then(|| Some((self.directory.join(run), core.parse().ok()?)))?
    }

    fn follow(
        &mut self,
        directory: &Path,
        core: u32,
        stand: &mut Stand,
        shown: &mut Shown<'_>,
    ) -> Result<(), LedgerFault> {
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
                        *stand = Stand::after(&head);
                        doubted = false;
                    }
                    // It was written to the end after the look, and left.
                    Some(_) if !doubted => doubted = true,
                    Some(head) if leaps(directory, core, &head, stand) => {
                        *stand = Stand::after(&head);
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
    fn look(&mut self, path: &Path, stand: &mut Stand, shown: &mut Shown<'_>) -> Result<Look, LedgerFault> {
        let piece = stand.piece;
        let count = match OsDisk.read_into(path, stand.at, piece, &mut self.bytes) {
            // Pruned: what comes next says whether it was all read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::End),
            count => count.map_err(LedgerFault::file(path))?,
        };
        let (mut rest, mut moved) = (self.bytes.get(..count).unwrap_or_default(), false);
        while shown.left > 0 {
            let frame = match place(rest) {
                Place::Record(frame) => frame,
                Place::Empty if moved && rest.is_empty() => break,
                Place::Empty => {
                    stand.piece = READ_FIRST_BYTES;
                    return Ok(Look::End);
                }
                Place::Cut if moved => break,
                Place::Cut => return Ok(Look::Bad("a record is cut off")),
                Place::Bad(what) => return Ok(Look::Bad(what)),
            };
            let mut trail = stand.trail;
            if let Err(what) = trail.step(&frame, shown.key.as_deref()) {
                return Ok(Look::Bad(what));
            }
            if shown.show(&frame).is_none() {
                return Ok(Look::Bad("it is no record"));
            }
            (stand.trail, stand.at, moved) = (trail, stand.at + frame.bytes as u64, true);
            rest = rest.get(frame.bytes..).unwrap_or_default();
        }
        // All of it was new: there is more where it comes from.
        stand.piece = (4 * piece).min(READ_BYTES);
        Ok(Look::Further)
    }
}

impl Stand {
    /// At the beginning of a segment.
    fn after(head: &Head) -> Self {
        Self { number: head.number, at: HEAD_BYTES as u64, trail: Trail::after(head), piece: READ_FIRST_BYTES }
    }
}

/// Is shown each record's number and content; `None` if that is no record.
type Each<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Option<()>;

/// What has been shown, and to whom.
struct Shown<'a> {
    after: u64,
    left: usize,
    last: u64,
    /// Checks the chain, unless it is taken for granted.
    key: Option<Arc<LedgerKey>>,
    each: Each<'a>,
}

impl Shown<'_> {
    fn show(&mut self, frame: &Frame<'_>) -> Option<()> {
        (self.each)(frame.sequence, frame.content)?;
        if frame.sequence > self.after {
            self.last = frame.sequence;
            self.left -= 1;
        }
        Some(())
    }
}

/// The last segment that begins at or before the wanted record.
fn begin(directory: &Path, core: u32, after: u64) -> Result<Option<Stand>, LedgerFault> {
    let mut found = None;
    for number in numbers(directory, core)?.into_iter().rev() {
        if let Some(head) = head_of(directory, core, number)? {
            found = Some(Stand::after(&head));
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

//! The bytes of a segment: its head, and the frames of its records. Pure; `docs/ledger.md` has the same byte by byte.
//!
//! ```text
//! head, 128 bytes                                    frame, a multiple of 8 bytes
//!   0  8  magic, stored last                           0  4  length of the content, never 0; stored last, with the checksum
//!   8  4  format                                       4  4  CRC-32C of the length and of everything behind the checksum
//!  12  4  core                                         8 16  link: HMAC(link before, sequence and content), its first half
//!  16  8  number of the segment                       24  8  sequence number in the lane, from 1
//!  24  8  sequence of the first record                32  n  content: its first byte is its kind
//!  32  8  wall clock, a label                            …   zeros up to the border
//!  40  8  floor: the first segment that has an
//!         attempt which was open when this began     After the last frame come zeros, or the end of a sealed file.
//!  48 16  link before the first record
//!  64 16  the machine's boot id
//!  80 32  the run, zeros behind it
//! 112  4  bytes that the file was made with: a shorter one is sealed
//! 116  4  CRC-32C of bytes 8 to 116
//! 120  8  synced: bytes known durable, and their CRC; the one place that changes
//! ```

use crate::domain::clock::UnixMillis;
use crate::limits::ledger::RECORD_BYTES_MAX;
use crate::vault::{LINK_BYTES, LedgerKey, Link};

/// Bytes of a segment's head.
pub const HEAD_BYTES: usize = 128;
/// Bytes of a frame before its content.
pub const FRAME_BYTES: usize = 32;
/// Where the synced mark is.
pub(super) const SYNCED_AT: usize = 120;
const MAGIC: [u8; 8] = *b"IGRISLJ\x01";
const FORMAT: u32 = 1;
const RUN_BYTES: usize = 32;
const CHECKED: std::ops::Range<usize> = 8..116;
const LINK_AT: usize = 8;
const LINKED_FROM: usize = 24;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which lane of the run.
    pub core: u32,
    /// Its place in the lane, from 0.
    pub number: u64,
    /// The sequence number of its first record.
    pub first: u64,
    /// When it was begun; a label.
    pub started: UnixMillis,
    /// The first segment that had an attempt which was open when this one began: replay needs nothing before it.
    pub floor: u64,
    /// The link before its first record.
    pub link: Link,
    /// What the kernel called that run of the machine.
    pub boot: [u8; 16],
    /// The process's run.
    pub run: String,
    /// Bytes that the file was made with. One that is shorter is sealed: everything in it was synced.
    pub capacity: u32,
}

/// What the first bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadState {
    /// No record was ever written there.
    Unused,
    /// A segment of this format.
    Good(Head),
    /// None that was written whole.
    Bad(&'static str),
}

impl Head {
    /// Its bytes, with the magic and without a synced mark.
    pub fn write(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(12, &self.core.to_le_bytes());
        put(16, &self.number.to_le_bytes());
        put(24, &self.first.to_le_bytes());
        put(32, &self.started.0.to_le_bytes());
        put(40, &self.floor.to_le_bytes());
        put(48, &self.link);
        put(64, &self.boot);
        put(80, &self.run.as_bytes()[..self.run.len().min(RUN_BYTES)]);
        put(112, &self.capacity.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[CHECKED]);
        bytes[116..120].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a file.
    pub fn read(bytes: &[u8]) -> HeadState {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            return if bytes.iter().all(|byte| *byte == 0) {
                HeadState::Unused
            } else {
                HeadState::Bad("its head is cut")
            };
        };
        if head[..8] == [0; 8] {
            // The magic is stored last: what was begun and not finished was never used.
            return HeadState::Unused;
        }
        let number = |at: usize| u64::from_le_bytes(array(head, at));
        let small = |at: usize| u32::from_le_bytes(array(head, at));
        if head[..8] != MAGIC || crc32c::crc32c(&head[CHECKED]) != small(116) {
            return HeadState::Bad("its head is not what was written");
        }
        let run = head[80..80 + RUN_BYTES].split(|byte| *byte == 0).next().unwrap_or_default();
        let Some(run) = std::str::from_utf8(run).ok().filter(|_| small(8) == FORMAT) else {
            return HeadState::Bad("it is of a format that this version does not know");
        };
        HeadState::Good(Self {
            core: small(12),
            number: number(16),
            first: number(24),
            started: UnixMillis(number(32)),
            floor: number(40),
            link: array(head, 48),
            boot: array(head, 64),
            run: run.to_owned(),
            capacity: small(112),
        })
    }

    /// The link from which a lane's first segment starts: that of its identity.
    pub fn origin(key: &LedgerKey, run: &str, core: u32) -> Link {
        let mut identity = MAGIC.to_vec();
        identity.extend_from_slice(&core.to_le_bytes());
        identity.extend_from_slice(run.as_bytes());
        key.link(&[0; LINK_BYTES], &identity)
    }
}

/// The word that says how many bytes of a segment are durable.
pub(super) fn synced_word(bytes: u32) -> u64 {
    u64::from(bytes) | u64::from(crc32c::crc32c(&bytes.to_le_bytes())) << 32
}

/// How many bytes of a segment are known durable. `None` if its mark is not what was written.
pub fn synced_of(bytes: &[u8]) -> Option<u64> {
    let word = u64::from_le_bytes(array(bytes.first_chunk::<HEAD_BYTES>()?, SYNCED_AT));
    let length = u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
    (word == 0 || word == synced_word(length)).then_some(u64::from(length))
}

// === Frames ===

/// A record's place in the bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number in its lane.
    pub sequence: u64,
    /// Its link.
    pub link: Link,
    /// What it says: [`record::read`](super::record::read).
    pub content: &'a [u8],
    /// Bytes of all of it.
    pub bytes: usize,
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A record.
    Record(Frame<'a>),
    /// Nothing yet.
    Empty,
    /// The bytes end in the middle of one.
    Cut,
    /// Something that was not written so.
    Bad(&'static str),
}

/// What stands at the beginning of `bytes`.
pub fn place(bytes: &[u8]) -> Place<'_> {
    if bytes.is_empty() {
        return Place::Empty;
    }
    let Some(word) = bytes.first_chunk::<8>() else { return Place::Cut };
    if *word == [0; 8] {
        return Place::Empty;
    }
    let length = usize::try_from(u32::from_le_bytes(array(bytes, 0))).unwrap_or(usize::MAX);
    if length == 0 || length > RECORD_BYTES_MAX - FRAME_BYTES {
        return Place::Bad("no record has this length");
    }
    let Some(frame) = bytes.get(..frame_bytes(length)) else { return Place::Cut };
    if checksum(frame) != u32::from_le_bytes(array(frame, 4)) {
        return Place::Bad("its checksum does not fit");
    }
    Place::Record(Frame {
        sequence: u64::from_le_bytes(array(frame, LINKED_FROM)),
        link: array(frame, LINK_AT),
        content: &frame[FRAME_BYTES..FRAME_BYTES + length],
        bytes: frame.len(),
    })
}

/// Bytes of a frame around so much content.
pub const fn frame_bytes(content: usize) -> usize {
    (FRAME_BYTES + content).next_multiple_of(8)
}

/// Completes a frame: `frame` holds [`FRAME_BYTES`] of anything and then the content. Answers its link.
pub(super) fn seal_frame(frame: &mut Vec<u8>, sequence: u64, before: &Link, key: &LedgerKey) -> Link {
    let length = frame.len().saturating_sub(FRAME_BYTES);
    // Where its own link comes to stand, the one before stands for a moment: what is linked is one piece.
    frame[LINK_AT..LINKED_FROM].copy_from_slice(before);
    frame[LINKED_FROM..FRAME_BYTES].copy_from_slice(&sequence.to_le_bytes());
    let link = key.link_joined(&frame[LINK_AT..]);
    frame.resize(frame_bytes(length), 0);
    frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    frame[LINK_AT..LINKED_FROM].copy_from_slice(&link);
    let sum = checksum(frame);
    frame[4..8].copy_from_slice(&sum.to_le_bytes());
    link
}

/// The link that a record must have.
pub(super) fn link_of(key: &LedgerKey, before: &Link, frame: &Frame<'_>) -> Link {
    let mut linked = [0; RECORD_BYTES_MAX];
    linked[..8].copy_from_slice(&frame.sequence.to_le_bytes());
    let end = 8 + frame.content.len();
    linked[8..end].copy_from_slice(frame.content);
    key.link(before, &linked[..end])
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

/// Bytes at a place that is known to be there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of its own length")
}

// === A walk along a lane ===

/// Where a walk along a lane's records stands, and what the next one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trail {
    /// The number of the next record.
    pub(super) next: u64,
    /// The link before it.
    pub(super) link: Link,
}

impl Trail {
    pub(super) fn after(head: &Head) -> Self {
        Self { next: head.first, link: head.link }
    }

    /// Takes a step over a record; says what is wrong with it instead. Without a key, links are not checked.
    pub(super) fn step(&mut self, frame: &Frame<'_>, key: Option<&LedgerKey>) -> Result<(), &'static str> {
        if frame.sequence != self.next {
            return Err("its number is not the next one");
        }
        if key.is_some_and(|key| link_of(key, &self.link, frame) != frame.link) {
            return Err("it does not follow from the record before it");
        }
        (self.next, self.link) = (frame.sequence + 1, frame.link);
        Ok(())
    }
}

/// Whether a whole record with a number in a range stands anywhere in these bytes, which begin on a border.
pub(super) fn has_record(bytes: &[u8], from: u64, to: u64) -> bool {
    (0..bytes.len()).step_by(8).any(|at| match place(&bytes[at..]) {
        Place::Record(frame) => (from..=to).contains(&frame.sequence),
        _ => false,
    })
}

/// Bytes up to the last one that is not zero.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, before: &Link, content: &[u8]) -> (Vec<u8>, Link) {
        let mut bytes = vec![0; FRAME_BYTES];
        bytes.extend_from_slice(content);
        let link = seal_frame(&mut bytes, sequence, before, &LedgerKey::for_tests());
        (bytes, link)
    }

    fn head() -> Head {
        Head {
            core: 3,
            number: 7,
            first: 4_711,
            started: UnixMillis(1_795_416_713_000),
            floor: 6,
            link: [9; 16],
            boot: [1; 16],
            run: "01a2b3c4d5e6-0badcafe".to_owned(),
            capacity: 65_536,
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_every_flip_in_it_is_noticed() {
        let bytes = head().write();
        assert_eq!(Head::read(&bytes), HeadState::Good(head()));
        for at in 0..SYNCED_AT {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert!(matches!(Head::read(&flipped), HeadState::Bad(_)), "byte {at}");
        }
        for cut in 0..HEAD_BYTES {
            assert!(!matches!(Head::read(&bytes[..cut]), HeadState::Good(_)), "{cut} bytes");
        }
    }

    #[test]
    fn a_synced_mark_is_checked() {
        let mut bytes = head().write();
        assert_eq!(synced_of(&bytes), Some(0));
        bytes[SYNCED_AT..].copy_from_slice(&synced_word(4_096).to_le_bytes());
        assert_eq!(synced_of(&bytes), Some(4_096));
        for bit in 0..64 {
            let mut flipped = bytes;
            flipped[SYNCED_AT + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(synced_of(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_every_flip_in_it_is_noticed() {
        let (bytes, link) = frame(5, &[2; 16], b"\x02content of odd length");
        let expected = Frame { sequence: 5, link, content: b"\x02content of odd length", bytes: bytes.len() };
        assert_eq!(place(&bytes), Place::Record(expected));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(place(&flipped), Place::Record(_)), "bit {bit}");
        }
        for cut in 1..bytes.len() {
            assert_eq!(place(&bytes[..cut]), Place::Cut, "{cut} bytes");
        }
    }

    #[test]
    fn a_trail_wants_the_next_number_and_the_link_before() {
        let key = LedgerKey::for_tests();
        let (first, link) = frame(1, &[0; 16], b"\x02a");
        let (second, _) = frame(2, &link, b"\x02b");
        let mut trail = Trail { next: 1, link: [0; 16] };
        let Place::Record(one) = place(&first) else { panic!("a record") };
        let Place::Record(two) = place(&second) else { panic!("a record") };
        assert!(trail.step(&two, Some(&key)).is_err(), "the first one is missing");
        trail.step(&one, Some(&key)).expect("it is the next one");
        let mut other = Trail { link: [8; 16], ..trail };
        assert!(other.step(&two, Some(&key)).is_err(), "it follows from another one");
        assert!(other.step(&two, None).is_ok(), "nobody can tell without the key");
        trail.step(&two, Some(&key)).expect("it is the next one");
    }

    #[test]
    fn records_are_found_behind_damage() {
        let (mut bytes, link) = frame(1, &[0; 16], b"\x02a");
        let length = bytes.len();
        bytes.extend_from_slice(&frame(2, &link, b"\x02b").0);
        bytes.extend_from_slice(&[0; 64]);
        assert!(has_record(&bytes[8..], 1, 9));
        assert!(!has_record(&bytes[8..], 3, 9), "nothing that new");
        assert!(!has_record(&bytes[length + 8..], 1, 9));
        assert_eq!(used(&bytes), 2 * length - 6, "up to the content's last byte");
        assert_eq!(used(&[0; 9]), 0);
    }
}

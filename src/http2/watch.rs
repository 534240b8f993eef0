//! Counts the frames with which a peer makes us work for nothing (rule H22), from the bytes as they pass: the `h2` crate has bounds of its
//! own, per connection or per queue, and none over time.
//!
//! Only the nine bytes before each frame are looked at, and the reason of a reset; nothing is kept.

use crate::limits::http2::{FLOOD_FRAMES_MAX, FLOOD_WINDOW};
use std::time::Instant;

/// What every client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection begins with the [`PREFACE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// It does.
    Whole,
    /// It may: more bytes will tell.
    Begun,
    /// It does not.
    None,
}

/// Looks for the [`PREFACE`] at the beginning of what a client has sent.
pub fn preface_in(bytes: &[u8]) -> Preface {
    let length = bytes.len().min(PREFACE.len());
    match PREFACE.starts_with(&bytes[..length]) {
        true if length == PREFACE.len() => Preface::Whole,
        true => Preface::Begun,
        false => Preface::None,
    }
}

/// Bytes before a frame's payload (RFC 9113 §4.1).
const FRAME_HEAD_BYTES: usize = 9;
/// The same with the reason of a reset (RFC 9113 §6.4).
const RESET_HEAD_BYTES: usize = FRAME_HEAD_BYTES + 4;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Whose frames are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The other side.
    Peer,
    /// We: of our resets those count that the peer's faults are the cause of.
    Us,
}

/// A frame's type, where it matters here (RFC 9113 §6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const CONTINUATION: u8 = 0x9;
/// Frame types that have a count.
const TYPES: usize = 10;

/// Reasons of our resets that are no fault of the peer: NO_ERROR, INTERNAL_ERROR, CANCEL (RFC 9113 §7).
const OUR_REASONS: [u32; 3] = [0x0, 0x2, 0x8];

/// Watches one direction of a connection.
#[derive(Debug)]
pub struct FrameWatch {
    sender: Sender,
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; RESET_HEAD_BYTES],
    have: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
    counts: [u32; TYPES],
    window: Option<Instant>,
    /// Since when a block of header fields is on its way.
    block: Option<Instant>,
    /// Whether the frame under way ends that block.
    ends_block: bool,
    flooded: bool,
}

impl FrameWatch {
    /// Watches from the connection's first byte on; `preface` says whether the sender begins with [`PREFACE`].
    pub fn new(sender: Sender, preface: bool) -> FrameWatch {
        FrameWatch {
            sender,
            preface: if preface { PREFACE.len() } else { 0 },
            head: [0; RESET_HEAD_BYTES],
            have: 0,
            payload: 0,
            counts: [0; TYPES],
            window: None,
            block: None,
            ends_block: false,
            flooded: false,
        }
    }

    /// Whether there was more of one kind than there may be.
    pub fn is_flooded(&self) -> bool {
        self.flooded
    }

    /// Since when a head is on its way that is not whole yet.
    pub fn block_since(&self) -> Option<Instant> {
        self.block
    }

    /// Takes the next bytes.
    pub fn note(&mut self, mut bytes: &[u8], now: Instant) {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            if skipped > 0 {
                self.payload -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.end_block_if_over();
                continue;
            }
            let wanted = if self.is_reset_of_ours() { RESET_HEAD_BYTES } else { FRAME_HEAD_BYTES };
            let here = bytes.len().min(wanted - self.have);
            let (taken, rest) = bytes.split_at(here);
            self.head[self.have..self.have + here].copy_from_slice(taken);
            self.have += here;
            bytes = rest;
            let wanted = if self.is_reset_of_ours() { RESET_HEAD_BYTES } else { FRAME_HEAD_BYTES };
            if self.have == wanted {
                self.frame(wanted - FRAME_HEAD_BYTES, now);
            }
        }
    }

    fn is_reset_of_ours(&self) -> bool {
        self.sender == Sender::Us && self.have >= FRAME_HEAD_BYTES && self.head[3] == RST_STREAM
    }

    /// A frame's beginning is whole; `early` bytes of its payload were taken with it.
    fn frame(&mut self, early: usize, now: Instant) {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let reason = u32::from_be_bytes([self.head[9], self.head[10], self.head[11], self.head[12]]);
        self.have = 0;
        self.payload = length.saturating_sub(early);
        let counts = match kind {
            DATA => length == 0 && flags & END_STREAM == 0,
            RST_STREAM => self.sender == Sender::Peer || !OUR_REASONS.contains(&reason),
            PRIORITY | SETTINGS | PING | CONTINUATION => true,
            _ => false,
        };
        if counts {
            self.count(kind, now);
        }
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block.get_or_insert(now);
            self.ends_block = flags & END_HEADERS != 0;
            self.end_block_if_over();
        }
    }

    fn end_block_if_over(&mut self) {
        if self.payload == 0 && self.ends_block {
            self.block = None;
            self.ends_block = false;
        }
    }

    fn count(&mut self, kind: u8, now: Instant) {
        let began = *self.window.get_or_insert(now);
        if now.saturating_duration_since(began) >= FLOOD_WINDOW {
            self.window = Some(now);
            self.counts = [0; TYPES];
        }
        // Our own PING, SETTINGS and the like follow from the peer's, which are counted there.
        if self.sender == Sender::Us && kind != RST_STREAM {
            return;
        }
        if let Some(count) = self.counts.get_mut(usize::from(kind)) {
            *count += 1;
            self.flooded |= *count > FLOOD_FRAMES_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn times(frame: &[u8], count: u32) -> Vec<u8> {
        (0..count).flat_map(|_| frame.to_vec()).collect()
    }

    #[test]
    fn a_preface_is_known_from_its_first_bytes_on() {
        let looks = |bytes: &[u8]| preface_in(bytes);
        assert_eq!((looks(b""), looks(b"P"), looks(&PREFACE[..23])), (Preface::Begun, Preface::Begun, Preface::Begun));
        assert_eq!(looks(&[PREFACE.as_slice(), b"more"].concat()), Preface::Whole);
        assert_eq!(
            (looks(b"PO"), looks(b"GET"), looks(b"PRI * HTTP/1.1\r\n")),
            (Preface::None, Preface::None, Preface::None)
        );
    }

    #[test]
    fn each_kind_floods_at_its_own_count_however_the_bytes_are_split() {
        let now = Instant::now();
        let kinds = [
            frame(DATA, 0, b""),
            frame(PRIORITY, 0, b"12345"),
            frame(RST_STREAM, 0, &8u32.to_be_bytes()),
            frame(SETTINGS, 0, b""),
            frame(PING, 0, b"12345678"),
            frame(CONTINUATION, 0, b"abc"),
        ];
        for frame in &kinds {
            for size in [1, 7, 9, 4096] {
                let mut watch = FrameWatch::new(Sender::Peer, true);
                watch.note(PREFACE, now);
                for piece in times(frame, FLOOD_FRAMES_MAX).chunks(size) {
                    watch.note(piece, now);
                }
                assert!(!watch.is_flooded(), "{frame:?} in pieces of {size}");
                watch.note(frame, now);
                assert!(watch.is_flooded(), "{frame:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_ordinary_does_not_count_and_a_minute_forgets() {
        let now = Instant::now();
        let mut watch = FrameWatch::new(Sender::Peer, false);
        watch.note(&times(&frame(DATA, 0, b"x"), 1_000), now);
        watch.note(&times(&frame(DATA, END_STREAM, b""), 1_000), now);
        watch.note(&times(&frame(HEADERS, END_HEADERS, b"x"), 1_000), now);
        watch.note(&times(&frame(8, 0, b"1234"), 1_000), now);
        assert!(!watch.is_flooded());
        for minute in 0..3 {
            watch.note(&times(&frame(PING, 0, b"12345678"), FLOOD_FRAMES_MAX), now + Duration::from_secs(60) * minute);
        }
        assert!(!watch.is_flooded());
    }

    #[test]
    fn our_resets_count_where_the_peer_is_their_cause() {
        let now = Instant::now();
        let reset = |reason: u32| times(&frame(RST_STREAM, 0, &reason.to_be_bytes()), FLOOD_FRAMES_MAX + 1);
        for (reason, floods) in [(0, false), (2, false), (8, false), (1, true), (3, true), (5, true), (7, true)] {
            let mut watch = FrameWatch::new(Sender::Us, false);
            for piece in reset(reason).chunks(5) {
                watch.note(piece, now);
            }
            assert_eq!(watch.is_flooded(), floods, "{reason}");
        }
        let mut watch = FrameWatch::new(Sender::Us, false);
        watch.note(&times(&frame(PING, 1, b"12345678"), 1_000), now);
        assert!(!watch.is_flooded());
    }

    #[test]
    fn a_head_is_under_way_from_its_first_frame_to_the_end_of_its_last() {
        let now = Instant::now();
        let mut watch = FrameWatch::new(Sender::Peer, false);
        watch.note(&frame(HEADERS, 0, b"abc"), now);
        assert_eq!(watch.block_since(), Some(now));
        let last = frame(CONTINUATION, END_HEADERS, b"def");
        watch.note(&last[..10], now + Duration::from_secs(1));
        assert_eq!(watch.block_since(), Some(now));
        watch.note(&last[10..], now + Duration::from_secs(2));
        assert_eq!(watch.block_since(), None);
        watch.note(&frame(HEADERS, END_HEADERS, b""), now);
        assert_eq!(watch.block_since(), None);
    }
}

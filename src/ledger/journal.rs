//! One core's pen: what it writes survives SIGKILL when the call returns, without a system call.
//!
//! Only the core writes its lane. When a segment is full the next one, which the keeper has made before, takes its place; when a sync has
//! failed, what is open is written again in a new one (rule L8). A pen that is dropped closes what it left open as interrupted.

use super::keeper::Durability;
use super::lane::{Full, Lane, Rest, Segment, Shared, lock};
use super::opens::Opens;
use super::record::{self, Mark, Rates};
use super::segment::{FRAME_BYTES, HEAD_BYTES, Head, Trail, seal_frame};
use crate::limits::ledger::{EXCHANGE_BYTES_MAX, MARK_BYTES, RECORD_BYTES_MAX, SPARES_MAX, SYNC_BYTES};
use crate::report::AttemptReport;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Where a record stands in its lane; grows with every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// The record's number in its lane, from 1, as [`Reader::read`](super::Reader::read) tells it.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The journal of one core. Not shared: it moves to its core's thread and stays there.
pub struct Journal {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    pen: RefCell<Pen>,
}

struct Pen {
    segment: Segment,
    /// Where the next record goes.
    at: usize,
    trail: Trail,
    opens: Opens,
    /// The record that is being written.
    frame: Vec<u8>,
    /// Bytes that exchanges under way may still need; marks leave them alone.
    promised: usize,
    /// Where the last sync was asked for.
    asked_at: usize,
    /// Whether what is open is being written again; another failure meanwhile waits until that is done.
    restating: bool,
}

impl Journal {
    /// The first pen of a lane.
    pub(super) fn begin(shared: Arc<Shared>, lane: Arc<Lane>, segment: Segment) -> Self {
        let trail = Trail { next: 1, link: Head::origin(&shared.key, &shared.run, lane.number) };
        let pen = Pen::over(segment, trail, Opens::default());
        pen.write_head(&shared, &lane);
        *lock(&lane.current) = Some(pen.segment.clone());
        Self { shared, lane, pen: RefCell::new(pen) }
    }

    /// Takes up what the pen before left.
    pub(super) fn resume(shared: Arc<Shared>, lane: Arc<Lane>, rest: Rest) -> Self {
        let mut pen = Pen::over(rest.segment, rest.trail, rest.opens);
        pen.at = rest.at;
        Self { shared, lane, pen: RefCell::new(pen) }
    }

    /// The name of its lane, as it stands in the books: `<run>/<core>`.
    pub fn lane(&self) -> String {
        format!("{}/{}", self.shared.run, self.lane.number)
    }

    /// Whether `exchanges` exchanges under way, each with all the attempts it may make, could still write all of their records, and
    /// nothing is wrong with the disk (rules L4, L8). Asked at every admission: no system call, no lock.
    pub fn has_room(&self, exchanges: usize) -> bool {
        let mut pen = self.pen.borrow_mut();
        let needed = exchanges.saturating_mul(EXCHANGE_BYTES_MAX);
        pen.promised = needed;
        let room = pen.room(&self.lane);
        if room / 2 < needed {
            self.want_spares(pen.segment.paper.bytes(), needed);
        }
        if pen.has_failed(&self.lane) {
            // Nothing else may come, and only in a new segment a sync can succeed.
            pen.leave_failed(&self.shared, &self.lane);
            return false;
        }
        needed <= room && !self.shared.no_space.load(Ordering::Relaxed) && !self.lane.refused.load(Ordering::Relaxed)
    }

    /// An attempt is about to be made: its record survives a SIGKILL when this returns (rule L2). The caller has asked
    /// [`has_room`](Self::has_room) at admission.
    pub fn open(&self, report: &AttemptReport, input_tokens: u64, rates: Option<Rates>) -> Position {
        let mut pen = self.pen.borrow_mut();
        let position =
            pen.append(&self.shared, &self.lane, |out| record::write_intent(report, input_tokens, rates, out));
        pen.remember((report.attempt, report.exchange), position);
        self.ask_sync(&mut pen, position);
        position
    }

    /// How far an attempt has come (rule L3). Where room is short it gives way to closes, and the mark before it stands.
    pub fn mark(&self, mark: &Mark) -> Position {
        let mut pen = self.pen.borrow_mut();
        if pen.room(&self.lane) < pen.promised.saturating_add(MARK_BYTES) {
            return Position(pen.trail.next - 1);
        }
        pen.opens.mark(mark);
        pen.append(&self.shared, &self.lane, |out| record::write_mark(mark, out))
    }

    /// An attempt has ended; exactly once for each that was opened.
    pub fn close(&self, report: &AttemptReport) -> Position {
        let mut pen = self.pen.borrow_mut();
        let position = pen.append(&self.shared, &self.lane, |out| record::write_close(report, out));
        pen.opens.close(report.attempt, report.last);
        self.ask_sync(&mut pen, position);
        position
    }

    /// Whether a record would survive power loss. Under any durability but [`Power`](super::Durability::Power) it is ready at once.
    ///
    /// # Errors
    /// The disk did not take it (rule L8), and it has been written again elsewhere: the answer is where, to wait for that in its place;
    /// after a second failure `None`.
    pub fn poll_synced(&self, position: Position, cx: &mut Context<'_>) -> Poll<Result<(), Option<Position>>> {
        if self.shared.durability != Durability::Power || self.is_synced(position) {
            return Poll::Ready(Ok(()));
        }
        let mut pen = self.pen.borrow_mut();
        if pen.has_failed(&self.lane) && !pen.leave_failed(&self.shared, &self.lane) {
            return Poll::Ready(Err(None));
        }
        if let Some(open) = pen.opens.moved_from(position.0) {
            return Poll::Ready(Err((open.moves < 2).then_some(Position(open.sequence))));
        }
        if self.lane.waiting.push(cx.waker().clone()).is_err() {
            cx.waker().wake_by_ref();
        }
        self.ask_sync(&mut pen, position);
        // What became true before the waker was there would wake nobody.
        if self.is_synced(position) {
            return Poll::Ready(Ok(()));
        }
        if pen.has_failed(&self.lane) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_synced(&self, position: Position) -> bool {
        self.lane.synced.load(Ordering::SeqCst) >= position.0
    }

    /// Asks for a sync up to a record, where records are synced at all.
    fn ask_sync(&self, pen: &mut Pen, position: Position) {
        if self.shared.durability != Durability::Power {
            return;
        }
        self.lane.wanted.fetch_max(position.0, Ordering::SeqCst);
        self.shared.bell.ring();
        if pen.at.saturating_sub(pen.asked_at) as u64 >= SYNC_BYTES {
            pen.asked_at = pen.at;
            self.shared.bell.wake();
        }
    }

    /// Asks for so many spares that twice as much fits.
    fn want_spares(&self, segment_bytes: usize, needed: usize) {
        let usable = segment_bytes.saturating_sub(HEAD_BYTES + RECORD_BYTES_MAX).max(1);
        let wanted = (needed.saturating_mul(2) / usable + 1).min(SPARES_MAX);
        if wanted > self.lane.spares_wanted.load(Ordering::Relaxed) {
            self.lane.spares_wanted.store(wanted, Ordering::SeqCst);
            self.shared.bell.ring();
        }
    }
}

impl Pen {
    fn over(segment: Segment, trail: Trail, opens: Opens) -> Self {
        Self { segment, at: HEAD_BYTES, trail, opens, frame: Vec::new(), promised: 0, asked_at: 0, restating: false }
    }

    /// Bytes that are left for records, here and in the spares; what may stay unused at a segment's end does not count.
    fn room(&self, lane: &Lane) -> usize {
        let bytes = self.segment.paper.bytes();
        let spare = bytes.saturating_sub(HEAD_BYTES + RECORD_BYTES_MAX);
        bytes.saturating_sub(self.at + RECORD_BYTES_MAX) + spare.saturating_mul(lane.spares.len())
    }

    fn append(&mut self, shared: &Shared, lane: &Lane, write: impl FnOnce(&mut Vec<u8>)) -> Position {
        self.frame.clear();
        self.frame.resize(FRAME_BYTES, 0);
        write(&mut self.frame);
        self.place(shared, lane)
    }

    /// Puts the frame in its place: its bytes first and then the word without which there is no record.
    fn place(&mut self, shared: &Shared, lane: &Lane) -> Position {
        let bytes = super::segment::frame_bytes(self.frame.len() - FRAME_BYTES);
        debug_assert!(bytes <= RECORD_BYTES_MAX, "texts are bounded");
        if self.has_failed(lane) && !self.restating {
            let record = std::mem::take(&mut self.frame);
            self.leave_failed(shared, lane);
            self.frame = record;
        }
        if self.at + bytes > self.segment.paper.bytes() && !self.roll(shared, lane, false) {
            // Only against has_room: neither a spare nor, at this very moment, a new segment.
            shared.counts.lost.fetch_add(1, Ordering::Relaxed);
            return Position(self.trail.next.saturating_sub(1));
        }
        let link = seal_frame(&mut self.frame, self.trail.next, &self.trail.link, &shared.key);
        let (word, rest) = self.frame.split_first_chunk::<8>().expect("a frame is longer than its first word");
        self.segment.paper.store(self.at + 8, rest);
        self.segment.paper.publish(self.at, u64::from_le_bytes(*word));
        let position = Position(self.trail.next);
        self.at += bytes;
        self.trail = Trail { next: self.trail.next + 1, link };
        lane.pen.wrote(position.0, self.at as u64, bytes as u64);
        position
    }

    /// Keeps the intent that was just written.
    fn remember(&mut self, ids: (crate::domain::id::AttemptId, crate::domain::id::RequestId), position: Position) {
        // The frame has been padded since; what is behind the content reads as nothing and is cut off by its length.
        let length = self.frame.first_chunk::<4>().map_or(0, |word| u32::from_le_bytes(*word) as usize);
        let content = self.frame.get(FRAME_BYTES..FRAME_BYTES + length).unwrap_or_default();
        self.opens.intent(ids, position.0, self.segment.number, content);
    }

    /// Goes on in a spare, or where there is none in a segment made here and now. `false` if there is no space for one.
    fn roll(&mut self, shared: &Shared, lane: &Lane, failed: bool) -> bool {
        let Some(next) = self.next_segment(shared, lane) else { return false };
        let segment = std::mem::replace(&mut self.segment, next);
        let used = std::mem::replace(&mut self.at, HEAD_BYTES) as u64;
        self.asked_at = 0;
        self.write_head(shared, lane);
        {
            // In this order: whoever sees the new segment as the current one finds the old one among the full ones.
            let mut current = lock(&lane.current);
            if let Err(full) = lane.full.push(Full { segment, used, failed }) {
                // The keeper is far behind; the file is left as it is, and replay or pruning finds it.
                drop(full);
            }
            *current = Some(self.segment.clone());
            lane.pen.used.store(HEAD_BYTES as u64, Ordering::Release);
        }
        shared.bell.ring();
        true
    }

    /// A spare, or a segment made here and now.
    fn next_segment(&self, shared: &Shared, lane: &Lane) -> Option<Segment> {
        while let Some(spare) = lane.spares.pop() {
            if spare.number > self.segment.number {
                return Some(spare);
            }
            // The keeper was still making it when this core made a later one itself; numbers only grow.
            drop(lane.full.push(Full { segment: spare, used: 0, failed: false }));
        }
        shared.make_segment(lane).ok()
    }

    fn write_head(&self, shared: &Shared, lane: &Lane) {
        let head = Head {
            core: lane.number,
            number: self.segment.number,
            first: self.trail.next,
            started: (shared.clock)(),
            floor: self.opens.floor(self.segment.number),
            link: self.trail.link,
            boot: shared.boot,
            run: shared.run.clone(),
            capacity: u32::try_from(self.segment.paper.bytes()).unwrap_or(u32::MAX),
        };
        let bytes = head.write();
        let (word, rest) = bytes.split_first_chunk::<8>().expect("a head is longer than its first word");
        self.segment.paper.store(8, rest);
        self.segment.paper.publish(0, u64::from_le_bytes(*word));
        lane.pen.used.store(HEAD_BYTES as u64, Ordering::Release);
    }

    fn has_failed(&self, lane: &Lane) -> bool {
        lane.failed.load(Ordering::Acquire) > self.segment.number
    }

    /// Leaves a segment whose sync has failed, and writes what is open again in a new one (rule L8). `false` if there is none.
    fn leave_failed(&mut self, shared: &Shared, lane: &Lane) -> bool {
        if !self.roll(shared, lane, true) {
            return false;
        }
        self.restating = true;
        let mut opens = std::mem::take(&mut self.opens);
        let ids: Vec<_> = opens.in_order().into_iter().map(|(attempt, open)| (attempt, open.mark)).collect();
        for (attempt, mark) in ids {
            let Some((exchange, intent)) = opens.of(attempt) else { continue };
            let position = self.append(shared, lane, |out| out.extend_from_slice(intent));
            let segment = self.segment.number;
            opens.intent((attempt, exchange), position.0, segment, &[]);
            if let Some(mark) = mark {
                self.append(shared, lane, |out| record::write_mark(&mark, out));
            }
        }
        self.opens = opens;
        self.restating = false;
        lane.wanted.fetch_max(lane.pen.written.load(Ordering::SeqCst), Ordering::SeqCst);
        shared.bell.ring();
        true
    }
}

impl Drop for Journal {
    /// Its worker is gone: what it left open ends here, and the next pen goes on behind it.
    fn drop(&mut self) {
        let pen = self.pen.get_mut();
        for report in pen.opens.interrupted() {
            pen.append(&self.shared, &self.lane, |out| record::write_close(&report, out));
            pen.opens.close(report.attempt, report.last);
        }
        let rest =
            Rest { segment: pen.segment.clone(), at: pen.at, trail: pen.trail, opens: std::mem::take(&mut pen.opens) };
        *lock(&self.lane.rest) = Some(rest);
        if self.shared.durability == Durability::Power {
            self.lane.wanted.fetch_max(self.lane.pen.written.load(Ordering::SeqCst), Ordering::SeqCst);
            self.shared.bell.ring();
        }
    }
}

//! Bounds of the ledger journal.

use super::{ATTEMPTS_BOOKED_MAX, EXCHANGES_PER_CORE_MAX};
use std::time::Duration;

/// Bytes that are kept free beside the segments, so that every open attempt can close on a full disk (rule L8).
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How long an answer waits for its attempt's intent to be synced (rule L2); a disk that takes longer is taken for broken (rule L8).
pub const SYNC_DEADLINE: Duration = Duration::from_secs(2);

/// How often an answer that streams is marked (rule L3).
pub const MARK_INTERVAL: Duration = Duration::from_secs(2);

/// Relayed bytes after which it is marked earlier (rule L3).
pub const MARK_RELAYED_BYTES: usize = 64 * 1024;

/// How long an answer is read on for its usage after its client has gone, where the tenant wants that (rule L5).
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// Answers of one core that are read on so at a time (rule L5); beyond that they are stopped. Each holds a provider's connection.
pub const DRAINS_PER_CORE_MAX: usize = 64;

/// Bytes of a segment: some thousand attempts, and so few that sealing one is soon done and pruning is fine-grained.
pub const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// The smallest segment that is written: tests roll often.
pub const SEGMENT_BYTES_MIN: u64 = 24 * 1024;
/// The largest segment that is read; whatever is longer is none of ours.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one text in a record (tenant, provider, model): longer ones are cut, so that a record's size is bounded.
pub const TEXT_BYTES_MAX: usize = 256;
/// Bytes of the largest record with its frame: a close with three texts of full length.
pub const RECORD_BYTES_MAX: usize = 1_024;
/// Bytes of a mark with its frame.
pub const MARK_BYTES: usize = 120;
/// Bytes that one exchange may write: an intent and a close for each of its attempts, and its open intent and mark again after a failed sync.
pub const EXCHANGE_BYTES_MAX: usize = (2 * ATTEMPTS_BOOKED_MAX as usize + 1) * RECORD_BYTES_MAX + MARK_BYTES;
/// Spare segments of one core: as many as the exchanges under way may fill.
pub const SPARES_MAX: usize = 48;
/// How long a record waits for others to be synced with it (rule L2).
pub const SYNC_DELAY: Duration = Duration::from_millis(2);
/// So many bytes are synced at once (rule L2).
pub const SYNC_BYTES: u64 = 64 * 1024;
/// Tasks of one core that wait for a sync; further ones ask again at once.
pub const WAITING_MAX: usize = EXCHANGES_PER_CORE_MAX;
/// Until what could not be done is tried again: making a segment, the reserve, or the copy of a segment that could not be synced.
pub const RETRY: Duration = Duration::from_secs(1);
/// Bytes that a reader takes from a segment at once, at most.
pub const READ_BYTES: usize = 256 * 1024;
/// Bytes that it takes first; more as long as all of them are records, because behind the last record a segment is zeros.
pub const READ_FIRST_BYTES: usize = 16 * 1024;

const _: () = assert!(SPARES_MAX as u64 * SEGMENT_BYTES >= EXCHANGES_PER_CORE_MAX as u64 * EXCHANGE_BYTES_MAX as u64);
const _: () = assert!(SEGMENT_BYTES_MIN as usize >= 2 * EXCHANGE_BYTES_MAX && SEGMENT_BYTES <= SEGMENT_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES_MAX < u32::MAX as u64, "an offset fits the synced mark");
const _: () = assert!(READ_FIRST_BYTES >= 2 * RECORD_BYTES_MAX && READ_BYTES >= READ_FIRST_BYTES);
const _: () = assert!(RESERVE_BYTES >= 4 * SEGMENT_BYTES);

//! Bounds of the books: taking the journal in, keeping, proving and exporting it.

use std::time::Duration;

/// The most tokens of one attempt that are counted, a hundred times the longest context there is: no figure that a provider makes up is one
/// that a store cannot add, nor what it costs, not even millions of times.
pub const ATTEMPT_TOKENS_MAX: u64 = 1_000_000_000;

// Taking the journal into the books.

/// Records that are read at once; then it is looked whether they are to be added.
pub const BATCH_RECORDS: usize = 4_096;
/// Lines of the books that are added in one transaction as soon as there are so many: writing them takes a few milliseconds, as long as the sync
/// that ends it. Records of the same hour, key and model are one line, however many.
pub const BATCH_LINES: usize = 1_024;
/// How long one tick may take the journal in; what is left waits for the next, since an API call waits for a tick at most.
pub const INGEST_SLICE: Duration = Duration::from_millis(100);
/// How long somebody who asks for usage waits until the books have everything. Longer only after hours without a store.
pub const INGEST_READ_SLICE: Duration = Duration::from_secs(2);
/// How many records behind the one it repeats a record that is written again may stand: more than a core writes while a sync is under way.
pub const REPEAT_RECORDS_MAX: u64 = 65_536;
/// How often it is looked whether a process has left a run behind.
pub const RECOVER_TICK: Duration = Duration::from_secs(3);
/// The longest that a lane in which nothing happens is left alone: most belong to processes of the past.
pub const LANE_QUIET_MAX: Duration = Duration::from_secs(5);
/// How long the journal may wait for the books before that is an alarm.
pub const BEHIND_ALARM: Duration = Duration::from_secs(60);
/// How often what is older than `[ledger] keep` is looked for.
pub const PRUNE_TICK: Duration = Duration::from_secs(600);
/// `[ledger] keep` unless set: a quarter, as invoices are disputed.
pub const KEEP_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
/// The least and the most of `[ledger] keep`: an hour, so that nothing is deleted that the books still need; 20 years.
pub const KEEP_FLOOR: Duration = Duration::from_secs(3_600);
/// See [`KEEP_FLOOR`].
pub const KEEP_CEILING: Duration = Duration::from_secs(20 * 365 * 86_400);

// Proving and exporting.

/// Problems that a verification lists; one more says how many there are beyond.
pub const PROBLEMS_MAX: usize = 100;
/// Records that an export or a verification reads at a time.
pub const SCAN_RECORDS: usize = 16_384;
/// Bytes of an export that are gathered before they go on.
pub const EXPORT_PIECE_BYTES: usize = 64 * 1024;
/// Pieces of an export that wait for a reader who is slow.
pub const EXPORT_PIECES_WAITING_MAX: usize = 16;
/// Rows of a group in Parquet, which is held in memory until it is written: about 20 MB.
pub const EXPORT_GROUP_ROWS: usize = 16_384;
/// Exports over the admin socket that run at a time.
pub const EXPORTS_MAX: usize = 2;

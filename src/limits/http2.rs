//! Bounds of HTTP/2 on both sides (rule H22): what a peer may open, how much of it waits here, and what it may make us do.

use std::time::Duration;

/// Streams that one client may have open on one connection, and that we open on one connection to a provider.
pub const STREAMS_MAX: u32 = 100;
/// Frames of one kind that cost us more than they cost their sender (resets, PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION) in one
/// [`FLOOD_WINDOW`]; more end the connection.
pub const FLOOD_FRAMES_MAX: u32 = 200;
/// The time over which such frames are counted.
pub const FLOOD_WINDOW: Duration = Duration::from_secs(60);
/// Bytes of a body that may be on their way here on one stream before somebody reads them: some 5 MB/s over 50 ms.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all streams of a connection together: what one peer can make us hold.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that wait on one stream for the socket; whoever writes more waits.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that we reset and whose late frames are still passed over rather than taken for a fault.
pub const RESET_STREAMS_KEPT: usize = 100;
/// Streams of one connection that broke a rule of the protocol, in its whole life.
pub const BROKEN_STREAMS_MAX: usize = 200;
/// Bytes of the head of an answer that we wrote ourselves: a provider's fields and ours.
pub const ANSWER_HEAD_BYTES_MAX: usize = 128 * 1024;
/// Fields of the head of an answer that we wrote ourselves.
pub const ANSWER_FIELDS_MAX: usize = 256;
/// Bytes of the head of a request that we wrote ourselves: target, credential, and what the owner adds.
pub const REQUEST_HEAD_BYTES_MAX: usize = 128 * 1024;
/// A connection to a provider on which an exchange waited this long while nothing at all came is given to no further one.
pub const SILENT_CONNECTION: Duration = Duration::from_secs(5);
/// Connections to one origin that one core keeps for sharing.
pub const SHARED_CONNECTIONS_MAX: usize = 64;

const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);

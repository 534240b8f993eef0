//! Every bound in the house: queues, buffers, timeouts, counts, each with its unit and its reason.
//!
//! Defaults follow the limits table of the security rules (section 7); a `*_CEILING` is what configuration may raise one to.
//! Relations between bounds are checked at compile time at the end of this file.

pub mod alerts;
pub mod analytics;
pub mod books;
pub mod dashboard;
pub mod fleet;
pub mod http2;
pub mod ledger;
mod routing;
pub mod telemetry;

pub use routing::*;

use std::time::Duration;

// ---- HTTP heads -------------------------------------------------------------------------------------------------------------

/// Bytes of a request line; longer is 414.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of one header field line; longer is 431.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a whole request head; longer is 431.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Fields in a request head; more is 431.
pub const FIELDS_MAX: usize = 100;
/// Options in all `Connection` fields of a head; each is compared with every field name (rule H10).
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// Empty lines skipped before a request line (RFC 9112 §2.2).
pub const EMPTY_LINES_MAX: usize = 4;
/// Bytes of an upstream response head; longer is a bad gateway.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields in an upstream response head.
pub const UPSTREAM_FIELDS_MAX: usize = 128;
/// Bytes of a head that a connection keeps for the next one to be compared with; a longer one is read anew each time.
pub const KEPT_HEAD_BYTES_MAX: usize = 2 * 1024;
/// Interim (1xx) responses accepted before the final one (rule H16).
pub const INTERIM_RESPONSES_MAX: u32 = 8;

// ---- HTTP bodies ------------------------------------------------------------------------------------------------------------

/// Bytes of a JSON request body; longer is 413 before reading.
pub const BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What configuration may raise the body limit to.
pub const BODY_BYTES_CEILING: u64 = 256 * 1024 * 1024;
/// Bytes of one chunk-size line with its extensions (rule H8).
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of chunk extensions in a whole body (rule H8).
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a trailer section (rule H8).
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Unread request body drained after an early answer before the connection is closed (rule H14).
pub const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of later requests read while one is in flight (rule H15).
pub const PIPELINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one server-sent event that the usage tap will look at (rule H18).
pub const SSE_EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one frame of an AWS event stream. A frame must be held whole before its checksum can be known; real ones have a few hundred.
pub const EVENT_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of JSON accepted in a request (rule H20).
pub const JSON_DEPTH_MAX: usize = 64;
/// A unary answer up to this size is collected, so that it leaves in one write with its exact length and can still be had from another
/// provider if it breaks off; larger ones stream.
pub const UNARY_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A unary answer that is said again in another dialect must fit in here whole: twice this and a tree of it are in memory for a moment.
pub const TRANSLATED_BUFFER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a provider's error answer that are read to classify it.
pub const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one WebSocket frame's payload; a piece of sound in base64 may take 15 MiB at OpenAI.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A realtime session in all: OpenAI's own limit.
pub const REALTIME_DEADLINE: Duration = Duration::from_secs(3_600);
/// Silence of both sides of a realtime session.
pub const REALTIME_SILENCE: Duration = Duration::from_secs(600);
/// Bytes of one member name in `x-igris-dropped`; clients choose some of them.
pub const DROPPED_NAME_BYTES_MAX: usize = 64;
/// Bytes of the whole value of `x-igris-dropped`.
pub const DROPPED_LINE_BYTES_MAX: usize = 1024;
/// Bytes of a translated stream that are held until its first content shows that it is no error in disguise.
pub const HELD_STREAM_BYTES_MAX: usize = 64 * 1024;

// ---- Buffers ----------------------------------------------------------------------------------------------------------------

/// What one read asks the kernel for, per direction.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Relay buffer per direction: above this the reader waits for the writer.
pub const RELAY_BUFFER_BYTES: usize = 32 * 1024;
/// Least that one read asks for: what a connection that waits for something small holds (an armed read needs a buffer).
pub const READ_BUFFER_BYTES_MIN: usize = 1024;
/// Free buffer memory that one core keeps per block size (1, 4, 16, 64 KiB); more is given back to the system.
pub const POOLED_BYTES_PER_SIZE_MAX: usize = 1024 * 1024;
/// Reads and writes that one task may finish without waiting before it must let its siblings run.
pub const OPERATIONS_PER_TURN_MAX: u32 = 64;
/// Entries of a core's submission ring; the completion ring has four times as many.
pub const RING_ENTRIES: u32 = 4096;

// ---- Deadlines --------------------------------------------------------------------------------------------------------------

/// A request head must be complete this long after we began to wait for its first byte.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A request body must be complete by then.
pub const BODY_DEADLINE: Duration = Duration::from_secs(120);
/// A request body slower than [`BODY_RATE_MIN`] after this grace is given up.
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(10);
/// Bytes a second a request body must keep, measured over [`BODY_RATE_GRACE`].
pub const BODY_RATE_MIN: u64 = 1024;
/// TLS handshakes must end by then.
pub const TLS_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Idle time of a downstream connection between exchanges.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(75);
/// Exchanges on one downstream connection.
pub const EXCHANGES_PER_CONNECTION_MAX: u32 = 10_000;
/// A TCP connection to a provider must stand by then.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Head start of one address over the next (RFC 8305 §5).
pub const HAPPY_EYEBALLS_DELAY: Duration = Duration::from_millis(250);
/// First response byte of a streaming exchange.
pub const FIRST_BYTE_STREAMING_DEADLINE: Duration = Duration::from_secs(60);
/// First response byte of a unary exchange.
pub const FIRST_BYTE_UNARY_DEADLINE: Duration = Duration::from_secs(300);
/// Silence inside a stream.
pub const STREAM_SILENCE_DEADLINE: Duration = Duration::from_secs(60);
/// A whole exchange.
pub const EXCHANGE_DEADLINE: Duration = Duration::from_secs(900);
/// A client that does not read.
pub const CLIENT_STALL_DEADLINE: Duration = Duration::from_secs(30);
/// Pause after the process ran out of file descriptors (rule O4).
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Granularity of deadlines: they fire up to this much late, never early.
pub const DEADLINE_TICK: Duration = Duration::from_millis(4);
/// Pause before a worker thread that panicked is started again.
pub const WORKER_RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Time to drain an unread request body after an early answer (rule H14).
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(1);
/// On SIGTERM, exchanges in flight may finish for this long (rule S1).
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// Streams in flight on SIGTERM may finish for this long (rule S1).
pub const SHUTDOWN_STREAM_GRACE: Duration = Duration::from_secs(120);

// ---- What configuration may raise a default to (security rules, section 7) ----------------------------------------------------

/// Ceiling of the request head in bytes.
pub const HEAD_BYTES_CEILING: usize = 64 * 1024;
/// Ceiling of the fields in a request head.
pub const FIELDS_CEILING: usize = 256;
/// Ceiling of the head deadline.
pub const HEAD_DEADLINE_CEILING: Duration = Duration::from_secs(60);
/// Ceiling of the body deadline.
pub const BODY_DEADLINE_CEILING: Duration = Duration::from_secs(600);
/// Ceiling of a TLS handshake and of a connection to a provider.
pub const CONNECT_DEADLINE_CEILING: Duration = Duration::from_secs(30);
/// Ceiling of the idle time of a downstream connection.
pub const KEEP_ALIVE_IDLE_CEILING: Duration = Duration::from_secs(600);
/// Ceiling of both first-byte deadlines.
pub const FIRST_BYTE_DEADLINE_CEILING: Duration = Duration::from_secs(900);
/// Ceiling of the silence inside a stream and of a whole exchange.
pub const EXCHANGE_DEADLINE_CEILING: Duration = Duration::from_secs(3_600);
/// Ceiling of the time that a client may not read.
pub const CLIENT_STALL_DEADLINE_CEILING: Duration = Duration::from_secs(300);
/// Ceiling of the relay buffer in bytes, per direction.
pub const RELAY_BUFFER_BYTES_CEILING: usize = 256 * 1024;
/// Ceiling of the time to finish what is in flight on SIGTERM.
pub const SHUTDOWN_GRACE_CEILING: Duration = Duration::from_secs(3_600);

/// How often a worker looks at the phase of the process.
pub const WORKER_TICK: Duration = Duration::from_millis(20);
/// How long wall time is reckoned from one reading of its clock: a clock that was set is believed after that.
pub const WALL_READ_INTERVAL: Duration = Duration::from_millis(100);
/// How often new events are written to the log: with what else the control plane does at [`INGEST_TICK`], so that an idle process wakes for all of it.
pub const EVENT_LOG_TICK: Duration = INGEST_TICK;
/// After the cut, sessions have this long to send their last bytes.
pub const CUT_GRACE: Duration = Duration::from_secs(1);

// ---- Upstream ---------------------------------------------------------------------------------------------------------------

/// An unused upstream connection is closed after this long: shorter than what providers' front ends keep.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(30);
/// Unused connections kept per core and origin: as many as exchanges may have been under way, for [`UPSTREAM_IDLE`]; a handshake costs more.
pub const UPSTREAM_IDLE_MAX: usize = 1_024;
/// Unused connections that an owner may have each core open before they are needed.
pub const READY_CONNECTIONS_MAX: usize = 16;
/// A provider counts as in use for so long after its latest request.
pub const READY_FOR: Duration = Duration::from_secs(300);
/// How long nobody opens a connection ahead of need after one could not be opened.
pub const READY_PAUSE: Duration = Duration::from_secs(10);
/// Attempts of one exchange over all layers (rule Q2).
pub const ATTEMPTS_MAX: u32 = 3;
/// Attempts that one exchange may leave in the books: one more than it may make, for the request that a kept connection lost and that was sent
/// again.
pub const ATTEMPTS_BOOKED_MAX: u32 = ATTEMPTS_MAX + 1;
/// A credential whose account has no money left lets others go first for this long.
pub const PARKED_WITHOUT_CREDIT: Duration = Duration::from_secs(300);
/// A refused key lets others go first for this long; twice as long each time it is refused again.
pub const KEY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest such pause: a key that is good again is found out within it, at the price of one attempt.
pub const KEY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A refused key whose pause has been over for this long, and that nobody asked, is forgotten.
pub const KEY_PAUSE_KEPT: Duration = Duration::from_secs(600);
/// Refused keys that are remembered at a time, over all cores. Tenants can bring dead keys; they must not crowd out breakers.
pub const KEY_PAUSES_MAX: usize = 1_024;
/// How often a core lets a request try a credential that is on standby.
pub const STANDBY_TRIAL: Duration = Duration::from_secs(1);
/// Credentials in a rotation, and those on standby, whose last answer one core remembers; further ones make it forget.
pub const ROTATING_MAX: usize = 4_096;
/// What we tell a client to wait when providers said 429 and no figure.
pub const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(1);
/// Bytes of a stream's text that are kept so that another provider can go on from them; a longer one is not continued.
pub const CONTINUED_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Request body kept for another attempt; above this there is none (rule Q6).
pub const REPLAY_BYTES_MAX: usize = 1024 * 1024;

// ---- Overload ---------------------------------------------------------------------------------------------------------------

/// Percent of a measure from which a core closes what is idle and holds tenants to their shares (rule O2).
pub const TIGHT_PERCENT: u32 = 80;
/// Percent of a measure from which a core turns new requests away (rule O2).
pub const SHEDDING_PERCENT: u32 = 90;
/// Percent of a measure from which a core accepts no connections (rule O2).
pub const CLOSED_PERCENT: u32 = 95;
/// Points below its threshold at which a stage is left, so that nothing flaps (rule O2).
pub const STAGE_RETURN_POINTS: u32 = 5;
/// How often memory and descriptors of the process are read.
pub const VITALS_TICK: Duration = Duration::from_millis(100);
/// Percent of the machine's memory that the process should stay within, where neither its owner nor a control group says otherwise.
pub const MEMORY_SHARE_PERCENT: u64 = 75;
/// Smoothed lateness of a core's tick that counts as all of its time: every wait of every exchange is longer by it.
pub const LOOP_LAG_MAX: Duration = Duration::from_millis(500);
/// One part in so many is what a new tick weighs in that smoothing: a single hiccup is forgiven, four in a row are not.
pub const LAG_SMOOTHING: u64 = 4;
/// Exchanges that a tenant may always have under way on a core that is short of room but does not shed.
pub const FAIR_PLACES_MIN: u32 = 2;
/// Tenants without an exchange under way that one core remembers; beyond it all of them are forgotten.
pub const FAIR_TENANTS_KEPT: usize = 1_024;
/// Tenants whose exchanges a core has counted and that have none under way, kept so that they need not be entered anew.
pub const FAIR_TENANTS_REMEMBERED: usize = 64;
/// Percent of the process's memory limit that bodies of all cores may take.
pub const BODY_SHARE_PERCENT: u64 = 50;
/// Copies of a request body that an exchange holds at worst: as it came, and as it leaves for a provider.
pub const BODY_COPIES: u64 = 2;
/// `Retry-After` of a request that was turned away, seconds, at most; drawn, so that those who wait do not come back together.
pub const SHED_WAIT_SECONDS_MAX: u64 = 4;
/// An unused upstream connection of a core that is short of room is closed after this long: only what turns over is worth a descriptor.
pub const UPSTREAM_IDLE_TIGHT: Duration = Duration::from_secs(1);

// ---- Idempotency ------------------------------------------------------------------------------------------------------------

/// Characters of a client's `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// How long an outcome is given again (rule Q5).
pub const IDEMPOTENCY_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of one outcome; a larger answer is not kept, and its key is free again.
pub const IDEMPOTENCY_OUTCOME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all outcomes of the process.
pub const IDEMPOTENCY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys at a time, at work or done.
pub const IDEMPOTENCY_ENTRIES_MAX: usize = 65_536;
/// Parts of the table, each behind a lock of its own and with its share of the room.
pub const IDEMPOTENCY_SHARDS: usize = 8;

// ---- Limits and budgets of access keys --------------------------------------------------------------------------------------

/// What all cores together have taken in advance of a limit and not used is at most one part in so many of it.
pub const LEASES_ONE_IN: u64 = 64;
/// Requests that one core takes in advance at most, however large the limit.
pub const LEASE_REQUESTS_MAX: u64 = 64;
/// What a core has taken in advance and not touched for so long goes back.
pub const LEASE_IDLE: Duration = Duration::from_millis(100);
/// A lot that is used up within this time is followed by one twice as large.
pub const LEASE_QUICK: Duration = Duration::from_millis(20);
/// How much more than a whole minute's worth of tokens may be owed, as time: what requests used beyond their estimates.
pub const RATE_DEBT_MAX: Duration = Duration::from_secs(60);
/// A wall clock that is set forward by more, or is behind by more, is worth an event (rule L9).
pub const CLOCK_STEP_NOTED: Duration = Duration::from_secs(60);
/// Budgets of one access key or tenant: two for each period.
pub const BUDGETS_MAX: usize = 10;
/// Tokens of an answer that are held where the request states no bound; a longer one is settled all the same.
pub const OUTPUT_TOKENS_HELD: u64 = 1_024;
/// Rate states written down by one tick of the control plane; the others follow with the next.
pub const RATES_KEPT_PER_TICK: usize = 1_024;

// ---- Provider faults --------------------------------------------------------------------------------------------------------

/// Bytes of a failed answer that the fault reader looks at; error bodies are a few hundred.
pub const FAULT_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes kept of a provider's sentence about a failure.
pub const FAULT_MESSAGE_BYTES_MAX: usize = 1024;
/// Bytes kept of a provider's error code.
pub const FAULT_CODE_BYTES_MAX: usize = 64;
/// The longest wait that a provider can ask of us: what the official OpenAI client honours before it gives up.
pub const RETRY_HINT_MAX: Duration = Duration::from_secs(120);
/// Bytes of a model name that is looked up; a longer one is not found, without a search.
pub const MODEL_NAME_BYTES_MAX: usize = 256;
/// Similar names shown to somebody who asked for a model that is not there.
pub const NEAREST_NAMES_MAX: usize = 3;

// ---- Name resolution --------------------------------------------------------------------------------------------------------

/// Shortest time an address is believed.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(5);
/// Longest time an address is believed.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(300);
/// The last good address serves this long while resolution fails.
pub const DNS_STALE_MAX: Duration = Duration::from_secs(3_600);

// ---- Counts -----------------------------------------------------------------------------------------------------------------

/// TLS sessions that a client configuration remembers to take up again.
pub const TLS_SESSIONS_MAX: usize = 256;
/// Restarts of one worker thread within [`WORKER_RESTART_WINDOW`]; one more and it stays down.
pub const WORKER_RESTARTS_MAX: usize = 5;
/// See [`WORKER_RESTARTS_MAX`].
pub const WORKER_RESTART_WINDOW: Duration = Duration::from_secs(60);
/// Connections of one core unless the file-descriptor limit is lower.
pub const CONNECTIONS_PER_CORE_MAX: usize = 100_000;
/// Connections of one client address on one core; loopback is exempt.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 256;
/// Connections the kernel keeps for us before they are accepted, per socket.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Descriptors kept free for store, sockets and the control plane when connections are counted.
pub const DESCRIPTORS_RESERVED: usize = 128;
/// Usage reports a core may have waiting for the control plane; admission stops at the end (rule L4).
pub const REPORTS_WAITING_MAX: usize = 65_536;
/// Boxes of reports that are kept to be filled again, a core: what 40,000 attempts a second fill between two looks of the control plane.
pub const REPORTS_SPARE_MAX: usize = 8_192;
/// Exchanges under way on one core: what its report queue has room for at three reports each, rounded down.
pub const EXCHANGES_PER_CORE_MAX: usize = 20_000;
/// The least memory that a process may be held to; with less it could not serve one large body.
pub const MEMORY_BYTES_LEAST: u64 = 64 * 1024 * 1024;
/// Ceiling of the memory that a process may be held to: more than any machine has.
pub const MEMORY_BYTES_CEILING: u64 = 1 << 46;
/// Bytes of a configuration file (rule C2).
pub const CONFIG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of a configuration and its signature as one JSON object, where line ends and quotes take two.
pub const CONFIG_PUSH_BYTES_MAX: usize = 2 * CONFIG_BYTES_MAX as usize;
/// Parts of one dotted key in a configuration file; the deepest real setting has three.
pub const CONFIG_KEY_DEPTH_MAX: usize = 8;
/// A configuration up to this size is searched for all its syntax errors; in a larger one the first is reported.
pub const CONFIG_RECOVERY_BYTES_MAX: usize = 1024 * 1024;
/// Problems of one configuration that are kept and shown; the rest is counted.
pub const PROBLEMS_MAX: usize = 200;
/// Bytes of a file that holds one secret.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Extra headers that one provider may be given.
pub const EXTRA_HEADERS_MAX: usize = 16;
/// Bytes of the value of one extra header.
pub const EXTRA_HEADER_BYTES_MAX: usize = 1024;
/// Characters of a name that an operator chooses: provider, tenant, access key, model.
pub const NAME_CHARS_MAX: usize = 128;
/// Public keys that a signed configuration may trust (rule C5).
pub const TRUST_KEYS_MAX: usize = 5;
/// Signatures in one `.minisig` text: those of old and new trust together, and a few of strangers.
pub const SIGNATURE_BLOCKS_MAX: usize = 16;
/// Bytes of a `.minisig` text: a block has about 350, its comment a kilobyte at most.
pub const SIGNATURE_BYTES_MAX: usize = 16 * 1024;
/// A configuration on trial is watched this long at most.
pub const ROLLOUT_WATCH_CEILING: Duration = Duration::from_secs(3_600);
/// And this long at least: less would judge by a few reports.
pub const ROLLOUT_WATCH_LEAST: Duration = Duration::from_secs(1);
/// Failed share of requests, above the share before, that ends a trial unless the configuration says otherwise.
pub const ROLLOUT_ERROR_RATE: f64 = 0.05;
/// Requests below which a trial is not judged, unless the configuration says otherwise.
pub const ROLLOUT_REQUESTS_MIN: u64 = 100;
/// What the configuration may set that to.
pub const ROLLOUT_REQUESTS_MIN_CEILING: u64 = 1_000_000;
/// After a restart a trial goes on, and what fails so early for want of addresses and connections is not held against it.
pub const ROLLOUT_SETTLE: Duration = Duration::from_secs(2);
/// Good configurations whose text the store keeps.
pub const CONFIG_TEXTS_KEPT: usize = 3;
/// Digests of configurations that were taken back and stay refused.
pub const CONFIG_REVERTS_KEPT: usize = 64;
/// How often the highest wall time seen is written down while nothing else is (rule L9).
pub const CLOCK_MARK_EVERY: Duration = Duration::from_secs(3_600);
/// A wall clock that leaps further than this between two ticks is reported (rule L9).
pub const CLOCK_LEAP_NOTED: Duration = Duration::from_secs(60);
/// Bytes of one admin request (rule A3).
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Admin connections at a time (rule A3).
pub const ADMIN_CONNECTIONS_MAX: usize = 16;
/// Admin connections at a time that the data plane may hold for its clients; more wait their turn.
pub const CONTROL_CONNECTIONS_MAX: usize = 64;
/// Dashboard connections at a time.
pub const DASHBOARD_CONNECTIONS_MAX: usize = 32;
/// The head of an admin request must be complete by then, and its body again by then (rule A3).
pub const ADMIN_REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of the head of an admin request.
pub const ADMIN_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Tokens for the admin socket: one for each person or program that changes things.
pub const ADMIN_TOKENS_MAX: usize = 64;
/// Members of one JSON object in an admin request.
pub const ADMIN_MEMBERS_MAX: usize = 64;
/// How often a live feed looks for new events.
pub const FEED_TICK: Duration = Duration::from_millis(200);
/// Silence after which a live feed sends a comment, so that a dead reader is noticed.
pub const FEED_SILENCE: Duration = Duration::from_secs(15);
/// An answer of the control plane must come by then.
pub const CONTROL_DEADLINE: Duration = Duration::from_secs(30);
/// Characters of an access key that the owner supplies, at least.
pub const ACCESS_KEY_CHARS_MIN: usize = 20;
/// Events that the control plane keeps in memory for people to read.
pub const EVENTS_KEPT_MAX: usize = 256;
/// Pairs of provider and model with figures of their own; further models are counted together as `other` (rule R5).
pub const STATS_SERIES_MAX: usize = 1_024;
/// Models without a known price that are named in an event, once each; further ones are counted only.
pub const UNPRICED_NAMED_MAX: usize = 256;
/// How often the control plane takes in reports: far below the second in which a queue may fill.
pub const INGEST_TICK: Duration = Duration::from_millis(200);
/// A name lookup that takes longer has failed.
pub const DNS_DEADLINE: Duration = Duration::from_secs(10);
/// An exchange of a credential for an access token must end by then, name lookup included.
pub const TOKEN_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a token server's answer; real ones have some two thousand.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Exchanges that begin at a time; others follow a tick later.
pub const TOKEN_EXCHANGES_MAX: usize = 16;
/// An access token is believed this long at most, whatever its server says.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// The longest pause between two exchanges that fail.
pub const TOKEN_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Bytes of a file of certificates or of a certificate's key.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Models, providers, or ranges of addresses, that one access key may list.
pub const ACCESS_KEY_PATTERNS_MAX: usize = 256;
/// Changed access keys that are looked up one by one, beside a quarter of all; more of them and all are read in one pass, which is then
/// the shorter way.
pub const ACCESS_KEYS_TOUCHED_MAX: usize = 4_096;
/// Holders of allowances that may be gone before it is looked which ones are.
pub const HOLDERS_GONE_MAX: usize = 1_024;
/// Different limits of access keys that are kept once for all keys that have them; beyond, each key has its own copy.
pub const ACCESS_TERMS_SHARED_MAX: usize = 16_384;
/// Bytes of client-chosen text in one log line (rule R5).
pub const LOG_TEXT_BYTES_MAX: usize = 256;

// ---- Keys and store ---------------------------------------------------------------------------------------------------------

/// Bytes of a provider key: far above any real one, below a header field.
pub const PROVIDER_KEY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of an access key that the owner supplies, at most.
pub const ACCESS_KEY_BYTES_MAX: usize = 512;
/// Bytes of an access key's name.
pub const ACCESS_KEY_NAME_BYTES_MAX: usize = 256;
/// Minutes that an access key goes on beside its successor, unless said otherwise: enough to roll out a new one.
pub const ACCESS_KEY_OVERLAP_MINUTES: u64 = 15;
/// Minutes of that, at most a week: longer, and two keys are simply in use.
pub const ACCESS_KEY_OVERLAP_MINUTES_MAX: u64 = 7 * 24 * 60;
/// Milliseconds to a first answer byte for a credential whose owner set none; then the bound for the kind of answer holds
/// ([`FIRST_BYTE_STREAMING_DEADLINE`], [`FIRST_BYTE_UNARY_DEADLINE`]).
pub const CREDENTIAL_TIMEOUT_MS: u32 = 300_000;
/// Milliseconds of a credential's timeout, at most: a whole exchange may not take longer.
pub const CREDENTIAL_TIMEOUT_MS_MAX: u32 = 900_000;
/// Retries of a credential unless it says otherwise.
pub const CREDENTIAL_RETRIES: u32 = 3;
/// Retries of a credential, at most; [`ATTEMPTS_MAX`] still bounds the exchange.
pub const CREDENTIAL_RETRIES_MAX: u32 = 10;
/// How long both keys of a rotation are in use, unless it is said (rule V8).
pub const GRACE: Duration = Duration::from_secs(15 * 60);
/// The shortest grace: providers take some seconds until a new key works everywhere.
pub const GRACE_MIN: Duration = Duration::from_secs(60);
/// The longest grace.
pub const GRACE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Refusals in a row that hold a new key which has not worked once (rule V8).
pub const ROTATION_REFUSALS_TO_HOLD: u32 = 3;
/// Refusals in a row that hold a new key which has worked before: more, since a provider's edge may lag behind for a moment.
pub const ROTATION_REFUSALS_AFTER_GOOD: u32 = 10;
/// Answers in a row that bring a held key back.
pub const ROTATION_GOOD_TO_RESUME: u32 = 3;
/// How long a replaced key's sealed record is kept after it went out of use: the longest exchange that may still be under way.
pub const ROTATION_LINGERING: Duration = EXCHANGE_DEADLINE;
/// Steps of rotations in one tick, a transaction each; a thousand tenants whose graces end together must not hold up the API.
pub const ROTATION_STEPS_PER_TICK: usize = 64;
/// How old the counts of an open rotation may be in the store; a crash loses no more than these.
pub const ROTATION_WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// The most that either of these becomes where many machines share a store.
pub const ROTATION_WRITE_CEILING: Duration = Duration::from_secs(3_600);
/// How old the time that an open rotation has left may be in the store; a clock that is set back over a restart adds no more than this.
pub const ROTATION_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Rotations that one list shows, the newest.
pub const ROTATIONS_LISTED_MAX: usize = 1_000;
/// A wall clock that differs from the monotonic one by more than this between two looks was set (rule L9).
pub const CLOCK_STEP_MAX: Duration = Duration::from_secs(60);
/// A provider key older than this is to be rotated, and its owner is reminded.
pub const KEY_REMIND_AFTER: Duration = Duration::from_secs(90 * 86_400);
/// A provider key older than this raises an alarm.
pub const KEY_AGE_MAX: Duration = Duration::from_secs(180 * 86_400);
/// The greatest age that configuration may allow: ten years, which is as good as none.
pub const KEY_AGE_CEILING: Duration = Duration::from_secs(3_650 * 86_400);
/// Keys that are named one by one in a day's reminders; more are counted.
pub const KEYS_REMINDED_MAX: usize = 20;
/// How often the ages of provider keys are looked at.
pub const KEY_AGE_INTERVAL: Duration = Duration::from_secs(600);
/// A statement waits this long for a reader of the store, such as a backup, before it gives up.
pub const STORE_BUSY_DEADLINE: Duration = Duration::from_secs(5);
/// Data keys rewrapped in one transaction: short enough that other writes get their turn.
pub const REWRAP_BATCH: u32 = 256;
/// How long a command waits while a store is read or copied as a whole, or a master key is rotated: a large one takes minutes.
pub const VAULT_PATIENCE: Duration = Duration::from_secs(600);
/// Findings that a verification of the vault names; further ones are counted.
pub const VAULT_FINDINGS_MAX: usize = 100;
/// Rows of the audit log in one answer, at most: each is some hundred bytes.
pub const AUDIT_PAGE_ROWS_MAX: u32 = 1_000;
/// Rows of the audit log in one answer unless more are asked for.
pub const AUDIT_PAGE_ROWS: u32 = 100;
/// How far a configuration's version may be ahead of the last one (rule C4).
pub const CONFIG_VERSION_LEAP_MAX: u64 = 1 << 32;

/// How far the wall clock may step before it is told: more than any correction by a time server.
pub const WALL_STEP_MAX: Duration = Duration::from_secs(60);

// ---- Handing over to a new process ------------------------------------------------------------------------------------------

/// How long a new process may take to read its configuration, and again to open the store, unless the operator says otherwise. While the
/// store is on its way, reports wait in the cores' queues: [`REPORTS_WAITING_MAX`] of each is this long at 2,000 a second.
pub const HANDOVER_PATIENCE: Duration = Duration::from_secs(30);
/// The least that the operator may allow.
pub const HANDOVER_PATIENCE_MIN: Duration = Duration::from_secs(1);
/// The most.
pub const HANDOVER_PATIENCE_MAX: Duration = Duration::from_secs(300);
/// How long a new process may take to accept once nobody else does; connections wait in the kernel meanwhile.
pub const HANDOVER_TAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the cores may take to stop accepting. One that says nothing is stuck and does not accept either.
pub const HANDOVER_HOLD_DEADLINE: Duration = Duration::from_secs(2);
/// How long requests of the data plane that the control plane has begun may go on before the store is closed.
pub const HANDOVER_FORWARDED_DEADLINE: Duration = Duration::from_secs(2);
/// How full the fullest queue of reports may be, in percent, before a hand-over is given up rather than admission stopped.
pub const HANDOVER_QUEUE_PERCENT: usize = 75;
/// How long one batch may take to be booked by the other process.
pub const HANDOVER_ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How often somebody who waits for the other process looks at other news.
pub const HANDOVER_SLICE: Duration = Duration::from_millis(20);
/// How long idle connections are kept after a hand-over: their next request is answered and told to connect anew. Closing them at once
/// would cut the request that is on its way.
pub const HANDOVER_IDLE_GRACE: Duration = Duration::from_secs(10);
/// How long a process that lost its successor tries to have the store again before it ends without.
pub const HANDOVER_STORE_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of one message between two processes.
pub const HANDOVER_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines of the books in one message: with the longest names they fit a frame.
pub const HANDOVER_LINES_MAX: usize = 1_024;
/// Bytes of a text between two processes: a path, a version, a reason.
pub const HANDOVER_TEXT_BYTES_MAX: usize = 8 * 1024;
/// Listening sockets that can be handed over: one for each core and address, and a few.
pub const HANDOVER_SOCKETS_MAX: usize = 2_048;

// ---- Relations --------------------------------------------------------------------------------------------------------------

const _: () =
    assert!(BREAKER_SHARE_FAILURES_MIN < 10, "a core's budget allows a retry a second at least, ten in ten seconds");
const _: () = assert!(QUOTA_SHARE_SHORT * QUOTA_LOW_PART as f64 <= 1.0, "a quota with room for all is short for none");
const _: () = assert!(BREAKER_OPEN.as_secs() <= BREAKER_OPEN_MAX.as_secs() && HALTS_MAX >= TALLIES_MAX);
const _: () = assert!(
    SIGNATURE_BLOCKS_MAX >= 2 * TRUST_KEYS_MAX,
    "a change of trust is signed by those who go and those who come"
);
const _: () = assert!(ROLLOUT_WATCH_LEAST.as_secs() <= ROLLOUT_WATCH_CEILING.as_secs());
const _: () = assert!(CONFIG_PUSH_BYTES_MAX as u64 > CONFIG_BYTES_MAX + SIGNATURE_BYTES_MAX as u64);
const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX && FIELD_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(KEPT_HEAD_BYTES_MAX <= REQUEST_LINE_BYTES_MAX, "no line of a kept head can be too long");
const _: () = assert!(CHUNK_LINE_BYTES_MAX < READ_BUFFER_BYTES, "a chunk line must fit one read");
const _: () = assert!(READ_BUFFER_BYTES <= RELAY_BUFFER_BYTES);
const _: () = assert!(READ_BUFFER_BYTES_MIN <= READ_BUFFER_BYTES && READ_BUFFER_BYTES <= POOLED_BYTES_PER_SIZE_MAX);
const _: () = assert!(BODY_BYTES_MAX <= BODY_BYTES_CEILING);
const _: () = assert!(CREDENTIAL_TIMEOUT_MS as u128 == FIRST_BYTE_UNARY_DEADLINE.as_millis());
const _: () = assert!(CONNECT_DEADLINE.as_secs() < FIRST_BYTE_STREAMING_DEADLINE.as_secs());
const _: () = assert!(KEEP_ALIVE_IDLE.as_secs() > UPSTREAM_IDLE.as_secs());
const _: () = assert!(EXCHANGES_PER_CORE_MAX * ATTEMPTS_MAX as usize <= REPORTS_WAITING_MAX);
const _: () = assert!(2 * IDEMPOTENCY_OUTCOME_BYTES_MAX <= IDEMPOTENCY_BYTES_MAX / IDEMPOTENCY_SHARDS);
const _: () = assert!(TIGHT_PERCENT < SHEDDING_PERCENT && SHEDDING_PERCENT < CLOSED_PERCENT && CLOSED_PERCENT < 100);
const _: () = assert!(DECISIONS_KEPT <= DECISIONS_KEPT_CEILING);
const _: () = assert!(HEAD_BYTES_MAX <= HEAD_BYTES_CEILING && FIELDS_MAX <= FIELDS_CEILING);
const _: () = assert!(HEAD_DEADLINE.as_secs() <= HEAD_DEADLINE_CEILING.as_secs());
const _: () = assert!(FIRST_BYTE_UNARY_DEADLINE.as_secs() <= FIRST_BYTE_DEADLINE_CEILING.as_secs());
const _: () = assert!(EXCHANGE_DEADLINE.as_secs() <= EXCHANGE_DEADLINE_CEILING.as_secs());
const _: () = assert!(RELAY_BUFFER_BYTES <= RELAY_BUFFER_BYTES_CEILING);
const _: () = assert!(PROVIDER_KEY_BYTES_MAX < FIELD_BYTES_MAX, "a provider key must fit a header field");
const _: () = assert!(CREDENTIAL_TIMEOUT_MS_MAX as u64 <= EXCHANGE_DEADLINE.as_secs() * 1_000);
const _: () = assert!(RACE_RUNNERS_MAX <= ATTEMPTS_MAX as usize, "a race is made of attempts");
const _: () = assert!(LEASE_QUICK.as_millis() < LEASE_IDLE.as_millis(), "a lease grows before it goes back");
const _: () = assert!(HANDOVER_PATIENCE_MIN.as_secs() <= HANDOVER_PATIENCE.as_secs());
const _: () = assert!(HANDOVER_PATIENCE.as_secs() <= HANDOVER_PATIENCE_MAX.as_secs());
const _: () =
    assert!(HANDOVER_LINES_MAX * 8 * 1024 <= HANDOVER_FRAME_BYTES_MAX, "a line is its names and a few numbers");
const _: () = assert!(HANDOVER_TAKE_DEADLINE.as_secs() < CONNECT_DEADLINE_CEILING.as_secs());

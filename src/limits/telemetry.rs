//! Bounds of metrics, traces and the access log.

use std::time::Duration;

/// Exchanges of a core that wait to be told of; more are counted and dropped. At the ingest tick of 200 ms this is 20,000 a second.
pub const EXCHANGES_WAITING_MAX: usize = 4_096;
/// Lines of the access log that wait for its file; more are counted and dropped. About 8 MiB.
pub const ACCESS_LINES_WAITING_MAX: usize = 16_384;
/// Lines that are handed to the file at once.
pub const ACCESS_BATCH_LINES: usize = 512;
/// Exchanges that wait to be exported; more are counted and dropped. About 16 MiB.
pub const SPANS_WAITING_MAX: usize = 8_192;
/// Exchanges of one export. A collector takes 4 MiB by default, and an exchange of three attempts is 2 KiB.
pub const SPANS_PER_EXPORT_MAX: usize = 512;
/// How often spans are exported.
pub const SPANS_INTERVAL: Duration = Duration::from_secs(1);
/// How often metrics are exported unless the owner says otherwise: what OpenTelemetry's own SDKs do.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest interval of metrics.
pub const METRICS_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const METRICS_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// A collector must have taken an export by then.
pub const EXPORT_DEADLINE: Duration = Duration::from_secs(10);
/// The same while the process goes down.
pub const EXPORT_LAST_DEADLINE: Duration = Duration::from_secs(2);
/// The first wait before an export is tried again; it doubles.
pub const EXPORT_RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub const EXPORT_RETRY_MAX: Duration = Duration::from_secs(30);
/// How often one export is tried; then it is dropped and counted.
pub const EXPORT_TRIES_MAX: u32 = 5;
/// Bytes of a collector's answer that are read.
pub const EXPORT_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Headers for a collector.
pub const OTLP_HEADERS_MAX: usize = 16;
/// Attributes that an owner gives the resource.
pub const RESOURCE_ATTRIBUTES_MAX: usize = 32;
/// Tenants that have series of their own where the owner wants that; the rest is `other`.
pub const TENANT_SERIES_MAX: usize = 100;

//! What the gateway tells of itself and of each exchange: metrics in three formats, traces, the access log. Over the real binary.

#[path = "observability/collector.rs"]
mod collector;
#[path = "observability/documents.rs"]
mod documents;
#[path = "observability/lines.rs"]
mod lines;
#[path = "observability/lint.rs"]
mod lint;
#[path = "observability/scrapes.rs"]
mod scrapes;
mod support;
#[path = "observability/traces.rs"]
mod traces;
#[path = "observability/wire.rs"]
mod wire;

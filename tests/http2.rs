//! HTTP/2 on both sides: what clients are served over it, what providers are asked over it, and what neither can do to the process (rule H22).

mod support;

#[path = "http2/abuse.rs"]
mod abuse;
#[path = "http2/clients.rs"]
mod clients;
#[path = "http2/provider.rs"]
mod provider;
#[path = "http2/providers.rs"]
mod providers;
#[path = "http2/raw.rs"]
mod raw;
#[path = "http2/speaker.rs"]
mod speaker;

use igris_load::Simulator;
use support::{Builder, Gateway};

/// A gateway whose clients may begin with HTTP/2.
pub fn gateway_before(simulator: &Simulator) -> Builder {
    Gateway::builder().provider("openai", simulator).server("http2 = \"all\"")
}

/// How many attempts are in the books.
pub fn attempts(gateway: &Gateway) -> Option<u64> {
    gateway.page("/v1/tenants/default/usage").json()["attempts"].as_u64()
}

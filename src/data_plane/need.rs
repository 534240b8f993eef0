//! What a request needs of a model, read from its body once, before anybody is asked.

use super::ask::Ask;
use crate::metering::tap;
use crate::routing::need::Need;

/// Reads the needs of a request. `body` is what the client sent; what cannot be seen in it is not needed.
pub fn read(ask: &Ask, body: &[u8]) -> Need {
    Need { input_tokens: tap::estimate_tokens(body.len()), quality_min: ask.wishes.quality_min, ..Need::default() }
}

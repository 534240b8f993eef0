//! Counting the tokens of a conversation: by the provider whose count it is, else by an estimate that says so.
//!
//! Only the maker of a model can count for it. Where the model that would answer is somebody else's than the client's dialect expects, the
//! answer is an estimate from the text, marked `x-igris-estimated`: good enough to decide when a history must be shortened.

use super::ask::Ask;
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::inquiry::Inquiry;
use super::plan::Plan;
use super::reply;
use crate::dialects::{Wire, anthropic};
use crate::metering::tap;
use crate::providers::Dialect;
use std::io::Write as _;

/// What a picture or document counts for where nobody can look into it: about a picture of a megapixel at Anthropic and OpenAI.
pub(super) const MEDIA_TOKENS: u64 = 1_500;

/// Leaves the candidates that count in the client's own dialect; whether there are any.
pub fn keep_native(exchange: &Exchange<'_>, plan: &mut Plan, ask: &Ask) -> bool {
    let own = if ask.wire == Wire::Messages { Dialect::Anthropic } else { Dialect::Gemini };
    let counts = |ix| exchange.snapshot.provider(ix).is_some_and(|provider| provider.spec.dialect == own);
    plan.candidates.retain(|candidate| counts(candidate.target.provider));
    !plan.candidates.is_empty()
}

/// Answers with an estimate.
pub async fn estimate(exchange: &mut Exchange<'_>, down: &mut Downstream, inquiry: &Inquiry<'_>) -> Next {
    let weight = match inquiry.request() {
        Ok(request) => request.weight(),
        Err(refusal) => {
            let fault = Fault::InvalidRequest { message: refusal.message, param: Some(refusal.param) };
            return exchange.refuse(down, &fault, false).await;
        }
    };
    let tokens = tap::estimate_tokens(weight.text_bytes) + MEDIA_TOKENS * weight.media as u64;
    let mut body = Vec::new();
    match inquiry.ask.wire {
        Wire::Messages => anthropic::write_count_tokens(tokens, &mut body),
        // Writing to a Vec does not fail.
        _ => drop(write!(body, "{{\"totalTokens\":{tokens}}}")),
    }
    let out = down.output().vec_mut();
    reply::begin_head(out, 200, exchange.stamp());
    reply::field(out, "content-type", b"application/json");
    reply::field(out, "x-igris-estimated", b"true");
    reply::number_field(out, "content-length", body.len());
    reply::end_head(out);
    out.extend_from_slice(&body);
    exchange.finish(down).await
}

//! An answer that is there as a value, told to the client in its dialect: as one JSON text, or as the events of a stream.
//!
//! For answers that no provider's bytes stand for, such as a council's.

use super::attempt::EVENT_STREAM;
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::relay::{self, Framer, Passage};
use super::reply;
use super::surface::Delivery;
use super::unary::{self, Said, setting};
use crate::chat::delta::Delta;
use crate::chat::response::{Choice, Piece, Response};
use crate::dialects::gemini;
use std::borrow::Cow;
use std::time::Instant;

/// Tells the client an answer.
pub async fn tell(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    response: &Response,
) -> Next {
    if passage.inquiry.ask.delivery == Delivery::Whole {
        whole(exchange, down, passage, response);
    } else {
        events(exchange, down, passage, response);
    }
    exchange.finish(down).await
}

fn whole(exchange: &Exchange<'_>, down: &mut Downstream, passage: &Passage<'_>, response: &Response) {
    let Some(side) = passage.inquiry.ask.wire.client_side() else { return };
    let id = exchange.id_letters();
    let mut body = Vec::new();
    (side.write_response)(response, &setting(passage, &id), &mut body);
    unary::write(exchange, down, passage, (200, b"", b"application/json"), &Said::unread(&body, response.usage));
}

fn events(exchange: &mut Exchange<'_>, down: &mut Downstream, passage: &Passage<'_>, response: &Response) {
    let ask = passage.inquiry.ask;
    let Some(side) = ask.wire.client_side() else { return };
    let id = exchange.id_letters();
    let setting = setting(passage, &id);
    let (mut writer, content_type) = match ask.delivery {
        Delivery::Array => (gemini::array_stream_writer(&setting), &b"application/json"[..]),
        Delivery::Events | Delivery::Whole => ((side.stream_writer)(&setting), EVENT_STREAM),
    };
    let mut body = Vec::new();
    deltas(response, &mut |delta| writer.write(&delta, &mut body));
    let now = Instant::now();
    let mut members = Vec::new();
    if passage.shows_metadata(exchange) {
        let cost = passage.folio.cost(response.usage.as_ref());
        relay::metadata(exchange, passage, (response.usage, cost), now).write_members(&mut members);
    }
    writer.finish(response.usage.as_ref(), (!members.is_empty()).then_some(&members[..]), &mut body);
    let framer = Framer::of(exchange);
    let out = down.output().vec_mut();
    relay::begin(exchange, out, 200, b"", content_type);
    relay::identify(exchange, passage, now, out);
    reply::field(out, "cache-control", b"no-cache");
    framer.end_head(out);
    framer.piece(out, &body);
    framer.end(out);
}

/// A whole answer as a stream would have brought it.
fn deltas(response: &Response, sink: &mut dyn FnMut(Delta<'_>)) {
    sink(Delta::Start { id: Cow::Borrowed(&response.id), model: Cow::Borrowed(&response.model) });
    for choice in &response.choices {
        let mut calls = 0;
        for piece in &choice.pieces {
            tell_piece(choice, piece, &mut calls, sink);
        }
        if let Some(logprobs) = &choice.logprobs {
            sink(Delta::Logprobs { choice: choice.index, logprobs: logprobs.clone() });
        }
        sink(Delta::Finish { choice: choice.index, reason: choice.finish.clone() });
    }
    if let Some(usage) = response.usage {
        sink(Delta::Usage(usage));
    }
}

fn tell_piece(choice: &Choice, piece: &Piece, calls: &mut u32, sink: &mut dyn FnMut(Delta<'_>)) {
    let choice = choice.index;
    match piece {
        Piece::Text(text) => sink(Delta::Text { choice, text: Cow::Borrowed(text) }),
        Piece::Refusal(text) => sink(Delta::Refusal { choice, text: Cow::Borrowed(text) }),
        Piece::Thinking(thinking) => {
            if !thinking.text.is_empty() {
                sink(Delta::Thinking { choice, text: Cow::Borrowed(&thinking.text) });
            }
            if let Some(seal) = &thinking.seal {
                sink(Delta::Seal { choice, seal: seal.clone() });
            }
        }
        Piece::ToolCall(call) => {
            let index = *calls;
            *calls += 1;
            let (id, name) = (Cow::Borrowed(call.id.as_str()), Cow::Borrowed(call.name.as_str()));
            sink(Delta::ToolStart { choice, index, id, name, custom: call.custom, seal: call.seal.clone() });
            sink(Delta::ToolInput { choice, index, json: Cow::Borrowed(&call.input) });
            sink(Delta::ToolEnd { choice, index });
        }
        Piece::Image { media_type, data } => {
            sink(Delta::Image { choice, media_type: Cow::Borrowed(media_type), data: Cow::Borrowed(data) });
        }
        Piece::Annotation(annotation) => sink(Delta::Annotation { choice, annotation: annotation.clone() }),
        // No stream of ours carries sound that comes whole.
        Piece::Audio(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::request::ToolCall;
    use crate::chat::response::Finish;

    #[test]
    fn a_whole_answer_streams_in_order() {
        let call = ToolCall { id: "c".into(), name: "f".into(), input: "{}".into(), custom: false, seal: None };
        let pieces = vec![Piece::Text("a".into()), Piece::ToolCall(call.clone()), Piece::ToolCall(call)];
        let choice = Choice { index: 0, pieces, finish: Finish::ToolCalls, logprobs: None };
        let response = Response { choices: vec![choice], usage: Some(Default::default()), ..Response::default() };
        let mut seen = Vec::new();
        deltas(&response, &mut |delta| {
            seen.push(match delta {
                Delta::Start { .. } => "start".to_owned(),
                Delta::Text { text, .. } => text.into_owned(),
                Delta::ToolStart { index, .. } => format!("call {index}"),
                Delta::Finish { .. } => "finish".to_owned(),
                Delta::Usage(_) => "usage".to_owned(),
                _ => return,
            });
        });
        assert_eq!(seen, ["start", "a", "call 0", "call 1", "finish", "usage"]);
    }
}

//! An answer that is a stream: passed on event by event, or said again in the client's dialect, one flush per upstream read.
//!
//! Three relays share one loop: Chat to Chat (`stream`), any other format to itself (`native_stream`), and any format to another
//! (`translate_stream`). The last two send nothing before the first content, so that an error which comes as the first events of a 200 can
//! still be answered by another provider. A stream that is cut ends in the error form of the client's dialect, never cleanly (rule H17).

use super::attempt::{self, Answer, Content, EVENT_STREAM, Failure};
use super::continuation::{self, Continuation};
use super::downstream::Downstream;
use super::draft::Carriage;
use super::exchange::{Exchange, Next};
use super::native_stream::NativeRelay;
use super::relay::{self, Framer, More, Passage, Passed, Relayed, served};
use super::reply;
use super::stream::{Progress, StreamFacts, StreamRelay, StreamWishes, WriteMetadata};
use super::surface::{Delivery, Task};
use super::translate_stream::TranslateRelay;
use super::unary::setting;
use crate::chat::fault::{self, Elsewhere, FaultClass, UpstreamFault};
use crate::chat::shown::Shown;
use crate::dialects::{Wire, gemini};
use crate::domain::clock::UnixMillis;
use crate::http::head::ResponseHead;
use crate::limits;
use crate::providers::Dialect;
use crate::report::{Held, Outcome};
use crate::rt::{self, Buf, Deadline};
use std::borrow::Cow;
use std::time::Instant;

/// The relay of one stream.
enum EventRelay {
    Chat(StreamRelay),
    Native(NativeRelay),
    /// As it comes, read for the bill alone: nobody knows how such a stream ends.
    Raw(Box<EventRelay>),
    Translate(TranslateRelay),
}

/// What the client hears when a stream is cut.
const CUT_MESSAGE: &str = "The provider's stream broke off before its end; send the request again.";
/// The code that goes with it.
const CUT_CODE: &str = "upstream_stream_broken";

/// Relays an answer that comes as events or frames.
pub async fn events(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Relayed {
    let id = exchange.id_letters();
    let resumed = exchange.continuation.is_some();
    let Some(mut relay) = EventRelay::of(exchange, passage, answer.content, &id) else {
        return Relayed::Failed(Failure::Broken);
    };
    let core = exchange.core.clone();
    let _open = Held::one(&core.reports.gauges.streams);
    let framer = Framer::of(exchange);
    // Another provider may have begun it.
    let mut begun = resumed;
    // Lent by the pool for as long as something is in it: a stream that waits keeps nothing.
    let mut written = Buf::new();
    let mut silence = Deadline::new();
    let mut now = rt::coarse_now();
    expect_events(&mut answer);
    let ended = loop {
        let piece = written.vec_mut();
        let mut write = |facts: &StreamFacts, out: &mut Vec<u8>| {
            relay::metadata_of(exchange, passage, facts.usage).write_member(out)
        };
        let fed = relay::take_available(&mut answer, |bytes| relay.feed(bytes, piece, &mut write));
        if relay.facts().content_seen {
            passage.folio.has_content(now);
        }
        if relay.progress() == Progress::Failed && !begun && !relay.facts().content_seen {
            return Relayed::Fault(relay.fault(passage, piece));
        }
        let unsure = relay.is_cut(answer.until_close);
        let fed = if unsure && matches!(fed, Ok(More::Ended)) { Err(Failure::Broken) } else { fed };
        if let Ok(More::Ended) = fed {
            relay.finish(piece, &mut write);
        }
        let fed = if relay.progress() == Progress::Failed && relay.can_go_on(passage) {
            Err(Failure::Broken)
        } else {
            relay.tell_failure(exchange, passage, piece);
            fed
        };
        let leaves = relay.may_leave(piece, matches!(fed, Ok(More::Ended)));
        if leaves {
            let out = down.output().vec_mut();
            if !std::mem::replace(&mut begun, true) {
                begin_stream(exchange, passage, &answer, framer, out);
                forget_head(exchange, &mut answer);
            }
            framer.piece(out, piece);
        }
        passage.folio.passed(relay.facts(), if leaves { piece.len() } else { 0 }, now);
        if relay.is_final() {
            // Clients stop reading at a stream's own end, which goes out now.
            passage.folio.answers(Outcome::Completed, relay.facts());
        }
        if leaves {
            piece.clear();
        }
        written.release_if_empty();
        match fed {
            Err(failure) => break Err(failure),
            Ok(More::Ended) => break Ok(()),
            Ok(More::Wanted) => {}
        }
        match pass_and_wait(exchange, down, &mut answer, &mut silence, now, begun).await {
            Ok(filled) => now = filled,
            Err(failure) => break Err(failure),
        }
    };
    match ended {
        Err(failure) if !begun => Relayed::Failed(failure),
        // The provider has said all; that it then closed badly is between it and us.
        Err(Failure::TimedOut | Failure::Broken) if relay.progress() == Progress::Done => {
            let mut write = |facts: &StreamFacts, out: &mut Vec<u8>| {
                relay::metadata_of(exchange, passage, facts.usage).write_member(out)
            };
            let piece = written.vec_mut();
            relay.finish_late(piece, &mut write);
            framer.piece(down.output().vec_mut(), piece);
            end_stream(exchange, down, passage, answer, &relay, framer, begun).await
        }
        Err(Failure::ClientGone) => served(Next::Abort, Outcome::ClientGone, relay.facts()),
        Err(failure) => {
            let outcome = if failure == Failure::TimedOut { Outcome::TimedOut } else { Outcome::Broken };
            let in_time = exchange.began.elapsed() < exchange.snapshot.settings.exchange_deadline;
            if in_time && relay.can_go_on(passage) {
                interrupt(exchange, down, relay, outcome).await
            } else {
                passage.folio.answers(outcome, relay.facts());
                let next = cut(exchange, down, passage, &mut relay, framer).await;
                served(next, outcome, relay.facts())
            }
        }
        Ok(()) => end_stream(exchange, down, passage, answer, &relay, framer, begun).await,
    }
}

/// Sends what there is, once the stream has begun, and waits for more from `now` on; when it was there. Two readings of the clock an event.
async fn pass_and_wait(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    answer: &mut Answer,
    silence: &mut Deadline,
    now: Instant,
    begun: bool,
) -> Result<Instant, Failure> {
    let flushed = match begun {
        true => down.flush_from(now).await.map_err(|_| Failure::ClientGone)?,
        false => now,
    };
    relay::wait_from(exchange, down, answer, silence, flushed).await
}

/// What follows is small events with pauses between them: the read that waits for the next shall hold little.
fn expect_events(answer: &mut Answer) {
    answer.upstream.head = ResponseHead::default();
    answer.upstream.transport.expect_bytes(limits::READ_BUFFER_BYTES_MIN);
}

/// The client has been told what these say.
fn forget_head(exchange: &Exchange<'_>, answer: &mut Answer) {
    (answer.kept, answer.fields) = (Vec::new(), Vec::new());
    answer.content_type = Cow::Borrowed(b"");
    exchange.core.pools.borrow_mut().keep_said(std::mem::take(&mut answer.allowances));
}

fn begin_stream(exchange: &Exchange<'_>, passage: &Passage<'_>, answer: &Answer, framer: Framer, out: &mut Vec<u8>) {
    let content_type = match passage.inquiry.ask.delivery {
        Delivery::Array => b"application/json",
        Delivery::Events | Delivery::Whole => EVENT_STREAM,
    };
    relay::begin(exchange, out, answer.status, &answer.kept, content_type);
    relay::identify(exchange, passage, rt::now(), out);
    reply::field(out, "cache-control", b"no-cache");
    reply::field(out, "x-accel-buffering", b"no");
    framer.end_head(out);
}

/// The body has ended as HTTP has it; whether the stream has is another matter.
async fn end_stream(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    answer: Answer,
    relay: &EventRelay,
    framer: Framer,
    begun: bool,
) -> Relayed {
    if !begun {
        begin_stream(exchange, passage, &answer, framer, down.output().vec_mut());
    }
    attempt::give_back(exchange.core, &passage.provider.origin, answer);
    framer.end(down.output().vec_mut());
    let outcome = if relay.progress() == Progress::Failed { Outcome::Broken } else { Outcome::Completed };
    passage.folio.answers(outcome, relay.facts());
    served(exchange.finish(down).await, outcome, relay.facts())
}

/// Ends a stream that broke off: an error event, and no clean end (rule H17).
async fn cut(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    relay: &mut EventRelay,
    framer: Framer,
) -> Next {
    let mut piece = Vec::new();
    let request = exchange.id.to_string();
    let shown = broken_off(&request);
    match relay {
        EventRelay::Chat(relay) => {
            relay.abandon(&mut piece);
            reply::stream_fault(&mut piece, CUT_MESSAGE, CUT_CODE);
        }
        EventRelay::Translate(relay) => relay.fail(&shown, &mut piece),
        // No words of ours in somebody else's protocol: the missing end tells.
        EventRelay::Raw(_) => {}
        EventRelay::Native(_) => {
            let id = exchange.id_letters();
            if let Some(side) = passage.inquiry.ask.wire.client_side() {
                (side.stream_writer)(&setting(passage, &id)).fail(&shown, &mut piece);
            }
        }
    }
    last_words(exchange, down, framer, &piece).await
}

/// Hands a stream that broke off over to whoever may go on with it; the client gets what there is.
async fn interrupt(exchange: &mut Exchange<'_>, down: &mut Downstream, relay: EventRelay, outcome: Outcome) -> Relayed {
    let facts = *relay.facts();
    if down.flush().await.is_err() {
        return served(Next::Abort, Outcome::ClientGone, &facts);
    }
    exchange.continuation = match relay {
        EventRelay::Translate(relay) => relay.interrupt().map(Box::new),
        EventRelay::Chat(_) | EventRelay::Native(_) | EventRelay::Raw(_) => None,
    };
    Relayed::Interrupted(Passed { next: Next::Abort, outcome, facts })
}

/// Ends a stream that nobody could go on with: an error event, and no clean end (rule H17).
pub async fn give_up(exchange: &mut Exchange<'_>, down: &mut Downstream, from: Continuation) -> Next {
    let Continuation { mut writer, .. } = from;
    let mut piece = Vec::new();
    writer.fail(&broken_off(&exchange.id.to_string()), &mut piece);
    let framer = Framer::of(exchange);
    last_words(exchange, down, framer, &piece).await
}

async fn last_words(exchange: &mut Exchange<'_>, down: &mut Downstream, framer: Framer, piece: &[u8]) -> Next {
    framer.piece(down.output().vec_mut(), piece);
    exchange.persist = false;
    let _ = down.flush().await;
    Next::Abort
}

fn broken_off(request_id: &str) -> Shown<'_> {
    Shown { status: 502, code: CUT_CODE, kind: "server_error", message: CUT_MESSAGE, param: None, request_id }
}

// === impl EventRelay ===

impl EventRelay {
    /// The relay for this passage; `None` if the provider's stream is not of the form that its format has.
    fn of(exchange: &mut Exchange<'_>, passage: &Passage<'_>, content: Content, id: &str) -> Option<Self> {
        let (draft, ask) = (&passage.draft, passage.inquiry.ask);
        let metadata = passage.shows_metadata(exchange);
        let keeps = continuation::keeps(exchange, passage);
        if draft.carriage == Carriage::Translated || keeps {
            let framed = if draft.wire == Wire::Converse { Content::Frames } else { Content::Events };
            let side = ask.wire.client_side().filter(|_| content == framed)?;
            let reader = (draft.wire.provider_side().stream_reader)();
            if let Some(from) = exchange.continuation.take() {
                let past = exchange.legs.usage;
                return Some(Self::Translate(TranslateRelay::resumed(reader, *from, metadata, past)));
            }
            let setting = setting(passage, id);
            let writer = match ask.delivery {
                Delivery::Array => gemini::array_stream_writer(&setting),
                _ => (side.stream_writer)(&setting),
            };
            let relay = TranslateRelay::new(reader, writer, metadata);
            return Some(Self::Translate(if keeps { relay.kept() } else { relay }));
        }
        let accounting = passage.provider.spec.quirks.accounting;
        if let Task::Raw(_) | Task::Object(_) | Task::Audio(_) | Task::Images(_) = ask.task {
            let wire = match passage.provider.spec.dialect {
                Dialect::Anthropic => Wire::Messages,
                Dialect::Gemini => Wire::Gemini,
                _ => Wire::Chat,
            };
            let chat = StreamWishes { metadata: false, usage_event: true, accounting };
            let native = NativeRelay::new(wire, false, false).map(Self::Native);
            return Some(Self::Raw(Box::new(native.unwrap_or_else(|| Self::Chat(StreamRelay::new(chat))))));
        }
        if let Some(relay) = NativeRelay::new(draft.wire, ask.delivery == Delivery::Array, metadata) {
            return Some(Self::Native(relay));
        }
        let metadata = metadata && matches!(ask.task, Task::Generate | Task::Completions);
        Some(Self::Chat(StreamRelay::new(StreamWishes { metadata, usage_event: ask.usage_event, accounting })))
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        match self {
            Self::Chat(relay) => relay.feed(bytes, out, metadata),
            Self::Native(relay) => relay.feed(bytes, out, metadata),
            Self::Raw(relay) => relay.feed(bytes, out, metadata),
            Self::Translate(relay) => relay.feed(bytes, out),
        }
    }

    fn facts(&self) -> &StreamFacts {
        match self {
            Self::Chat(relay) => relay.facts(),
            Self::Native(relay) => relay.facts(),
            Self::Raw(relay) => relay.facts(),
            Self::Translate(relay) => relay.facts(),
        }
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Chat(relay) => relay.progress(),
            Self::Native(relay) => relay.progress(),
            Self::Raw(relay) => relay.progress(),
            Self::Translate(relay) => relay.progress(),
        }
    }

    /// Whether its figures are final although its body may go on: the end of its own format has come.
    fn is_final(&self) -> bool {
        match self {
            Self::Chat(relay) => relay.progress() == Progress::Done,
            Self::Native(relay) => relay.is_final(),
            // The first ends where its body does, the second is ended by its writer then.
            Self::Raw(_) | Self::Translate(_) => false,
        }
    }

    /// Whether a body that ends here was cut. Chat streams of some vendors lack their terminator, so there only an end by closing is suspect.
    fn is_cut(&self, until_close: bool) -> bool {
        match self {
            Self::Chat(relay) => until_close && relay.progress() == Progress::Open,
            Self::Native(relay) => relay.is_cut(),
            Self::Raw(_) => false,
            Self::Translate(relay) => relay.progress() == Progress::Open,
        }
    }

    /// Whether what has been written may go to the client now; `ended` says that the body has come to its end.
    fn may_leave(&self, piece: &[u8], ended: bool) -> bool {
        let held = match self {
            Self::Chat(_) | Self::Raw(_) => false,
            Self::Native(_) | Self::Translate(_) => {
                !ended && !self.facts().content_seen && piece.len() <= limits::HELD_STREAM_BYTES_MAX
            }
        };
        !piece.is_empty() && !held
    }

    fn finish(&mut self, out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        match self {
            Self::Chat(relay) => relay.finish(out, metadata),
            Self::Native(relay) => relay.finish(out),
            Self::Raw(relay) => relay.finish(out, metadata),
            Self::Translate(relay) => relay.finish(out, metadata),
        }
    }

    /// As [`Self::finish`], for a stream whose format had ended although its body did not end well: what passes has passed already.
    fn finish_late(&mut self, out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        out.clear();
        if let Self::Translate(relay) = self {
            relay.finish(out, metadata);
        }
    }

    /// A provider's failure inside a stream whose content the client has begun to see: told in the client's dialect, scrubbed.
    fn tell_failure(&mut self, exchange: &Exchange<'_>, passage: &Passage<'_>, out: &mut Vec<u8>) {
        if self.progress() != Progress::Failed {
            return;
        }
        match self {
            // Its words are in the event that passes: they may quote the credential (rule R3).
            Self::Chat(_) | Self::Native(_) | Self::Raw(_) => passage.scrub_lines(out),
            Self::Translate(relay) => {
                let fault = classified(passage, relay.error().unwrap_or_default());
                let request = exchange.id.to_string();
                let code = fault.code.as_deref().unwrap_or(fault.class.as_str());
                let (status, kind) = match fault.class {
                    FaultClass::RateLimit => (429, "rate_limit_error"),
                    FaultClass::Overloaded => (503, "server_error"),
                    FaultClass::BadRequest | FaultClass::ContextTooLong | FaultClass::ContentFilter => {
                        (400, "invalid_request_error")
                    }
                    _ => (502, "server_error"),
                };
                let message = &fault.message;
                let shown = Shown { status, code, kind, message, param: None, request_id: &request };
                relay.fail(&shown, out);
            }
        }
    }

    /// Whether another provider may go on with it: words are all that there was, and what failed, if the provider said so, may not fail
    /// elsewhere.
    fn can_go_on(&self, passage: &Passage<'_>) -> bool {
        let Self::Translate(relay) = self else { return false };
        let elsewhere = |body| classified(passage, body).class.again().other_provider == Elsewhere::Any;
        relay.can_go_on() && relay.error().is_none_or(elsewhere)
    }

    /// The failure with which a stream began, in words fit to show.
    fn fault(&self, passage: &Passage<'_>, piece: &[u8]) -> UpstreamFault {
        let own = match self {
            Self::Chat(_) | Self::Raw(_) => None,
            Self::Native(relay) => relay.error(),
            Self::Translate(relay) => relay.error(),
        };
        classified(passage, own.unwrap_or_else(|| piece.strip_prefix(b"data:").unwrap_or(piece).trim_ascii()))
    }
}

fn classified(passage: &Passage<'_>, body: &[u8]) -> UpstreamFault {
    let mut fault = fault::classify(&passage.provider.spec.faults, 200, &|_| None, body, UnixMillis::now());
    passage.scrub(&mut fault);
    if fault.class == FaultClass::Unknown {
        fault.class = FaultClass::ServerError;
    }
    fault
}

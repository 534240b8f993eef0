//! Realtime sessions: a WebSocket to the client, another to the provider, and every frame read and written anew between them.
//!
//! The client's upgrade goes on only as a handshake of our own, and only a provider that answers it with a proven 101 makes us answer the client
//! with one (rule H12). No byte passes raw: each frame is unmasked, bounded, and masked again with a key of ours. Usage comes from the
//! provider's `response.done` events, each of which states its own.

use super::attempt::Answer;
use super::downstream::{Arrival, Downstream};
use super::exchange::{Exchange, Next};
use super::fault::Fault;
use super::folio::Folio;
use super::inquiry::Inquiry;
use super::relay::{self, Passage};
use super::reply::{self, Stamp};
use super::stream::StreamFacts;
use super::upstream::Upstream;
use crate::domain::id::RequestId;
use crate::domain::token::Usage;
use crate::http::head::{KnownField, RequestHead};
use crate::http::websocket::{self, ACCEPT_SUFFIX, FrameFault, Opcode};
use crate::http::write::{RequestWriter, WriteFault};
use crate::limits;
use crate::report::Outcome;
use crate::rt;
use crate::vault::sign::sha1;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::Deserialize;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

/// The one subprotocol that clients ask for and that holds no key.
const SUBPROTOCOL: &str = "realtime";
const KEY: &str = "sec-websocket-key";
const PROTOCOL: &str = "sec-websocket-protocol";

fn field<'a>(head: &'a RequestHead, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.fields(bytes).find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Whether a request asks for a WebSocket as RFC 6455 §4.2.1 has it.
pub fn check_handshake(head: &RequestHead, bytes: &[u8]) -> Result<(), Fault> {
    let says =
        |value: Option<&[u8]>, word: &str| value.is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()));
    let mut options = head.find(bytes, KnownField::Connection).unwrap_or_default().split(|byte| *byte == b',');
    let upgrades = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && says(head.find(bytes, KnownField::Upgrade), "websocket");
    let versioned = says(field(head, bytes, "sec-websocket-version"), "13");
    let keyed = field(head, bytes, KEY).is_some_and(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
    match upgrades && versioned && keyed {
        true => Ok(()),
        false => Err(Fault::invalid("This path speaks WebSocket, version 13; connect with a WebSocket client.", None)),
    }
}

fn offers_subprotocol(head: &RequestHead, bytes: &[u8]) -> bool {
    let offered = field(head, bytes, PROTOCOL).and_then(|value| std::str::from_utf8(value).ok());
    offered.is_some_and(|offered| offered.split(',').any(|name| name.trim() == SUBPROTOCOL))
}

/// Our own key towards the provider: the exchange's id is as random, and as unique, as the standard wants it.
fn own_key(request: RequestId) -> String {
    STANDARD.encode(request.bits().to_be_bytes())
}

fn accept_of(key: &[u8]) -> String {
    STANDARD.encode(sha1(&[key, ACCEPT_SUFFIX].concat()))
}

/// Ends a request head that has host and credential with our handshake.
pub fn write_handshake(head: RequestWriter<'_>, inquiry: &Inquiry<'_>, request: RequestId) -> Result<(), WriteFault> {
    let (client, bytes) = (inquiry.head, inquiry.received.head());
    let mut head = head
        .field("upgrade", b"websocket")?
        .field("connection", b"Upgrade")?
        .field("sec-websocket-version", b"13")?
        .field(KEY, own_key(request).as_bytes())?
        .field("x-request-id", request.to_string().as_bytes())?;
    if offers_subprotocol(client, bytes) {
        head = head.field(PROTOCOL, SUBPROTOCOL.as_bytes())?;
    }
    head.end_unframed();
    Ok(())
}

/// Carries a session to its end, and settles its attempt; what becomes of the connection.
pub async fn session(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    passage: &Passage<'_>,
    mut answer: Answer,
) -> Next {
    let said = |name: &str| answer.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let proven = said("sec-websocket-accept") == Some(accept_of(own_key(exchange.id).as_bytes()).as_str());
    let agreed = said(PROTOCOL).is_none_or(|name| name == SUBPROTOCOL) && said("sec-websocket-extensions").is_none();
    if !proven || !agreed {
        let fault = Fault::UpstreamBroken { provider: passage.provider.id.as_str().to_owned() };
        passage.folio.answers(Outcome::Broken, &StreamFacts::default());
        return exchange.refuse(down, &fault, true).await;
    }
    let subprotocol = said(PROTOCOL).is_some();
    answer_upgrade(exchange, down, passage, subprotocol);
    if down.flush().await.is_err() {
        passage.folio.answers(Outcome::ClientGone, &StreamFacts::default());
        return Next::Abort;
    }
    let mut session = Session::default();
    let outcome = session.carry(down, &mut answer.upstream, &passage.folio).await;
    passage.folio.answers(outcome, &session.facts());
    Next::Close
}

fn answer_upgrade(exchange: &Exchange<'_>, down: &mut Downstream, passage: &Passage<'_>, subprotocol: bool) {
    let inquiry = passage.inquiry;
    let key = field(inquiry.head, inquiry.received.head(), KEY).unwrap_or_default();
    let accept = accept_of(key);
    let out = down.output().vec_mut();
    exchange.notes.told(101);
    reply::begin_head(out, 101, Stamp { persist: true, ..exchange.stamp() });
    reply::field(out, "upgrade", b"websocket");
    reply::field(out, "connection", b"Upgrade");
    reply::field(out, "sec-websocket-accept", accept.as_bytes());
    if subprotocol {
        reply::field(out, PROTOCOL, SUBPROTOCOL.as_bytes());
    }
    relay::identify(exchange, passage, Instant::now(), out);
    reply::end_head(out);
}

/// A session under way.
#[derive(Default)]
struct Session {
    usage: Option<Usage>,
    /// The provider's message of text whose last fragment has not come.
    message: Option<Vec<u8>>,
    client_closed: bool,
    provider_closed: bool,
}

/// Which side has something, or is gone.
enum Event {
    Client(Arrival),
    Provider(bool),
}

/// Why a session ended otherwise than by its close frames.
enum Trouble {
    /// The client's frames, or its connection.
    Client,
    /// The provider's.
    Provider,
}

impl Session {
    /// Passes frames until one side is done. Before the last of them goes to the client, the attempt is closed (rule L3).
    async fn carry(&mut self, down: &mut Downstream, upstream: &mut Upstream, folio: &Folio) -> Outcome {
        let end = Instant::now() + limits::REALTIME_DEADLINE;
        loop {
            let passed = self.pass_frames(down, upstream);
            folio.passed(&self.facts(), down.output().len(), Instant::now());
            match &passed {
                Err(Trouble::Provider) => folio.answers(Outcome::Broken, &self.facts()),
                Err(Trouble::Client) => folio.answers(Outcome::ClientGone, &self.facts()),
                // The provider says nothing after its close frame, whatever the client still does.
                Ok(()) if self.provider_closed => folio.answers(Outcome::Completed, &self.facts()),
                Ok(()) => {}
            }
            let flushed = flush(down, upstream).await;
            match (passed, flushed) {
                (Err(Trouble::Provider), _) | (_, Err(Trouble::Provider)) => return Outcome::Broken,
                (Err(Trouble::Client), _) | (_, Err(Trouble::Client)) => return Outcome::ClientGone,
                (Ok(()), Ok(())) if self.client_closed && self.provider_closed => return Outcome::Completed,
                (Ok(()), Ok(())) => {}
            }
            let deadline = end.min(Instant::now() + limits::REALTIME_SILENCE);
            let waited = rt::with_deadline(
                deadline,
                poll_fn(|cx| {
                    if let Poll::Ready(arrival) = down.poll_arrival(cx) {
                        return Poll::Ready(Event::Client(arrival));
                    }
                    upstream
                        .transport
                        .poll_fill(cx)
                        .map(|filled| Event::Provider(matches!(filled, Ok(count) if count > 0)))
                }),
            );
            match waited.await {
                Ok(Event::Client(Arrival::Bytes) | Event::Provider(true)) => {}
                // A peer that closes the connection after both close frames, or after its own, has ended well.
                Ok(Event::Client(_)) if self.client_closed => return Outcome::Completed,
                Ok(Event::Provider(false)) if self.provider_closed => return Outcome::Completed,
                Ok(Event::Client(_)) => return self.bid_farewell(down, upstream, folio, Outcome::ClientGone).await,
                Ok(Event::Provider(false)) => return self.bid_farewell(down, upstream, folio, Outcome::Broken).await,
                Err(_) => return self.bid_farewell(down, upstream, folio, Outcome::TimedOut).await,
            }
        }
    }

    /// What has been used so far.
    fn facts(&self) -> StreamFacts {
        StreamFacts::stated(self.usage)
    }

    /// Passes every whole frame that has arrived, both ways.
    fn pass_frames(&mut self, down: &mut Downstream, upstream: &mut Upstream) -> Result<(), Trouble> {
        while let Some(frame) = taken(down.input(), true).map_err(|fault| {
            websocket::write_close(down.output().vec_mut(), fault.status(), None);
            Trouble::Client
        })? {
            self.client_closed |= frame.opcode == Opcode::Close;
            let out = upstream.transport.output().vec_mut();
            websocket::write(out, frame.last, frame.opcode, &frame.payload, Some(masking_key()));
        }
        while let Some(frame) = taken(upstream.transport.input(), false).map_err(|_| {
            websocket::write_close(down.output().vec_mut(), BAD_GATEWAY, None);
            Trouble::Provider
        })? {
            self.provider_closed |= frame.opcode == Opcode::Close;
            self.listen(&frame);
            websocket::write(down.output().vec_mut(), frame.last, frame.opcode, &frame.payload, None);
        }
        Ok(())
    }

    /// Reads the provider's events, whole ones where they are and fragmented ones up to the bound of a frame.
    fn listen(&mut self, frame: &Taken) {
        match (frame.opcode, frame.last, &mut self.message) {
            (Opcode::Text, true, _) => self.meter(&frame.payload),
            (Opcode::Text, false, _) => self.message = Some(frame.payload.clone()),
            (Opcode::Continuation, _, Some(message))
                if message.len() + frame.payload.len() > limits::FRAME_BYTES_MAX =>
            {
                self.message = None;
            }
            (Opcode::Continuation, last, Some(message)) => {
                message.extend_from_slice(&frame.payload);
                if let Some(message) = self.message.take_if(|_| last) {
                    self.meter(&message);
                }
            }
            _ => {}
        }
    }

    /// Adds what a `response.done` event says was used.
    fn meter(&mut self, event: &[u8]) {
        if memmem::find(event, b"\"response.done\"").is_none() {
            return;
        }
        let Ok(Done { kind, response }) = serde_json::from_slice::<Done>(event) else { return };
        if let (true, Some(stated)) = (kind == "response.done", response.usage) {
            let sum = self.usage.get_or_insert_default();
            sum.input += stated.input_tokens;
            sum.output += stated.output_tokens;
            sum.cached_input += stated.input_token_details.cached_tokens;
            sum.audio_input += stated.input_token_details.audio_tokens;
            sum.audio_output += stated.output_token_details.audio_tokens;
        }
    }

    /// Tells both sides that it is over, as far as they still listen.
    async fn bid_farewell(
        &self,
        down: &mut Downstream,
        upstream: &mut Upstream,
        folio: &Folio,
        outcome: Outcome,
    ) -> Outcome {
        folio.answers(outcome, &self.facts());
        if !self.provider_closed && outcome != Outcome::Broken {
            websocket::write_close(upstream.transport.output().vec_mut(), GOING_AWAY, Some(masking_key()));
        }
        if !self.client_closed && outcome != Outcome::ClientGone {
            let status = if outcome == Outcome::Broken { BAD_GATEWAY } else { GOING_AWAY };
            websocket::write_close(down.output().vec_mut(), status, None);
        }
        let _ = flush(down, upstream).await;
        outcome
    }
}

/// Statuses of close frames (RFC 6455 §7.4.1 and the IANA registry).
const GOING_AWAY: u16 = 1001;
const BAD_GATEWAY: u16 = 1014;

/// A frame taken out of a buffer, unmasked.
struct Taken {
    last: bool,
    opcode: Opcode,
    payload: Vec<u8>,
}

fn taken(input: &mut rt::Buf, masked: bool) -> Result<Option<Taken>, FrameFault> {
    let Some(frame) = websocket::read(input.bytes(), masked, limits::FRAME_BYTES_MAX)? else { return Ok(None) };
    let mut payload = input.bytes().get(frame.payload).unwrap_or_default().to_vec();
    if let Some(key) = frame.mask {
        websocket::mask(&mut payload, key);
    }
    input.consume(frame.consumed);
    Ok(Some(Taken { last: frame.last, opcode: frame.opcode, payload }))
}

/// A key that no script behind the client can foresee (RFC 6455 §5.3).
fn masking_key() -> [u8; 4] {
    let mut key = [0; 4];
    // Without randomness the frame is still right; only a cache poisoner would gain, and it would need this machine's entropy to fail.
    let _ = getrandom::fill(&mut key);
    key
}

async fn flush(down: &mut Downstream, upstream: &mut Upstream) -> Result<(), Trouble> {
    if !upstream.transport.output().is_empty() {
        let deadline = Instant::now() + limits::CLIENT_STALL_DEADLINE;
        let sent = rt::with_deadline(deadline, upstream.transport.flush()).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(Trouble::Provider);
        }
    }
    match down.output().is_empty() {
        true => Ok(()),
        false => down.flush().await.map_err(|_| Trouble::Client),
    }
}

/// <https://platform.openai.com/docs/api-reference/realtime-server-events/response/done>, read 2026-11-23.
#[derive(Deserialize)]
struct Done {
    #[serde(rename = "type")]
    kind: String,
    response: DoneResponse,
}

#[derive(Deserialize)]
struct DoneResponse {
    usage: Option<Stated>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Stated {
    input_tokens: u64,
    output_tokens: u64,
    input_token_details: Details,
    output_token_details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_the_standards() {
        // RFC 6455 §1.3.
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn usage_adds_up_over_the_answers_of_a_session() {
        let mut session = Session::default();
        let done = br#"{"type":"response.done","response":{"usage":{"total_tokens":12,"input_tokens":10,"output_tokens":2,
            "input_token_details":{"text_tokens":4,"audio_tokens":6,"cached_tokens":3},"output_token_details":{"audio_tokens":1}}}}"#;
        session.meter(done);
        session.meter(br#"{"type":"response.text.delta","delta":"\"response.done\""}"#);
        session.meter(br#"{"type":"response.done","response":{"usage":null}}"#);
        session.meter(done);
        let usage = session.usage.expect("stated");
        assert_eq!((usage.input, usage.output, usage.cached_input), (20, 4, 6));
        assert_eq!((usage.audio_input, usage.audio_output), (12, 2));
    }
}

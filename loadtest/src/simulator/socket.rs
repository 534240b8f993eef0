//! A connection that was upgraded to a WebSocket, served to its end.
//!
//! Faults count the events that were sent; a close of the client is a good end, a lost connection is not.

use super::fault::Fault;
use super::link::{Gone, Wire};
use super::openai::realtime::{Conversation, Message, Opening, frame, take};
use super::rule::Behaviour;
use super::serve::{Done, Exchange, Session};
use std::io::Write as _;
use std::time::Instant;

impl<W: Wire> Session<W> {
    /// Answers the handshake and converses until somebody leaves.
    pub(super) async fn converse(
        &mut self,
        exchange: &mut Exchange,
        behaviour: &Behaviour,
        opening: &Opening,
    ) -> Result<Done, Gone> {
        let fault = exchange.fault().cloned();
        match &fault {
            Some(fault) if !fault.shapes() => return self.fail(exchange).await,
            Some(Fault::Reset { after_bytes }) => self.link.reset_after = Some(*after_bytes),
            Some(Fault::SlowFirstByte { delay } | Fault::SlowFirstToken { delay }) => {
                self.link.pause(exchange.ticket.arrived + *delay).await?;
            }
            Some(Fault::Drip { bytes, every }) => {
                (self.link.write_bytes, self.link.drip) = (Some(*bytes as usize), Some(*every));
            }
            _ => {}
        }
        exchange.status = 101;
        let mut head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n".to_vec();
        let _ = write!(head, "sec-websocket-accept: {}\r\n", opening.accept);
        if let Some(protocol) = opening.protocol {
            let _ = write!(head, "sec-websocket-protocol: {protocol}\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.link.send(&head).await?;
        let mut conversation = Conversation::new(&opening.model, behaviour.tokens);
        let mut events = vec![conversation.greeting()];
        loop {
            if let Some(done) = self.say(exchange, behaviour, fault.as_ref(), &mut conversation, &events).await? {
                return Ok(done);
            }
            exchange.prompt_tokens = conversation.prompt_tokens;
            exchange.completion_tokens = conversation.completion_tokens;
            events = match self.listen().await? {
                Ok(Message::Text(text)) => conversation.hear(&text),
                Ok(Message::Ping(payload)) => {
                    self.link.send(&frame(10, &payload)).await?;
                    Vec::new()
                }
                Ok(Message::Pong) => Vec::new(),
                Ok(Message::Close(code)) => {
                    self.link.send(&frame(8, &code.unwrap_or(1000).to_be_bytes())).await?;
                    return Ok(Done::Closed);
                }
                Err(code) => {
                    self.site.truth.violate(self.connection, "malformed-websocket", format!("closed with {code}"));
                    self.link.send(&frame(8, &code.to_be_bytes())).await?;
                    return Ok(Done::Closed);
                }
            };
        }
    }

    /// Waits for the next message; the inner error is the code to close with.
    async fn listen(&mut self) -> Result<Result<Message, u16>, Gone> {
        loop {
            match take(self.link.input()) {
                Ok(Some(message)) => return Ok(Ok(message)),
                Ok(None) => self.link.more().await?,
                Err(code) => return Ok(Err(code)),
            }
        }
    }

    /// Sends events at their pace; a fault that is due ends the conversation.
    async fn say(
        &mut self,
        exchange: &mut Exchange,
        behaviour: &Behaviour,
        fault: Option<&Fault>,
        conversation: &mut Conversation,
        events: &[String],
    ) -> Result<Option<Done>, Gone> {
        let started = Instant::now();
        for (number, event) in events.iter().enumerate() {
            if let Some(fault) = fault.filter(|fault| fault.stops_after().is_some_and(|after| exchange.events >= after))
            {
                return self.break_off(fault, conversation, event).await.map(Some);
            }
            if number > 0 && !behaviour.event_gap.is_zero() {
                self.link.pause(started + behaviour.event_gap * number as u32).await?;
            }
            self.link.send(&frame(1, event.as_bytes())).await?;
            exchange.events += 1;
        }
        Ok(None)
    }

    async fn break_off(&mut self, fault: &Fault, conversation: &mut Conversation, next: &str) -> Result<Done, Gone> {
        match fault {
            Fault::CutMidEvent { .. } | Fault::CutInsideUtf8 { .. } => {
                let bytes = frame(1, next.as_bytes());
                self.link.send(&bytes[..bytes.len() / 2]).await?;
            }
            // Bytes that are no text (RFC 6455 §5.6).
            Fault::GarbageInStream { .. } => self.link.send(&frame(1, b"\xff\xfe not JSON")).await?,
            Fault::ErrorInStream { .. } | Fault::ErrorOfKind { .. } => {
                self.link.send(&frame(1, conversation.breakdown().as_bytes())).await?;
                self.link.send(&frame(8, &1011_u16.to_be_bytes())).await?;
            }
            _ => self.link.outwait().await,
        }
        Ok(Done::Failed { fault: fault.name(), close: true })
    }
}

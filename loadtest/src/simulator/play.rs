//! How an answer leaves: at its pace, whole or event by event, or as its fault says.

use super::fault::Fault;
use super::latency::Latency;
use super::link::{Gone, Wire};
use super::rule::Behaviour;
use super::serve::{Done, Exchange, Session};
use super::surface::{Script, Work};
use super::text::mix;
use std::time::{Duration, Instant};

/// Room that a connection keeps for the body of its next answer.
const SCRATCH_BYTES_MAX: usize = 4 * 1024;
/// What is sent in place of HTTP.
const GARBAGE_HEAD: &[u8] = b"HTTP/1.l 2OO\r\n\x00\x01\xff: garbage\n\r\n\r\n";
/// What is sent in place of an event.
const GARBAGE_EVENT: &[u8] = b"\x00\xff\xfe data {\"not\": an event \x80\xc3\n\n";

/// When events leave.
struct Pace {
    /// The same gap every time, or a distribution to draw them from.
    gap: Latency,
    seed: u64,
    events_per_write: u32,
}

impl Pace {
    fn new(work: &Work, behaviour: &Behaviour, seed: u64) -> Self {
        let gap = match work.directives.gap {
            Some(gap) => gap.into(),
            None if behaviour.gap.is_zero() => behaviour.event_gap.into(),
            None => behaviour.gap.clone(),
        };
        Self { gap, seed: mix(seed, 0x6761_7073), events_per_write: behaviour.events_per_write.max(1) }
    }

    /// The wait after this event.
    fn after(&self, index: u32) -> Duration {
        self.gap.draw(mix(self.seed, index.into()))
    }
}

impl<W: Wire> Session<W> {
    /// Does the work of a model: waits, answers, and fails where a fault says so.
    pub(super) async fn work(
        &mut self,
        exchange: &mut Exchange,
        behaviour: &Behaviour,
        work: &Work,
    ) -> Result<Done, Gone> {
        if exchange.fault().is_some_and(|fault| !fault.shapes()) {
            return self.fail(exchange).await;
        }
        let wishes = &work.directives;
        let draw = mix(self.site.seed, exchange.ticket.sequence);
        let prefill = || {
            let new_tokens = work.prompt_tokens.saturating_sub(wishes.cached);
            behaviour.prefill_per_token.saturating_mul(new_tokens)
        };
        let mut wait = wishes.latency.unwrap_or_else(|| behaviour.latency.draw(draw).saturating_add(prefill()));
        self.link.write_bytes = wishes.write_bytes.or(behaviour.write_bytes);
        match exchange.fault() {
            Some(Fault::SlowFirstByte { delay }) => wait = wait.saturating_add(*delay),
            Some(Fault::Reset { after_bytes }) => self.link.reset_after = Some(*after_bytes),
            Some(Fault::Drip { bytes, every }) => {
                (self.link.write_bytes, self.link.drip) = (Some(*bytes as usize), Some(*every));
            }
            _ => {}
        }
        exchange.prompt_tokens = work.prompt_tokens;
        if !wait.is_zero() {
            self.link.pause(exchange.ticket.arrived + wait.min(WAIT_MAX)).await?;
        }
        // A reset beyond the end of the answer does not happen, and a slow answer is an answer: both end well.
        if work.stream {
            let pace = Pace::new(work, behaviour, draw);
            self.stream(exchange, &work.script, &pace).await
        } else {
            self.unary(exchange, &work.script).await
        }
    }

    async fn unary(&mut self, exchange: &mut Exchange, script: &Script) -> Result<Done, Gone> {
        match exchange.fault() {
            Some(fault @ (Fault::ErrorInStream { .. } | Fault::ErrorOfKind { .. })) => {
                let name = fault.name();
                let mut denial = exchange.surface.failure(500, None);
                if let Fault::ErrorOfKind { kind, .. } = fault {
                    let body = exchange.surface.with_kind(denial.body.as_bytes(), kind);
                    denial.body = String::from_utf8_lossy(&body).into_owned();
                }
                exchange.prompt_tokens = 0;
                self.send_whole(exchange, &denial).await?;
                return Ok(Done::Failed { fault: name, close: false });
            }
            Some(fault @ Fault::Stall { .. }) => {
                let name = fault.name();
                self.link.outwait().await;
                return Ok(Done::Failed { fault: name, close: true });
            }
            Some(fault @ Fault::GarbageInStream { .. }) => {
                let name = fault.name();
                self.link.send(GARBAGE_HEAD).await?;
                return Ok(Done::Failed { fault: name, close: true });
            }
            _ => {}
        }
        exchange.completion_tokens = script.completion_tokens();
        exchange.status = 200;
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        script.unary(&mut body);
        self.output.clear();
        self.head(exchange, Some(body.len()), script.kind(false));
        self.linger(exchange).await?;
        let is_cut = match exchange.fault() {
            Some(Fault::CutMidEvent { .. }) => {
                body.truncate(body.len() / 2);
                true
            }
            Some(Fault::CutInsideUtf8 { .. }) => {
                cut_inside_utf8(&mut body);
                true
            }
            _ => false,
        };
        self.output.extend_from_slice(&body);
        if body.capacity() <= SCRATCH_BYTES_MAX {
            self.scratch = body;
        }
        exchange.leaves();
        self.link.send(&self.output).await?;
        Ok(if is_cut { failed(exchange, true) } else { Done::Well })
    }

    async fn stream(&mut self, exchange: &mut Exchange, script: &Script, pace: &Pace) -> Result<Done, Gone> {
        exchange.status = 200;
        // Ten thousand streams wait between their events: none of them keeps room that it does not need.
        (self.output, self.scratch) = (Vec::with_capacity(512), Vec::new());
        self.head(exchange, None, script.kind(true));
        self.linger(exchange).await?;
        let stop_at = exchange.fault().and_then(|fault| stop_at(fault, script));
        let end = stop_at.unwrap_or(u32::MAX).min(script.events());
        let started = Instant::now();
        let (mut event, mut pending, mut due) = (Vec::new(), 0, Duration::ZERO);
        for index in 0..end {
            event.clear();
            script.event(index, &mut event);
            self.chunk(&event);
            pending += 1;
            let last = index + 1 == script.events();
            if last {
                self.output.extend_from_slice(b"0\r\n\r\n");
            }
            let gap = if last { Duration::ZERO } else { pace.after(index) };
            if last || index + 1 == end || !gap.is_zero() || pending >= pace.events_per_write {
                exchange.leaves();
                self.link.send(&self.output).await?;
                self.output.clear();
                exchange.events += pending;
                exchange.completion_tokens = script.tokens_after(exchange.events);
                pending = 0;
            }
            if !gap.is_zero() {
                due = due.saturating_add(gap).min(WAIT_MAX);
                self.link.pause(started + due).await?;
            }
        }
        if stop_at.is_some() {
            return self.break_stream(exchange, script, end).await;
        }
        Ok(Done::Well)
    }

    /// Sends the head at once and waits, where the first token is to be slow.
    async fn linger(&mut self, exchange: &mut Exchange) -> Result<(), Gone> {
        let Some(&Fault::SlowFirstToken { delay }) = exchange.fault() else { return Ok(()) };
        exchange.leaves();
        let until = Instant::now() + delay.min(WAIT_MAX);
        self.link.send(&self.output).await?;
        self.output.clear();
        self.link.pause(until).await
    }

    /// Ends a stream the way its fault says, after the whole events have left.
    async fn break_stream(&mut self, exchange: &Exchange, script: &Script, sent: u32) -> Result<Done, Gone> {
        let mut event = Vec::new();
        match exchange.fault() {
            Some(fault @ (Fault::CutMidEvent { .. } | Fault::CutInsideUtf8 { .. })) => {
                script.event(sent.min(script.events() - 1), &mut event);
                match fault {
                    Fault::CutMidEvent { .. } => event.truncate(event.len() / 2),
                    _ => cut_inside_utf8(&mut event),
                }
                self.chunk(&event);
                self.link.send(&self.output).await?;
            }
            Some(fault @ (Fault::ErrorInStream { .. } | Fault::ErrorOfKind { .. } | Fault::GarbageInStream { .. })) => {
                script.broken(sent, &mut event);
                match fault {
                    Fault::ErrorOfKind { kind, .. } => event = exchange.surface.broken_as(&event, kind),
                    Fault::GarbageInStream { .. } => event = GARBAGE_EVENT.to_vec(),
                    _ => {}
                }
                self.chunk(&event);
                self.output.extend_from_slice(b"0\r\n\r\n");
                self.link.send(&self.output).await?;
            }
            _ => {
                self.link.send(&self.output).await?;
                self.link.outwait().await;
            }
        }
        Ok(failed(exchange, true))
    }

    /// Plays a fault that needs no answer.
    pub(super) async fn fail(&mut self, exchange: &mut Exchange) -> Result<Done, Gone> {
        let Some(fault) = exchange.fault().cloned() else { return Ok(Done::Well) };
        let mut close = false;
        match &fault {
            Fault::Status { code, retry_after, body } | Fault::Reply { code, retry_after, body, .. } => {
                let mut denial = exchange.surface.failure(*code, *retry_after);
                denial.status = *code;
                if let Some(body) = body {
                    denial.body.clone_from(body);
                }
                let mut kind = "application/json";
                if let Fault::Reply { fields, .. } = &fault {
                    for (name, value) in fields {
                        match &name[..] {
                            "content-type" => kind = value,
                            _ => denial.fields.push(format!("{name}: {value}")),
                        }
                    }
                }
                self.send_as(exchange, &denial, kind).await?;
            }
            Fault::Quota => {
                self.send_whole(exchange, &exchange.surface.quota()).await?;
            }
            Fault::GarbageHead => {
                self.link.send(GARBAGE_HEAD).await?;
                close = true;
            }
            _ => {
                if fault == Fault::StaleKeepAlive {
                    self.link.reset();
                }
                close = true;
            }
        }
        Ok(failed(exchange, close))
    }
}

/// A schedule goes no further into the future, whatever was asked for: ten hours.
const WAIT_MAX: Duration = Duration::from_secs(36_000);

fn failed(exchange: &Exchange, close: bool) -> Done {
    Done::Failed { fault: exchange.fault().map(Fault::name).unwrap_or_default(), close }
}

/// Whole events that leave before the fault, if it ends the stream.
fn stop_at(fault: &Fault, script: &Script) -> Option<u32> {
    let after = fault.stops_after()?;
    if !matches!(fault, Fault::CutInsideUtf8 { .. }) {
        return Some(after);
    }
    let mut event = Vec::new();
    let has_one = |index: &u32| {
        event.clear();
        script.event(*index, &mut event);
        inside_utf8(&event).is_some()
    };
    Some((after..script.events()).find(has_one).unwrap_or(after))
}

/// Cuts bytes inside a character; where all are ASCII, at the middle, with the first two bytes of a character of three in place of what
/// was there.
fn cut_inside_utf8(bytes: &mut Vec<u8>) {
    match inside_utf8(bytes) {
        Some(at) => bytes.truncate(at),
        None => {
            bytes.truncate((bytes.len() / 2).saturating_sub(2));
            bytes.extend_from_slice(b"\xe6\x97");
        }
    }
}

/// A place after the first byte of a character and before its last.
fn inside_utf8(bytes: &[u8]) -> Option<usize> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte >= 0xc2);
    let is_whole = |at: usize, first: u8| {
        let length = if first < 0xe0 {
            2
        } else if first < 0xf0 {
            3
        } else {
            4
        };
        let character = bytes.get(at..at + length)?;
        std::str::from_utf8(character).ok().map(|_| at + length / 2)
    };
    starts.map(|(at, first)| is_whole(at, *first)).find_map(|found| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_leave_the_first_part_of_a_character() {
        for (text, kept) in [("aé", &b"a\xc3"[..]), ("日本", b"\xe6"), ("x🚂", b"x\xf0\x9f")] {
            let mut bytes = text.as_bytes().to_vec();
            cut_inside_utf8(&mut bytes);
            assert_eq!(bytes, kept, "{text}");
        }
        let mut plain = b"0123456789".to_vec();
        cut_inside_utf8(&mut plain);
        assert_eq!(plain, b"012\xe6\x97");
        assert_eq!(inside_utf8(b"\xff\xc3("), None, "what is no character is not cut");
    }
}

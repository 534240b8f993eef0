//! One request under way: its marks in time, its answer as far as it has come, and how it ended.

use super::agenda::Due;
use super::{Done, Observer};
use crate::dialect::{Dialect, Expectation, Flaw, Reading, Seen, Told};
use crate::measure::Outcome;
use crate::wire::{Body, Head, Malformed};
use crate::workload::{Ask, Plan};
use std::io;

/// A request on its connection.
pub(super) struct Flight {
    pub(super) due: Due,
    pub(super) sent: Option<u64>,
    pub(super) connect_ns: Option<u64>,
    pub(super) bytes_out: u64,
    bytes_in: u64,
    first_byte: Option<u64>,
    first_token: Option<u64>,
    last_token: Option<u64>,
    longest_gap: Option<u64>,
    events: u32,
    generated: u32,
    status: u16,
    overhead_us: Option<u64>,
    /// Its answer from the end of the head on; `None` before.
    answer: Option<Answer>,
    /// Bytes of a head that is not whole yet.
    head: Vec<u8>,
    /// The request's body, where the answer shall be compared.
    pub(super) asked: Vec<u8>,
    /// The answer's body, where it shall be compared.
    answered: Vec<u8>,
}

/// An answer's body on its way.
struct Answer {
    body: Body,
    reading: Reading,
    /// Whether the connection ends with it.
    close: bool,
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) told: Told,
    pub(super) verified: bool,
    /// Whether the connection may carry another request.
    pub(super) reusable: bool,
}

impl Ending {
    /// An ending without an answer; its connection is of no more use.
    pub(super) fn bad(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), told: Told::default(), verified: false, reusable: false }
    }
}

impl Flight {
    /// A request that is about to be sent.
    pub(super) fn new(due: Due) -> Self {
        Self {
            due,
            sent: None,
            connect_ns: None,
            bytes_out: 0,
            bytes_in: 0,
            first_byte: None,
            first_token: None,
            last_token: None,
            longest_gap: None,
            events: 0,
            generated: 0,
            status: 0,
            overhead_us: None,
            answer: None,
            head: Vec::new(),
            asked: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// What is asked.
    pub(super) fn ask(&self) -> &Ask {
        &self.due.ask
    }

    /// Whether the answer shall be compared, and the simulator's answer is known: it is for OpenAI's dialect.
    pub(super) fn is_verifiable(&self, plan: &Plan) -> bool {
        plan.verify && self.due.ask.dialect == Dialect::OpenAi
    }

    /// Takes bytes that came at `now`; returns how it ended, if it has.
    pub(super) fn take(&mut self, input: &[u8], now: u64, plan: &Plan, observer: &mut impl Observer) -> Option<Ending> {
        self.first_byte.get_or_insert(now);
        self.bytes_in += input.len() as u64;
        match self.push(input, now, plan, observer) {
            Ok(Some(extra)) => {
                let mut ending = self.finish(now, plan);
                ending.reusable &= !extra;
                Some(ending)
            }
            Ok(None) => None,
            Err(Malformed(what)) => Some(Ending::bad(Outcome::Malformed, format!("not HTTP/1.1: {what}"))),
        }
    }

    /// Returns whether bytes are left behind the answer's end, once it is there.
    fn push(
        &mut self,
        input: &[u8],
        now: u64,
        plan: &Plan,
        observer: &mut impl Observer,
    ) -> Result<Option<bool>, Malformed> {
        if self.answer.is_some() {
            return self.content(input, now, plan, observer);
        }
        if self.head.is_empty() {
            let Some(used) = self.begin(input)? else {
                self.head.extend_from_slice(input);
                return Ok(None);
            };
            return self.content(&input[used..], now, plan, observer);
        }
        let mut known = std::mem::take(&mut self.head);
        known.extend_from_slice(input);
        match self.begin(&known)? {
            Some(used) => self.content(&known[used..], now, plan, observer),
            None => {
                self.head = known;
                Ok(None)
            }
        }
    }

    /// Reads the head if it is whole.
    fn begin(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some((head, used)) = Head::parse(input)? else { return Ok(None) };
        self.status = head.status;
        self.overhead_us = head.overhead_us;
        let keep_text = self.due.ask.session.is_some();
        let reading = Reading::new(&self.due.ask, head.status, &head.media_type, keep_text);
        self.answer = Some(Answer { body: Body::new(head.framing), reading, close: head.close });
        Ok(Some(used))
    }

    fn content(
        &mut self,
        input: &[u8],
        now: u64,
        plan: &Plan,
        observer: &mut impl Observer,
    ) -> Result<Option<bool>, Malformed> {
        let keep = self.is_verifiable(plan);
        let Some(Answer { body, reading, .. }) = &mut self.answer else { return Ok(None) };
        let (answered, mut seen) = (&mut self.answered, Seen::default());
        let used = body.push(input, |bytes| {
            let more = reading.push(bytes);
            seen.events += more.events;
            seen.generated += more.generated;
            if keep {
                answered.extend_from_slice(bytes);
            }
        })?;
        let ended = body.is_ended();
        self.mark(seen, now, observer);
        Ok(ended.then_some(used < input.len()))
    }

    /// Stamps what came in one read: its events have the same instant, and no time between them.
    fn mark(&mut self, seen: Seen, now: u64, observer: &mut impl Observer) {
        self.events += seen.events;
        self.generated += seen.generated;
        if seen.generated == 0 {
            return;
        }
        match self.last_token {
            None => self.first_token = Some(now),
            Some(before) => {
                let gap = now.saturating_sub(before);
                self.longest_gap = self.longest_gap.max(Some(gap));
                observer.gap(self.due.counts, gap);
            }
        }
        for _ in 1..seen.generated {
            self.longest_gap = self.longest_gap.max(Some(0));
            observer.gap(self.due.counts, 0);
        }
        self.last_token = Some(now);
    }

    /// The connection has ended, in good order or not; returns how that ends the request.
    pub(super) fn cut(&mut self, reason: Option<&io::Error>, now: u64, plan: &Plan) -> Ending {
        let how = reason.map_or_else(|| "closed".to_owned(), |reason| format!("broken: {reason}"));
        match &self.answer {
            _ if self.first_byte.is_none() => {
                Ending::bad(Outcome::Closed, format!("the connection was {how} before an answer began"))
            }
            Some(answer) if answer.body.may_close() && reason.is_none() => {
                let mut ending = self.finish(now, plan);
                ending.reusable = false;
                ending
            }
            // A server that breaks a stream says why first, and then does not care for a proper end.
            Some(answer) if matches!(answer.reading.flaw(), Some(Flaw::StreamError(_))) => {
                let mut ending = self.finish(now, plan);
                ending.reusable = false;
                ending
            }
            _ => Ending::bad(Outcome::Truncated, format!("the connection was {how} inside the answer")),
        }
    }

    /// The answer is whole.
    fn finish(&mut self, now: u64, plan: &Plan) -> Ending {
        let Some(Answer { body, reading, close }) = self.answer.take() else {
            return Ending::bad(Outcome::Malformed, "an answer without a head");
        };
        // A body that ends with its connection has not ended by itself.
        let reusable = !close && body.is_ended();
        let mut ending = match reading.finish() {
            Ok(told) => Ending { outcome: Outcome::Ok, reason: String::new(), told, verified: false, reusable },
            // Who breaks a stream closes its connection next, if not in the same breath: it carries no other request.
            Err(flaw) => flawed(flaw),
        };
        if self.status != 200 {
            let reason = format!("status {}: {}", self.status, ending.told.text);
            return Ending { reusable, ..Ending::bad(Outcome::of_status(self.status), reason) };
        }
        if ending.outcome != Outcome::Ok {
            return ending;
        }
        if !self.due.ask.stream {
            (self.first_token, self.last_token) = (Some(now), Some(now));
        }
        if self.is_verifiable(plan) {
            ending.verified = true;
            if let Err(difference) = self.compare(plan) {
                (ending.outcome, ending.reason) = (Outcome::Mismatch, difference);
            }
        }
        ending
    }

    fn compare(&self, plan: &Plan) -> Result<(), String> {
        Expectation::new(&self.asked, plan.verify_model.as_deref())?.check(&self.answered)
    }

    /// Everything about it, once it has ended.
    pub(super) fn done(&self, ended: u64, ending: Ending) -> Done<'_> {
        Done {
            ask: &self.due.ask,
            counts: self.due.counts,
            planned: self.due.planned,
            sent: self.sent,
            first_byte: self.first_byte,
            first_token: self.first_token,
            last_token: self.last_token,
            longest_gap: self.longest_gap,
            ended,
            outcome: ending.outcome,
            status: self.status,
            reason: ending.reason,
            events: self.events,
            generated: self.generated,
            input_tokens: ending.told.input_tokens,
            output_tokens: ending.told.output_tokens,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            connect_ns: self.connect_ns,
            overhead_us: self.overhead_us,
            verified: ending.verified,
        }
    }
}

fn flawed(flaw: Flaw) -> Ending {
    match flaw {
        Flaw::Truncated => Ending::bad(Outcome::Truncated, "the answer ended without its end mark"),
        Flaw::StreamError(said) => Ending::bad(Outcome::StreamError, format!("an error inside the stream: {said}")),
        Flaw::Malformed(what) => Ending::bad(Outcome::Malformed, format!("not its dialect: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Arrivals, Share, Source, Span};
    use std::time::Duration;

    #[derive(Default)]
    struct Gaps(Vec<u64>);

    impl Observer for Gaps {
        fn gap(&mut self, _counts: bool, nanos: u64) {
            self.0.push(nanos);
        }

        fn done(&mut self, _done: &Done<'_>) {}

        fn tick(&mut self, _since_start: Duration, _in_flight: usize) {}
    }

    fn due(stream: bool) -> Due {
        let traffic = vec![Share { stream, ..Share::default() }];
        let span = Some(Span(Duration::from_secs(1)));
        let plan = Plan { traffic, arrivals: Arrivals::Constant { rate: 1.0 }, duration: span, ..Plan::default() };
        let arrival = Source::new(&plan, 0, 1).expect("a plan").next_arrival().expect("an arrival");
        Due { ask: arrival.ask, planned: 0, fixed: true, counts: true }
    }

    /// Takes pieces at instants 10, 20, 30…; returns what is known of the answer, and how it ended.
    fn take(stream: bool, pieces: &[&[u8]]) -> (Flight, Option<Ending>, Vec<u64>) {
        let (mut flight, mut gaps, plan) = (Flight::new(due(stream)), Gaps::default(), Plan::default());
        let mut ended = None;
        for (number, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
            assert!(ended.is_none(), "nothing is left to take");
            ended = flight.take(piece, number as u64 * 10 + 10, &plan, &mut gaps);
        }
        (flight, ended, gaps.0)
    }

    const UNARY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 80\r\n\r\n\
        {\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":{\"completion_tokens\":1, \"x\":1}}";
    const STREAM: &str = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n\
        2c\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\r\n\
        31\r\n\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\r\n\
        3d\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";

    #[test]
    fn any_cut_of_an_answer_gives_the_same() {
        for (stream, answer) in [(false, UNARY), (true, STREAM)] {
            let answer = answer.as_bytes();
            for first in 0..answer.len() {
                for second in (first..answer.len()).step_by(7) {
                    let pieces = [&answer[..first], &answer[first..second], &answer[second..]];
                    let (flight, ending, gaps) = take(stream, &pieces);
                    let ending = ending.expect("the whole answer has come");
                    let at = format!("cut at {first} and {second}: {ending:?}");
                    assert_eq!((ending.outcome, ending.reusable), (Outcome::Ok, true), "{at}");
                    assert_eq!((flight.status, flight.bytes_in), (200, answer.len() as u64), "{at}");
                    let counted = if stream { (4, 2, 1) } else { (0, 0, 0) };
                    assert_eq!((flight.events, flight.generated, gaps.len()), counted, "{at}");
                    assert_eq!(flight.longest_gap, gaps.first().copied(), "{at}");
                    assert!(flight.first_byte <= flight.first_token && flight.first_token <= flight.last_token, "{at}");
                }
            }
        }
    }

    #[test]
    fn an_answer_cut_off_is_told_from_one_that_never_began() {
        let plan = Plan::default();
        for (stream, answer) in [(false, UNARY), (true, STREAM)] {
            for end in 0..answer.len() {
                let (mut flight, ending, _) = take(stream, &[&answer.as_bytes()[..end]]);
                assert!(ending.is_none(), "{end}");
                let expected = if end == 0 { Outcome::Closed } else { Outcome::Truncated };
                assert_eq!(flight.cut(None, 99, &plan).outcome, expected, "{end}");
            }
        }
        let close = STREAM.replace("transfer-encoding: chunked", "connection: close");
        let head = close.find("2c\r\n").expect("a body");
        let body = "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n";
        let (mut flight, ending, _) = take(true, &[&close.as_bytes()[..head], body.as_bytes()]);
        assert!(ending.is_none(), "only the end of the connection ends it");
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let ending = flight.cut(None, 99, &plan);
        assert_eq!((ending.outcome, ending.reusable), (Outcome::Ok, false));
        let (mut flight, _, _) = take(true, &[&close.as_bytes()[..head], body.as_bytes()]);
        assert_eq!(flight.cut(Some(&reset), 99, &plan).outcome, Outcome::Truncated, "a reset is no end");
    }

    #[test]
    fn an_error_inside_a_stream_outweighs_how_its_connection_ends() {
        let head = STREAM.find("2c\r\n").expect("a body");
        let error = "data: {\"error\":{\"message\":\"no room\"}}\n\n";
        let chunk = format!("{:x}\r\n{error}\r\n", error.len());
        let (mut flight, ending, _) = take(true, &[&STREAM.as_bytes()[..head], chunk.as_bytes()]);
        assert!(ending.is_none(), "the last chunk is missing");
        let ending = flight.cut(None, 99, &Plan::default());
        assert_eq!((ending.outcome, ending.reusable), (Outcome::StreamError, false));
        assert!(ending.reason.contains("no room"), "{}", ending.reason);
    }

    #[test]
    fn events_of_one_read_have_no_time_between_them() {
        let head = STREAM.find("2c\r\n").expect("a body");
        let (flight, _, gaps) = take(true, &[&STREAM.as_bytes()[..head], &STREAM.as_bytes()[head..]]);
        assert_eq!((gaps, flight.longest_gap, flight.first_token), (vec![0], Some(0), Some(20)));
    }

    #[test]
    fn bytes_behind_an_answer_end_the_connection() {
        let more = format!("{UNARY}x");
        let (_, ending, _) = take(false, &[more.as_bytes()]);
        assert!(ending.is_some_and(|ending| ending.outcome == Outcome::Ok && !ending.reusable));
        let closing = UNARY.replace("content-type: application/json", "connection: close");
        let (_, ending, _) = take(false, &[closing.as_bytes()]);
        assert!(ending.is_some_and(|ending| !ending.reusable));
    }
}

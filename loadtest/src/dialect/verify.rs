//! Whether an answer of OpenAI's dialect is what the simulator sent, byte for byte, but for what a gateway is allowed to add.
//!
//! Allowed are: the top-level `metadata` member; comments between events; and, where the client did not ask for usage in its
//! stream, the `"usage":null` members that come of a gateway asking for it on its own account.

use crate::simulator::{Answer, Body, ChatRequest};
use crate::wire::{Cutter, Endless, Event};

/// Words of a simulator's answer that nobody said otherwise about.
const DEFAULT_TOKENS: u32 = 16;

/// What the answer to one request must be.
pub struct Expectation {
    request: ChatRequest,
}

impl Expectation {
    /// Works out the answer to a request body; `model` names the model that answers if the gateway maps it to another.
    ///
    /// # Errors
    /// The simulator would refuse the request.
    pub fn new(body: &[u8], model: Option<&str>) -> Result<Self, String> {
        let mut request = Body::parse(body).and_then(|body| body.check()).map_err(|refusal| refusal.message)?;
        if let Some(model) = model {
            model.clone_into(&mut request.model);
        }
        Ok(Self { request })
    }

    /// Compares a whole body with what it must be.
    ///
    /// # Errors
    /// A sentence that shows the first difference.
    pub fn check(&self, body: &[u8]) -> Result<(), String> {
        if self.request.stream { self.check_stream(body) } else { self.check_unary(body) }
    }

    fn check_unary(&self, body: &[u8]) -> Result<(), String> {
        let mut expected = Vec::new();
        Answer::new(&self.request, DEFAULT_TOKENS).unary(&mut expected);
        same(expected.trim_ascii_end(), without_metadata(body).trim_ascii_end())
    }

    fn check_stream(&self, body: &[u8]) -> Result<(), String> {
        let mut received = Vec::new();
        let mut odd = None;
        let pushed = Cutter::default().push(body, |event| match Event::parse(event).and_then(|event| event.data) {
            Some(payload) => received.push(without_metadata(&payload)),
            None if event.starts_with(b":") => {}
            None => odd = odd.take().or_else(|| Some(format!("an event without data: {}", excerpt(event, 0)))),
        });
        if let Some(reason) = odd {
            return Err(reason);
        }
        pushed.map_err(|Endless| "an event without an end".to_owned())?;
        let asked = self.compare(&received, self.request.include_usage, false);
        if asked.is_ok() || self.request.include_usage { asked } else { self.compare(&received, true, true).or(asked) }
    }

    /// Compares events with the answer, with its usage or without; `dropped` leaves the usage event itself out.
    fn compare(&self, received: &[Vec<u8>], usage: bool, dropped: bool) -> Result<(), String> {
        let answer = Answer::new(&self.request, DEFAULT_TOKENS).with_usage(usage);
        let usage_event = answer.events() - 2;
        let indexes: Vec<u32> = (0..answer.events()).filter(|index| !(dropped && *index == usage_event)).collect();
        for (position, index) in indexes.iter().enumerate() {
            let mut expected = Vec::new();
            answer.event(*index, &mut expected);
            let expected = Event::parse(&expected).and_then(|event| event.data).unwrap_or_default().into_owned();
            let got = received.get(position).ok_or_else(|| format!("event {position} is missing"))?;
            same(&expected, got).map_err(|difference| format!("event {position}: {difference}"))?;
        }
        if received.len() > indexes.len() {
            return Err(format!("{} events more than expected", received.len() - indexes.len()));
        }
        Ok(())
    }
}

fn same(expected: &[u8], got: &[u8]) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    let at = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    Err(format!("differs at byte {at}: expected {}, got {}", excerpt(expected, at), excerpt(got, at)))
}

fn excerpt(bytes: &[u8], at: usize) -> String {
    let start = at.saturating_sub(20).min(bytes.len());
    format!("{:?}", String::from_utf8_lossy(&bytes[start..bytes.len().min(at + 60)]))
}

/// A JSON object's text without its top-level `metadata` member; anything else comes back as it is.
pub fn without_metadata(text: &[u8]) -> Vec<u8> {
    let Some(open) = text.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| text[*at] == b'{') else {
        return text.to_vec();
    };
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    let mut start = open + 1;
    for (at, byte) in text.iter().enumerate().skip(open) {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' => {
                if depth == 1 && text[start..at].trim_ascii_start().starts_with(b"\"metadata\"") {
                    return cut_member(text, open, start, at);
                }
                match byte {
                    b',' if depth == 1 => start = at + 1,
                    b',' => {}
                    _ => depth = depth.saturating_sub(1),
                }
            }
            _ => {}
        }
    }
    text.to_vec()
}

/// Removes the member between two marks, with the comma before it, or the one after it where it came first.
fn cut_member(text: &[u8], open: usize, start: usize, end: usize) -> Vec<u8> {
    let first = start == open + 1;
    let (from, to) = match (first, text[end]) {
        (true, b',') => (start, end + 1),
        (true, _) => (start, end),
        (false, _) => (start - 1, end),
    };
    [&text[..from], &text[to..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_cut_out_and_nothing_else() {
        let table: [(&str, &str); 7] = [
            (r#"{"a":1,"metadata":{"x":[1,"}"]}}"#, r#"{"a":1}"#),
            (r#"{"metadata":{},"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"metadata":null,"b":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"metadata":{}}"#, "{}"),
            (r#"{"a":{"metadata":1},"b":["\"metadata\":1,"]}"#, r#"{"a":{"metadata":1},"b":["\"metadata\":1,"]}"#),
            ("[DONE]", "[DONE]"),
            (r#"{"a":"\\","metadata":2}"#, r#"{"a":"\\"}"#),
        ];
        for (text, expected) in table {
            assert_eq!(String::from_utf8_lossy(&without_metadata(text.as_bytes())), expected, "{text}");
        }
    }

    fn stream(request: &str, usage: bool) -> (Expectation, Vec<String>) {
        let expectation = Expectation::new(request.as_bytes(), None).expect("a good request");
        let answer = Answer::new(&expectation.request, DEFAULT_TOKENS).with_usage(usage);
        let event = |index| {
            let mut out = Vec::new();
            answer.event(index, &mut out);
            String::from_utf8(out).expect("events are text")
        };
        let events = (0..answer.events()).map(event).collect();
        (expectation, events)
    }

    #[test]
    fn streams_may_gain_what_is_allowed_and_nothing_else() {
        let request = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}"#;
        let (expectation, events) = stream(request, false);
        expectation.check(events.concat().as_bytes()).expect("as sent");
        let last = events.len() - 2;
        let mut with_metadata = events.clone();
        with_metadata[last] = events[last].replace("]}\n\n", "],\"metadata\":{\"a\":1}}\n\n");
        assert_ne!(with_metadata[last], events[last]);
        expectation.check(with_metadata.concat().as_bytes()).expect("metadata is allowed");
        let (_, mut injected) = stream(request, true);
        assert!(expectation.check(injected.concat().as_bytes()).is_err(), "nobody asked for the usage event");
        injected.remove(injected.len() - 2);
        expectation.check(injected.concat().as_bytes()).expect("null usage is allowed");
        for at in 0..events.len() {
            let mut missing = events.clone();
            missing.remove(at);
            assert!(expectation.check(missing.concat().as_bytes()).is_err(), "event {at} was missing");
            let mut twice = events.clone();
            twice.insert(at, events[at].clone());
            assert!(expectation.check(twice.concat().as_bytes()).is_err(), "event {at} came twice");
        }
    }
}

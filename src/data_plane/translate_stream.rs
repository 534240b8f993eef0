//! A stream said again in the client's dialect: provider's bytes in, deltas between, client's events out.

use super::continuation::{Continuation, Kept};
use super::stream::{Progress, StreamFacts, WriteMetadata};
use crate::chat::delta::Delta;
use crate::chat::shown::Shown;
use crate::dialects::{StreamReader, StreamWriter};
use crate::domain::token::Usage;

/// What stands around the inside of the `metadata` member.
const OPEN: &[u8] = b"\"metadata\":{";

/// One stream being translated.
pub struct TranslateRelay {
    reader: Box<dyn StreamReader>,
    writer: Box<dyn StreamWriter>,
    /// Whether the client's dialect shows the gateway's `metadata`.
    metadata: bool,
    facts: StreamFacts,
    /// The provider's words, if it failed inside the stream.
    error: Option<Vec<u8>>,
    finished: bool,
    /// What is kept of it in case that it breaks off.
    kept: Option<Kept>,
    /// What earlier providers of the same stream used.
    past: Usage,
}

impl TranslateRelay {
    /// A translation at the start of a stream.
    pub fn new(reader: Box<dyn StreamReader>, writer: Box<dyn StreamWriter>, metadata: bool) -> Self {
        let (facts, past) = (StreamFacts::default(), Usage::default());
        Self { reader, writer, metadata, facts, error: None, finished: false, kept: None, past }
    }

    /// The same, and what it says is kept.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { kept: Some(Kept::nothing()), ..self }
    }

    /// A translation that goes on in a client's stream; `past` is what was used for it so far.
    pub fn resumed(reader: Box<dyn StreamReader>, from: Continuation, metadata: bool, past: Usage) -> Self {
        let Continuation { writer, kept } = from;
        Self { kept: Some(kept.resumed()), past, ..Self::new(reader, writer, metadata) }
    }

    /// Whether another provider could go on from here.
    pub fn can_go_on(&self) -> bool {
        !self.finished && self.kept.as_ref().is_some_and(Kept::can_go_on)
    }

    /// What another provider goes on from.
    pub fn interrupt(self) -> Option<Continuation> {
        Some(Continuation { writer: self.writer, kept: self.kept? })
    }

    /// What is known so far.
    pub fn facts(&self) -> &StreamFacts {
        &self.facts
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        match (&self.error, self.reader.is_complete()) {
            (Some(_), _) => Progress::Failed,
            (None, true) => Progress::Done,
            (None, false) => Progress::Open,
        }
    }

    /// The provider's words, if it failed inside the stream.
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }

    /// Takes what one upstream read brought and appends what it says in the client's dialect.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { reader, writer, facts, error, kept, .. } = self;
        if error.is_some() {
            return;
        }
        reader.push(bytes, &mut |delta| {
            let delta = match kept {
                Some(kept) => kept.admit(delta),
                None => Some(delta),
            };
            let Some(delta) = delta else { return };
            match &delta {
                Delta::Usage(usage) => facts.note(Some(*usage), 0, false),
                Delta::Error { body } if error.is_none() => *error = Some(body.to_vec()),
                _ => {}
            }
            if error.is_none() {
                facts.note(None, delta.content_bytes(), delta.is_content());
                writer.write(&delta, out);
            }
        });
    }

    /// Ends a stream that came to its proper end.
    pub fn finish(&mut self, out: &mut Vec<u8>, metadata: WriteMetadata<'_>) {
        // A stream that failed has an end of its own, which is still to be written.
        if self.error.is_some() || std::mem::replace(&mut self.finished, true) {
            return;
        }
        let mut member = Vec::new();
        if self.metadata {
            metadata(&self.facts, &mut member);
        }
        let inside = member.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(b"}"));
        let usage = self.facts.usage.map(|last| self.past.plus(&last));
        self.writer.finish(usage.as_ref(), inside, out);
    }

    /// Ends a stream that broke off, in the form that the client's SDK raises on.
    pub fn fail(&mut self, fault: &Shown<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.writer.fail(fault, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::{Setting, Wire};

    /// A relay from a Chat provider to a client of Messages.
    fn relay() -> TranslateRelay {
        let setting = Setting { id: "1", model: "m", created: 0, usage_event: false, request: b"{}" };
        let side = Wire::Messages.client_side().expect("clients speak it");
        let reader = (Wire::Chat.provider_side().stream_reader)();
        TranslateRelay::new(reader, (side.stream_writer)(&setting), false)
    }

    #[test]
    fn a_failure_in_the_last_read_is_told_although_the_body_ended_well() {
        let mut relay = relay();
        let mut out = Vec::new();
        let told = br#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
        relay.feed(&[told, &b"\n\ndata: {\"error\":{\"message\":\"out of order\"}}\n\n"[..]].concat(), &mut out);
        assert_eq!(relay.progress(), Progress::Failed);
        relay.finish(&mut out, &mut |_, _| {});
        let fault = Shown { status: 502, code: "c", kind: "server_error", message: "m", param: None, request_id: "r" };
        relay.fail(&fault, &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("event: error\n") && !text.contains("message_stop"), "{text}");
        let length = out.len();
        relay.fail(&fault, &mut out);
        assert_eq!(out.len(), length, "once");
    }
}

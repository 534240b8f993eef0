//! Reading ahead: an answer is taken so far that it is known whether it is one, before the client has had a byte of it.
//!
//! For attempts that run beside each other. Of a stream everything up to its first content is read, of any other answer the whole body; both
//! bounded. What was read lies in [`Facts::early`](super::attempt::Facts::early), and the relays hand it out first, so that nothing is read twice or lost. The client is not
//! looked at here: whoever polls this polls the client beside it.

use super::attempt::{Answer, Content, Failure};
use super::relay::{self, More, Passage};
use super::stream::StreamFacts;
use crate::chat::delta::Delta;
use crate::chat::fault::{self, FaultClass, UpstreamFault};
use crate::dialects::{StreamReader, Wire};
use crate::domain::clock::UnixMillis;
use crate::limits;
use std::time::{Duration, Instant};

/// How long reading ahead may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Silence of the provider.
    pub silence: Duration,
    /// The end of the exchange.
    pub end: Instant,
}

/// What an answer has turned out to be.
#[derive(Debug)]
pub enum Showing {
    /// An answer: its first content is there, or all of it.
    Content,
    /// Its status is an error's; as much of its body as classifies it has been read.
    Refusal,
    /// An error under a success's status, in words fit to show.
    Fault(UpstreamFault),
}

/// An answer, read ahead.
pub struct Primed {
    /// The answer; what was read of it is in its `early`.
    pub answer: Answer,
    /// What it has turned out to be.
    pub showing: Showing,
    /// When that was known.
    pub at: Instant,
    /// What is known of it, for the bill of one that nobody gets.
    pub facts: StreamFacts,
}

impl Primed {
    /// Reads an answer ahead.
    ///
    /// # Errors
    /// It breaks off, or falls silent.
    pub async fn of(mut answer: Answer, passage: &Passage<'_>, patience: Patience) -> Result<Self, Failure> {
        let mut facts = StreamFacts::default();
        let showing = if !(200..300).contains(&answer.status) {
            // The status alone will have to do where the body does not come.
            let _ = read_whole(&mut answer, limits::ERROR_BODY_BYTES_MAX, patience).await;
            Showing::Refusal
        } else {
            match answer.content {
                Content::Json => {
                    let showing = unary(&mut answer, passage, patience).await?;
                    facts = unary_facts(&answer, passage);
                    showing
                }
                Content::Events | Content::Frames if is_own_form(&answer, passage) => {
                    stream(&mut answer, passage, patience, &mut facts).await?
                }
                // Nobody here can read it, so its head is all that is to be known.
                Content::Events | Content::Frames | Content::Opaque => Showing::Content,
            }
        };
        Ok(Self { answer, showing, at: Instant::now(), facts })
    }

    /// Whether it is an answer that a client could have.
    pub fn is_content(&self) -> bool {
        matches!(self.showing, Showing::Content)
    }
}

/// Whether a stream is framed as its format has it.
fn is_own_form(answer: &Answer, passage: &Passage<'_>) -> bool {
    let framed = if passage.draft.wire == Wire::Converse { Content::Frames } else { Content::Events };
    answer.content == framed
}

/// Moves what has arrived behind what was read before; where the new part begins.
fn take(answer: &mut Answer) -> Result<(More, usize), Failure> {
    let mut early = std::mem::take(&mut answer.early);
    let before = early.len();
    let more = relay::take_available(answer, |piece| early.extend(piece));
    answer.early = early;
    Ok((more?, before))
}

/// The next moment at which silence is too long.
fn silent_until(patience: Patience) -> Instant {
    (Instant::now() + patience.silence).min(patience.end)
}

async fn read_whole(answer: &mut Answer, max: usize, patience: Patience) -> Result<(), Failure> {
    while take(answer)?.0 == More::Wanted && answer.early.len() <= max {
        relay::fill(answer, silent_until(patience)).await?;
    }
    Ok(())
}

async fn unary(answer: &mut Answer, passage: &Passage<'_>, patience: Patience) -> Result<Showing, Failure> {
    if answer.remaining().is_some_and(|length| length > limits::UNARY_BUFFER_BYTES_MAX as u64) {
        return Ok(Showing::Content);
    }
    read_whole(answer, limits::UNARY_BUFFER_BYTES_MAX, patience).await?;
    let book = &passage.provider.spec.faults;
    let fault = fault::classify_success(book, &|_| None, answer.early.bytes(), UnixMillis::now());
    Ok(fault.map_or(Showing::Content, |mut fault| {
        passage.scrub(&mut fault);
        Showing::Fault(fault)
    }))
}

/// What a whole answer says it used; its length where it says nothing.
fn unary_facts(answer: &Answer, passage: &Passage<'_>) -> StreamFacts {
    match super::unary::usage_of(passage, answer.early.bytes()).filter(|_| answer.body.is_end()) {
        Some(usage) => StreamFacts::stated(Some(usage)),
        None => StreamFacts { content_bytes: answer.early.len(), ..StreamFacts::default() },
    }
}

async fn stream(
    answer: &mut Answer,
    passage: &Passage<'_>,
    patience: Patience,
    facts: &mut StreamFacts,
) -> Result<Showing, Failure> {
    let mut probe = Probe::new(passage.draft.wire);
    loop {
        let (more, before) = take(answer)?;
        probe.look(&answer.early.bytes()[before..]);
        *facts = probe.facts;
        if let Some(body) = &probe.error {
            let book = &passage.provider.spec.faults;
            let mut fault = fault::classify(book, 200, &|_| None, body, UnixMillis::now());
            passage.scrub(&mut fault);
            if fault.class == FaultClass::Unknown {
                fault.class = FaultClass::ServerError;
            }
            return Ok(Showing::Fault(fault));
        }
        if probe.facts.content_seen || answer.early.len() > limits::HELD_STREAM_BYTES_MAX {
            return Ok(Showing::Content);
        }
        match more {
            More::Wanted => relay::fill(answer, silent_until(patience)).await?,
            More::Ended if probe.reader.is_complete() => return Ok(Showing::Content),
            More::Ended => return Err(Failure::Broken),
        }
    }
}

/// Reads the beginning of a stream for what it is.
struct Probe {
    reader: Box<dyn StreamReader>,
    facts: StreamFacts,
    /// The provider's words, if it failed before its first content.
    error: Option<Vec<u8>>,
}

impl Probe {
    fn new(wire: Wire) -> Self {
        Self { reader: (wire.provider_side().stream_reader)(), facts: StreamFacts::default(), error: None }
    }

    fn look(&mut self, bytes: &[u8]) {
        let Self { reader, facts, error } = self;
        reader.push(bytes, &mut |delta| match &delta {
            Delta::Error { body } if !facts.content_seen && error.is_none() => *error = Some(body.to_vec()),
            Delta::Usage(usage) => facts.note(Some(*usage), 0, false),
            _ => facts.note(None, delta.content_bytes(), delta.is_content()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: &[u8] =
        b"data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    const WORD: &[u8] = b"data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    const ERROR: &[u8] = b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n";

    fn looked(pieces: &[&[u8]]) -> (bool, bool) {
        let mut probe = Probe::new(Wire::Chat);
        pieces.iter().for_each(|piece| probe.look(piece));
        (probe.facts.content_seen, probe.error.is_some())
    }

    #[test]
    fn a_stream_shows_itself_with_its_first_word_or_its_error() {
        assert_eq!(looked(&[BEGUN]), (false, false), "a role is no word");
        assert_eq!(looked(&[BEGUN, WORD]), (true, false));
        assert_eq!(looked(&[BEGUN, ERROR]), (false, true));
        assert_eq!(looked(&[WORD, ERROR]), (true, false), "after the first word it is the client's");
        let (one, other) = WORD.split_at(20);
        assert_eq!(looked(&[one]), (false, false));
        assert_eq!(looked(&[one, other]), (true, false));
    }
}

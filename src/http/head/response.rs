//! Response heads from providers (RFC 9112 §4, rules H12 and H16): as strict as for clients, and every fault is a 502.

use super::field::MessageFacts;
use super::{Field, Fields, HeadFault, HeadLimits, HeadReader, KnownField, KnownSet, Look};
use super::{Method, Progress, Side, Span, Stage, Version};
use crate::http::syntax::is_field_text;
use std::ops::Range;

/// How the body of a response is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body, whatever the fields say.
    None,
    /// This many bytes.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// All bytes until the provider closes; the connection cannot be used again.
    UntilClose,
}

/// Fields that say how the body ends and whether the connection goes on.
const FRAMING: KnownSet =
    KnownSet::of(&[KnownField::Connection, KnownField::ContentLength, KnownField::TransferEncoding]);

#[derive(Debug, Clone, Copy, Default)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
}

/// A response head: parsed as it arrives, reusable for the next one. Answers hold after [`Progress::Complete`].
#[derive(Debug, Default)]
pub struct ResponseHead {
    reader: HeadReader,
    line: StatusLine,
    facts: MessageFacts,
    /// Whether the request asked to switch protocols: only then may a 101 come.
    may_switch: bool,
}

impl ResponseHead {
    /// Says whether the request that is answered asked to switch protocols (rule H12).
    pub fn expect_switch(&mut self, asked: bool) {
        self.may_switch = asked;
    }

    /// Takes what has arrived so far; same contract as [`super::RequestHead::parse`].
    ///
    /// # Errors
    /// A [`HeadFault`]; the answer to the client is 502 and the connection is not used again.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Progress, HeadFault> {
        self.reader.begin();
        let outcome = self.advance(bytes, limits);
        match outcome {
            Ok(Progress::Partial) => return outcome,
            Ok(Progress::Complete { .. }) => {}
            Err(_) => self.reader.forget(),
        }
        self.reader.stage = Stage::Done;
        outcome
    }

    /// Forgets a head that was begun and will not be finished.
    pub fn reset(&mut self) {
        self.reader.reset();
    }

    /// The status code, 100 to 599.
    pub fn status(&self) -> u16 {
        self.line.status
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The reason phrase; may be empty, may be no UTF-8, means nothing (RFC 9112 §4).
    pub fn reason<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.line.reason.of(bytes)
    }

    /// Whether this is an interim response, with the final one to follow on the same connection (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        self.line.status < 200 && self.line.status != 101
    }

    /// How the body is delimited, given the method of the request that it answers.
    pub fn framing(&self, method: Method) -> ResponseFraming {
        match self.facts {
            _ if method == Method::Head || self.is_bodiless() => ResponseFraming::None,
            MessageFacts { chunked: true, .. } => ResponseFraming::Chunked,
            MessageFacts { length: Some(length), .. } => ResponseFraming::Length(length),
            _ => ResponseFraming::UntilClose,
        }
    }

    /// Whether the connection may carry another exchange once the body framed by `method` has been read (RFC 9112 §9.3).
    pub fn persist(&self, method: Method) -> bool {
        // A 204 that announces a body is broken: whether bytes follow is anyone's guess, so nobody reads on.
        let announces_body = self.facts.chunked || self.facts.length.is_some_and(|length| length > 0);
        let contradicts = self.line.status == 204 && announces_body;
        self.facts.persist && !contradicts && self.framing(method) != ResponseFraming::UntilClose
    }

    /// The fields in the order they came, without those dropped for an underscore in their name.
    pub fn fields<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        self.reader.table.iter(bytes)
    }

    /// The fields of these meanings, in the order they came.
    pub fn fields_among<'a>(&'a self, bytes: &'a [u8], wanted: KnownSet) -> impl Iterator<Item = Field<'a>> {
        self.reader.table.among(bytes, wanted)
    }

    /// The first value of a field.
    pub fn find<'a>(&'a self, bytes: &'a [u8], known: KnownField) -> Option<&'a [u8]> {
        self.reader.table.values(bytes, known).next()
    }

    fn is_bodiless(&self) -> bool {
        matches!(self.line.status, 100..=199 | 204 | 304)
    }

    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Progress, HeadFault> {
        match self.reader.look(bytes, limits) {
            Look::Same(consumed) => return Ok(Progress::Complete { consumed }),
            Look::Alike { length, changed } => {
                if changed.meets(FRAMING) {
                    self.facts = self.reader.table.message(bytes, self.line.version)?;
                }
                return Ok(Progress::Complete { consumed: length });
            }
            Look::Plain { length, line_end } => {
                self.line = StatusLine::parse(bytes, 0..line_end, self.may_switch)?;
                self.facts = self.reader.table.message(bytes, self.line.version)?;
                // What comes before an answer, or in place of one, is judged anew each time.
                if self.line.status >= 200 {
                    self.reader.keep(bytes.get(..length));
                }
                return Ok(Progress::Complete { consumed: length });
            }
            Look::Unknown => {}
        }
        let (line, may_switch) = (&mut self.line, self.may_switch);
        let start_line = |range: Range<usize>| StatusLine::parse(bytes, range, may_switch).map(|parsed| *line = parsed);
        let Some(consumed) = self.reader.advance(bytes, limits, Side::Provider, start_line)? else {
            return Ok(Progress::Partial);
        };
        self.facts = self.reader.table.message(bytes, self.line.version)?;
        Ok(Progress::Complete { consumed })
    }
}

impl StatusLine {
    /// `HTTP-version SP 3DIGIT [SP reason]`. The last space is required by RFC 9112 §4, but front ends that leave it out with
    /// an empty reason are common and nothing can be misread, so we do not insist.
    fn parse(bytes: &[u8], range: Range<usize>, may_switch: bool) -> Result<Self, HeadFault> {
        let text = bytes.get(range.clone()).unwrap_or_default();
        if !is_field_text(text) {
            return Err(HeadFault::ControlByte);
        }
        let (version, rest) = text.split_at_checked(8).ok_or(HeadFault::StatusLine)?;
        let version = Version::of(version).ok_or(HeadFault::Version)?;
        let [b' ', hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..] = rest else {
            return Err(HeadFault::StatusLine);
        };
        if !matches!(reason, [] | [b' ', ..]) {
            return Err(HeadFault::StatusLine);
        }
        let status = [hundreds, tens, ones]
            .into_iter()
            .fold(0_u16, |sum, digit| sum.saturating_mul(10).saturating_add(u16::from(digit.wrapping_sub(b'0'))));
        if status == 101 && !may_switch {
            return Err(HeadFault::SwitchedProtocols);
        }
        let reason_start = range.end.saturating_sub(reason.len().saturating_sub(1));
        Ok(Self { version, status, reason: Span::new(reason_start, range.end) })
    }
}

//! Request heads from clients (RFC 9112 §3, rules H2 to H7, H9, H13, H21).

use super::field::MessageFacts;
use super::target::{Target, is_authority};
use super::{Field, Fields, HeadFault, HeadLimits, HeadReader, KnownField, KnownSet, Look};
use super::{Presented, Progress, Side, Span, Stage, Version};
use crate::http::syntax::{is_field_text, is_token};
use std::ops::Range;

/// The methods that routes here may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
}

impl Method {
    /// The method as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Reads a method; names have case (RFC 9110 §9.1).
    fn parse(text: &[u8]) -> Result<Self, HeadFault> {
        match text {
            b"GET" => Ok(Self::Get),
            b"HEAD" => Ok(Self::Head),
            b"POST" => Ok(Self::Post),
            b"PUT" => Ok(Self::Put),
            b"PATCH" => Ok(Self::Patch),
            b"DELETE" => Ok(Self::Delete),
            b"OPTIONS" => Ok(Self::Options),
            b"CONNECT" | b"TRACE" => Err(HeadFault::MethodNotAllowed),
            _ => Err(HeadFault::MethodUnknown),
        }
    }
}

/// How the body of a request is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestFraming {
    /// No body.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
}

/// Fields that are read together once a head is whole, beside its length.
const CONCLUDED: KnownSet =
    KnownSet::of(&[KnownField::Host, KnownField::Connection, KnownField::TransferEncoding, KnownField::Expect]);

#[derive(Debug, Clone, Copy, Default)]
struct RequestLine {
    method: Method,
    target: Target,
    version: Version,
}

/// A request head: parsed as it arrives, reusable for the next one. Answers hold after [`Progress::Complete`].
#[derive(Debug, Default)]
pub struct RequestHead {
    pub(super) reader: HeadReader,
    line: RequestLine,
    facts: MessageFacts,
    host: Option<Span>,
    expects_continue: bool,
}

impl RequestHead {
    /// Takes what has arrived so far. `bytes` starts at the same place each time and only grows until the head is whole;
    /// the call after a complete head or a fault begins a new one.
    ///
    /// # Errors
    /// A [`HeadFault`] as soon as the bytes cannot become a head that we accept, even before it is whole.
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

    /// Whether bytes of an unfinished head have been seen (empty lines before it do not count).
    pub fn is_begun(&self) -> bool {
        self.reader.stage == Stage::Fields
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.line.method
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The path as sent, percent-encoding included; `*` for a server-wide OPTIONS.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a str {
        match (self.line.target.path, self.line.method) {
            (Some(path), _) => path.text(bytes),
            // RFC 9112 §3.2.4: an absolute target without path means the server as a whole.
            (None, Method::Options) => "*",
            (None, _) => "/",
        }
    }

    /// What follows the question mark, if there is one.
    pub fn query<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        self.line.target.query.map(|query| query.text(bytes))
    }

    /// Host and port: those of an absolute target, else the `Host` field (rule H9). Only HTTP/1.0 may have none.
    pub fn authority<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        self.line.target.authority.or(self.host).map(|authority| authority.text(bytes))
    }

    /// How the body is delimited.
    pub fn framing(&self) -> RequestFraming {
        match self.facts {
            MessageFacts { chunked: true, .. } => RequestFraming::Chunked,
            MessageFacts { length: Some(length), .. } => RequestFraming::Length(length),
            _ => RequestFraming::None,
        }
    }

    /// Whether the client lets the connection live on after this exchange (RFC 9112 §9.3).
    pub fn persist(&self) -> bool {
        self.facts.persist
    }

    /// Whether the client waits for `100 Continue` before its body (rule H13). Not on HTTP/1.0 and not without a body.
    pub fn expect_continue(&self) -> bool {
        let has_body = !matches!(self.framing(), RequestFraming::None | RequestFraming::Length(0));
        self.expects_continue && has_body && self.line.version == Version::Http11
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

    /// What the client shows to authenticate itself (rule H21).
    pub fn credentials<'a>(&'a self, bytes: &'a [u8]) -> Presented<'a> {
        Presented::read(&self.reader.table, bytes, self.line.target.query.map(|query| query.of(bytes)))
    }

    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Progress, HeadFault> {
        match self.reader.look(bytes, limits) {
            Look::Same(consumed) => return Ok(Progress::Complete { consumed }),
            Look::Alike { length, changed } if changed.meets(CONCLUDED) => return self.conclude(bytes, length),
            Look::Alike { length, changed } => {
                // What the other fields say together stands; they may stand elsewhere.
                if changed.has(KnownField::ContentLength) {
                    self.facts.length = self.reader.table.content_length(bytes)?;
                }
                self.host = self.reader.table.spans_of(KnownField::Host).next();
                return self.check_asterisk(bytes).map(|()| Progress::Complete { consumed: length });
            }
            Look::Plain { length, line_end } => {
                self.line = RequestLine::parse(bytes, 0..line_end)?;
                let progress = self.conclude(bytes, length)?;
                self.reader.keep(bytes.get(..length));
                return Ok(progress);
            }
            Look::Unknown => {}
        }
        let line = &mut self.line;
        let start_line = |range: Range<usize>| RequestLine::parse(bytes, range).map(|parsed| *line = parsed);
        let Some(consumed) = self.reader.advance(bytes, limits, Side::Client, start_line)? else {
            return Ok(Progress::Partial);
        };
        self.conclude(bytes, consumed)
    }

    /// What the fields of a whole head say together.
    fn conclude(&mut self, bytes: &[u8], consumed: usize) -> Result<Progress, HeadFault> {
        self.facts = self.reader.table.message(bytes, self.line.version)?;
        self.host = self.host(bytes)?;
        self.expects_continue = self.expectation(bytes)?;
        self.check_asterisk(bytes).map(|()| Progress::Complete { consumed })
    }

    /// A question about the server as a whole has no body.
    fn check_asterisk(&self, bytes: &[u8]) -> Result<(), HeadFault> {
        let is_asterisk = self.line.method == Method::Options && self.path(bytes) == "*";
        let has_body = !matches!(self.framing(), RequestFraming::None | RequestFraming::Length(0));
        if is_asterisk && has_body { Err(HeadFault::AsteriskBody) } else { Ok(()) }
    }

    /// Exactly one valid `Host` on HTTP/1.1, at most one before (RFC 9112 §3.2).
    fn host(&self, bytes: &[u8]) -> Result<Option<Span>, HeadFault> {
        let mut hosts = self.reader.table.spans_of(KnownField::Host);
        match (hosts.next(), hosts.next()) {
            (None, _) if self.line.version == Version::Http10 => Ok(None),
            (Some(host), None) if is_authority(host.of(bytes)) => Ok(Some(host)),
            _ => Err(HeadFault::Host),
        }
    }

    /// RFC 9110 §10.1.1: `100-continue` is the only expectation there is.
    fn expectation(&self, bytes: &[u8]) -> Result<bool, HeadFault> {
        let mut expected = false;
        for value in self.reader.table.values(bytes, KnownField::Expect) {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HeadFault::Expectation);
            }
            expected = true;
        }
        Ok(expected)
    }
}

impl RequestLine {
    /// `method SP request-target SP HTTP-version`, one space each (RFC 9112 §3).
    fn parse(bytes: &[u8], range: Range<usize>) -> Result<Self, HeadFault> {
        let text = bytes.get(range.clone()).unwrap_or_default();
        if let [b'P', b'O', b'S', b'T', b' ', target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] = text
            && let Some(target) = Target::plain(target, range.start.saturating_add("POST ".len()))
        {
            return Ok(Self { method: Method::Post, target, version: Version::Http11 });
        }
        if !is_field_text(text) || text.contains(&b'\t') {
            return Err(HeadFault::ControlByte);
        }
        let mut parts = text.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HeadFault::RequestLine);
        };
        if !is_token(method) || target.is_empty() || version.is_empty() {
            return Err(HeadFault::RequestLine);
        }
        let target_start = range.start.saturating_add(method.len()).saturating_add(1);
        let version = Version::of(version).ok_or(HeadFault::Version)?;
        let method = Method::parse(method)?;
        Ok(Self { method, target: Target::parse(target, target_start, method)?, version })
    }
}

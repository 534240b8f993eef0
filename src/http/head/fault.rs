//! Why a head is refused: one variant per reason, each with the status a client gets and a sentence on what to do.
//!
//! For an upstream response the same reasons mean 502 (rule H16); the caller decides which side it is talking to.

use thiserror::Error;

/// A head that we refuse. After one, the connection closes and the rest of its input is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadFault {
    /// A line ended in LF without CR (rule H2; RFC 9112 §2.2 tolerates it, we do not).
    #[error("a line of the head ends in LF without CR")]
    BareLineFeed,
    /// NUL, CR, or another control character inside a line (rules H2 and H4).
    #[error("the head contains a control character")]
    ControlByte,
    /// More empty lines before the request line than we skip.
    #[error("too many empty lines before the request line")]
    EmptyLines,
    /// Not `method SP target SP version` (rule H3).
    #[error("the request line is malformed")]
    RequestLine,
    /// Request line above its limit.
    #[error("the request line is too long")]
    RequestLineTooLong,
    /// A method of HTTP that no route here allows: CONNECT, TRACE (rule H9).
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// A method that we do not know.
    #[error("the method is not implemented")]
    MethodUnknown,
    /// Not exactly `HTTP/1.0` or `HTTP/1.1` (rule H3).
    #[error("the HTTP version is not supported")]
    Version,
    /// Target in no accepted form, or with bytes that a URI may not hold (rule H9).
    #[error("the request target is malformed")]
    Target,
    /// Dot segments, or an encoded slash, backslash, dot or control character in the path (rule H9).
    #[error("the path is ambiguous")]
    AmbiguousPath,
    /// `OPTIONS *` with a body (rule H9).
    #[error("a server-wide OPTIONS request has a body")]
    AsteriskBody,
    /// A field line above its limit.
    #[error("a header field is too long")]
    FieldTooLong,
    /// The whole head above its limit.
    #[error("the head is too long")]
    HeadTooLong,
    /// More fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// Field name that is no token, or whitespace before the colon (rule H4).
    #[error("a header field name is malformed")]
    FieldName,
    /// A field continued on the next line (rule H4; RFC 9112 §5.2).
    #[error("a header field is folded over several lines")]
    FoldedField,
    /// No `Host` on HTTP/1.1, several, or one that is no authority (rule H9).
    #[error("the Host field is missing, repeated or malformed")]
    Host,
    /// `Content-Length` that is not digits, or above 63 bits (rule H5).
    #[error("the Content-Length is malformed")]
    ContentLength,
    /// `Content-Length` more than once, even if equal (rule H5).
    #[error("the Content-Length is repeated")]
    ContentLengthRepeated,
    /// `Transfer-Encoding` that is malformed, repeated, or sent with HTTP/1.0 (rule H6).
    #[error("the Transfer-Encoding is malformed")]
    TransferEncoding,
    /// A transfer coding other than `chunked` (rule H6).
    #[error("the transfer coding is not implemented")]
    TransferCoding,
    /// Both framings in one message (rule H7; RFC 9112 §6.3).
    #[error("the message has both Content-Length and Transfer-Encoding")]
    LengthAndChunked,
    /// `Connection` malformed, too long a list, or naming a field that must reach us (rule H7).
    #[error("the Connection field names what it may not")]
    ConnectionOption,
    /// An expectation other than `100-continue` (rule H13).
    #[error("the expectation cannot be met")]
    Expectation,
    /// Upstream only: not `version SP 3DIGIT SP reason`, or a status outside 100 to 599.
    #[error("the status line is malformed")]
    StatusLine,
    /// Upstream only: a 101 that nobody asked for (rule H12).
    #[error("the server switched protocols unasked")]
    SwitchedProtocols,
}

impl HeadFault {
    /// The status that a client gets for its own faulty request head.
    pub fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::FieldTooLong | Self::HeadTooLong | Self::TooManyFields => 431,
            Self::MethodUnknown | Self::TransferCoding | Self::AsteriskBody => 501,
            Self::StatusLine | Self::SwitchedProtocols => 502,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// One sentence for the person who sent the request.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::BareLineFeed => "End every line of the head with CR LF.",
            Self::ControlByte => "Remove control characters from the request line and the header fields.",
            Self::EmptyLines => "Start the request with its request line.",
            Self::RequestLine => "Send the request line as method, target and version with one space between.",
            Self::RequestLineTooLong => "Shorten the URL, or move its parameters into the body.",
            Self::MethodNotAllowed => "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
            Self::MethodUnknown => "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in upper case.",
            Self::Version => "Speak HTTP/1.1.",
            Self::Target => "Send a path that starts with a slash and percent-encode reserved characters.",
            Self::AmbiguousPath => "Send the path without dot segments and without encoded slashes, dots or controls.",
            Self::AsteriskBody => "Send OPTIONS * without a body.",
            Self::FieldTooLong => "Shorten the longest header field.",
            Self::HeadTooLong => "Send fewer or shorter header fields.",
            Self::TooManyFields => "Send fewer header fields.",
            Self::FieldName => "Write each header field as a name, a colon without space before it, and a value.",
            Self::FoldedField => "Put each header field on one line.",
            Self::Host => "Send exactly one Host field with the name and port you connect to.",
            Self::ContentLength => "Send the Content-Length as plain decimal digits.",
            Self::ContentLengthRepeated => "Send Content-Length once.",
            Self::TransferEncoding => "Send at most one Transfer-Encoding field, and only with HTTP/1.1.",
            Self::TransferCoding => "Use the chunked transfer coding alone, or a Content-Length.",
            Self::LengthAndChunked => "Send either Content-Length or Transfer-Encoding, not both.",
            Self::ConnectionOption => "Name only hop-by-hop fields in Connection.",
            Self::Expectation => "Send Expect: 100-continue or no Expect field.",
            Self::StatusLine => "The provider did not answer in HTTP/1.1; check its base URL.",
            Self::SwitchedProtocols => "The provider switched protocols unasked; check its base URL.",
        }
    }
}

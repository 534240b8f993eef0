//! JSON as spans: where things are in a body, not what they become.
//!
//! A gateway reads three fields of a body and forwards the rest, so nothing here builds a tree. [`scan`] validates once and
//! remembers where the wanted members lie, [`cursor`] does so in as many depths as are wanted, [`text`] reads the few scalars that matter, [`splice`] writes the body again with
//! small edits and every other byte as it was. No allocation while scanning, no recursion, nesting capped at
//! [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX), and no input makes it panic (rules H20 and O6).

pub mod cursor;
mod grammar;
mod lanes;
pub mod scan;
pub mod shape;
pub mod splice;
pub mod text;
pub mod walk;

/// A half-open range of byte offsets into the scanned text. The span of a string includes its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of this span, or nothing if it reaches beyond `bytes` (a span of another text).
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span holds no byte; no JSON value does that.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What a JSON value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any size.
    Number,
    /// A string, with or without escapes.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The whole value.
    pub value: Span,
    /// What it is.
    pub kind: Kind,
}

/// One member of an object that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, quotes included.
    pub key: Span,
    /// The whole value.
    pub value: Span,
    /// What the value is.
    pub kind: Kind,
}

/// A whole object, from its opening brace to the offset after its closing brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSpan {
    /// The braces and all between them.
    pub span: Span,
    /// Whether it has no member at all.
    pub empty: bool,
}

impl ObjectSpan {
    /// Offset of the closing brace: where another member goes.
    #[must_use]
    pub fn closing_brace(self) -> usize {
        self.span.end.saturating_sub(1)
    }
}

/// Why a text is refused. Always the sender's doing, and sending it again changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON (RFC 8259) at this byte; an offset equal to the length says the text ended too early.
    #[error("invalid JSON at byte {offset}")]
    Syntax {
        /// Bytes before the first one that cannot be.
        offset: usize,
    },
    /// Nested deeper than allowed.
    #[error("JSON nested too deeply")]
    Depth,
    /// A member that we decide on is there twice (rule H20).
    #[error("duplicate JSON key {name:?}")]
    DuplicateKey {
        /// The name as we know it.
        name: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("invalid UTF-8 in JSON at byte {offset}")]
    Utf8 {
        /// Bytes before the first one that cannot be.
        offset: usize,
    },
    /// Valid or not, it does not begin as an object.
    #[error("the JSON text is not an object")]
    NotAnObject,
}

impl JsonFault {
    /// What a person should do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "Serialise the body with a JSON library and check that it is sent whole.",
            Self::Depth => "Flatten the body: no more than 64 arrays and objects may lie inside one another.",
            Self::DuplicateKey { .. } => "Send each field once.",
            Self::Utf8 { .. } => "Encode the body as UTF-8.",
            Self::NotAnObject => "Send a JSON object, beginning with `{`.",
        }
    }
}

const _: () = assert!(crate::limits::JSON_DEPTH_MAX == 64, "the remedy for Depth names the figure");

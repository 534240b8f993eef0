//! From TOML text to values with positions: the shapes that `raw` is made of.
//!
//! A leaf is any single value as typed; a table knows its keys and refuses others with the nearest known name. Shape is checked here,
//! meaning is not. Depth is bounded before the tree exists, because the tree is built, walked and dropped recursively (rule O6).

use super::problem::{Findings, quoted, suggestion};
use crate::limits::{CONFIG_BYTES_MAX, CONFIG_KEY_DEPTH_MAX, CONFIG_RECOVERY_BYTES_MAX};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// A value and the byte offset where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Byte offset in the text.
    pub at: usize,
}

/// A single value as typed. Numbers stay text where TOML would already have rounded them.
#[derive(Clone, Debug)]
pub enum Typed {
    /// A string, unescaped.
    Text(String),
    /// A whole number of 64 bits.
    Integer(i64),
    /// A number with a fraction or exponent.
    Float(String),
    /// `true` or `false`.
    Bool(bool),
    /// A TOML date or time, in its RFC 3339 form.
    Date(String),
}

/// A leaf with its position.
pub type Leaf = At<Typed>;

/// Keys that the file chooses, such as header names, with their values.
#[derive(Default)]
pub struct Pairs(pub Vec<(At<String>, Leaf)>);

/// What can be read from a spanned TOML value.
pub trait Read: Sized {
    /// What it is called in messages, with an article.
    const NOUN: &'static str;
    /// What a person might write, after `key = `.
    const EXAMPLE: &'static str;

    /// Reads it, or notes why not. `key` is the name under which it stands.
    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self>;
}

// === Text to tree ===

/// Parses the text into a tree, or notes every syntax error (in a large file only the first).
pub(super) fn tree<'t>(text: &'t str, findings: &mut Findings) -> Option<DeTable<'t>> {
    if text.len() as u64 > CONFIG_BYTES_MAX {
        let what = format!("the file has {} bytes, above the limit of {CONFIG_BYTES_MAX}", text.len());
        findings.error(0, what, "keep tenants and access keys in the store instead");
        return None;
    }
    if let Some(at) = too_deep(text) {
        let what = format!("a key of more than {CONFIG_KEY_DEPTH_MAX} dotted parts");
        findings.error(at, what, "no setting is that deep; remove it");
        return None;
    }
    if text.len() > CONFIG_RECOVERY_BYTES_MAX {
        return DeTable::parse(text).map_err(|fault| note_syntax(&fault, findings)).ok().map(Spanned::into_inner);
    }
    let (tree, faults) = DeTable::parse_recoverable(text);
    faults.iter().for_each(|fault| note_syntax(fault, findings));
    faults.is_empty().then(|| tree.into_inner())
}

fn note_syntax(fault: &toml::de::Error, findings: &mut Findings) {
    let at = fault.span().map_or(0, |span| span.start);
    findings.error(
        at,
        format!("not valid TOML: {}", fault.message().replace('\n', " ")),
        "see https://toml.io for the syntax",
    );
}

/// Where a dotted key exceeds the depth limit. The parser bounds brackets itself, but not dots; this counts them with the same lexer.
fn too_deep(text: &str) -> Option<usize> {
    let mut dots = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Newline | TokenKind::Comma | TokenKind::Equals => dots = 0,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => dots = 0,
            _ => {}
        }
        if dots >= CONFIG_KEY_DEPTH_MAX {
            return Some(token.span().start());
        }
    }
    None
}

// === Shapes ===

impl Read for Leaf {
    const NOUN: &'static str = "a single value";
    const EXAMPLE: &'static str = "\"…\"";

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let at = value.span().start;
        let value = match value.into_inner() {
            DeValue::String(text) => Typed::Text(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Typed::Integer(number),
                Err(_) => {
                    findings.error(at, format!("`{key}` is a number beyond 64 bits"), "write a smaller number");
                    return None;
                }
            },
            DeValue::Float(number) => Typed::Float(number.as_str().to_owned()),
            DeValue::Boolean(value) => Typed::Bool(value),
            DeValue::Datetime(date) => Typed::Date(date.to_string()),
            DeValue::Array(_) => return wrong_shape::<Self, _>(key, "a list", at, findings),
            DeValue::Table(_) => return wrong_shape::<Self, _>(key, "a table", at, findings),
        };
        Some(At { value, at })
    }
}

impl<T: Read> Read for Vec<T> {
    const NOUN: &'static str = "a list";
    const EXAMPLE: &'static str = "[ … ]";

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Array(items) => Some(items.into_iter().filter_map(|item| T::read(key, item, findings)).collect()),
            DeValue::Table(_) if T::NOUN == TABLE => {
                findings.error(
                    at,
                    format!("`{key}` is a list of tables"),
                    format!("write `[[{}]]` above each entry", header_of(key)),
                );
                None
            }
            other => wrong_shape::<Self, _>(key, noun_of(&other), at, findings),
        }
    }
}

/// The header of a list of tables: those of a section carry its name.
fn header_of(key: &str) -> String {
    match key {
        "quality" | "rules" => format!("routing.{key}"),
        "tokens" => format!("admin.{key}"),
        _ => key.to_owned(),
    }
}

impl Read for Pairs {
    const NOUN: &'static str = TABLE;
    const EXAMPLE: &'static str = "{ name = \"value\" }";

    fn read(key: &str, value: Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let (_, table) = table_of::<Self>(key, value, findings)?;
        let pair = |(name, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let at = name.span().start;
            let name = At { value: std::borrow::Cow::into_owned(name.into_inner()), at };
            Leaf::read(key, value, findings).map(|value| (name, value))
        };
        Some(Self(table.into_iter().filter_map(pair).collect()))
    }
}

/// What every table is called in messages.
pub(super) const TABLE: &str = "a table";

/// The table and its position, or a note that it is none.
pub(super) fn table_of<'t, T: Read>(
    key: &str,
    value: Spanned<DeValue<'t>>,
    findings: &mut Findings,
) -> Option<(usize, DeTable<'t>)> {
    let at = value.span().start;
    match value.into_inner() {
        DeValue::Table(table) => Some((at, table)),
        other => wrong_shape::<T, _>(key, noun_of(&other), at, findings),
    }
}

/// Refuses a key that the table does not know.
pub(super) fn unknown_key(typed: &str, at: usize, known: &'static [&'static str], findings: &mut Findings) {
    findings.error(at, format!("unknown key {}", quoted(typed)), suggestion(typed, known.iter().copied()));
}

/// Never shows the value itself: it may be a secret typed where a reference belongs (rule R1).
fn wrong_shape<T: Read, R>(key: &str, found: &str, at: usize, findings: &mut Findings) -> Option<R> {
    let what = format!("`{key}` must be {}, not {found}", T::NOUN);
    findings.error(at, what, format!("write `{key} = {}`", T::EXAMPLE));
    None
}

fn noun_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => TABLE,
    }
}

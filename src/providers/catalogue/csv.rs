//! Lines and fields of the embedded lists, read strictly: `#` comments, one header line, then one row a line, no quoting.
//!
//! Shared by the readers of the three files. A field is exactly as described or the row is refused, with the file and the line.

use crate::domain::money::TokenPrice;

/// A line of a list that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} line {line}: {problem}")]
pub struct CatalogueError {
    /// The list.
    pub file: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Shows `each` row to the reader: its line and its fields.
pub(super) fn for_each_row<'t, const N: usize>(
    file: &'static str,
    text: &'t str,
    columns: [&str; N],
    mut each: impl FnMut(usize, [&'t str; N]) -> Result<(), String>,
) -> Result<(), CatalogueError> {
    let mut header_seen = false;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let fault = |problem: String| CatalogueError { file, line: index + 1, problem };
        let mut fields = [""; N];
        let mut found = 0;
        for field in line.split(',') {
            if let Some(place) = fields.get_mut(found) {
                *place = field;
            }
            found += 1;
        }
        if !header_seen {
            header_seen = true;
            if found != N || fields != columns {
                return Err(fault(format!("expected the header \"{}\"", columns.join(","))));
            }
            continue;
        }
        if found != N {
            return Err(fault(format!("expected {N} fields, found {found}")));
        }
        each(index + 1, fields).map_err(fault)?;
    }
    Ok(())
}

/// Dollars per million tokens; empty is none.
pub(super) fn figure(text: &str) -> Result<Option<TokenPrice>, String> {
    match text {
        "" => Ok(None),
        text => TokenPrice::parse_usd_per_mtok(text).map(Some).ok_or_else(|| format!("\"{text}\" is no price")),
    }
}

/// A whole number; empty is none.
pub(super) fn count(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| format!("\"{digits}\" is too large"))
        }
        other => Err(format!("\"{other}\" is no count")),
    }
}

/// Yes or no; empty is neither.
pub(super) fn yes_or_no(text: &str) -> Result<Option<bool>, String> {
    match text {
        "" => Ok(None),
        "yes" => Ok(Some(true)),
        "no" => Ok(Some(false)),
        other => Err(format!("\"{other}\" is neither yes nor no")),
    }
}

/// `YYYY-MM-DD`; empty is none.
pub(super) fn day(text: &str) -> Result<Option<Box<str>>, String> {
    let is_day = |text: &str| {
        let shape =
            |(place, byte): (usize, u8)| if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        text.len() == 10 && text.bytes().enumerate().all(shape)
    };
    match text {
        "" => Ok(None),
        day if is_day(day) => Ok(Some(day.into())),
        other => Err(format!("\"{other}\" is no day (YYYY-MM-DD)")),
    }
}

/// What stands between bars; empty is nothing.
pub(super) fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split('|').filter(move |_| !text.is_empty())
}

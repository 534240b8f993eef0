//! From one typed value to one meant value, with its range: the readings that every section shares.
//!
//! Each returns the value or a complaint that reads on after the key's name. A value is repeated in a complaint only where it cannot be a
//! secret (rule R1).

use super::problem::{Complaint, Findings, quoted, suggestion};
use super::read::{At, Leaf, Typed};
use super::unit;
use crate::domain::clock::UnixMillis;
use crate::limits::NAME_CHARS_MAX;
use crate::routing::semantic;
use std::collections::HashSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a reading gives.
pub(super) type Reading<T> = Result<T, Complaint>;

impl Findings {
    /// Reads an optional leaf; a complaint is noted at its position, with the key as subject.
    pub(super) fn meant<T>(
        &mut self,
        key: &str,
        leaf: Option<Leaf>,
        reading: impl FnOnce(&Typed) -> Reading<T>,
    ) -> Option<At<T>> {
        let leaf = leaf?;
        match reading(&leaf.value) {
            Ok(value) => Some(At { value, at: leaf.at }),
            Err(complaint) => {
                self.error(leaf.at, format!("`{key}` {}", complaint.what), complaint.remedy);
                None
            }
        }
    }

    /// The same without the position.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        leaf: Option<Leaf>,
        reading: impl FnOnce(&Typed) -> Reading<T>,
    ) -> Option<T> {
        self.meant(key, leaf, reading).map(|meant| meant.value)
    }

    /// Reads a leaf that must be there; `table` and `at` say where it is missing.
    pub(super) fn required<T>(
        &mut self,
        (table, at, key, example): (&str, usize, &str, &str),
        leaf: Option<Leaf>,
        reading: impl FnOnce(&Typed) -> Reading<T>,
    ) -> Option<At<T>> {
        if leaf.is_none() {
            self.error(at, format!("{table} has no `{key}`"), format!("add `{key} = {example}`"));
        }
        self.meant(key, leaf, reading)
    }

    /// Reads every leaf of a list, leaving out those that are refused.
    pub(super) fn all<T>(
        &mut self,
        key: &str,
        leaves: Vec<Leaf>,
        reading: impl Fn(&Typed) -> Reading<T>,
    ) -> Vec<At<T>> {
        leaves.into_iter().filter_map(|leaf| self.meant(key, Some(leaf), &reading)).collect()
    }

    /// Notes every value that stands twice; `noun` is what a value is called.
    pub(super) fn distinct<T: Display>(&mut self, noun: &str, values: &[At<T>]) {
        let mut seen = HashSet::with_capacity(values.len());
        for value in values {
            let shown = value.value.to_string();
            if seen.contains(&shown) {
                self.error(value.at, format!("{noun} {} stands twice", quoted(&shown)), "remove one of them");
            }
            seen.insert(shown);
        }
    }
}

// === Readings ===

/// Text of any kind, not empty and without control characters.
pub(super) fn text(typed: &Typed) -> Reading<String> {
    match typed {
        Typed::Text(text) if text.is_empty() => Err(Complaint::new("is empty", "write a value or remove the key")),
        Typed::Text(text) if text.chars().any(char::is_control) => {
            Err(Complaint::new("holds a control character", "remove it"))
        }
        Typed::Text(text) => Ok(text.clone()),
        other => Err(Complaint::new(format!("is {}, not text", noun(other)), "write it in quotes")),
    }
}

/// `true` or `false`.
pub(super) fn truth(typed: &Typed) -> Reading<bool> {
    match typed {
        Typed::Bool(value) => Ok(*value),
        other => Err(Complaint::new(
            format!("is {}, not a truth value", noun(other)),
            "write `true` or `false` without quotes",
        )),
    }
}

/// A path as typed; relative ones are relative to where the process was started.
pub(super) fn path(typed: &Typed) -> Reading<PathBuf> {
    text(typed).map(PathBuf::from)
}

/// An address and port.
pub(super) fn socket_address(typed: &Typed) -> Reading<SocketAddr> {
    let text = text(typed)?;
    text.parse().map_err(|_| {
        let what = format!("is {}, not an address and port", quoted(&text));
        Complaint::new(what, "write them as in \"127.0.0.1:8081\" or \"[::1]:8081\"")
    })
}

/// A name of letters, digits and `-_.`, fit for paths, labels and lists.
pub(super) fn name(typed: &Typed) -> Reading<String> {
    let text = text(typed)?;
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() <= NAME_CHARS_MAX && text.bytes().all(fit) && !text.starts_with('.') {
        return Ok(text);
    }
    let remedy = format!("use at most {NAME_CHARS_MAX} letters, digits, `-`, `_` and `.`, not starting with `.`");
    Err(Complaint::new(format!("is {}, which is not a name", quoted(&text)), remedy))
}

/// A model's name, or a pattern with `*` for any characters and `?` for one.
pub(super) fn model_pattern(typed: &Typed) -> Reading<String> {
    let text = text(typed)?;
    if text.chars().count() <= NAME_CHARS_MAX
        && !text.contains(|ch: char| ch.is_whitespace() || "[]{}\\\"".contains(ch))
    {
        return Ok(text);
    }
    let remedy =
        format!("use at most {NAME_CHARS_MAX} characters without spaces; `*` stands for any characters, `?` for one");
    Err(Complaint::new(format!("is {}, which no model is called", quoted(&text)), remedy))
}

/// A model's exact name.
pub(super) fn model_name(typed: &Typed) -> Reading<String> {
    let name = model_pattern(typed)?;
    if name.contains(['*', '?']) {
        let what = format!("is {}, a pattern where one model belongs", quoted(&name));
        return Err(Complaint::new(what, "write the name that the provider knows"));
    }
    Ok(name)
}

/// An instant, typed as a TOML date or as text.
pub(super) fn instant(typed: &Typed) -> Reading<UnixMillis> {
    match typed {
        Typed::Text(text) | Typed::Date(text) => unit::instant(text),
        other => {
            Err(Complaint::new(format!("is {}, not an instant", noun(other)), "write it as in 2027-01-31T00:00:00Z"))
        }
    }
}

/// A duration with its unit, in a range.
pub(super) fn duration(lowest: Duration, highest: Duration) -> impl Fn(&Typed) -> Reading<Duration> {
    move |typed| {
        let value = unit::duration(&unit_text(typed, "s")?)?;
        in_range(value, lowest, highest, shown_duration)
    }
}

/// A size in bytes with its unit, in a range.
pub(super) fn bytes(lowest: u64, highest: u64) -> impl Fn(&Typed) -> Reading<u64> {
    move |typed| {
        let value = unit::bytes(&unit_text(typed, "KiB")?)?;
        in_range(value, lowest, highest, shown_bytes)
    }
}

/// A count, typed as a number or as text such as `"1M"`, in a range.
pub(super) fn count(lowest: u64, highest: u64) -> impl Fn(&Typed) -> Reading<u64> {
    move |typed| {
        let value = match typed {
            Typed::Text(text) => unit::count(text)?,
            Typed::Integer(number) => u64::try_from(*number).map_err(|_| {
                Complaint::new(
                    format!("is {}, below zero", quoted(&number.to_string())),
                    format!("write at least {lowest}"),
                )
            })?,
            other => {
                return Err(Complaint::new(
                    format!("is {}, not a whole number", noun(other)),
                    "write one as in 600 or \"1M\"",
                ));
            }
        };
        in_range(value, lowest, highest, |count| count.to_string())
    }
}

/// A share with its percent sign, in a range of shares of one.
pub(super) fn percent(lowest: f64, highest: f64) -> impl Fn(&Typed) -> Reading<f64> {
    move |typed| {
        let value = match typed {
            Typed::Integer(number) => Err(bare_share(&number.to_string())),
            Typed::Float(number) => Err(bare_share(number)),
            other => unit::percent(&text(other)?),
        };
        in_range(value?, lowest, highest, |share| format!("{}%", share * 100.0))
    }
}

fn bare_share(number: &str) -> Complaint {
    Complaint::new(
        format!("is {}, a share without its percent sign", quoted(number)),
        "write a number and `%`, as in \"5%\"",
    )
}

/// A number with or without a fraction, in a range.
pub(super) fn number(lowest: f64, highest: f64) -> impl Fn(&Typed) -> Reading<f64> {
    move |typed| {
        let value = match typed {
            Typed::Integer(number) => Some(*number as f64),
            Typed::Float(number) => number.parse::<f64>().ok().filter(|value| value.is_finite()),
            Typed::Text(_) | Typed::Bool(_) | Typed::Date(_) => None,
        };
        let remedy = || format!("write one from {lowest} to {highest} without quotes");
        let value = value.ok_or_else(|| Complaint::new(format!("is {}, not a number", noun(typed)), remedy()));
        in_range(value?, lowest, highest, f64::to_string)
    }
}

/// A word or phrase to look for in texts, in the form in which it is looked for.
pub(super) fn keyword(typed: &Typed) -> Reading<Box<str>> {
    let text = text(typed)?;
    let sought = semantic::words_of(&text);
    if text.chars().count() <= NAME_CHARS_MAX && sought.chars().any(char::is_alphanumeric) {
        return Ok(sought.into_boxed_str());
    }
    let remedy = format!("write a word or a phrase of at most {NAME_CHARS_MAX} characters");
    Err(Complaint::new(format!("is {}, which is no word", quoted(&text)), remedy))
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Typed) -> Reading<T> {
    move |typed| {
        let text = text(typed)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            Complaint::new(format!("is {}", quoted(&text)), suggestion(&text, words.iter().map(|(word, _)| *word)))
        })
    }
}

/// Text for a value with a unit; a bare number is refused with the unit it probably lacks.
fn unit_text(typed: &Typed, unit: &str) -> Reading<String> {
    let bare = |number: &str| {
        Complaint::new(format!("is {}, a number without a unit", quoted(number)), format!("write \"{number}{unit}\""))
    };
    match typed {
        Typed::Integer(number) => Err(bare(&number.to_string())),
        Typed::Float(number) => Err(Complaint::new(
            format!("is {}, a number without a unit", quoted(number)),
            format!("write a whole one as in \"30{unit}\""),
        )),
        Typed::Text(number)
            if !number.is_empty() && number.len() < 20 && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Err(bare(number))
        }
        other => text(other),
    }
}

fn in_range<T: PartialOrd>(value: T, lowest: T, highest: T, shown: impl Fn(&T) -> String) -> Reading<T> {
    if value < lowest {
        let what = format!("is {}, below the least, {}", quoted(&shown(&value)), shown(&lowest));
        return Err(Complaint::new(what, format!("write at least {}", shown(&lowest))));
    }
    if value > highest {
        let what = format!("is {}, above the ceiling, {}", quoted(&shown(&value)), shown(&highest));
        return Err(Complaint::new(what, format!("write at most {}", shown(&highest))));
    }
    Ok(value)
}

/// A size in the largest unit that leaves it whole.
fn shown_bytes(bytes: &u64) -> String {
    match bytes {
        0 => "0B".to_owned(),
        bytes if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

/// A duration in the unit a person would choose.
fn shown_duration(duration: &Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") }
}

fn noun(typed: &Typed) -> &'static str {
    match typed {
        Typed::Text(_) => "text",
        Typed::Integer(_) | Typed::Float(_) => "a number",
        Typed::Bool(_) => "a truth value",
        Typed::Date(_) => "a date",
    }
}

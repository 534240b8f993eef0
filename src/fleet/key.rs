//! The key of a row that is gone, as one text: `i5`, `tacme` and `x00ff` with a unit separator between.

use crate::store::Value;
use std::fmt::Write as _;

/// Between two values; texts that hold one are told apart by a doubled one.
const BETWEEN: char = '\u{1f}';

/// The key as a text.
pub(super) fn write(key: &[Value]) -> String {
    let mut out = String::new();
    for (place, value) in key.iter().enumerate() {
        if place > 0 {
            out.push(BETWEEN);
        }
        match value {
            Value::Null => out.push('n'),
            Value::Integer(number) => {
                let _ = write!(out, "i{number}");
            }
            Value::Text(text) => {
                out.push('t');
                out.extend(text.chars().flat_map(|one| std::iter::repeat_n(one, if one == BETWEEN { 2 } else { 1 })));
            }
            Value::Blob(bytes) => {
                out.push('x');
                bytes.iter().for_each(|byte| {
                    let _ = write!(out, "{byte:02x}");
                });
            }
        }
    }
    out
}

/// The key of a text; `None`: it is none.
pub(super) fn read(text: &str) -> Option<Vec<Value>> {
    split(text).iter().map(|part| value(part)).collect()
}

fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut rest = text.chars().peekable();
    while let Some(one) = rest.next() {
        match one {
            BETWEEN if rest.next_if_eq(&BETWEEN).is_some() => part.push(BETWEEN),
            BETWEEN => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

fn value(part: &str) -> Option<Value> {
    let mut rest = part.chars();
    let (kind, rest) = (rest.next()?, rest.as_str());
    Some(match kind {
        'n' if rest.is_empty() => Value::Null,
        'i' => Value::Integer(rest.parse().ok()?),
        't' => Value::Text(rest.to_owned()),
        'x' => Value::Blob(bytes(rest)?),
        _ => return None,
    })
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let odd = format!("a{BETWEEN}b{BETWEEN}");
        for key in [
            vec![Value::Integer(-7)],
            vec![Value::Text(String::new()), Value::Blob(vec![])],
            vec![Value::Text(odd), Value::Text("ü".to_owned()), Value::Blob(vec![0, 255, 16]), Value::Null],
        ] {
            assert_eq!(read(&write(&key)), Some(key.clone()), "{key:?}");
        }
        assert_eq!(write(&[Value::Text("acme".to_owned()), Value::Blob(vec![1])]), "tacme\u{1f}x01");
        for not in ["", "z", "ix", "x0", "xzz", "n1"] {
            assert_eq!(read(not), None, "{not}");
        }
    }
}

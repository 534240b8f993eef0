//! Seeded words: the same request always gets the same answer, on any machine and in any build.
//!
//! Some words carry what careless relays break: quotes, line ends, several bytes to a character.

use serde_json::Value;

/// Mixes two words into one with good avalanche (a folded 64 by 64 bit product).
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A 64-bit digest of some bytes, equal on every platform. It resists accidents, not adversaries.
pub fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = mix(bytes.len() as u64, 0x1995);
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(last))
}

/// A digest of a JSON value that ignores the order of members and all white space.
pub fn digest_value(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(truth) => 2 + u64::from(*truth),
        Value::Number(number) => digest(number.to_string().as_bytes()),
        Value::String(text) => mix(5, digest(text.as_bytes())),
        Value::Array(items) => items.iter().fold(6, |state, item| mix(state, digest_value(item))),
        Value::Object(members) => members
            .iter()
            .map(|(name, item)| mix(digest(name.as_bytes()), digest_value(item)))
            .fold(7, |sum: u64, member| sum.wrapping_add(member)),
    }
}

/// Word number `position` of the text that belongs to `seed`; every word after the first brings its own space.
pub fn word(seed: u64, position: u32) -> &'static str {
    let chosen = mix(seed, u64::from(position)) as usize % WORDS.len();
    if position == 0 { WORDS[chosen].trim_start() } else { WORDS[chosen] }
}

/// A text as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// Appends a number in decimal: a few instructions where a formatter takes hundreds, and heads are full of numbers.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a number in lower-case hexadecimal, with zeros in front up to `width` digits.
pub fn hexadecimal(number: u64, width: usize, out: &mut Vec<u8>) {
    let needed = (64 - number.leading_zeros() as usize).div_ceil(4).max(1);
    for place in (0..needed.max(width.min(16))).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * place)) as usize & 15]);
    }
}

/// A vector of unit length that belongs to `seed`.
pub fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let draw = |position: usize| (mix(seed, position as u64) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
    let raw: Vec<f32> = (0..dimensions).map(draw).collect();
    let length = raw.iter().map(|part| part * part).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|part| part / length).collect()
}

/// Numbers as a JSON list.
pub fn numbers(list: &[f32]) -> String {
    let list: Vec<_> = list.iter().map(f32::to_string).collect();
    format!("[{}]", list.join(","))
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn utc(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01 in eras of 400 years (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, era * 400 + year) } else { (month - 9, era * 400 + year + 1) };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Appends `length` characters of [a-zA-Z0-9] that belong to `seed`.
pub fn alphanumeric(seed: u64, length: usize, out: &mut String) {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = seed;
    for position in 0..length {
        state = mix(state, position as u64);
        out.push(LETTERS[(state % 62) as usize] as char);
    }
}

const WORDS: [&str; 48] = [
    " latency",
    " the",
    " of",
    " a",
    " river",
    " stone",
    " quiet",
    " engine",
    " answer",
    " carries",
    " between",
    " two",
    " cities",
    " light",
    " slowly",
    " and",
    " then",
    " again",
    " measure",
    " window",
    " garden",
    " is",
    " not",
    " every",
    " token",
    " costs",
    " something",
    " naïve",
    " 日本",
    " 🚂",
    " \"quoted\"",
    " back\\slash",
    ".\n\n",
    " first,",
    " second;",
    " it's",
    " <b>bold</b>",
    " 3.14",
    " tab\there",
    " élan",
    " north",
    " harbour",
    " paper",
    " letter",
    " bridge",
    " morning",
    " data:",
    " [DONE]",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_ignore_member_order_but_not_values() {
        let parse = |text| digest_value(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(parse(r#"{"a":1,"b":[2]}"#), parse(r#"{ "b":[2], "a":1 }"#));
        assert_ne!(parse(r#"{"a":1,"b":[2]}"#), parse(r#"{"a":[2],"b":1}"#));
        assert_ne!(parse(r#"["a","b"]"#), parse(r#"["b","a"]"#));
    }

    #[test]
    fn numbers_are_written_as_a_formatter_writes_them() {
        for number in [0, 1, 9, 10, 255, 256, 4_294_967_295, u64::MAX - 1, u64::MAX] {
            let (mut plain, mut hex) = (Vec::new(), Vec::new());
            decimal(number, &mut plain);
            assert_eq!(plain, number.to_string().as_bytes());
            for width in [0, 1, 8, 16] {
                hex.clear();
                hexadecimal(number, width, &mut hex);
                assert_eq!(hex, format!("{number:0width$x}").as_bytes());
            }
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_795_651_200), "2026-11-26T00:00:00Z");
    }

    #[test]
    fn digests_see_every_byte_and_the_length() {
        assert_ne!(digest(b"abcdefgh"), digest(b"abcdefgi"));
        assert_ne!(digest(b"abcdefghi"), digest(b"abcdefghj"));
        assert_ne!(digest(b"a"), digest(b"a\0"));
        assert!((0..200).all(|seed| !word(seed, 0).starts_with(' ')));
    }
}

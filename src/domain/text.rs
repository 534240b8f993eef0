//! Text off the wire, made safe to show: one line, bounded (rule R5).

/// `text` cut to at most `bytes_max` bytes at a character border, control characters and marks that reorder a line replaced by spaces.
pub fn bounded(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    for letter in text.chars() {
        let letter = if letter.is_control() || reorders(letter) { ' ' } else { letter };
        if shown.len() + letter.len_utf8() > bytes_max {
            break;
        }
        shown.push(letter);
    }
    shown
}

/// Line and paragraph separators, and the marks of the bidirectional algorithm (Unicode TR 9, TR 14).
fn reorders(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn text_stays_on_its_line_and_in_its_bounds() {
        assert_eq!(bounded("a\r\nb\u{202e}c", 64), "a  b c");
        assert_eq!(bounded("äää", 5), "ää");
        assert_eq!(bounded("abc", 3), "abc");
        assert_eq!(bounded("abcd", 3), "abc");
    }
}

//! Texts as words: one form in which keywords and prompts are compared; and how much of a text is code.

/// The words of a text in lower case, each with a space before it and one after the last: a keyword in the same form is found by a plain
/// search, and only whole.
///
/// Scripts that write no spaces between words (Han, kana, Thai) or join particles to them (Hangul) fall into single characters, so that
/// a keyword is found inside a longer run. `+` and `#` belong to the word that they follow: `C++` is not `C`.
pub fn words_of(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    let mut in_word = false;
    for letter in text.chars() {
        if stands_alone(letter) {
            if in_word {
                words.push(' ');
            }
            words.push(letter);
            words.push(' ');
            in_word = false;
        } else if letter.is_alphanumeric() || letter == '_' || (in_word && matches!(letter, '+' | '#')) {
            if letter.is_ascii() {
                words.push(letter.to_ascii_lowercase());
            } else {
                words.extend(letter.to_lowercase());
            }
            in_word = true;
        } else if in_word {
            words.push(' ');
            in_word = false;
        }
    }
    if in_word {
        words.push(' ');
    }
    words
}

/// Whether a character is a word by itself.
fn stands_alone(letter: char) -> bool {
    matches!(letter,
        '\u{0E01}'..='\u{0E4E}'                             // Thai
        | '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' // kana
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}' // Han
        | '\u{AC00}'..='\u{D7A3}') // Hangul
}

/// The share of a text that is code, 0 to 1, by the bytes of its lines: those between fences, and those that look like it.
pub fn code_share(text: &str) -> f64 {
    let (mut code, mut all) = (0_usize, 0_usize);
    let mut fenced = false;
    for raw in text.lines() {
        let line = raw.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        all += line.len();
        if fenced || looks_like_code(line, raw.starts_with([' ', '\t'])) {
            code += line.len();
        }
    }
    if all == 0 { 0.0 } else { code as f64 / all as f64 }
}

/// Beginnings of statements; prose starts with some of these words, too, so each carries what makes it a statement.
const STATEMENTS: &[&str] = &[
    "#include",
    "#define",
    "import ",
    "from ",
    "def ",
    "class ",
    "fn ",
    "pub ",
    "func ",
    "function ",
    "const ",
    "let ",
    "var ",
    "return ",
    "public ",
    "private ",
    "static ",
    "if (",
    "for (",
    "while (",
    "else {",
    "} else",
    "elif ",
    "async ",
    "await ",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "CREATE ",
    "struct ",
    "enum ",
    "impl ",
    "package ",
    "using ",
    "echo ",
    "$ ",
];

/// A line with two marks of code, or one that nothing else has.
fn looks_like_code(line: &str, indented: bool) -> bool {
    if line.is_empty() {
        return false;
    }
    let ends = line.ends_with([';', '{', '}', '(', ')', ']', ',', ':']);
    let begins = STATEMENTS.iter().any(|statement| line.starts_with(statement)) || line.starts_with(['@', '}']);
    let sure = ["=>", "->", "::", "==", "!=", "+=", "&&", "||", "();", ");", "</", "/>"];
    let has = |marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
    let marks = usize::from(ends)
        + usize::from(begins)
        + usize::from(indented)
        + usize::from(has(&[" = ", "(", "[", "{", "<"]));
    (has(&sure) && marks >= 1) || (marks >= 2 && (begins || line.ends_with([';', '{', '}'])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_fall_into_words() {
        assert_eq!(words_of("Hello,  World!"), " hello world ");
        assert_eq!(words_of("C++ and c#"), " c++ and c# ");
        assert_eq!(words_of("# Title + 1"), " title 1 ");
        assert_eq!(words_of("snake_case ÄÖ"), " snake_case äö ");
        assert_eq!(words_of("用Rust写"), " 用 rust 写 ");
        assert_eq!(words_of("…!"), " ");
        assert_eq!(words_of(""), " ");
    }

    #[test]
    fn code_is_told_from_prose() {
        for (text, least) in [
            ("fn main() {\n    println!(\"x\");\n}", 0.9),
            ("def f(x):\n    return x + 1", 0.5),
            ("import os\nfor (i = 0; i < 3; i++) {", 0.5),
            ("Look:\n```\nanything here counts\n```", 0.7),
        ] {
            assert!(code_share(text) >= least, "{text}: {}", code_share(text));
        }
        for text in [
            "",
            "Let me know what you think about this, please.",
            "For the record: I like cake; you like tea.",
            "Please return the book (the red one) to the library.",
            "Return of the king (2003), a film by Peter Jackson",
        ] {
            assert!(code_share(text) < 0.2, "{text}: {}", code_share(text));
        }
    }

    proptest! {
        #[test]
        fn a_word_is_found_in_its_own_text(text in "[a-zA-Zäß]{1,8}", before in ".{0,8}", after in ".{0,8}") {
            let whole = words_of(&format!("{before} {text} {after}"));
            prop_assert!(whole.contains(&words_of(&text)), "{:?} {:?}", whole, text);
        }
    }
}

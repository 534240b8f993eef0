//! Patterns over model names: `*` stands for any run of characters, also none and also slashes, `?` for one character.
//!
//! Matching never recurses and costs at most pattern times name, both of which are bounded.

/// A plain name, or a pattern over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// Exactly this name.
    Name(Box<str>),
    /// Every name that fits.
    Glob(Glob),
}

/// A name with at least one `*` or `?` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<char>);

// === impl NamePattern ===

impl NamePattern {
    /// Reads a name or pattern; every text is one of the two.
    pub fn parse(text: &str) -> Self {
        Glob::parse(text).map_or_else(|| Self::Name(Box::from(text)), Self::Glob)
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(known) => **known == *name,
            Self::Glob(glob) => glob.matches(name),
        }
    }
}

// === impl Glob ===

impl Glob {
    /// Reads a pattern; `None` when it is a plain name.
    pub fn parse(text: &str) -> Option<Self> {
        text.contains(['*', '?']).then(|| Self(text.chars().collect()))
    }

    /// Sorts the most specific pattern first: most literal characters, then fewest stars.
    pub fn looseness(&self) -> (std::cmp::Reverse<usize>, usize) {
        let literals = self.0.iter().filter(|letter| !matches!(letter, '*' | '?')).count();
        let stars = self.0.iter().filter(|letter| **letter == '*').count();
        (std::cmp::Reverse(literals), stars)
    }

    /// Whether the whole of `name` fits. On a mismatch the last star takes one more character: earlier stars need not be
    /// reconsidered, since what follows them already fits at its leftmost place.
    pub fn matches(&self, name: &str) -> bool {
        let mut pattern = self.0.as_slice();
        let mut name = name.chars();
        let mut last_star = None;
        loop {
            let rest = name.clone();
            match (pattern.split_first(), name.next()) {
                (Some(('*', after)), _) => {
                    last_star = Some((after, rest.clone()));
                    (pattern, name) = (after, rest);
                    continue;
                }
                (None, None) => return true,
                (Some((wanted, after)), Some(letter)) if *wanted == '?' || *wanted == letter => {
                    pattern = after;
                    continue;
                }
                _ => {}
            }
            let Some((after, mut taken)) = last_star.take() else { return false };
            if taken.next().is_none() {
                return false;
            }
            last_star = Some((after, taken.clone()));
            (pattern, name) = (after, taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::parse(pattern).expect("a pattern").matches(name)
    }

    #[test]
    fn patterns_match_whole_names() {
        let fits = [
            ("*", ""),
            ("*", "a/b"),
            ("gpt-4*", "gpt-4"),
            ("gpt-4*", "gpt-4o"),
            ("a?c", "aéc"),
            ("*-mini*", "o-mini-mini-x"),
        ];
        for (pattern, name) in fits {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let misses =
            [("gpt-4*", "xgpt-4"), ("a?c", "ac"), ("*-mini", "mini"), ("?", ""), ("a*b*c", "acb"), ("*a", "ab")];
        for (pattern, name) in misses {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert_eq!(Glob::parse("gpt-4o"), None);
    }

    /// The meaning, spelt out: slow and plainly right.
    fn means(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', after @ ..], _) => means(after, name) || (!name.is_empty() && means(pattern, &name[1..])),
            (['?', after @ ..], [_, rest @ ..]) => means(after, rest),
            ([wanted, after @ ..], [letter, rest @ ..]) if wanted == letter => means(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_meaning(pattern in "[ab*?]{0,7}[*?]", name in "[ab]{0,9}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), means(&letters(&pattern), &letters(&name)));
        }
    }
}

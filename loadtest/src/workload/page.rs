//! Words to fill prompts with: short, common English words, of which the usual tokenisers make one token each.
//!
//! How many tokens a prompt truly has, only the model's own tokeniser knows, and its answer says (`usage`). A text made here
//! of n words comes within a few per cent of n. It is cut out of one page of words that is the same in every run, so that a
//! prompt of any length costs one copy.

use rand::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use std::sync::OnceLock;

/// A text of many words that bends back to its beginning.
pub(super) struct Page {
    text: String,
    /// Where each word begins, with its space.
    starts: Vec<u32>,
}

impl Page {
    /// The one page there is.
    pub(super) fn get() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(|| {
            let mut generator = Pcg64Mcg::seed_from_u64(1);
            let (mut text, mut starts) = (String::new(), Vec::with_capacity(PAGE_WORDS));
            for _ in 0..PAGE_WORDS {
                starts.push(text.len() as u32);
                text.push(' ');
                text.push_str(WORDS[generator.next_u64() as usize % WORDS.len()]);
            }
            Self { text, starts }
        })
    }

    /// Appends so many words, each after a space, beginning anywhere that `from` says.
    pub(super) fn words(&self, from: u64, count: usize, out: &mut String) {
        let mut at = (from % self.starts.len() as u64) as usize;
        let mut left = count;
        while left > 0 {
            let take = left.min(self.starts.len() - at);
            let end = self.starts.get(at + take).map_or(self.text.len(), |end| *end as usize);
            out.push_str(&self.text[self.starts[at] as usize..end]);
            left -= take;
            at = 0;
        }
    }

    /// Appends whole words until `out` has at least so many bytes.
    pub(super) fn bytes(&self, from: u64, bytes: usize, out: &mut String) {
        let mut at = (from % self.starts.len() as u64) as usize;
        while out.len() < bytes {
            let start = self.starts[at] as usize;
            let wanted = (start + bytes - out.len()) as u32;
            let end = self.starts[at..].partition_point(|begin| *begin < wanted) + at;
            let end = self.starts.get(end).map_or(self.text.len(), |end| *end as usize);
            out.push_str(&self.text[start..end]);
            at = 0;
        }
    }
}

/// Words of the page.
const PAGE_WORDS: usize = 8_192;

const WORDS: [&str; 120] = [
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he",
    "this", "are", "or", "his", "from", "at", "which", "but", "have", "an", "had", "they", "you", "were", "there",
    "one", "all", "we", "can", "her", "has", "will", "more", "when", "who", "so", "no", "out", "up", "into", "do",
    "any", "your", "what", "some", "other", "time", "very", "only", "new", "then", "over", "such", "our", "man", "me",
    "even", "most", "made", "after", "also", "did", "many", "off", "before", "must", "well", "back", "through",
    "years", "much", "where", "way", "down", "should", "because", "long", "each", "just", "state", "those", "people",
    "too", "mean", "world", "small", "work", "still", "between", "name", "life", "being", "under", "day", "same",
    "another", "know", "while", "last", "might", "great", "old", "year", "come", "since", "right", "against", "go",
    "house", "used", "take", "three", "water",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_words_asked_for() {
        for (from, count) in [(0, 0), (5, 1), (8_190, 10), (17, 20_000)] {
            let mut out = String::new();
            Page::get().words(from, count, &mut out);
            assert_eq!(out.split_whitespace().count(), count);
            assert!(out.is_empty() || out.starts_with(' ') && !out.ends_with(' '));
        }
    }

    #[test]
    fn texts_have_the_bytes_asked_for() {
        for (from, bytes) in [(0, 10), (5, 11), (8_190, 200), (8_191, 5), (17, 200_000)] {
            let mut out = String::from("head");
            Page::get().bytes(from, bytes, &mut out);
            assert!((bytes..bytes + 10).contains(&out.len()), "{bytes}: {}", out.len());
        }
    }
}

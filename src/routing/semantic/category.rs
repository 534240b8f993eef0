//! What a text is about, in the five categories of the product, by plain cues: a classifier that anybody can follow.
//!
//! Cues of a category add up; code counts as what it is. Confidence is what the best category has against the second and against having
//! seen little: `best / (best + second + 1)`. A text without any cue is conversation, with little confidence.

use super::words::{code_share, words_of};
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Stories, poems, ideas.
    Creative,
    /// Comparing, calculating, reasoning.
    Analytical,
    /// Programs.
    Coding,
    /// Talk.
    Conversational,
    /// From one language into another.
    Translation,
}

/// Every word for a category.
pub const CATEGORIES: &[(&str, Category)] = &[
    ("creative", Category::Creative),
    ("analytical", Category::Analytical),
    ("coding", Category::Coding),
    ("conversational", Category::Conversational),
    ("translation", Category::Translation),
];

/// A category and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classified {
    /// The most likely one.
    pub category: Category,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
}

// === impl Category ===

impl Category {
    /// Reads a category by its name.
    pub fn parse(text: &str) -> Option<Self> {
        CATEGORIES.iter().find(|(word, _)| *word == text).map(|(_, category)| *category)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        CATEGORIES.iter().find(|(_, category)| *category == self).map_or("", |(word, _)| word)
    }
}

/// What a text is about.
pub fn classify(text: &str) -> Classified {
    of_words(&words_of(text), code_share(text))
}

/// The same for a text already in words, of which so much is code.
pub(super) fn of_words(words: &str, code_share: f64) -> Classified {
    let mut weights = [0.0_f64; CATEGORIES.len()];
    // Each cue counts once, however often it is said.
    let mut seen = 0_u128;
    for word in words.split_ascii_whitespace() {
        if let Some((place, category, weight)) = SINGLE.get(word)
            && seen & (1 << (place % 128)) == 0
        {
            seen |= 1 << (place % 128);
            weights[*category as usize] += weight;
        }
    }
    for (phrase, category, weight) in PHRASES.iter() {
        if memchr::memmem::find(words.as_bytes(), phrase.as_bytes()).is_some() {
            weights[*category as usize] += weight;
        }
    }
    if code_share >= CODE_SHARE_LEAST {
        weights[Category::Coding as usize] += CODE_WEIGHT * code_share;
    }
    verdict(&weights)
}

fn verdict(weights: &[f64; CATEGORIES.len()]) -> Classified {
    let mut ranked: Vec<(Category, f64)> =
        CATEGORIES.iter().map(|(_, category)| (*category, weights[*category as usize])).collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1));
    let ((category, best), (_, second)) = (ranked[0], ranked[1]);
    if best == 0.0 {
        return Classified { category: Category::Conversational, confidence: CONFIDENCE_WITHOUT_CUE };
    }
    Classified { category, confidence: best / (best + second + 1.0) }
}

/// Below this share, code is a quotation.
const CODE_SHARE_LEAST: f64 = 0.15;
/// What a text that is all code weighs.
const CODE_WEIGHT: f64 = 5.0;
const CONFIDENCE_WITHOUT_CUE: f64 = 0.2;

/// Cues: category, weight, words and phrases. A weight of one alone suffices where nothing speaks against it.
#[rustfmt::skip]
const CUES: &[(Category, f64, &[&str])] = &[
    (Category::Coding, 1.5, &[
        "debug", "compile", "compiler", "refactor", "unit test", "unit tests", "stack trace", "traceback", "regex", "sql", "python",
        "javascript", "typescript", "java", "c++", "c#", "golang", "kotlin", "rust", "pull request", "codebase", "syntax error",
        "source code", "null pointer", "segfault", "dockerfile", "programmiere", "quellcode", "programa en",
    ]),
    (Category::Coding, 1.0, &[
        "code", "function", "bug", "exception", "api", "endpoint", "docker", "kubernetes", "git", "html", "css", "json", "bash",
        "shell script", "algorithm", "programming", "npm", "cargo", "recursion", "método", "funktion", "fonction", "función", "コード",
        "代码", "코드", "код",
    ]),
    (Category::Creative, 1.5, &[
        "poem", "haiku", "lyrics", "limerick", "sonnet", "screenplay", "short story", "fairy tale", "write a story", "write a song",
        "in the style of", "gedicht", "märchen", "poème", "poema", "cuento", "poesia", "wiersz", "şiir", "诗", "詩", "стихотворение",
    ]),
    (Category::Creative, 1.0, &[
        "story", "song", "novel", "fiction", "brainstorm", "slogan", "tagline", "plot", "imagine", "creative", "geschichte", "histoire",
        "historia", "racconto", "erzähle",
    ]),
    (Category::Analytical, 1.5, &[
        "analyze", "analyse", "analysis", "pros and cons", "root cause", "trade offs", "tradeoffs", "correlation", "hypothesis",
        "statistically", "forecast", "analysiere", "analysez", "analiza", "analizza", "vergleiche", "分析", "проанализируй",
    ]),
    (Category::Analytical, 1.0, &[
        "compare", "comparison", "evaluate", "assess", "statistics", "trend", "trends", "calculate", "dataset", "probability", "equation",
        "prove", "derive", "revenue", "summarize", "summarise", "berechne", "bewerte", "calcule", "calcula", "compara", "confronta",
    ]),
    (Category::Translation, 2.5, &[
        "translate", "translation", "übersetze", "übersetzen", "übersetzung", "traduis", "traduire", "traduction", "traduce",
        "traducir", "traducción", "traduci", "tradurre", "traduzir", "traduza", "tradução", "vertaal", "vertaling", "przetłumacz",
        "çevir", "çeviri", "翻译", "翻譯", "翻訳", "번역", "переведи", "перевод", "ترجم",
    ]),
    (Category::Conversational, 1.0, &[
        "hello", "hi", "hey", "thanks", "thank you", "how are you", "good morning", "good evening", "who are you", "what s up",
        "let s talk", "i feel", "joke", "hallo", "bonjour", "hola", "ciao", "olá", "danke", "merci", "gracias", "grazie", "obrigado",
        "cześć", "merhaba", "你好", "こんにちは", "안녕", "привет", "спасибо",
    ]),
];

type Single = HashMap<Box<str>, (usize, Category, f64)>;
type Phrase = (Box<str>, Category, f64);

/// Cues of one word, looked up; each with a number of its own.
static SINGLE: LazyLock<Single> = LazyLock::new(|| {
    let found = cues().filter(|(words, ..)| words.trim().split(' ').count() == 1).enumerate();
    found.map(|(place, (words, category, weight))| (Box::from(words.trim()), (place, category, weight))).collect()
});

/// Cues of several words, searched for.
static PHRASES: LazyLock<Vec<Phrase>> = LazyLock::new(|| {
    let found = cues().filter(|(words, ..)| words.trim().split(' ').count() > 1);
    found.map(|(words, category, weight)| (words.into_boxed_str(), category, weight)).collect()
});

fn cues() -> impl Iterator<Item = (String, Category, f64)> {
    CUES.iter().flat_map(|(category, weight, cues)| cues.iter().map(|cue| (words_of(cue), *category, *weight)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::semantic::CONFIDENCE_MIN;

    #[test]
    fn plain_requests_fall_into_their_category() {
        for (category, text) in [
            (Category::Coding, "Refactor this Python function so that the unit tests pass"),
            (Category::Coding, "let x = vec![1];\nfor (i, y) in x.iter().enumerate() {\n    println!(\"{i}\");\n}"),
            (Category::Coding, "Why does my program segfault?"),
            (Category::Creative, "Write a short story about a lighthouse"),
            (Category::Creative, "Schreibe ein Gedicht über den Herbst"),
            (Category::Analytical, "Compare the revenue of both firms and list pros and cons"),
            (Category::Analytical, "分析这些数据"),
            (Category::Translation, "Translate this poem into French"),
            (Category::Translation, "Übersetze den Satz ins Englische"),
            (Category::Translation, "请翻译成英文"),
            (Category::Conversational, "Hi there! How are you today?"),
        ] {
            let found = classify(text);
            assert_eq!(found.category, category, "{text}");
            assert!(found.confidence >= CONFIDENCE_MIN && found.confidence < 1.0, "{text}: {found:?}");
        }
    }

    #[test]
    fn without_a_cue_nothing_is_sure() {
        for text in ["", "What is the capital of France?", "Wie hoch ist der Mont Blanc?", "42"] {
            let found = classify(text);
            assert_eq!(found.category, Category::Conversational, "{text}");
            assert!(found.confidence < CONFIDENCE_MIN, "{text}: {found:?}");
        }
    }

    #[test]
    fn saying_a_thing_often_makes_it_no_surer() {
        assert_eq!(classify("joke"), classify("joke joke joke joke"));
        let both = classify("a poem about python");
        assert!(both.confidence < CONFIDENCE_MIN, "{both:?}");
    }

    #[test]
    fn every_cue_is_told_apart_and_every_word_reads_back() {
        assert!(SINGLE.len() <= 256);
        let listed = cues().count();
        let distinct: std::collections::HashSet<String> = cues().map(|(words, ..)| words).collect();
        assert_eq!(distinct.len(), listed, "a cue stands twice");
        for (word, category) in CATEGORIES {
            assert_eq!((Category::parse(word), category.as_str()), (Some(*category), *word));
        }
    }
}

//! How far answers of several models agree, and which of them speaks for all.
//!
//! Pure, and deliberately simple: the likeness of two texts is the mean of two Jaccard indices, over their words and over their pairs of
//! neighbouring words, in lower case and without punctuation. It sees whether the same things are said in much the same words, which is
//! what short factual answers do when they agree; it does not see that two differently worded essays mean the same. Those go to a judge.

use std::collections::HashSet;

/// Words of a text that are compared; an answer longer than that agrees or not by its beginning.
const WORDS_MAX: usize = 2_000;

/// What is compared of one text.
struct Traits {
    words: HashSet<String>,
    pairs: HashSet<(String, String)>,
}

impl Traits {
    fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<String> = words.take(WORDS_MAX).map(str::to_owned).collect();
        let pairs = words.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Self { words: words.into_iter().collect(), pairs }
    }
}

fn jaccard<T: Eq + std::hash::Hash>(one: &HashSet<T>, other: &HashSet<T>) -> Option<f64> {
    let common = one.intersection(other).count();
    let all = one.len() + other.len() - common;
    (all > 0).then(|| common as f64 / all as f64)
}

fn likeness(one: &Traits, other: &Traits) -> f64 {
    let words = jaccard(&one.words, &other.words).unwrap_or(1.0);
    // Texts of one word have no pairs: their words decide.
    jaccard(&one.pairs, &other.pairs).map_or(words, |pairs| f64::midpoint(words, pairs))
}

/// How far two texts agree, 0 to 1.
pub fn agreement(one: &str, other: &str) -> f64 {
    likeness(&Traits::of(one), &Traits::of(other))
}

/// What several answers have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    /// The best agreement of any two, 0 to 1.
    pub agreement: f64,
    /// The answers that agree that well with the medoid, itself included, in their order.
    pub agreeing: Vec<usize>,
    /// The answer that is most like all others; the earlier one where two are alike.
    pub medoid: usize,
}

/// Compares all answers with each other; `None` where there are none. Answers belong together from `threshold` on.
pub fn compare(answers: &[&str], threshold: f64) -> Option<Consensus> {
    let traits: Vec<Traits> = answers.iter().map(|answer| Traits::of(answer)).collect();
    let like = |one: usize, other: usize| if one == other { 1.0 } else { likeness(&traits[one], &traits[other]) };
    let sums: Vec<f64> = (0..answers.len()).map(|one| (0..answers.len()).map(|other| like(one, other)).sum()).collect();
    let medoid = (0..answers.len()).reduce(|best, next| if sums[next] > sums[best] { next } else { best })?;
    let pairs = (0..answers.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    let agreement = pairs.map(|(one, other)| like(one, other)).reduce(f64::max).unwrap_or(1.0);
    let agreeing = (0..answers.len()).filter(|other| like(medoid, *other) >= threshold).collect();
    Some(Consensus { agreement, agreeing, medoid })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARIS: &str = "The capital of France is Paris.";

    #[test]
    fn the_same_words_agree_whatever_their_dress() {
        assert_eq!(agreement(PARIS, "the capital of france is PARIS"), 1.0);
        assert_eq!(agreement("Paris", "paris!"), 1.0);
        assert_eq!(agreement("", ""), 1.0);
        assert_eq!(agreement(PARIS, "Berlin"), 0.0);
        assert_eq!(agreement("", PARIS), 0.0);
        let near = agreement(PARIS, "The capital of France is the city of Paris.");
        assert!((0.5..0.95).contains(&near), "{near}");
    }

    #[test]
    fn agreement_has_no_sides() {
        let other = "Paris is the capital of France";
        assert_eq!(agreement(PARIS, other), agreement(other, PARIS));
        assert!(agreement(PARIS, other) < 1.0, "the order of words counts");
    }

    #[test]
    fn the_majority_speaks_for_all() {
        let answers = ["Lyon, I believe", PARIS, "The capital of France is Paris"];
        let found = compare(&answers, 0.7).expect("there are answers");
        assert_eq!((found.medoid, found.agreeing), (1, vec![1, 2]));
        assert_eq!(found.agreement, 1.0);
    }

    #[test]
    fn a_lone_answer_agrees_with_itself_and_none_has_no_consensus() {
        let alone = compare(&[PARIS], 0.7).expect("there is one");
        assert_eq!((alone.medoid, alone.agreement, alone.agreeing), (0, 1.0, vec![0]));
        assert_eq!(compare(&[], 0.7), None);
    }

    #[test]
    fn strangers_do_not_agree() {
        let found = compare(&["alpha beta gamma", "delta epsilon zeta"], 0.7).expect("there are answers");
        assert_eq!((found.agreement, found.medoid, found.agreeing), (0.0, 0, vec![0]));
    }
}

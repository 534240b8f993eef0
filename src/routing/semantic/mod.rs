//! What `model: "auto"` stands for: the owner's rules, matched against plain features of a request.
//!
//! Pure: a text and a few figures in, the first rule that fits out. The text is the last thing that a user said, bounded by the caller; it
//! is looked at and not kept (rule R1). Nothing is guessed: a language that is not plain is no language, and what nothing points to has
//! little confidence.

mod category;
mod language;
mod words;

pub use category::{CATEGORIES, Category, Classified, classify};
pub use language::{LANGUAGES, Language};
pub use words::{code_share, words_of};

use std::cell::OnceCell;
use std::sync::Arc;

/// Confidence of the built-in classifier from which a rule believes it: one cue and nothing against it.
pub const CONFIDENCE_MIN: f64 = 0.5;

/// One row of the owner's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The category, as answers name it; `None`: what the classifier says.
    pub category: Option<Arc<str>>,
    /// The model name to ask for in place of `auto`.
    pub model: Arc<str>,
    /// What must be true of a request, all of it; the default is true of every request.
    pub when: Conditions,
}

/// What must be true of a request for a rule to fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The built-in classifier says so, with [`CONFIDENCE_MIN`] or more.
    pub class: Option<Category>,
    /// One of these is in the text, as [`words_of`] gives them; empty asks for none.
    pub any: Vec<Box<str>>,
    /// All of these are in the text, in the same form.
    pub all: Vec<Box<str>>,
    /// The least tokens of the whole prompt.
    pub input_tokens_min: u64,
    /// The most tokens of the whole prompt.
    pub input_tokens_max: Option<u64>,
    /// Whether the request has tools.
    pub tools: Option<bool>,
    /// The text is in one of these; empty asks for none.
    pub languages: Vec<Language>,
    /// The least share of the text that is code, 0 to 1.
    pub code_share_min: Option<f64>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features<'a> {
    /// What the user said last, or the ends of it.
    pub text: &'a str,
    /// Tokens of the whole prompt, estimated.
    pub input_tokens: u64,
    /// Whether the request has tools.
    pub tools: bool,
}

/// A rule that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Its place in the table.
    pub rule: usize,
    /// The model name to ask for.
    pub model: Arc<str>,
    /// The category it found.
    pub category: Arc<str>,
    /// How sure that is, 0 to 1: 1 where the owner's own conditions decided.
    pub confidence: f64,
}

/// The first rule that fits.
pub fn choose(rules: &[Rule], features: &Features<'_>) -> Option<Match> {
    let seen = Seen { features, words: OnceCell::new(), language: OnceCell::new(), classified: OnceCell::new() };
    let rule = rules.iter().position(|rule| seen.fit(&rule.when))?;
    let Rule { category, model, when } = &rules[rule];
    let by_classifier = when.class.is_some() || category.is_none();
    let classified = || *seen.classified();
    let category = category.clone().unwrap_or_else(|| Arc::from(classified().category.as_str()));
    let confidence = if by_classifier { classified().confidence } else { 1.0 };
    Some(Match { rule, model: model.clone(), category, confidence })
}

/// Features with what is worked out from them, each once and only when a rule asks.
struct Seen<'f> {
    features: &'f Features<'f>,
    words: OnceCell<String>,
    language: OnceCell<Option<Language>>,
    classified: OnceCell<Classified>,
}

// === impl Seen ===

impl Seen<'_> {
    /// Cheap conditions first.
    fn fit(&self, when: &Conditions) -> bool {
        let tokens = self.features.input_tokens;
        tokens >= when.input_tokens_min
            && when.input_tokens_max.is_none_or(|most| tokens <= most)
            && when.tools.is_none_or(|tools| tools == self.features.tools)
            && (when.any.is_empty() || when.any.iter().any(|sought| self.has(sought)))
            && when.all.iter().all(|sought| self.has(sought))
            && (when.languages.is_empty() || self.language().is_some_and(|spoken| when.languages.contains(&spoken)))
            && when.code_share_min.is_none_or(|least| code_share(self.features.text) >= least)
            && when.class.is_none_or(|class| self.is_of(class))
    }

    fn words(&self) -> &str {
        self.words.get_or_init(|| words_of(self.features.text))
    }

    /// Both have a space at either end, so that only whole words are found.
    fn has(&self, sought: &str) -> bool {
        memchr::memmem::find(self.words().as_bytes(), sought.as_bytes()).is_some()
    }

    fn language(&self) -> Option<Language> {
        *self.language.get_or_init(|| language::detect(self.words()))
    }

    fn classified(&self) -> &Classified {
        self.classified.get_or_init(|| category::of_words(self.words(), code_share(self.features.text)))
    }

    fn is_of(&self, class: Category) -> bool {
        let classified = self.classified();
        classified.category == class && classified.confidence >= CONFIDENCE_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(category: Option<&str>, model: &str, when: Conditions) -> Rule {
        Rule { category: category.map(Arc::from), model: Arc::from(model), when }
    }

    fn words(list: &[&str]) -> Vec<Box<str>> {
        list.iter().map(|word| words_of(word).into_boxed_str()).collect()
    }

    fn says(text: &str) -> Features<'_> {
        Features { text, input_tokens: 100, tools: false }
    }

    #[test]
    fn the_first_rule_that_fits_wins() {
        let coding = Conditions { class: Some(Category::Coding), ..Conditions::default() };
        let legal = Conditions { any: words(&["contract", "Vertrag"]), ..Conditions::default() };
        let rules = [
            rule(Some("legal"), "careful", legal),
            rule(Some("coding"), "coder", coding),
            rule(None, "usual", Conditions::default()),
        ];
        let found = |text| choose(&rules, &says(text)).map(|found| (found.rule, found.model.to_string()));
        assert_eq!(found("Explain this CONTRACT."), Some((0, "careful".to_owned())));
        assert_eq!(found("Debug this Python function: it raises an exception."), Some((1, "coder".to_owned())));
        assert_eq!(found("What is the capital of France?"), Some((2, "usual".to_owned())));
        assert_eq!(found(""), Some((2, "usual".to_owned())));
        assert_eq!(choose(&rules[..2], &says("What is the capital of France?")), None);
        assert_eq!(choose(&[], &says("x")), None);
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let when = Conditions {
            any: words(&["refund", "invoice"]),
            all: words(&["order number"]),
            input_tokens_min: 50,
            input_tokens_max: Some(200),
            tools: Some(true),
            languages: vec![Language::parse("en").expect("a language")],
            code_share_min: None,
            class: None,
        };
        let rules = [rule(Some("billing"), "m", when)];
        let text = "I would like a refund for the order, and this is the order number that you have sent to me";
        let good = Features { text, input_tokens: 100, tools: true };
        let found = choose(&rules, &good).expect("it fits");
        assert_eq!((&*found.category, found.confidence), ("billing", 1.0));
        let others = [
            Features { tools: false, ..good },
            Features { input_tokens: 49, ..good },
            Features { input_tokens: 201, ..good },
            Features { text: "I would like a refund for the order that you have sent to me", ..good },
            Features { text: "This is the order number that you have sent to me", ..good },
            Features { text: "Die refund und die order number, bitte, das ist nicht mehr das was ich will", ..good },
        ];
        for other in others {
            assert_eq!(choose(&rules, &other), None, "{other:?}");
        }
        for edge in [50, 200] {
            assert!(choose(&rules, &Features { input_tokens: edge, ..good }).is_some(), "{edge}");
        }
    }

    #[test]
    fn keywords_are_whole_words_of_any_case_and_script() {
        let fits = |keyword: &str, text: &str| {
            let when = Conditions { any: words(&[keyword]), ..Conditions::default() };
            choose(&[rule(None, "m", when)], &says(text)).is_some()
        };
        for (keyword, text) in [
            ("rust", "Is RUST fast?"),
            ("C++", "a c++ compiler"),
            ("C#", "In C#, how"),
            ("unit test", "write a Unit\n  test"),
            ("straße", "Die STRAßE."),
            ("don't", "I don’t know"),
            ("翻译", "请翻译这段"),
            ("코드", "이 코드를 고쳐"),
            ("помощь", "Помощь!"),
        ] {
            assert!(fits(keyword, text), "{keyword} in {text}");
        }
        for (keyword, text) in [("rust", "trust me, rusty"), ("C++", "c"), ("c", "c++"), ("unit test", "unit-x test")] {
            assert!(!fits(keyword, text), "{keyword} in {text}");
        }
    }

    #[test]
    fn code_is_measured_and_an_unnamed_category_is_what_it_looks_like() {
        let when = Conditions { code_share_min: Some(0.5), ..Conditions::default() };
        let rules = [rule(None, "coder", when)];
        let found = choose(&rules, &says("Why?\n```\nfn main() {}\nlet x = 1;\n```")).expect("mostly code");
        assert_eq!((&*found.category, found.confidence >= CONFIDENCE_MIN), ("coding", true));
        assert_eq!(choose(&rules, &says("Tell me about the weather in the mountains; it is cold.")), None);
    }
}

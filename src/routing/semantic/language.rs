//! The language of a text: by its script where that decides, else by the little words that every sentence has. Unknown rather than guessed.

/// A language by its ISO 639-1 code, one of [`LANGUAGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(&'static str);

/// Every language that is recognised.
pub const LANGUAGES: &[&str] = &[
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "zh", "ja", "ko", "ru", "uk", "ar", "fa", "he", "el", "hi",
    "th",
];

// === impl Language ===

impl Language {
    /// Reads a language by its code.
    pub fn parse(code: &str) -> Option<Self> {
        LANGUAGES.iter().find(|known| **known == code).map(|known| Self(known))
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        self.0
    }
}

/// Letters by script.
#[derive(Default)]
struct Letters {
    latin: usize,
    han: usize,
    kana: usize,
    hangul: usize,
    cyrillic: usize,
    arabic: usize,
    hebrew: usize,
    greek: usize,
    devanagari: usize,
    thai: usize,
}

/// The language of a text in words ([`super::words_of`]).
pub(super) fn detect(words: &str) -> Option<Language> {
    let letters = Letters::of(words);
    // A character of these scripts is a syllable or a word; a letter of an alphabet is less.
    let dense = (letters.han + letters.kana + letters.hangul) * 3;
    let all = letters.latin
        + dense
        + letters.cyrillic
        + letters.arabic
        + letters.hebrew
        + letters.greek
        + letters.devanagari
        + letters.thai;
    if all < LETTERS_LEAST {
        return None;
    }
    let is_most = |letters: usize| letters * 10 >= all * 6;
    let code = if is_most(dense) {
        // Japanese text has kana all through; Korean rarely has Han.
        match (letters.kana * 10 >= letters.han, letters.hangul > letters.han + letters.kana) {
            (_, true) => "ko",
            (true, false) if letters.kana > 0 => "ja",
            _ => "zh",
        }
    } else if is_most(letters.latin) {
        return latin(words);
    } else if is_most(letters.cyrillic) {
        cyrillic(words)?
    } else if is_most(letters.arabic) {
        arabic(words)?
    } else if is_most(letters.devanagari) {
        // Marathi and Nepali share the script.
        has_word(words, &["है", "हैं", "का", "की", "के", "में", "नहीं", "और"]).then_some("hi")?
    } else {
        let whole = [(letters.hebrew, "he"), (letters.greek, "el"), (letters.thai, "th")];
        whole.iter().find(|(count, _)| is_most(*count)).map(|(_, code)| *code)?
    };
    Language::parse(code)
}

/// Fewer letters say nothing.
const LETTERS_LEAST: usize = 6;

impl Letters {
    fn of(words: &str) -> Self {
        let mut letters = Self::default();
        for letter in words.chars().filter(|letter| letter.is_alphabetic()) {
            match letter {
                'a'..='z' | 'à'..='ɏ' | 'ḁ'..='ỿ' => letters.latin += 1,
                '\u{0370}'..='\u{03FF}' | '\u{1F00}'..='\u{1FFF}' => letters.greek += 1,
                '\u{0400}'..='\u{052F}' => letters.cyrillic += 1,
                '\u{0590}'..='\u{05FF}' => letters.hebrew += 1,
                '\u{0600}'..='\u{077F}' => letters.arabic += 1,
                '\u{0900}'..='\u{097F}' => letters.devanagari += 1,
                '\u{0E00}'..='\u{0E7F}' => letters.thai += 1,
                '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' => letters.kana += 1,
                '\u{AC00}'..='\u{D7A3}' => letters.hangul += 1,
                '\u{3400}'..='\u{4DBF}'
                | '\u{4E00}'..='\u{9FFF}'
                | '\u{F900}'..='\u{FAFF}'
                | '\u{20000}'..='\u{3FFFF}' => {
                    letters.han += 1;
                }
                _ => {}
            }
        }
        letters
    }
}

/// Whether one of the words is in the text; of scripts that [`super::words_of`] keeps whole.
fn has_word(words: &str, sought: &[&str]) -> bool {
    words.split_whitespace().any(|word| sought.contains(&word))
}

/// Russian and Ukrainian by letters that only one of them has; other languages of the script have neither, or both.
fn cyrillic(words: &str) -> Option<&'static str> {
    let russian = words.contains(['ы', 'э', 'ё']);
    let ukrainian = words.contains(['і', 'ї', 'є', 'ґ']);
    match (russian, ukrainian) {
        (true, false) => Some("ru"),
        (false, true) => Some("uk"),
        (true, true) => None,
        (false, false) => {
            has_word(words, &["что", "как", "это", "если", "для", "или", "привет", "спасибо", "мне"]).then_some("ru")
        }
    }
}

/// Arabic and Persian by letters and words; Urdu and others have letters of their own.
fn arabic(words: &str) -> Option<&'static str> {
    if words.contains(['ٹ', 'ڈ', 'ڑ', 'ے', 'ۆ', 'ێ']) {
        return None;
    }
    let persian = words.contains(['پ', 'چ', 'ژ', 'گ']) || has_word(words, &["است", "این", "برای", "را", "که"]);
    let arabic =
        words.contains(['ة', 'ى', 'أ', 'إ']) || has_word(words, &["في", "من", "على", "هذا", "ما", "هل", "إلى"]);
    match (persian, arabic) {
        (true, false) => Some("fa"),
        (false, true) => Some("ar"),
        _ => None,
    }
}

/// Little words that sentences cannot do without, and letters that few other languages have.
#[rustfmt::skip]
const LATIN: &[(&str, &[&str], &[char])] = &[
    ("en", &["the", "of", "and", "to", "a", "is", "you", "that", "it", "this", "with", "are", "what", "how", "for", "my", "please", "can",
             "why", "i", "not", "from", "which", "have", "do", "does", "an", "be", "your", "would", "should"], &[]),
    ("de", &["der", "die", "das", "und", "ist", "nicht", "ein", "eine", "ich", "wie", "mit", "zu", "den", "für", "auf", "von", "bitte",
             "sie", "es", "was", "einen", "dem", "im", "mir", "auch", "kann", "wir", "sind", "über", "warum"], &['ß']),
    ("fr", &["le", "la", "les", "et", "est", "des", "une", "un", "je", "vous", "pour", "dans", "que", "qui", "pas", "ce", "du", "sur",
             "avec", "comment", "mon", "il", "elle", "nous", "au", "sont", "moi", "cette", "quel", "quelle"], &['œ', 'ê', 'û']),
    ("es", &["el", "la", "los", "las", "y", "que", "un", "una", "por", "para", "con", "es", "como", "cómo", "qué", "mi", "del", "se",
             "lo", "está", "son", "pero", "más", "muy", "este", "esta", "dónde", "puedo"], &['ñ', '¿', '¡']),
    ("it", &["il", "la", "che", "di", "e", "un", "una", "per", "con", "non", "è", "sono", "come", "mi", "del", "della", "gli", "questo",
             "questa", "cosa", "più", "perché", "ho", "nel", "anche", "puoi"], &['ì', 'ò']),
    ("pt", &["o", "os", "as", "e", "que", "um", "uma", "para", "com", "não", "é", "como", "por", "do", "da", "em", "no", "na", "meu",
             "você", "são", "mais", "este", "isso", "muito", "eu", "qual", "dos"], &['ã', 'õ']),
    ("nl", &["de", "het", "een", "en", "van", "ik", "je", "dat", "niet", "is", "op", "te", "met", "voor", "zijn", "wat", "hoe", "kan",
             "mijn", "deze", "naar", "ook", "maar", "er", "aan", "waarom", "wil"], &[]),
    ("pl", &["i", "w", "na", "nie", "się", "jest", "to", "z", "że", "jak", "do", "co", "czy", "mi", "dla", "jestem", "są", "od", "ale",
             "proszę", "mam", "dlaczego", "tego", "oraz"], &['ł', 'ą', 'ę', 'ś', 'ż', 'ź', 'ć']),
    ("tr", &["ve", "bir", "bu", "için", "ne", "nasıl", "ile", "mi", "çok", "ben", "da", "de", "var", "değil", "olan", "gibi", "daha",
             "benim", "lütfen", "nedir", "neden", "en"], &['ğ', 'ı', 'ş']),
];

/// By hits: two at least, a twelfth of all words, and clearly more than any other language has.
fn latin(words: &str) -> Option<Language> {
    let mut hits = [0_usize; LATIN.len()];
    let mut count = 0;
    for word in words.split_ascii_whitespace() {
        count += 1;
        for (slot, (_, known, letters)) in hits.iter_mut().zip(LATIN) {
            *slot += usize::from(known.contains(&word));
            *slot += 2 * usize::from(!word.is_ascii() && word.contains(*letters));
        }
    }
    let best = (0..LATIN.len()).max_by_key(|place| hits[*place])?;
    let others = (0..LATIN.len()).filter(|place| *place != best);
    let second = others.map(|place| hits[place]).max().unwrap_or(0);
    let clear = hits[best] >= 2 && hits[best] * 12 >= count && hits[best] * 2 >= second * 3 && hits[best] > second;
    clear.then(|| Language::parse(LATIN[best].0)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::semantic::words_of;

    fn code(text: &str) -> Option<&'static str> {
        detect(&words_of(text)).map(Language::code)
    }

    #[test]
    fn sentences_are_recognised() {
        for (language, text) in [
            ("en", "Could you please tell me how to fix the bug in this function?"),
            ("en", "What is the capital of France?"),
            ("de", "Kannst du mir bitte sagen, wie ich den Fehler in dieser Funktion behebe?"),
            ("de", "Wie spät ist es?"),
            ("fr", "Pouvez-vous me dire comment corriger cette erreur dans le programme ?"),
            ("fr", "Quelle est la capitale de la France ?"),
            ("es", "¿Cómo puedo corregir el error en esta función?"),
            ("it", "Come posso correggere l'errore che c'è in questa funzione? Non è chiaro."),
            ("pt", "Como posso corrigir o erro que está na função? Não sei o que fazer."),
            ("nl", "Hoe kan ik de fout in deze functie herstellen, en wat is het probleem?"),
            ("pl", "Jak mogę naprawić błąd w tej funkcji? Nie wiem, co to jest."),
            ("tr", "Bu fonksiyondaki hatayı nasıl düzeltebilirim ve neden oluyor?"),
            ("zh", "请帮我修改这个函数"),
            ("ja", "この関数を直してください"),
            ("ja", "東京の天気を教えて"),
            ("ko", "이 함수를 고쳐 주세요"),
            ("ru", "Как мне исправить ошибку в этой функции, что вы думаете?"),
            ("uk", "Як мені виправити помилку в цій функції?"),
            ("ar", "كيف يمكنني إصلاح الخطأ في هذه الدالة؟"),
            ("fa", "چگونه این خطا را برطرف کنم؟"),
            ("he", "איך אני מתקן את השגיאה בפונקציה הזאת?"),
            ("el", "Πώς μπορώ να διορθώσω το σφάλμα;"),
            ("hi", "मैं इस त्रुटि को कैसे ठीक करूँ? यह क्या है"),
            ("th", "ฉันจะแก้ไขข้อผิดพลาดนี้ได้อย่างไร"),
        ] {
            assert_eq!(code(text), Some(language), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_unknown() {
        for text in [
            "",
            "ok",
            "12345 67890",
            "Kubernetes Docker PostgreSQL",
            "Mozart Beethoven Bach",
            "मराठी भाषा",
            "Hello Привет 你好",
            "let x = 5; x += 1;",
        ] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    #[test]
    fn a_foreign_word_does_not_change_the_language() {
        assert_eq!(code("Bitte erkläre mir das Wort 'serendipity' und wie ich es auf Deutsch sage"), Some("de"));
        assert_eq!(code("Please explain the German word Schadenfreude to me, and how it is used"), Some("en"));
        assert_eq!(code("请解释 async 和 await 的区别，谢谢"), Some("zh"));
    }

    #[test]
    fn codes_read_back() {
        for known in LANGUAGES {
            assert_eq!(Language::parse(known).map(Language::code), Some(*known));
        }
        assert_eq!(Language::parse("xx"), None);
        assert!(LATIN.iter().all(|(code, ..)| LANGUAGES.contains(code)));
    }
}

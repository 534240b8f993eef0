use super::super::usage::answer_of_body;
use super::Accounting::{OpenAi, Xai};
use super::*;

/// An answer of OpenAI's, with these words and figures.
fn answer(id: &str, words: &str, figures: [u64; 4], tail: &str) -> String {
    let [prompt, completion, cached, reasoning] = figures;
    let total = prompt + completion;
    format!(
        r#"{{"id":"{id}","object":"chat.completion","created":1764201600,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":0}}}},"service_tier":"default"{tail}}}"#
    )
}

/// A recall that has read `first`, and whether it knows `next` by it; whatever it says of that is what a reader in full says.
fn knows(first: &str, next: &str, accounting: Accounting) -> bool {
    let mut recall = Recall::default();
    recall.read(first.as_bytes(), accounting);
    let known = recall.moulds.first().and_then(|mould| mould.read(next.as_bytes(), accounting));
    let expected = answer_of_body(next.as_bytes(), accounting);
    assert!(known.is_none_or(|known| known == expected), "{first}\n{next}");
    assert_eq!(recall.read(next.as_bytes(), accounting), expected, "{first}\n{next}");
    known.is_some()
}

#[test]
fn an_answer_like_the_last_one_is_known_with_its_own_figures() {
    let first = answer("chatcmpl-1", "one", [12, 34, 5, 6], "");
    let next = answer("chatcmpl-22", "two \\n \\\"words\\\" größer", [1_234, 7, 100, 2], "");
    assert!(knows(&first, &first, OpenAi) && knows(&first, &next, OpenAi));
    let mut recall = Recall::default();
    recall.read(first.as_bytes(), OpenAi);
    let usage = recall.read(next.as_bytes(), OpenAi).usage.expect("a usage");
    assert_eq!((usage.input, usage.output, usage.cached_input, usage.reasoning), (1_234, 7, 100, 2));
    assert!(recall.misses == 0 && recall.moulds[0].proven);
    // A tier that is another one is not overlooked, and neither is what follows.
    for other in [
        next.replace("default", "flex"),
        next.clone() + " ",
        next.clone() + "x",
        next.replace("}}", "}"),
        next.replace("annotations\":[]", "annotations\":[{}]"),
        next.replace("\"total_tokens\"", "\"prompt_tokens\""),
        next.replace(":1234,", ":1234.0,"),
        next.replace(":1234,", ":-1,"),
        next.replace(":1234,", ":null,"),
        next.replace(":1234,", ":01234,"),
        next.replace(":1234,", ":9999999999999999999999,"),
        next.replace("two", "\\u0074wo"),
        next.replace("two", "\u{1}two"),
        next.replace("two", "\",\"usage\":{\"prompt_tokens\":1},\"x\":\""),
        answer("chatcmpl-22", "two", [1_234, 7, 100, 2], ",\"metadata\":{\"a\":1}"),
        answer("chatcmpl-22", "two", [1_234, 7, 100, 2], ",\"usage\":null"),
        String::new(),
    ] {
        assert!(!knows(&first, &other, OpenAi), "{other}");
    }
    let spelt =
        |tier: &str| next.replace("\"service_tier\":\"default\"", &format!("\"service\\u005ftier\":\"{tier}\""));
    assert!(!knows(&spelt("flex"), &spelt("priority"), OpenAi));
    assert!(!knows(&first, "{\"error\":{\"message\":\"no\"}}", OpenAi));
    let mut broken = next.into_bytes();
    let place = broken.windows(3).position(|three| three == b"two").expect("there");
    broken[place] = 0xff;
    assert_eq!(recall.read(&broken, OpenAi), Answer::default());
}

#[test]
fn figures_are_taken_from_where_the_reader_takes_them() {
    let rows = [
        (r#"{"usage":{"total_tokens":11}}"#, r#"{"usage":{"total_tokens":7}}"#),
        (r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#, r#"{"usage":{"input_tokens":30,"output_tokens":41}}"#),
        // The flat name of cached tokens counts only where no detail does, and of two names the official one.
        (
            r#"{"usage":{"prompt_tokens":90,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":64},"cached_tokens":65}}"#,
            r#"{"usage":{"prompt_tokens":91,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":32},"cached_tokens":31}}"#,
        ),
        (
            r#"{"x_groq":{"usage":{"prompt_tokens":9}},"choices":[{"usage":{"prompt_tokens":8}}],"usage":null}"#,
            r#"{"x_groq":{"usage":{"prompt_tokens":5}},"choices":[{"usage":{"prompt_tokens":4}}],"usage":null}"#,
        ),
        (
            r#"{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}}"#,
            r#"{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":41,"completion_tokens_details":{"reasoning_tokens":5}}}"#,
        ),
        // What is said twice is not believed, in the next answer either.
        (
            r#"{"usage":{"prompt_tokens":3},"x_groq":1,"x_groq":2}"#,
            r#"{"usage":{"prompt_tokens":4},"x_groq":1,"x_groq":2}"#,
        ),
        (r#"{"usage":{"prompt_tokens":3,"prompt_tokens":4}}"#, r#"{"usage":{"prompt_tokens":4,"prompt_tokens":5}}"#),
    ];
    for (at, (first, next)) in rows.into_iter().enumerate() {
        for accounting in [OpenAi, Xai] {
            assert_eq!(knows(first, next, accounting), at < 5, "{first}");
            knows(next, first, accounting);
        }
    }
    let mut recall = Recall::default();
    let (first, next) = rows[4];
    recall.read(first.as_bytes(), Xai);
    assert_eq!(recall.read(next.as_bytes(), OpenAi), answer_of_body(next.as_bytes(), OpenAi), "another accounting");
}

#[test]
fn nothing_that_an_answer_says_is_kept() {
    let body =
        answer("chatcmpl-1", "confidential", [12, 34, 5, 6], ",\"odd\":\"confidential\",\"list\":[\"confidential\"]");
    let mut recall = Recall::default();
    recall.read(body.as_bytes(), OpenAi);
    assert!(recall.moulds.len() == 1 && !format!("{recall:?}").contains("confidential"));
    let kept = format!("{:?}", "confidential".as_bytes());
    assert!(!format!("{recall:?}").contains(kept.trim_matches(['[', ']'])));
}

#[test]
fn several_kinds_are_known_and_what_never_comes_again_is_tried_less_often() {
    let plain = answer("a", "b", [1, 2, 3, 4], "");
    let called = answer("a", "b", [1, 2, 3, 4], ",\"x\":[]");
    let vectors = format!("{{\"data\":[{}0.5],\"usage\":{{\"prompt_tokens\":8}}}}", "0.25,".repeat(2_000));
    let mut recall = Recall::default();
    let read = |recall: &mut Recall, body: &str| {
        let before = recall.misses;
        assert_eq!(recall.read(body.as_bytes(), OpenAi), answer_of_body(body.as_bytes(), OpenAi));
        recall.misses == before && recall.moulds.first().is_some_and(|first| first.proven)
    };
    for _ in 0..2 {
        read(&mut recall, &plain);
    }
    for _ in 0..2 {
        read(&mut recall, &called);
    }
    for _ in 0..10 {
        assert!(read(&mut recall, &plain) && read(&mut recall, &called));
    }
    // Vectors are too many figures for a mould, and others come once only: neither puts the known ones out.
    for turn in 0..1_000 {
        read(&mut recall, &vectors);
        read(&mut recall, &answer("a", "b", [1, 2, 3, 4], &format!(",\"x{turn}\":1")));
        assert!(read(&mut recall, &plain));
    }
    assert!(recall.patience == PATIENCE_MOST && recall.moulds.len() <= MOULDS_MAX);
    // A new kind is known before long.
    let next = answer("a", "b", [1, 2, 3, 4], ",\"next\":1");
    let known = (0..=2 * usize::from(PATIENCE_MOST)).filter(|_| read(&mut recall, &next)).count();
    assert!(known >= usize::from(PATIENCE_MOST) && recall.patience == 1, "{known}");
}

/// Whatever comes after whatever, a recall says what a reader in full says.
#[test]
fn a_recall_never_says_anything_else_than_a_reader_in_full() {
    let mut dice = fastrand::Rng::with_seed(0x1917);
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"usage\":",
        "\"prompt_tokens\":",
        "\"total_tokens\":",
        "\"cached_tokens\":",
        "\"prompt_tokens_details\":",
        "\"service_tier\":",
        "\"flex\"",
        "\"default\"",
        "\"a\"",
        "\"b\\n\"",
        "\"\\u00e4\"",
        "\"metadata\":",
        "\"choices\":",
        "\"x_groq\":",
        "7",
        "42",
        "0",
        "-1",
        "1.5",
        "null",
        "true",
        " ",
        "\"",
        "\\",
    ];
    let mut recall = Recall::default();
    let (mut known, mut last) = (0, String::new());
    for turn in 0..40_000 {
        // One like the last, the last with a change in it, or pieces of anything.
        let body = match dice.u32(0..8) {
            0 => (0..dice.usize(0..12)).map(|_| pieces[dice.usize(0..pieces.len())]).collect(),
            1..=3 => {
                let figures = std::array::from_fn(|_| dice.u64(0..2_000));
                let words = ["", "a", "say \\\"usage\\\": {}", "ä\\n", "\\u0041"][dice.usize(0..5)];
                let tail = ["", "", "", ",\"metadata\":{}", ",\"usage\":{\"prompt_tokens\":1}"][dice.usize(0..5)];
                answer(&format!("chatcmpl-{turn}"), words, figures, tail)
            }
            _ => {
                let at = dice.usize(0..=last.len());
                let at = (0..=at).rev().find(|at| last.is_char_boundary(*at)).unwrap_or(0);
                let end = (at + dice.usize(0..3)).min(last.len());
                let end = (end..=last.len()).find(|end| last.is_char_boundary(*end)).unwrap_or(last.len());
                format!("{}{}{}", &last[..at], pieces[dice.usize(0..pieces.len())], &last[end..])
            }
        };
        let accounting = if dice.bool() { OpenAi } else { Xai };
        let by_mould = recall.moulds.iter().find_map(|mould| mould.read(body.as_bytes(), accounting));
        known += usize::from(by_mould.is_some());
        assert_eq!(recall.read(body.as_bytes(), accounting), answer_of_body(body.as_bytes(), accounting), "{body}");
        if !body.is_empty() && dice.u32(0..3) == 0 || last.is_empty() {
            last = body;
        }
    }
    assert!(known > 200, "{known} were known");
}

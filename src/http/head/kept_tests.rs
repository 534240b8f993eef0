//! A reader that has read heads before answers as a new one does, whatever came before: over sequences of heads that are alike.

use super::*;
use proptest::prelude::*;

const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8081\r\nUser-Agent: OpenAI/Python 1.99.0\r\n\
                       Authorization: Bearer sk-igris-abc\r\nX-Empty: \r\nx-none:\r\nConnection: keep-alive, X-Empty\r\n\
                       Content-Type: application/json\r\ntraceparent: 00-1-2-03\r\nContent-Length: 12\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 00:16:29 GMT\r\nContent-Type: application/json\r\n\
                      x-request-id: req_1\r\nx-ratelimit-remaining-requests: 99\r\nContent-Length: 12\r\n\r\n";

/// All that a request head answers.
fn told(head: &mut RequestHead, bytes: &[u8], limits: &HeadLimits) -> Result<Option<(usize, String)>, HeadFault> {
    let Progress::Complete { consumed } = head.parse(bytes, limits)? else { return Ok(None) };
    let fields: Vec<_> = head.fields(bytes).map(|field| (field, field.is_hop_by_hop())).collect();
    let finds: Vec<_> = [KnownField::ContentType, KnownField::Traceparent, KnownField::Cookie]
        .map(|known| head.find(bytes, known))
        .into();
    let target = (head.method(), head.version(), head.path(bytes), head.query(bytes), head.authority(bytes));
    let shown = head.credentials(bytes).key();
    let verdicts = (head.framing(), head.persist(), head.expect_continue(), head.credentials(bytes), shown);
    Ok(Some((consumed, format!("{target:?} {verdicts:?} {finds:?} {fields:?}"))))
}

/// All that a response head answers.
fn answered(head: &mut ResponseHead, bytes: &[u8], limits: &HeadLimits) -> Result<Option<(usize, String)>, HeadFault> {
    let Progress::Complete { consumed } = head.parse(bytes, limits)? else { return Ok(None) };
    let fields: Vec<_> = head.fields(bytes).map(|field| (field, field.is_hop_by_hop())).collect();
    let (framing, persist) = (head.framing(Method::Post), head.persist(Method::Post));
    Ok(Some((consumed, format!("{} {:?} {framing:?} {persist} {fields:?}", head.status(), head.reason(bytes)))))
}

/// Reads heads one after the other with one reader, and each with a new one.
fn agree(heads: &[Vec<u8>], limits: &[HeadLimits]) {
    let (mut request, mut response) = (RequestHead::default(), ResponseHead::default());
    for (bytes, limits) in heads.iter().zip(limits.iter().cycle()) {
        let alone = told(&mut RequestHead::default(), bytes, limits);
        assert_eq!(told(&mut request, bytes, limits), alone, "{:?}", String::from_utf8_lossy(bytes));
        request.reset();
        let alone = answered(&mut ResponseHead::default(), bytes, limits);
        assert_eq!(answered(&mut response, bytes, limits), alone, "{:?}", String::from_utf8_lossy(bytes));
        response.reset();
    }
}

fn kept(request: &RequestHead) -> usize {
    request.reader.kept.bytes().len()
}

#[test]
fn the_second_head_on_a_connection_is_kept_and_the_third_compared() {
    let mut head = RequestHead::default();
    let mut lengths = Vec::new();
    for _ in 0..3 {
        told(&mut head, REQUEST.as_bytes(), &HeadLimits::REQUEST).unwrap();
        lengths.push(kept(&head));
    }
    assert_eq!(lengths, [0, REQUEST.len(), REQUEST.len()]);
    assert_eq!(head.reader.look(REQUEST.as_bytes(), &HeadLimits::REQUEST), Look::Unknown, "it is not a first look");
    head.reset();
    let other = REQUEST.replace("Length: 12", "Length: 4711").replace("00-1-2-03", "");
    for text in [REQUEST, &other, &other, REQUEST] {
        head.reset();
        let is_same = kept(&head) == text.len();
        let changed = KnownSet::of(&[KnownField::ContentLength, KnownField::Traceparent]);
        let alike = Look::Alike { length: text.len(), changed };
        let wanted = if is_same { Look::Same(text.len()) } else { alike };
        assert_eq!(head.reader.look(text.as_bytes(), &HeadLimits::REQUEST), wanted);
        assert_eq!(kept(&head), text.len());
    }
}

#[test]
fn what_is_new_is_judged_as_if_nothing_had_come_before() {
    let changes = [
        ("Length: 12", "Length: 13"),
        ("Length: 12", "Length: 1x"),
        ("Length: 12", "Length: 12 "),
        ("Length: 12", "Length:  12"),
        ("Length: 12", "Length:12"),
        ("Length: 12", "Length: "),
        ("Length: 12\r\n", "Length: 12\r\nContent-Length: 12\r\n"),
        ("Content-Length: 12", "Content-Length:\t12"),
        ("keep-alive, X-Empty", "close"),
        ("keep-alive, X-Empty", "x-none"),
        ("keep-alive, X-Empty", "Authorization"),
        ("localhost:8081", "localhost:8082"),
        ("localhost:8081", "a b"),
        ("localhost:8081", "a\r\nHost: b"),
        ("localhost:8081", ""),
        ("Bearer sk-igris-abc", "Bearer sk-igris-abd"),
        ("localhost:8081", "longer.localhost:8081"),
        ("OpenAI/Python 1.99.0", "x"),
        ("Bearer sk-igris-abc", "Basic x"),
        ("Bearer sk-igris-abc", "Bearer x\r\nx-api-key: y"),
        ("X-Empty: ", "X-Empty: a"),
        ("X-Empty: ", "X-Empty: \x07"),
        ("x-none:", "x-none: b"),
        ("x-none:", "x_none:"),
        ("Content-Type", "content-type"),
        ("Content-Type", "Content_Type"),
        ("00-1-2-03", "00-1-2-03\n"),
        ("00-1-2-03", "00-1-\r2-03"),
        ("00-1-2-03", "é"),
        ("POST", "PUT"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("/v1/chat", "/v1/../chat"),
        ("\r\n\r\n", "\r\n"),
        ("\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\n"),
        ("\r\n\r\n", "\r\n \r\n\r\n"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"),
        ("200 OK", "204 No Content"),
        ("200 OK", "101 Switching Protocols"),
        ("200 OK", "100 Continue"),
        ("99", "98"),
        ("req_1", "req_22222222222222222222222222222222222222222"),
    ];
    let tight = HeadLimits { head_bytes: REQUEST.len() - 1, ..HeadLimits::REQUEST };
    let few = HeadLimits { fields: 8, ..HeadLimits::REQUEST };
    for whole in [REQUEST, ANSWER] {
        for (from, to) in changes {
            let (same, changed) = (whole.as_bytes().to_vec(), whole.replacen(from, to, 1).into_bytes());
            let heads = [&same, &same, &same, &changed, &changed, &changed, &same, &changed].map(Clone::clone);
            agree(&heads, &[HeadLimits::REQUEST]);
            agree(&heads, &[HeadLimits::REQUEST, HeadLimits::REQUEST, tight]);
            agree(&heads, &[HeadLimits::REQUEST, HeadLimits::REQUEST, few]);
        }
    }
}

#[test]
fn a_question_about_the_server_has_no_body_the_second_time_either() {
    let empty = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_vec();
    let full = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".to_vec();
    agree(&[&empty, &empty, &empty, &full, &empty, &full].map(Clone::clone), &[HeadLimits::REQUEST]);
}

#[test]
fn a_long_head_is_not_kept_and_a_shorter_one_leaves_nothing_of_the_one_before() {
    let mut head = RequestHead::default();
    let long = REQUEST.replace("00-1-2-03", &"t".repeat(limits::KEPT_HEAD_BYTES_MAX));
    for (text, wanted) in [(REQUEST, 0), (REQUEST, REQUEST.len()), (&long, 0), (REQUEST, REQUEST.len())] {
        told(&mut head, text.as_bytes(), &HeadLimits::REQUEST).unwrap();
        assert_eq!(kept(&head), wanted);
    }
    assert!(!format!("{head:?}").contains("115, 107, 45") && !format!("{head:?}").contains("sk-"), "rule V12");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any bytes anywhere in place of any others, again and again.
    #[test]
    fn any_change_is_judged_as_by_a_new_reader(
        edits in prop::collection::vec((0_usize..360, 0_usize..6, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..4),
            prop::sample::select(vec!["\r\n", "\r\nA: b", "a", "9", " ", ":", "_", "\r\nContent-Length: 1"])
                .prop_map(|text| text.as_bytes().to_vec()),
        ], any::<bool>()), 1..6),
        is_request in any::<bool>(),
    ) {
        let whole = if is_request { REQUEST } else { ANSWER }.as_bytes().to_vec();
        let (mut now, mut heads) = (whole.clone(), vec![whole.clone(), whole.clone()]);
        for (at, cut, text, again) in edits {
            let start = at.min(now.len());
            let end = (start + cut).min(now.len());
            now.splice(start..end, text);
            heads.push(now.clone());
            if again {
                now = whole.clone();
                heads.extend([whole.clone(), whole.clone()]);
            }
        }
        agree(&heads, &[HeadLimits::REQUEST]);
    }
}

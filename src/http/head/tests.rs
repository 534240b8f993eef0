//! Heads against the rules: plain ones, the adversarial tables of H2 to H16, every limit at n-1, n, n+1, and any split.

use super::*;
use proptest::prelude::*;

const WHOLE: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8081\r\nAuthorization: Bearer sk-igris-abc\r\n\
                     Content-Type: application/json\r\nContent-Length: 12\r\n\r\n";

fn request(text: &[u8]) -> Result<RequestHead, HeadFault> {
    let mut head = RequestHead::default();
    match head.parse(text, &HeadLimits::REQUEST)? {
        Progress::Complete { consumed } => assert_eq!(consumed, text.len()),
        Progress::Partial => panic!("not whole: {:?}", String::from_utf8_lossy(text)),
    }
    Ok(head)
}

fn response(text: &[u8]) -> Result<ResponseHead, HeadFault> {
    let mut head = ResponseHead::default();
    assert_ne!(head.parse(text, &HeadLimits::UPSTREAM)?, Progress::Partial, "{:?}", String::from_utf8_lossy(text));
    Ok(head)
}

/// A request with these lines after its Host.
fn with_fields(method: &str, version: &str, lines: &str) -> Result<RequestHead, HeadFault> {
    request(format!("{method} / {version}\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

fn post(lines: &str) -> Result<RequestHead, HeadFault> {
    with_fields("POST", "HTTP/1.1", lines)
}

fn target(method: &str, target: &str) -> Result<RequestHead, HeadFault> {
    request(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
}

#[test]
fn a_plain_request_is_read_as_written() {
    let bytes = WHOLE.as_bytes();
    let head = request(bytes).unwrap();
    assert_eq!((head.method(), head.version()), (Method::Post, Version::Http11));
    assert_eq!((head.path(bytes), head.query(bytes)), ("/v1/chat/completions", None));
    assert_eq!(head.authority(bytes), Some("localhost:8081"));
    assert_eq!(head.framing(), RequestFraming::Length(12));
    assert!(head.persist() && !head.expect_continue());
    assert_eq!(head.credentials(bytes), Presented::Bearer(b"sk-igris-abc"));
    let names: Vec<&str> = head.fields(bytes).map(|field| field.name).collect();
    assert_eq!(names, ["Host", "Authorization", "Content-Type", "Content-Length"]);
    assert_eq!(head.find(bytes, KnownField::ContentType), Some(&b"application/json"[..]));
    assert_eq!(head.find(bytes, KnownField::Cookie), None);
}

#[test]
fn a_head_is_reused_for_the_next_one_without_remains() {
    let mut head = RequestHead::default();
    head.parse(WHOLE.as_bytes(), &HeadLimits::REQUEST).unwrap();
    let next = b"GET /b?c=d HTTP/1.0\r\n\r\n";
    assert_eq!(head.parse(next, &HeadLimits::REQUEST), Ok(Progress::Complete { consumed: next.len() }));
    assert_eq!((head.path(next), head.query(next), head.authority(next)), ("/b", Some("c=d"), None));
    assert_eq!((head.framing(), head.persist()), (RequestFraming::None, false));
    assert_eq!(head.fields(next).count(), 0);
    head.parse(b"GET / HTTP/3.0\r\n", &HeadLimits::REQUEST).unwrap_err();
    assert_eq!(head.parse(WHOLE.as_bytes(), &HeadLimits::REQUEST), Ok(Progress::Complete { consumed: WHOLE.len() }));
}

#[test]
fn a_pipelined_request_stays_untouched() {
    let two = format!("{WHOLE}GET / HTTP/1.1\r\n");
    let mut head = RequestHead::default();
    assert_eq!(head.parse(two.as_bytes(), &HeadLimits::REQUEST), Ok(Progress::Complete { consumed: WHOLE.len() }));
}

/// Rule H2.
#[test]
fn lines_end_in_cr_lf_and_nothing_else() {
    let cases: [(&[u8], HeadFault); 8] = [
        (b"GET / HTTP/1.1\n", HeadFault::BareLineFeed),
        (b"\n", HeadFault::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\n", HeadFault::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", HeadFault::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\nGET /hidden HTTP/1.1\r\n\r\n", HeadFault::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n", HeadFault::ControlByte),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n", HeadFault::ControlByte),
        (b"GET /\rX HTTP/1.1\r\n", HeadFault::ControlByte),
    ];
    for (text, fault) in cases {
        let outcome = RequestHead::default().parse(text, &HeadLimits::REQUEST);
        assert_eq!(outcome, Err(fault), "{:?}", String::from_utf8_lossy(text));
        assert_eq!(fault.status(), 400);
    }
}

#[test]
fn four_empty_lines_are_skipped_and_a_fifth_is_not() {
    for (count, accepted) in [(3, true), (4, true), (5, false)] {
        let text = format!("{}{WHOLE}", "\r\n".repeat(count));
        let head = request(text.as_bytes());
        assert_eq!(head.is_ok(), accepted, "{count} empty lines");
        if let Ok(head) = head {
            assert_eq!(head.path(text.as_bytes()), "/v1/chat/completions");
        }
    }
    let outcome = ResponseHead::default().parse(b"\r\nHTTP/1.1 200 OK\r\n\r\n", &HeadLimits::UPSTREAM);
    assert_eq!(outcome, Err(HeadFault::StatusLine), "bytes before a response are extra bytes");
}

/// Rule H3.
#[test]
fn request_lines_out_of_form_are_refused_at_once() {
    let cases = [
        ("GET  / HTTP/1.1", HeadFault::RequestLine),
        ("GET /  HTTP/1.1", HeadFault::RequestLine),
        (" GET / HTTP/1.1", HeadFault::RequestLine),
        ("GET / HTTP/1.1 ", HeadFault::RequestLine),
        ("GET /", HeadFault::RequestLine),
        ("GET", HeadFault::RequestLine),
        ("GET /a b HTTP/1.1", HeadFault::RequestLine),
        ("G@T / HTTP/1.1", HeadFault::RequestLine),
        ("GET\t/ HTTP/1.1", HeadFault::ControlByte),
        ("GET / HTTP/1.2", HeadFault::Version),
        ("GET / HTTP/2.0", HeadFault::Version),
        ("GET / http/1.1", HeadFault::Version),
        ("GET / HTTP/1.10", HeadFault::Version),
        ("PRI * HTTP/2.0", HeadFault::Version),
        ("CONNECT a:443 HTTP/1.1", HeadFault::MethodNotAllowed),
        ("TRACE / HTTP/1.1", HeadFault::MethodNotAllowed),
        ("get / HTTP/1.1", HeadFault::MethodUnknown),
        ("BREW / HTTP/1.1", HeadFault::MethodUnknown),
    ];
    for (line, fault) in cases {
        let text = format!("{line}\r\n");
        assert_eq!(RequestHead::default().parse(text.as_bytes(), &HeadLimits::REQUEST), Err(fault), "{line:?}");
    }
    let statuses = [HeadFault::Version, HeadFault::MethodNotAllowed, HeadFault::MethodUnknown].map(HeadFault::status);
    assert_eq!(statuses, [505, 405, 501]);
}

/// Rule H4.
#[test]
fn malformed_fields_are_refused() {
    let cases = [
        ("Content-Length : 5\r\n", HeadFault::FieldName),
        ("X Y: z\r\n", HeadFault::FieldName),
        (": z\r\n", HeadFault::FieldName),
        ("novalue\r\n", HeadFault::FieldName),
        ("X\u{e9}: z\r\n", HeadFault::FieldName),
        ("X(: z\r\n", HeadFault::FieldName),
        (" folded\r\n", HeadFault::FoldedField),
        ("\tfolded\r\n", HeadFault::FoldedField),
        ("X: a\0b\r\n", HeadFault::ControlByte),
        ("X: a\u{1}b\r\n", HeadFault::ControlByte),
        ("X: a\u{7f}b\r\n", HeadFault::ControlByte),
        ("X\0: ab\r\n", HeadFault::FieldName),
    ];
    for (lines, fault) in cases {
        assert_eq!(post(lines).err(), Some(fault), "{lines:?}");
    }
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-A:\t two words\t \r\nX-B:\r\nX-C: \u{e9} \r\n\r\n".as_bytes();
    let head = request(text).unwrap();
    let values: Vec<&[u8]> = head.fields(text).skip(1).map(|field| field.value).collect();
    assert_eq!(values, [&b"two words"[..], b"", "\u{e9}".as_bytes()]);
}

/// Rule H5.
#[test]
fn content_length_is_digits_once() {
    for (value, length) in [("0", 0), ("12", 12), ("007", 7), ("9223372036854775807", i64::MAX as u64)] {
        let head = post(&format!("Content-Length: {value}\r\n")).unwrap();
        assert_eq!(head.framing(), RequestFraming::Length(length));
    }
    let malformed = [
        "",
        "+5",
        "-5",
        "5 5",
        "5,5",
        "0x5",
        "5.0",
        "9223372036854775808",
        "99999999999999999999999",
        "\u{665}",
        "1_0",
    ];
    for value in malformed {
        assert_eq!(post(&format!("Content-Length: {value}\r\n")).err(), Some(HeadFault::ContentLength), "{value:?}");
    }
    for (one, two) in [("5", "6"), ("5", "5")] {
        let lines = format!("Content-Length: {one}\r\ncontent-length: {two}\r\n");
        assert_eq!(post(&lines).err(), Some(HeadFault::ContentLengthRepeated), "{lines:?}");
    }
}

/// Rule H6 and H7.
#[test]
fn chunked_is_the_only_coding_and_stands_alone() {
    assert_eq!(post("Transfer-Encoding: ChunKed\r\n").unwrap().framing(), RequestFraming::Chunked);
    let cases = [
        ("Transfer-Encoding: gzip, chunked\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: chunked, chunked\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: identity\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: xchunked\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: chunked;q=1\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: chunked,\r\n", HeadFault::TransferCoding),
        ("Transfer-Encoding: \"chunked\"\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chun ked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: \r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", HeadFault::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HeadFault::LengthAndChunked),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", HeadFault::LengthAndChunked),
    ];
    for (lines, fault) in cases {
        assert_eq!(post(lines).err(), Some(fault), "{lines:?}");
    }
    let old = with_fields("POST", "HTTP/1.0", "Transfer-Encoding: chunked\r\n");
    assert_eq!(old.err(), Some(HeadFault::TransferEncoding));
    assert_eq!([HeadFault::TransferCoding, HeadFault::TransferEncoding].map(HeadFault::status), [501, 400]);
}

/// Rule H7: what `Connection` may not name.
#[test]
fn connection_cannot_take_away_what_must_arrive() {
    let names = [
        "host",
        "Content-Length",
        "transfer-encoding",
        "AUTHORIZATION",
        "x-api-key",
        "x-goog-api-key",
        "api-key",
        "x-igris-provider",
        "x-request-id",
        "via",
        "a b",
        "\"close\"",
    ];
    for name in names {
        let lines = format!("Connection: close, {name}\r\n");
        assert_eq!(post(&lines).err(), Some(HeadFault::ConnectionOption), "{name}");
    }
    for (count, accepted) in [(31, true), (32, true), (33, false)] {
        let lines = format!("Connection: {}\r\n", "x,".repeat(count));
        assert_eq!(post(&lines).is_ok(), accepted, "{count} options");
    }
}

/// Rule H10.
#[test]
fn hop_by_hop_fields_are_known_by_name_and_by_nomination() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-one , TE\r\nKeep-Alive: 5\r\nProxy-Authorization: b\r\n\
        TE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: z\r\nX-Two: 2\r\nconnection: X-TWO\r\nX-Three: 3\r\n\r\n";
    let head = request(text).unwrap();
    let kept: Vec<&str> = head.fields(text).filter(|field| !field.is_hop_by_hop()).map(|field| field.name).collect();
    assert_eq!(kept, ["Host", "X-Three"]);
    assert!(head.persist());
}

#[test]
fn persistence_follows_version_and_connection() {
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: CLOSE\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, persist) in cases {
        assert_eq!(with_fields("GET", version, lines).unwrap().persist(), persist, "{version} {lines:?}");
    }
}

/// Rule H9: Host.
#[test]
fn there_is_exactly_one_valid_host() {
    let cases = [
        ("", false),
        ("Host: a\r\nHost: a\r\n", false),
        ("Host:\r\n", false),
        ("Host: a b\r\n", false),
        ("Host: a/b\r\n", false),
        ("Host: user@a\r\n", false),
        ("Host: a:\r\n", false),
        ("Host: a:+80\r\n", false),
        ("Host: a:65536\r\n", false),
        ("Host: a:000080\r\n", false),
        ("Host: a, b\r\n", false),
        ("Host: [::1\r\n", false),
        ("Host: [::g]\r\n", false),
        ("Host: [::1]x\r\n", false),
        ("Host: a:65535\r\n", true),
        ("Host: [2001:db8::1]:8081\r\n", true),
        ("Host: igris_gateway\r\n", true),
        ("Host: 127.0.0.1:8081\r\n", true),
    ];
    for (lines, accepted) in cases {
        let outcome = request(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
        assert_eq!(outcome.err(), (!accepted).then_some(HeadFault::Host), "{lines:?}");
    }
    assert!(request(b"GET / HTTP/1.0\r\n\r\n").is_ok());
    assert_eq!(request(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n").err(), Some(HeadFault::Host));
}

/// Rule H9: targets.
#[test]
fn ambiguous_and_malformed_targets_are_refused() {
    let malformed = [
        "v1",
        "*",
        "/a#b",
        "/a?b#c",
        "/\u{e9}",
        "/a\\b",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a{b}",
        "/\"",
        "//[",
        "ftp://a/",
        "http:/a",
        "http://",
        "http://user@a/",
        "http://a:b/",
        "http:///path",
        "https://a b/",
        "http://a\\b/",
        "a:443",
    ];
    for text in malformed.iter().filter(|text| !text.contains(' ')) {
        assert_eq!(target("GET", text).err(), Some(HeadFault::Target), "{text}");
    }
    let ambiguous = [
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/../",
        "/%2e%2e/a",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/a%5cb",
        "/a%00b",
        "/a%0d%0ab",
        "/a%7f",
        "/%2E",
        "http://a/../b",
        "http://a/%2e",
    ];
    for text in ambiguous {
        assert_eq!(target("GET", text).err(), Some(HeadFault::AmbiguousPath), "{text}");
    }
    let plain = [
        ("/v1/models/gemini-2.5-pro:generateContent", "/v1/models/gemini-2.5-pro:generateContent", None),
        ("/a%20b", "/a%20b", None),
        ("/a...b/.c/c..", "/a...b/.c/c..", None),
        ("/?", "/", Some("")),
        ("/v1/messages?beta=true&x=%2F../..", "/v1/messages", Some("beta=true&x=%2F../..")),
        ("/a?include[]=b", "/a", Some("include[]=b")),
    ];
    for (text, path, query) in plain {
        let bytes = format!("GET {text} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(bytes.as_bytes()).unwrap();
        assert_eq!((head.path(bytes.as_bytes()), head.query(bytes.as_bytes())), (path, query), "{text}");
    }
}

#[test]
fn an_absolute_target_replaces_host() {
    let cases = [
        ("GET", "http://b.example:81/x?y", "/x", Some("y"), "b.example:81"),
        ("GET", "HTTPS://b", "/", None, "b"),
        ("GET", "http://b?y", "/", Some("y"), "b"),
        ("OPTIONS", "http://b", "*", None, "b"),
        ("OPTIONS", "*", "*", None, "a"),
    ];
    for (method, text, path, query, authority) in cases {
        let bytes = format!("{method} {text} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(bytes.as_bytes()).unwrap();
        let read = (head.path(bytes.as_bytes()), head.query(bytes.as_bytes()), head.authority(bytes.as_bytes()));
        assert_eq!(read, (path, query, Some(authority)), "{text}");
    }
    let body = "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(request(body.as_bytes()).err(), Some(HeadFault::AsteriskBody));
}

/// Rule H11: fields with an underscore are gone, also from framing and credentials.
#[test]
fn underscored_fields_are_not_shown() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nx_api_key: k\r\nX-A_B: c\r\nX-C: d\r\n\r\n";
    let head = request(text).unwrap();
    assert_eq!(head.fields(text).map(|field| field.name).collect::<Vec<_>>(), ["Host", "X-C"]);
    assert_eq!((head.framing(), head.credentials(text)), (RequestFraming::None, Presented::None));
}

/// Rule H13.
#[test]
fn only_the_known_expectation_is_met() {
    let waits = |version, lines: &str| with_fields("POST", version, lines).map(|head| head.expect_continue());
    assert_eq!(waits("HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
    assert_eq!(waits("HTTP/1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), Ok(true));
    assert_eq!(waits("HTTP/1.1", "Expect: 100-continue\r\n"), Ok(false), "nothing to wait for");
    assert_eq!(waits("HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n"), Ok(false));
    for value in ["", "200-ok", "100-continue, x"] {
        assert_eq!(waits("HTTP/1.1", &format!("Expect: {value}\r\n")), Err(HeadFault::Expectation));
    }
    assert_eq!(HeadFault::Expectation.status(), 417);
}

/// Rule H21.
#[test]
fn exactly_one_credential_is_believed() {
    let cases: [(&str, &str, Presented<'_>); 19] = [
        ("/", "", Presented::None),
        ("/", "Authorization: Bearer k\r\n", Presented::Bearer(b"k")),
        ("/", "Authorization: bEARER   k\r\n", Presented::Bearer(b"k")),
        ("/", "x-api-key: k\r\n", Presented::XApiKey(b"k")),
        ("/", "X-Goog-Api-Key: k\r\n", Presented::XGoogApiKey(b"k")),
        ("/", "Api-Key: k\r\n", Presented::ApiKey(b"k")),
        ("/", "Authorization: Basic k\r\n", Presented::Unusable),
        ("/", "Authorization: Bearer\r\n", Presented::Unusable),
        ("/", "Authorization: Bearerk\r\n", Presented::Unusable),
        ("/", "Authorization: Bearer a b\r\n", Presented::Unusable),
        ("/", "x-api-key:\r\n", Presented::Unusable),
        ("/", "Authorization: Bearer k\r\nAuthorization: Bearer k\r\n", Presented::Conflict),
        ("/", "Authorization: Bearer k\r\nx-api-key: k\r\n", Presented::Conflict),
        ("/", "Authorization: Basic k\r\nx-api-key: k\r\n", Presented::Conflict),
        ("/?key=k", "", Presented::InUrl),
        ("/?alt=sse&KEY=k", "x-goog-api-key: k\r\n", Presented::InUrl),
        ("/?k%65y=k", "", Presented::InUrl),
        ("/?access_token", "", Presented::InUrl),
        ("/?keys=1&monkey=2&k%6=3", "", Presented::None),
    ];
    for (path, lines, shown) in cases {
        let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let head = request(text.as_bytes()).unwrap();
        assert_eq!(head.credentials(text.as_bytes()), shown, "{path} {lines:?}");
    }
    assert_eq!(Presented::Bearer(b"k").key(), Some(&b"k"[..]));
    assert_eq!(Presented::Conflict.key(), None);
    assert!(!format!("{:?}", Presented::Bearer(b"sk-marker")).contains("marker"));
}

/// Section 7: each limit at n-1, n, n+1, whole and as soon as it shows.
#[test]
fn limits_hold_to_the_byte() {
    for past in [-1_isize, 0, 1] {
        let near = |limit: usize| limit.checked_add_signed(past).unwrap();
        let verdict = |fault: HeadFault| if past > 0 { Some(fault) } else { None };

        let fixed = "GET / HTTP/1.1".len();
        let line = format!("GET /{} HTTP/1.1", "a".repeat(near(limits::REQUEST_LINE_BYTES_MAX) - fixed));
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(request(text.as_bytes()).err(), verdict(HeadFault::RequestLineTooLong));
        let early = RequestHead::default().parse(line.as_bytes(), &HeadLimits::REQUEST);
        assert_eq!(early.err(), verdict(HeadFault::RequestLineTooLong), "before its line end");

        let lines = format!("X: {}\r\n", "a".repeat(near(limits::FIELD_BYTES_MAX) - 3));
        assert_eq!(post(&lines).err(), verdict(HeadFault::FieldTooLong));

        let lines = "X: y\r\n".repeat(near(limits::FIELDS_MAX) - 1);
        assert_eq!(post(&lines).err(), verdict(HeadFault::TooManyFields));

        let head = sized_head(near(limits::HEAD_BYTES_MAX));
        assert_eq!(request(&head).err(), verdict(HeadFault::HeadTooLong));

        let head =
            [b"HTTP/1.1 200 OK\r\n", sized_fields(near(limits::UPSTREAM_HEAD_BYTES_MAX) - 17).as_slice()].concat();
        assert_eq!(response(&head).err(), verdict(HeadFault::HeadTooLong));
        let lines = "X: y\r\n".repeat(near(limits::UPSTREAM_FIELDS_MAX));
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        assert_eq!(response(head.as_bytes()).err(), verdict(HeadFault::TooManyFields));
    }
    let endless = vec![b'a'; limits::REQUEST_LINE_BYTES_MAX + 1];
    let early = RequestHead::default().parse(&endless, &HeadLimits::REQUEST);
    assert_eq!(early, Err(HeadFault::RequestLineTooLong), "refused without ever seeing a line end");
    let statuses =
        [HeadFault::RequestLineTooLong, HeadFault::FieldTooLong, HeadFault::HeadTooLong, HeadFault::TooManyFields];
    assert_eq!(statuses.map(HeadFault::status), [414, 431, 431, 431]);
}

fn sized_head(bytes: usize) -> Vec<u8> {
    let start = b"GET / HTTP/1.1\r\nHost: a\r\n";
    [start, sized_fields(bytes - start.len()).as_slice()].concat()
}

/// Field lines of exactly so many bytes, the closing empty line included.
fn sized_fields(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut left = bytes - 2;
    while left > 0 {
        let line = if left > 4_096 + 64 { 4_096 } else { left };
        text.extend_from_slice(format!("X: {}\r\n", "a".repeat(line - 5)).as_bytes());
        left -= line;
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// A field of 70 KB panics a known peer; here it is one more field above its limit.
#[test]
fn a_giant_field_name_is_refused() {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n", "a".repeat(70_000));
    assert_eq!(request(text.as_bytes()).err(), Some(HeadFault::FieldTooLong));
}

/// Rule H16.
#[test]
fn responses_are_framed_by_method_and_status() {
    let framing = |method, status, lines: &str| {
        let head = response(format!("HTTP/1.1 {status} X\r\n{lines}\r\n").as_bytes()).unwrap();
        (head.framing(method), head.persist(method))
    };
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(framing(Method::Post, 200, length), (ResponseFraming::Length(5), true));
    assert_eq!(framing(Method::Post, 200, chunked), (ResponseFraming::Chunked, true));
    assert_eq!(framing(Method::Post, 200, ""), (ResponseFraming::UntilClose, false));
    assert_eq!(framing(Method::Head, 200, length), (ResponseFraming::None, true));
    assert_eq!(framing(Method::Head, 200, ""), (ResponseFraming::None, true));
    assert_eq!(framing(Method::Get, 304, length), (ResponseFraming::None, true));
    assert_eq!(framing(Method::Get, 204, ""), (ResponseFraming::None, true));
    assert_eq!(framing(Method::Get, 204, "Content-Length: 0\r\n"), (ResponseFraming::None, true));
    assert_eq!(framing(Method::Get, 204, length), (ResponseFraming::None, false));
    assert_eq!(framing(Method::Get, 204, chunked), (ResponseFraming::None, false));
    assert_eq!(framing(Method::Get, 103, ""), (ResponseFraming::None, true));
    assert_eq!(
        framing(Method::Get, 200, "Content-Length: 5\r\nConnection: close\r\n"),
        (ResponseFraming::Length(5), false)
    );
}

#[test]
fn broken_responses_are_refused() {
    let cases: [(&str, HeadFault); 20] = [
        ("HTTP/1.1 200 OK\n", HeadFault::BareLineFeed),
        ("HTTP/1.1 2000 OK\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 20 OK\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 099 X\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 600 X\r\n", HeadFault::StatusLine),
        ("HTTP/1.1  200 OK\r\n", HeadFault::StatusLine),
        ("HTTP/1.1\t200 OK\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 +20 OK\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 101 Switching Protocols\r\n", HeadFault::SwitchedProtocols),
        ("HTTP/2.0 200 OK\r\n", HeadFault::Version),
        ("SSH-2.0-OpenSSH_9.9\r\n", HeadFault::Version),
        ("garbage\r\n", HeadFault::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n", HeadFault::ControlByte),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", HeadFault::FoldedField),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", HeadFault::ContentLengthRepeated),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HeadFault::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", HeadFault::LengthAndChunked),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HeadFault::TransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HeadFault::TransferCoding),
        ("HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\n", HeadFault::ConnectionOption),
    ];
    for (text, fault) in cases {
        assert_eq!(response(text.as_bytes()).err(), Some(fault), "{text:?}");
    }
}

#[test]
fn status_lines_are_read_as_written() {
    let cases = [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 529 ", 529, ""),
        ("HTTP/1.0 503", 503, ""),
        ("HTTP/1.1 404  a b ", 404, " a b "),
    ];
    for (line, status, reason) in cases {
        let text = format!("{line}\r\nRetry-After: 3\r\n\r\n");
        let head = response(text.as_bytes()).unwrap();
        assert_eq!((head.status(), head.reason(text.as_bytes())), (status, reason.as_bytes()), "{line:?}");
        assert_eq!(head.find(text.as_bytes(), KnownField::RetryAfter), Some(&b"3"[..]));
    }
    assert!(response(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().is_interim());
    assert!(!response(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().is_interim());
}

#[test]
fn every_fault_tells_a_status_and_a_remedy() {
    for fault in [HeadFault::BareLineFeed, HeadFault::Host, HeadFault::StatusLine, HeadFault::AsteriskBody] {
        assert!(matches!(fault.status(), 400..=599));
        assert!(fault.remedy().ends_with('.') && !fault.to_string().is_empty());
    }
}

/// A head that comes byte by byte costs one look at each byte: offsets of the search never step back.
#[test]
fn a_slow_head_is_not_searched_again() {
    let bytes = sized_head(limits::HEAD_BYTES_MAX - 1);
    let mut cutter = LineCutter::default();
    let limit = LineLimit { line_bytes: 16 * 1024, head_bytes: 32 * 1024, too_long: HeadFault::FieldTooLong };
    let mut seen = 0;
    for end in 1..=bytes.len() {
        while let Some(line) = cutter.next_line(&bytes[..end], limit).unwrap() {
            assert_eq!(line.start, seen);
            seen = line.end + 2;
        }
        assert_eq!(cutter.searched(), end);
    }
    assert_eq!(seen, bytes.len());
}

// === Any split ===

/// All that a head answers, for comparing two ways of feeding it.
fn request_in_pieces(bytes: &[u8], cuts: &[usize], limits: &HeadLimits) -> Result<Option<(usize, String)>, HeadFault> {
    let mut head = RequestHead::default();
    for end in cuts.iter().copied().filter(|cut| *cut < bytes.len()).chain([bytes.len()]) {
        // The head of a request ends before the input does: a session would stop feeding here.
        if let Progress::Complete { consumed } = head.parse(&bytes[..end], limits)? {
            let fields: Vec<_> = head.fields(bytes).collect();
            let told = format!(
                "{:?} {:?} {:?} {:?} {:?} {} {} {:?} {fields:?}",
                head.method(),
                head.path(bytes),
                head.query(bytes),
                head.authority(bytes),
                head.framing(),
                head.persist(),
                head.expect_continue(),
                head.credentials(bytes),
            );
            return Ok(Some((consumed, told)));
        }
    }
    Ok(None)
}

fn response_in_pieces(bytes: &[u8], cuts: &[usize], limits: &HeadLimits) -> Result<Option<(usize, String)>, HeadFault> {
    let mut head = ResponseHead::default();
    for end in cuts.iter().copied().filter(|cut| *cut < bytes.len()).chain([bytes.len()]) {
        if let Progress::Complete { consumed } = head.parse(&bytes[..end], limits)? {
            let fields: Vec<_> = head.fields(bytes).collect();
            let told =
                format!("{} {:?} {:?} {fields:?}", head.status(), head.framing(Method::Get), head.persist(Method::Get));
            return Ok(Some((consumed, told)));
        }
    }
    Ok(None)
}

/// Pieces that are near the grammar, so that both good and bad heads come up.
fn near_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 204\r\n", "Host: a\r\n",
            "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close, x\r\n", "X: y\r\n", "Expect: 100-continue\r\n",
            "Authorization: Bearer k\r\n", "\r\n", "\n", "\r", " ", ":", "a", "%2e", "a_b: c\r\n", "aaaaaaaaaaaaaaaaaaaa",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    let opening = prop::sample::select(vec!["GET / HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 200 OK\r\n", "\r\n", ""]);
    (opening, prop::collection::vec(piece, 0..12))
        .prop_map(|(opening, pieces)| [opening.as_bytes(), pieces.concat().as_slice()].concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0_usize..160, 0..12).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_split_of_a_head_gives_the_same_answers(bytes in near_head(), cuts in cuts(), small in any::<bool>()) {
        let tight = HeadLimits { start_line_bytes: 24, field_bytes: 20, head_bytes: 64, fields: 4 };
        let limits = if small { tight } else { HeadLimits::REQUEST };
        prop_assert_eq!(request_in_pieces(&bytes, &cuts, &limits), request_in_pieces(&bytes, &[], &limits));
        prop_assert_eq!(response_in_pieces(&bytes, &cuts, &limits), response_in_pieces(&bytes, &[], &limits));
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(request_in_pieces(&bytes, &every, &limits), request_in_pieces(&bytes, &[], &limits));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = request_in_pieces(&bytes, &[], &HeadLimits::REQUEST);
        let _ = response_in_pieces(&bytes, &[], &HeadLimits::UPSTREAM);
    }
}

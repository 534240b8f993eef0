//! Section 6 of the security rules from outside: what two readers could understand in two ways is refused, closed, and goes nowhere.
//!
//! After each bad message three things must hold: the answer has the right status and the connection closes; nothing of the message
//! reached the provider, nor anything that stood behind it; and the next client gets its own answer.

mod support;

use igris_load::Simulator;
use igris_load::dialect::Expectation;
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Answer, Client, Gateway, SOON, Scripted, bearer, chat, post, provider_key};

/// A bad message: what it is, its bytes, and the statuses that refuse it.
type Case = (&'static str, Vec<u8>, &'static [u16]);

const BAD: &[u16] = &[400];
/// Where rules and RFC leave the choice between a malformed and an unknown coding.
const BAD_CODING: &[u16] = &[400, 501];

fn simulator() -> Simulator {
    Simulator::builder().keys([provider_key("openai")]).start().expect("a loopback port")
}

/// A good head but for `fields`, with a chat body behind it.
fn with_fields(fields: &str) -> Vec<u8> {
    let body = chat("bad");
    let key = bearer(ACCESS_KEY);
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{key}{fields}\r\n{body}").into_bytes()
}

/// The same with its length, so that `fields` are all that is wrong with it.
fn with_length(fields: &str) -> Vec<u8> {
    with_fields(&format!("Content-Length: {}\r\n{fields}", chat("bad").len()))
}

/// A good request but for its request line.
fn with_line(line: &str) -> Vec<u8> {
    let body = chat("bad");
    let (key, length) = (bearer(ACCESS_KEY), body.len());
    format!("{line}\r\nHost: gateway\r\n{key}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A good request in the chunked coding but for its body.
fn with_chunks(chunks: &[u8]) -> Vec<u8> {
    let key = bearer(ACCESS_KEY);
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{key}Transfer-Encoding: chunked\r\n\r\n");
    [head.as_bytes(), chunks].concat()
}

/// A whole chat body as one chunk, without the last chunk.
fn one_chunk() -> Vec<u8> {
    let body = chat("bad");
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

/// Sends each message with a good request behind it, and looks at all three promises.
fn must_refuse(cases: Vec<Case>) {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut wrong = Vec::new();
    for (name, message, statuses) in cases {
        let before = simulator.truth().counts();
        if let Err(trouble) = refusal(&gateway, &message, statuses) {
            wrong.push(format!(
                "{name}: {trouble}\n    sent {:?}",
                String::from_utf8_lossy(&message[..message.len().min(300)])
            ));
        }
        let arrived = simulator.truth().counts().requests - before.requests;
        if arrived != 0 {
            wrong.push(format!("{name}: {arrived} requests reached the provider"));
        }
        let body = chat(&format!("after {name}"));
        let answer = gateway.chat(&body);
        if answer.status != 200
            || Expectation::new(body.as_bytes(), None).and_then(|own| own.check(&answer.body)).is_err()
        {
            wrong.push(format!("{name}: the next client got {} {}", answer.status, answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{} of the messages:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(simulator.truth().violations(), []);
}

/// One bad message and the request that it tries to hide.
fn refusal(gateway: &Gateway, message: &[u8], statuses: &[u16]) -> Result<(), String> {
    let mut client = gateway.client();
    client.send(&[message, &post(&chat("hidden"))].concat());
    let answer = client.try_answer()?;
    if !statuses.contains(&answer.status) {
        return Err(format!("answered {} {}", answer.status, answer.text()));
    }
    if answer.header("connection") != Some("close") {
        return Err(format!("{} without `connection: close`", answer.status));
    }
    if answer.json()["error"]["message"].as_str().is_none_or(str::is_empty) {
        return Err(format!("no remedy: {}", answer.text()));
    }
    if !client.closes_within(SOON) {
        return Err("the connection went on".into());
    }
    Ok(())
}

// ---- Requests ---------------------------------------------------------------------------------------------------------------

#[test]
fn lines_end_in_cr_lf_and_nothing_else() {
    let (key, length) = (bearer(ACCESS_KEY), chat("bad").len());
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{key}Content-Length: {length}\r\n\r\n");
    let lone = |text: &str| [text.as_bytes(), chat("bad").as_bytes()].concat();
    must_refuse(vec![
        ("H2 LF after the request line", lone(&head.replacen("\r\n", "\n", 1)), BAD),
        ("H2 LF after a field", lone(&head.replace("gateway\r\n", "gateway\n")), BAD),
        ("H2 LF in front of the empty line", lone(&head.replace("\r\n\r\n", "\n\r\n")), BAD),
        ("H2 LF as the empty line", lone(&head.replace("\r\n\r\n", "\r\n\n")), BAD),
        ("H2 LF everywhere", lone(&head.replace("\r\n", "\n")), BAD),
        ("H2 CR everywhere", lone(&head.replace("\r\n", "\r")), BAD),
        ("H2 CR in the request line", with_line("POST /v1/chat/completions\r HTTP/1.1"), BAD),
        ("H2 CR in a value", with_length("X-A: a\rb\r\n"), BAD),
        ("H2 CR before a field", with_length("\rX-A: a\r\n"), BAD),
        ("H2 CR CR LF", with_length("X-A: a\r\r\n"), BAD),
        ("H2 five empty lines first", [b"\r\n".repeat(5), with_length("")].concat(), BAD),
        ("H2 LF as an empty line first", [b"\n".to_vec(), with_length("")].concat(), BAD),
        ("H2 LF after a chunk size", with_chunks(&[b"1\n".as_slice(), b"{\r\n0\r\n\r\n"].concat()), BAD),
        ("H2 CR after a chunk size", with_chunks(b"1\r{\r\n0\r\n\r\n"), BAD),
        ("H2 LF after chunk data", with_chunks(b"1\r\n{\n0\r\n\r\n"), BAD),
        ("H2 LF after a trailer", with_chunks(&[one_chunk(), b"0\r\nX-A: a\n\r\n".to_vec()].concat()), BAD),
        ("H2 LF as the last line", with_chunks(&[one_chunk(), b"0\r\n\n".to_vec()].concat()), BAD),
    ]);
}

#[test]
fn the_request_line_has_one_form() {
    must_refuse(vec![
        ("H3 two spaces", with_line("POST  /v1/chat/completions HTTP/1.1"), BAD),
        ("H3 two spaces before the version", with_line("POST /v1/chat/completions  HTTP/1.1"), BAD),
        ("H3 tab", with_line("POST\t/v1/chat/completions HTTP/1.1"), BAD),
        ("H3 space first", with_line(" POST /v1/chat/completions HTTP/1.1"), BAD),
        ("H3 space last", with_line("POST /v1/chat/completions HTTP/1.1 "), BAD),
        ("H3 no version", with_line("POST /v1/chat/completions"), BAD),
        ("H3 HTTP/0.9", with_line("GET /"), BAD),
        ("H3 HTTP/1.2", with_line("POST /v1/chat/completions HTTP/1.2"), &[505]),
        ("H3 HTTP/2.0", with_line("POST /v1/chat/completions HTTP/2.0"), &[505]),
        ("H3 HTTP/1.10", with_line("POST /v1/chat/completions HTTP/1.10"), &[400, 505]),
        ("H3 lower case", with_line("POST /v1/chat/completions http/1.1"), &[400, 505]),
        ("H3 HTTP/1,1", with_line("POST /v1/chat/completions HTTP/1,1"), &[400, 505]),
        ("H3 HTTP/+1.1", with_line("POST /v1/chat/completions HTTP/+1.1"), &[400, 505]),
        ("H3 method that is no token", with_line("PO(ST /v1/chat/completions HTTP/1.1"), BAD_CODING),
        ("H3 method in lower case", with_line("post /v1/chat/completions HTTP/1.1"), &[501]),
        ("H3 unknown method", with_line("BREW /v1/chat/completions HTTP/1.1"), &[501]),
        ("H3 preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 501, 505]),
        ("H3 TLS on a plain port", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\r\n\r\n".to_vec(), BAD),
        ("H9 CONNECT", with_line("CONNECT gateway:443 HTTP/1.1"), &[405]),
        ("H9 TRACE", with_line("TRACE /v1/chat/completions HTTP/1.1"), &[405]),
        ("H9 asterisk with a body", with_line("OPTIONS * HTTP/1.1"), &[501]),
        ("H9 asterisk for another method", with_line("POST * HTTP/1.1"), BAD),
        ("H9 no path", with_line("POST v1/chat/completions HTTP/1.1"), BAD),
        ("H9 fragment", with_line("POST /v1/chat/completions#x HTTP/1.1"), BAD),
        ("H9 byte above ASCII", with_line("POST /v1/ch\u{e4}t/completions HTTP/1.1"), BAD),
        ("H9 control byte", with_line("POST /v1/chat\u{1}/completions HTTP/1.1"), BAD),
        ("H9 dot segment", with_line("POST /v1/./chat/completions HTTP/1.1"), BAD),
        ("H9 dot segments", with_line("POST /v1/x/../chat/completions HTTP/1.1"), BAD),
        ("H9 encoded dots", with_line("POST /v1/%2e%2E/chat/completions HTTP/1.1"), BAD),
        ("H9 encoded slash", with_line("POST /v1%2fchat/completions HTTP/1.1"), BAD),
        ("H9 encoded backslash", with_line("POST /v1/chat%5Ccompletions HTTP/1.1"), BAD),
        ("H9 encoded NUL", with_line("POST /v1/chat/completions%00 HTTP/1.1"), BAD),
        ("H9 half an escape", with_line("POST /v1/chat/completions%2 HTTP/1.1"), BAD),
        ("H9 userinfo", with_line("POST http://a@gateway/v1/chat/completions HTTP/1.1"), BAD),
        ("H9 another scheme", with_line("POST ftp://gateway/v1/chat/completions HTTP/1.1"), BAD),
    ]);
}

#[test]
fn fields_have_one_form() {
    must_refuse(vec![
        ("H4 space before the colon", with_length("X-A : a\r\n"), BAD),
        ("H4 space before the colon of the length", with_fields("Content-Length : 5\r\n"), BAD),
        ("H4 tab before the colon", with_length("X-A\t: a\r\n"), BAD),
        ("H4 space before the name", with_fields("X-A: a\r\n Content-Length: 5\r\n"), BAD),
        ("H4 folded", with_length("X-A: a\r\n b\r\n"), BAD),
        ("H4 folded with a tab", with_length("X-A: a\r\n\tb\r\n"), BAD),
        ("H4 folded coding", with_fields("Transfer-Encoding:\r\n chunked\r\n"), BAD),
        ("H4 no name", with_length(": a\r\n"), BAD),
        ("H4 no colon", with_length("X-A\r\n"), BAD),
        ("H4 name with a bracket", with_length("X(A: a\r\n"), BAD),
        ("H4 name above ASCII", with_length("X-\u{e4}: a\r\n"), BAD),
        ("H4 NUL in a value", with_length("X-A: a\0b\r\n"), BAD),
        ("H4 control byte in a value", with_length("X-A: a\u{1}b\r\n"), BAD),
        ("H4 DEL in a value", with_length("X-A: a\u{7f}b\r\n"), BAD),
        ("H9 no Host", b"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n".to_vec(), BAD),
        ("H9 two Hosts", with_length("Host: gateway\r\n"), BAD),
        ("H9 two other Hosts", with_length("host: elsewhere\r\n"), BAD),
        ("H9 empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n".to_vec(), BAD),
        ("H9 Host with userinfo", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_vec(), BAD),
        ("H9 Host with a list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_vec(), BAD),
        ("H9 Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_vec(), BAD),
        ("H9 Host with a wrong port", b"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n".to_vec(), BAD),
        ("H13 another expectation", with_length("Expect: 200-ok\r\n"), &[417]),
        ("H7 Connection names the length", with_length("Connection: content-length\r\n"), BAD),
        ("H7 Connection names the coding", with_length("Connection: keep-alive, Transfer-Encoding\r\n"), BAD),
        ("H7 Connection names Host", with_length("Connection: host\r\n"), BAD),
        ("H7 Connection names the key", with_length("Connection: Authorization\r\n"), BAD),
        ("H7 Connection names a field of ours", with_length("Connection: x-request-id\r\n"), BAD),
        ("H7 Connection is no list of tokens", with_length("Connection: a b\r\n"), BAD),
    ]);
}

#[test]
fn a_message_has_one_length() {
    let length = |text: &str| with_fields(&format!("Content-Length: {text}\r\n"));
    let coding = |text: &str| with_fields(&format!("Transfer-Encoding: {text}\r\n"));
    let real = chat("bad").len();
    let chunked_10 = [
        format!("POST /v1/chat/completions HTTP/1.0\r\n{}Transfer-Encoding: chunked\r\n\r\n", bearer(ACCESS_KEY))
            .into_bytes(),
        one_chunk(),
        b"0\r\n\r\n".to_vec(),
    ];
    must_refuse(vec![
        ("H5 sign", length(&format!("+{real}")), BAD),
        ("H5 minus", length("-1"), BAD),
        ("H5 hex", length("0x40"), BAD),
        ("H5 nothing", length(""), BAD),
        ("H5 letters", length("ten"), BAD),
        ("H5 space inside", length("1 0"), BAD),
        ("H5 fraction", length("10.0"), BAD),
        ("H5 list of equals", length(&format!("{real}, {real}")), BAD),
        ("H5 list", length("5, 6"), BAD),
        ("H5 above 63 bits", length("9223372036854775808"), BAD),
        ("H5 above 64 bits", length("18446744073709551616"), BAD),
        ("H5 a hundred digits", length(&"9".repeat(100)), BAD),
        ("H5 twice the same", with_length(&format!("Content-Length: {real}\r\n")), BAD),
        ("H5 two lengths", with_length("content-length: 0\r\n"), BAD),
        ("H6 unknown coding", coding("gzip"), &[501]),
        ("H6 coding before chunked", coding("gzip, chunked"), &[501]),
        ("H6 identity", coding("identity"), BAD_CODING),
        ("H6 chunked twice in one", coding("chunked, chunked"), BAD_CODING),
        ("H6 chunked with a parameter", coding("chunked;q=1"), BAD_CODING),
        ("H6 nearly chunked", coding("xchunked"), BAD_CODING),
        ("H6 quoted", coding("\"chunked\""), BAD_CODING),
        ("H6 vertical tab", coding("\u{b}chunked"), BAD),
        ("H6 nothing", coding(""), BAD_CODING),
        ("H6 twice", with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BAD_CODING),
        ("H6 twice, one unknown", with_fields("Transfer-Encoding: chunked\r\ntransfer-encoding: cow\r\n"), BAD_CODING),
        ("H6 with HTTP/1.0", chunked_10.concat(), BAD),
        ("H7 both, length first", with_length("Transfer-Encoding: chunked\r\n"), BAD),
        (
            "H7 both, coding first",
            with_fields(&format!("Transfer-Encoding: chunked\r\nContent-Length: {real}\r\n")),
            BAD,
        ),
        ("H7 both, coding unknown", with_length("Transfer-Encoding: cow\r\n"), BAD_CODING),
        ("H7 both, length zero", with_fields("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), BAD),
    ]);
}

#[test]
fn chunks_have_one_form() {
    let chunks = |text: &str| with_chunks(text.as_bytes());
    let ended = |end: &str| with_chunks(&[one_chunk(), end.as_bytes().to_vec()].concat());
    let extensions = format!("1;{}\r\n", "x".repeat(200));
    let many = [extensions.as_str(), " \r\n"].concat().repeat(90);
    must_refuse(vec![
        ("H8 no size", chunks("\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 sign", chunks("+1\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 minus", chunks("-1\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 prefix", chunks("0x1\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 space before", chunks(" 1\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 space behind", chunks("1 \r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 no hex", chunks("g\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 underscore", chunks("1_0\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 seventeen digits", chunks("00000000000000001\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 above 63 bits", chunks("FFFFFFFFFFFFFFFF\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 extension without a size", chunks(";a=b\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 extension without a name", chunks("1;=b\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 extension with a control byte", chunks("1;a=\u{1}\r\n{\r\n0\r\n\r\n"), BAD),
        ("H8 extension above 256 bytes", chunks(&format!("1;{}\r\n{{\r\n0\r\n\r\n", "x".repeat(256))), BAD),
        ("H8 extensions above 16 KiB", chunks(&many), BAD),
        ("H8 data longer than its size", chunks("1\r\n{}\r\n0\r\n\r\n"), BAD),
        ("H8 data without its end", chunks("1\r\n{0\r\n\r\n"), BAD),
        ("H8 trailer without a colon", ended("0\r\nX-A\r\n\r\n"), BAD),
        ("H8 trailer with a space", ended("0\r\nX-A : a\r\n\r\n"), BAD),
        ("H8 folded trailer", ended("0\r\nX-A: a\r\n b\r\n\r\n"), BAD),
        (
            "H8 trailers above 8 KiB",
            ended(&format!("0\r\n{}\r\n", format!("X-A: {}\r\n", "a".repeat(1_000)).repeat(9))),
            BAD,
        ),
        ("H8 negative zero", ended("-0\r\n\r\n"), BAD),
    ]);
}

#[test]
fn limits_of_a_head_hold_at_their_edge() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let status = |message: &[u8]| gateway.ask(message).status;
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: g\r\n{fields}\r\n").into_bytes();
    // Lines of exactly so many bytes, their CR LF not counted.
    let line = |bytes: usize| get(&format!("/v1/health?{}", "x".repeat(bytes - "GET /v1/health? HTTP/1.1".len())), "");
    assert_eq!([8_191, 8_192, 8_193].map(|bytes| status(&line(bytes))), [200, 200, 414]);
    let field = |bytes: usize| get("/v1/health", &format!("X-Long: {}\r\n", "x".repeat(bytes - "X-Long: ".len())));
    assert_eq!([16_383, 16_384, 16_385].map(|bytes| status(&field(bytes))), [200, 200, 431]);
    let fields = |count: usize| get("/v1/health", &"X-A: a\r\n".repeat(count - 1));
    assert_eq!(status(&fields(99)), 200);
    assert_eq!(status(&fields(100)), 200);
    assert_eq!(status(&fields(101)), 431);
    let head = |bytes: usize| {
        let empty = get("/v1/health", "X-A: \r\nX-B: \r\nX-C: \r\n").len();
        let (two, rest) = ("x".repeat(12_000), "x".repeat(bytes - empty - 24_000));
        get("/v1/health", &format!("X-A: {two}\r\nX-B: {two}\r\nX-C: {rest}\r\n"))
    };
    assert_eq!(head(32 * 1024).len(), 32 * 1024);
    assert_eq!(status(&head(32 * 1024 - 1)), 200);
    assert_eq!(status(&head(32 * 1024)), 200);
    assert_eq!(status(&head(32 * 1024 + 1)), 431);
    // A head without an end is refused when it is too long, not when it ends.
    let mut client = gateway.client();
    client.send(format!("GET / HTTP/1.1\r\nX-Endless: {}", "x".repeat(40_000)).as_bytes());
    assert_eq!(client.answer().status, 431);
    assert!(client.closes_within(SOON));
}

#[test]
fn what_is_unusual_but_clear_is_served() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let good: [(&str, Vec<u8>); 8] = [
        ("H2 four empty lines first", [b"\r\n".repeat(4), with_length("")].concat()),
        ("H9 absolute target", with_line("POST http://gateway/v1/chat/completions HTTP/1.1")),
        ("H9 escaped letter in the query", with_line("POST /v1/chat/completions?a=%2e%2e HTTP/1.1")),
        ("H5 leading zeros", with_fields(&format!("Content-Length: 000{}\r\n", chat("bad").len()))),
        (
            "H10 hop-by-hop fields",
            with_length(
                "Connection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\nTrailer: X-A\r\nProxy-Authorization: Basic x\r\nProxy-Connection: close\r\n",
            ),
        ),
        (
            "H12 upgrade",
            with_length(
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            ),
        ),
        (
            "H11 fields of proxies and with underscores",
            with_length(
                "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 evil\r\nContent_Length: 0\r\nX_Api_Key: sk-x\r\nCookie: a=b\r\nAccept-Encoding: gzip, br\r\n",
            ),
        ),
        ("H4 empty values and odd spaces", with_length("X-A:\r\nX-B:   \t b \t\r\n")),
    ];
    for (name, message) in good {
        let mut client = gateway.client();
        let answer = client.ask(&message);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let body = chat("bad");
        Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect(name);
        let record = simulator.truth().last().expect("it arrived");
        for field in
            ["x-mine", "keep-alive", "te", "upgrade", "x-forwarded-for", "forwarded", "cookie", "x-a", "content_length"]
        {
            assert_eq!(record.header(field), None, "{name}: {field}");
        }
        assert_eq!(record.header("via"), Some("1.1 igris"), "{name}");
        assert_eq!(client.ask(&post(&chat("next"))).status, 200, "{name}: the connection goes on");
    }
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn a_message_that_does_not_come_is_not_waited_for() {
    let simulator = simulator();
    let limits = "head_deadline = \"300ms\"\nbody_deadline = \"400ms\"\nkeep_alive_idle = \"500ms\"";
    let gateway = Gateway::builder().provider("openai", &simulator).limits(limits).start();
    let timed = |client: &mut Client, expected: &str| {
        let began = Instant::now();
        let answer: Result<Answer, String> = client.try_answer();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(200) && took < Duration::from_secs(3), "{expected}: {took:?}");
        answer
    };
    let mut client = gateway.client();
    client.send(b"GET /v1/health HTTP/1.1\r\nHost: g");
    let answer = timed(&mut client, "half a head").expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(client.closes_within(SOON));
    let mut client = gateway.client();
    client.send(&with_fields("Content-Length: 1000\r\n"));
    let answer = timed(&mut client, "half a body").expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(client.closes_within(SOON));
    let mut client = gateway.client();
    assert!(timed(&mut client, "nothing at all").is_err(), "nobody asked: close without a word");
    let mut client = gateway.client();
    assert_eq!(client.ask(&post(&chat("x"))).status, 200);
    assert!(timed(&mut client, "nothing more").is_err(), "an idle connection closes without a word");
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn a_refused_request_does_not_leave_its_body_behind() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    // The body of a request that is refused early looks like a request; it must never be served as one (rule H14).
    let hidden = String::from_utf8(post(&chat("hidden"))).expect("text");
    let early = |path: &str, key: &str| {
        let length = hidden.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{hidden}"
        )
    };
    for (path, key, status) in [
        ("/v1/chat/completions", "wrong-0123456789abcdef0123456789", 401),
        ("/v1/nothing", ACCESS_KEY, 404),
        ("/v1/models", ACCESS_KEY, 405),
    ] {
        let mut client = gateway.client();
        client.send(early(path, key).as_bytes());
        client.send(&post(&chat("own")));
        assert_eq!(client.answer().status, status, "{path}");
        if let Ok(answer) = client.try_answer() {
            let own = chat("own");
            Expectation::new(own.as_bytes(), None).expect("good").check(&answer.body).expect("the client's own answer");
        }
    }
    let mut client = gateway.client();
    let get = format!("GET /v1/health/live HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    client.send(&[get.as_bytes(), &post(&chat("own"))].concat());
    assert_eq!(client.answer().json()["status"], "ok", "a GET may have a body");
    let answer = client.answer();
    let own = chat("own");
    Expectation::new(own.as_bytes(), None).expect("good").check(&answer.body).expect("the client's own answer");
    assert!(simulator.truth().counts().requests <= 4, "hidden requests were served");
    assert_eq!(simulator.truth().violations(), []);
}

// ---- Answers of providers -----------------------------------------------------------------------------------------------------

/// A good unary answer with these fields beside its type.
fn answered(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}\r\n{body}").into_bytes()
}

#[test]
fn a_providers_broken_answer_is_nobodys_answer() {
    let (body, upstream) = (r#"{"id":"poison"}"#, Scripted::start(b""));
    let gateway = Gateway::builder().own_provider("scripted", &upstream.base_url(), "").start();
    let length = format!("Content-Length: {}\r\n", body.len());
    let table = [
        ("H16 two lengths", answered(&format!("{length}{length}"), body)),
        ("H16 length and coding", answered(&format!("{length}Transfer-Encoding: chunked\r\n"), body)),
        ("H16 signed length", answered("Content-Length: +15\r\n", body)),
        ("H16 unknown coding", answered("Transfer-Encoding: cow\r\n", body)),
        ("H16 LF in the head", answered(&length, body).iter().filter(|byte| **byte != b'\r').copied().collect()),
        ("H16 no size of a chunk", answered("Transfer-Encoding: chunked\r\n", &format!("\r\n{body}\r\n0\r\n\r\n"))),
        ("H16 space before a colon", answered(&length.replace(':', " :"), body)),
        ("H16 NUL in a value", answered(&format!("X-A: a\0b\r\n{length}"), body)),
        (
            "H16 coding with HTTP/1.0",
            String::from_utf8(answered("Transfer-Encoding: chunked\r\nConnection: close\r\n", body))
                .expect("text")
                .replacen("1.1", "1.0", 1)
                .into_bytes(),
        ),
        ("H12 protocols switched unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec()),
        ("H16 nine interim answers", [b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9), answered(&length, body)].concat()),
        (
            "H16 status of two digits",
            String::from_utf8(answered(&length, body)).expect("text").replacen("200", "20", 1).into_bytes(),
        ),
        ("no HTTP at all", b"HTP/1.l 2OO\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in table {
        upstream.say(&bytes);
        let before = upstream.connections();
        let answer = gateway.chat(&chat("x"));
        assert!(matches!(answer.status, 502 | 503), "{name}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("poison"), "{name}: {}", answer.text());
        upstream.say(&answered(&format!("{length}connection: close\r\n"), body));
        let answer = gateway.chat(&chat("x"));
        assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some("poison")), "{name}: {}", answer.text());
        assert!(upstream.connections() > before, "{name}: the connection was used again");
    }
}

#[test]
fn what_follows_a_providers_answer_is_never_read_as_the_next_one() {
    let (body, upstream) = (r#"{"id":"first"}"#, Scripted::start(b""));
    let gateway = Gateway::builder().own_provider("scripted", &upstream.base_url(), "").start();
    let good = answered(&format!("Content-Length: {}\r\n", body.len()), body);
    let poison = answered("Content-Length: 15\r\n", r#"{"id":"poison"}"#);
    upstream.say(&[good.clone(), poison].concat());
    for round in 1..=4 {
        let answer = gateway.chat(&chat("x"));
        assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some("first")), "round {round}");
        assert_eq!(upstream.connections(), round, "a connection with stray bytes is not used again");
    }
    upstream.say(&[b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(8), good].concat());
    let answer = gateway.chat(&chat("x"));
    assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some("first")), "eight interim answers are fine");
    let last = upstream.connections();
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    assert_eq!(upstream.connections(), last, "and the connection is kept");
}

#[test]
fn fields_of_a_provider_pass_only_if_a_client_needs_them() {
    let body = r#"{"id":"x"}"#;
    let fields = format!(
        "Content-Length: {}\r\nSet-Cookie: a=b\r\nServer: leaky/1\r\nX-Igris-Provider: forged\r\nX-Request-Id: forged\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Ratelimit-Remaining-Tokens: 7\r\nLocation: http://evil/\r\n",
        body.len()
    );
    let upstream = Scripted::start(&answered(&fields, body));
    let gateway = Gateway::builder().own_provider("scripted", &upstream.base_url(), "").start();
    let answer = gateway.chat(&chat("x"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    for field in ["set-cookie", "server", "x-hop", "keep-alive", "location", "connection"] {
        assert_eq!(answer.header(field), None, "{field}");
    }
    assert_eq!(answer.header("x-igris-provider"), Some("scripted"));
    assert_ne!(answer.header("x-request-id"), Some("forged"));
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), Some("7"));
}

//! The dashboard over a real socket: who gets in, and what a browser is told.

use super::*;
use crate::admin::house::{House, Seen, exchange};
use crate::vault::OsEntropy;
use tokio::net::TcpStream;

/// A served dashboard and its token.
async fn open(house: &House) -> (SocketAddr, String) {
    let token = Token::make(&mut OsEntropy).expect("a token");
    let text = token.expose().to_owned();
    let dashboard = bind(SocketAddr::from(([127, 0, 0, 1], 0)), token).await.expect("bound");
    let address = dashboard.address().expect("an address");
    assert_eq!(dashboard.link().expect("a link"), format!("http://{address}/?token={text}"));
    tokio::spawn(dashboard.serve(house.control.clone(), crate::admin::Hold::default(), house.stop.subscribe()));
    (address, text)
}

async fn ask(address: SocketAddr, request: &str, fields: &str) -> Seen {
    exchange(TcpStream::connect(address).await.expect("connected"), request, fields, "").await
}

#[tokio::test]
async fn nothing_is_shown_without_the_token() {
    let house = House::new();
    let (address, token) = open(&house).await;
    let wrong = format!("{}x", &token[..token.len() - 1]);
    for (request, fields) in [
        ("GET /".to_owned(), String::new()),
        ("GET /api/status".to_owned(), String::new()),
        ("GET /dashboard.js".to_owned(), String::new()),
        ("GET /nothing".to_owned(), String::new()),
        (format!("GET /?token={wrong}"), String::new()),
        ("GET /?token=".to_owned(), String::new()),
        (format!("GET /api/status?token={token}"), String::new()),
        ("GET /api/status".to_owned(), format!("cookie: igris_dashboard={wrong}\r\n")),
        ("GET /api/status".to_owned(), format!("cookie: other={token}\r\n")),
        ("GET /api/status".to_owned(), "cookie: igris_dashboard=\r\n".to_owned()),
        ("GET /api/status".to_owned(), format!("authorization: Basic {token}\r\n")),
    ] {
        let seen = ask(address, &request, &fields).await;
        assert_eq!(seen.status, 401, "{request} {fields}");
        assert!(!seen.head.contains("set-cookie") && !seen.body.contains("generation"), "{request}");
    }
}

#[tokio::test]
async fn the_link_sets_a_cookie_that_opens_everything() {
    let house = House::new();
    let (address, token) = open(&house).await;
    let entered = ask(address, &format!("GET /?token={token}"), "").await;
    assert_eq!(entered.status, 303);
    assert!(entered.head.contains("location: /\r\n"), "{}", entered.head);
    let cookie = entered.head.lines().find(|line| line.starts_with("set-cookie:")).expect("a cookie");
    for attribute in ["path=/", "httponly", "samesite=strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let shown = format!("cookie: a=b; igris_dashboard={token}\r\n");
    for (path, sign) in [
        ("/", "<table>"),
        ("/dashboard.css", "prefers-color-scheme"),
        ("/dashboard.js", "use strict"),
        ("/api/status", "generation"),
        ("/api/providers", "latency_ms_p50"),
        ("/api/usage?tenant=default&period=day", "by_model"),
        ("/api/tenants", "default"),
    ] {
        let seen = ask(address, &format!("GET {path}"), &shown).await;
        assert!(seen.status == 200 && seen.body.contains(sign), "{path}: {}", seen.status);
        assert!(!seen.body.contains("CANARY") && !seen.body.contains(&token), "{path}");
    }
    let bearer = format!("authorization: bearer {token}\r\n");
    assert_eq!(ask(address, "GET /api/status", &bearer).await.status, 200);
}

#[tokio::test]
async fn it_only_looks() {
    let house = House::new();
    let (address, token) = open(&house).await;
    let shown = format!("cookie: igris_dashboard={token}\r\n");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        for path in ["/api/status", "/api/drain", "/api/tenants"] {
            assert_eq!(ask(address, &format!("{method} {path}"), &shown).await.status, 405, "{method} {path}");
        }
    }
    for path in ["/api/config", "/api/access-keys", "/api/providers/openai/keys", "/api/metrics", "/status", "/api"] {
        assert_eq!(ask(address, &format!("GET {path}"), &shown).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_trust_nothing_else() {
    let house = House::new();
    let (address, token) = open(&house).await;
    let shown = format!("cookie: igris_dashboard={token}\r\n");
    for (path, fields) in [("/", ""), ("/", shown.as_str()), ("/api/status", &shown), ("/nothing", &shown)] {
        let head = ask(address, &format!("GET {path}"), fields).await.head;
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(field), "{path}: {field} is not in {head}");
        }
    }
}

#[test]
fn the_page_keeps_to_its_own_policy() {
    // `script-src 'self'` and `style-src 'self'` allow no inline code or style; nothing comes from elsewhere.
    for sign in ["<style", "style=", "<script>", "onclick", "onload", "http://", "https://"] {
        assert!(!PAGE.contains(sign), "{sign} in the page");
    }
    for sign in ["innerHTML", "eval(", "http://", "https://", "setAttribute(\"style"] {
        assert!(!SCRIPT.contains(sign), "{sign} in the script");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    // Every element that the script fills is there.
    for part in SCRIPT.split("show(\"").skip(1).chain(SCRIPT.split("element(\"").skip(1)) {
        let id = part.split('"').next().expect("an id");
        assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id} is not in the page");
    }
}

#[test]
fn a_token_does_not_print() {
    let token = Token::make(&mut OsEntropy).expect("a token");
    assert_eq!(token.expose().len(), 43);
    assert_eq!(format!("{token:?}"), "Token(…)");
}

//! The dashboard over a real socket: who gets in and how, what passes from a page to the admin API, and what a browser is told.

use super::*;
use crate::admin::house::{CANARY, House, Seen};
use crate::admin::{Drain, router_for};
use crate::domain::role::Roles;
use crate::limits::dashboard::GUESSES_EACH;
use crate::vault::OsEntropy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A configured token that may only look.
const VIEWER: &str = "igris-viewer-CANARY-0123456789";
/// A configured token that may operate.
const OPERATOR: &str = "igris-operator-CANARY-0123456789";

/// A served dashboard.
struct Stand {
    house: House,
    address: SocketAddr,
    token: String,
}

/// A session: what a browser sends with every request of its own page.
struct Session {
    cookie: String,
    csrf: String,
}

impl Stand {
    async fn open() -> Self {
        let house = House::new();
        let tokens = [("viewer", Roles::READ, VIEWER), ("operator", Roles::OPERATE, OPERATOR)];
        let admission = Arc::new(admin::house::admission(&tokens));
        let drain: Drain = Arc::new(|| {});
        let api = router_for(house.control.clone(), drain, admission.clone());
        let token = Token::make(&mut OsEntropy).expect("a token");
        let text = token.expose().to_owned();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let dashboard = Dashboard::over(listener, token).expect("a dashboard");
        let address = dashboard.address().expect("an address");
        assert_eq!(dashboard.link().expect("a link"), format!("http://{address}/?token={text}"));
        let hosts = vec!["igris.example".to_owned()];
        let behind = Behind { api, admission, control: house.control.clone(), hosts };
        tokio::spawn(dashboard.serve(behind, Hold::default(), house.stop.subscribe()));
        Self { house, address, token: text }
    }

    /// One request under a name for us.
    async fn ask_as(&self, host: &str, request: &str, fields: &str, body: &str) -> Seen {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        let length = body.len();
        let text =
            format!("{request} HTTP/1.1\r\n{host}connection: close\r\n{fields}content-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: no head in {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Seen { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn ask(&self, request: &str, fields: &str, body: &str) -> Seen {
        self.ask_as(&format!("host: {}\r\n", self.address), request, fields, body).await
    }

    /// What our own page says of where it comes from.
    fn origin(&self) -> String {
        format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", self.address)
    }

    /// Signs in by the form.
    async fn enter(&self, token: &str) -> Session {
        let entered = self.ask("POST /login", &self.origin(), &format!("token={token}")).await;
        assert_eq!(entered.status, 303, "{}", entered.body);
        let cookie = cookie(&entered);
        let session = self.ask("GET /session", &cookie, "").await.json();
        Session { csrf: session["csrf"].as_str().expect("a word").to_owned(), cookie }
    }

    /// A change as our own page makes it.
    async fn change(&self, session: &Session, request: &str, body: &str) -> Seen {
        let fields = format!("{}{}x-igris-csrf: {}\r\n", session.cookie, self.origin(), session.csrf);
        self.ask(request, &fields, body).await
    }
}

/// The cookie that an answer sets, as a request shows it.
fn cookie(seen: &Seen) -> String {
    let line = seen.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    format!("cookie: a=b; {}\r\n", line.split(';').next().expect("a pair"))
}

#[tokio::test]
async fn nothing_is_shown_to_who_is_not_signed_in() {
    let stand = Stand::open().await;
    for (fields, path) in [
        ("", "/api/status"),
        ("", "/api/events"),
        ("", "/session"),
        ("", "/csp-report"),
        ("cookie: igris_session_1=x\r\n", "/api/status"),
        ("authorization: Basic x\r\n", "/api/status"),
        ("authorization: Bearer wrong\r\n", "/api/status"),
    ] {
        let seen = stand.ask(&format!("GET {path}"), fields, "").await;
        seen.refused(401, "invalid_token");
        assert!(!seen.head.contains("set-cookie") && !seen.body.contains("generation"), "{path} {fields}");
    }
    let seen = stand.ask(&format!("GET /api/status?token={}", stand.token), "", "").await;
    seen.refused(401, "invalid_token");
    let page = stand.ask("GET /", "", "").await;
    assert!(page.status == 303 && page.head.contains("location: /login"), "{}", page.head);
    let form = stand.ask("GET /login", "", "").await;
    assert!(form.status == 200 && form.body.contains("<form") && !form.body.contains(&stand.token));
}

#[tokio::test]
async fn the_link_and_the_form_open_a_session_whose_cookie_is_not_the_token() {
    let stand = Stand::open().await;
    let by_link = stand.ask(&format!("GET /?token={}", stand.token), "", "").await;
    let by_form = stand.ask("POST /login", &stand.origin(), &format!("token={}", stand.token)).await;
    let mut cookies = Vec::new();
    for entered in [by_link, by_form] {
        assert!(entered.status == 303 && entered.head.contains("location: /\r\n"), "{}", entered.head);
        let line = entered.head.lines().find(|line| line.starts_with("set-cookie:")).expect("a cookie");
        for attribute in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age="] {
            assert!(line.contains(attribute), "{line}");
        }
        assert!(!entered.head.contains(&stand.token) && !entered.body.contains(&stand.token));
        cookies.push(cookie(&entered));
    }
    assert_ne!(cookies[0], cookies[1]);
    for fields in &cookies {
        assert_eq!(stand.ask("GET /", fields, "").await.status, 200);
        for (path, sign) in [
            ("/api/status", "generation"),
            ("/api/providers", "latency_ms_p50"),
            ("/api/usage?tenant=default&period=day", "by_model"),
            ("/api/series", "added_us_p50"),
            ("/api/access-keys", "data"),
            ("/api/config", "digest"),
        ] {
            let seen = stand.ask(&format!("GET {path}"), fields, "").await;
            assert!(seen.status == 200 && seen.body.contains(sign), "{path}: {} {}", seen.status, seen.body);
        }
    }
    let bearer = format!("authorization: bearer {}\r\n", stand.token);
    assert_eq!(stand.ask("GET /api/status", &bearer, "").await.status, 200);
    stand.ask("POST /api/reload", &bearer, "").await.refused(403, "read_only");
}

#[tokio::test]
async fn wrong_tokens_are_few_and_a_right_one_is_none_of_them() {
    let stand = Stand::open().await;
    for guess in 0..GUESSES_EACH {
        stand.enter(&stand.token).await;
        let refused = stand.ask("POST /login", &stand.origin(), &format!("token=wrong{guess}")).await;
        assert_eq!((refused.status, refused.head.contains("set-cookie")), (401, false));
        assert!(refused.body.contains("role=\"alert\"") && !refused.body.contains("wrong0"), "{}", refused.body);
    }
    for request in ["POST /login".to_owned(), format!("GET /?token={}", stand.token)] {
        let late = stand.ask(&request, &stand.origin(), &format!("token={}", stand.token)).await;
        assert!(late.status == 429 && late.head.contains("retry-after: "), "{}", late.head);
    }
    stand.ask("GET /api/status", "authorization: Bearer x\r\n", "").await.refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_change_needs_the_sessions_word_and_our_own_origin() {
    let stand = Stand::open().await;
    let (session, other) = (stand.enter(&stand.token).await, stand.enter(&stand.token).await);
    let (cookie, origin, csrf) = (&session.cookie, stand.origin(), format!("x-igris-csrf: {}\r\n", session.csrf));
    let foreign = "origin: http://evil.example\r\n";
    let twice = format!("{csrf}{csrf}");
    for fields in [
        format!("{cookie}{origin}"),
        format!("{cookie}{csrf}"),
        format!("{cookie}{foreign}{csrf}"),
        format!("{cookie}origin: null\r\n{csrf}"),
        format!("{cookie}{origin}{foreign}{csrf}"),
        format!("{cookie}{origin}x-igris-csrf: wrong\r\n"),
        format!("{cookie}{origin}x-igris-csrf: {}\r\n", other.csrf),
        format!("{cookie}{origin}{twice}"),
        format!("{cookie}origin: http://{}\r\nsec-fetch-site: cross-site\r\n{csrf}", stand.address),
    ] {
        for path in ["/api/breakers/openai/open", "/logout"] {
            stand.ask(&format!("POST {path}"), &fields, "").await.refused(403, "forged_request");
        }
    }
    let moved = stand.change(&session, "POST /api/breakers/openai/open", "").await;
    assert_eq!((moved.status, &moved.json()["state"]), (200, &serde_json::json!("forced")));
    // Replayed after the session is over, nothing passes.
    assert_eq!(stand.change(&session, "POST /logout", "").await.status, 204);
    stand.change(&session, "POST /api/breakers/openai/close", "").await.refused(401, "invalid_token");
    stand.ask("GET /api/status", cookie, "").await.refused(401, "invalid_token");
    assert_eq!(stand.ask("GET /api/status", &other.cookie, "").await.status, 200);
    // Another site cannot sign somebody in either.
    for fields in ["", foreign, "origin: null\r\n"] {
        let body = format!("token={}", stand.token);
        stand.ask("POST /login", fields, &body).await.refused(403, "forged_request");
    }
}

#[tokio::test]
async fn roles_are_those_of_the_token() {
    let stand = Stand::open().await;
    let (viewer, operator) = (stand.enter(VIEWER).await, stand.enter(OPERATOR).await);
    let shown = stand.ask("GET /session", &viewer.cookie, "").await.json();
    assert_eq!((&shown["user"], &shown["roles"]), (&"viewer".into(), &serde_json::json!([])));
    for session in [&viewer, &operator] {
        assert_eq!(stand.ask("GET /api/status", &session.cookie, "").await.status, 200);
        let body = format!("{{\"api_key\":\"{CANARY}\"}}");
        stand.change(session, "POST /api/providers/openai/keys", &body).await.refused(403, "role_required");
        stand.change(session, "POST /api/access-keys", "{\"name\":\"x\"}").await.refused(403, "role_required");
        assert_eq!(stand.change(session, "POST /api/audit/verify", "{}").await.status, 200);
    }
    stand.change(&viewer, "POST /api/reload", "").await.refused(403, "role_required");
    stand.ask("GET /api/config/texts", &viewer.cookie, "").await.refused(403, "role_required");
    assert_eq!(stand.change(&operator, "POST /api/reload", "").await.status, 200);
    assert_eq!(stand.ask("GET /api/config/texts", &operator.cookie, "").await.status, 200);
}

#[tokio::test]
async fn changes_are_in_the_audit_log_under_the_dashboards_name() {
    let stand = Stand::open().await;
    let (all, operator) = (stand.enter(&stand.token).await, stand.enter(OPERATOR).await);
    let body = format!("{{\"api_key\":\"{CANARY}\"}}");
    let added = stand.change(&all, "POST /api/providers/openai/keys", &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(stand.change(&operator, "POST /api/breakers/openai/open", "").await.status, 200);
    let audit = stand.ask("GET /api/audit", &all.cookie, "").await.json();
    let who: Vec<&str> = audit["data"].as_array().expect("rows").iter().filter_map(|row| row["who"].as_str()).collect();
    assert!(who.contains(&"dashboard") && who.contains(&"dashboard token:operator"), "{who:?}");
    for path in ["/api/providers/openai/keys", "/api/audit", "/api/status", "/api/config/texts", "/session", "/"] {
        let seen = stand.ask(&format!("GET {path}"), &all.cookie, "").await;
        for secret in ["CANARY", &stand.token, VIEWER] {
            assert!(!seen.body.contains(secret), "{path} shows a secret");
        }
    }
    let events = admin::house::events(&stand.house);
    assert!(events.iter().any(|text| text.contains("signed in with token operator")), "{events:?}");
}

#[tokio::test]
async fn what_pages_do_not_offer_stays_with_the_admin_socket() {
    let stand = Stand::open().await;
    let session = stand.enter(&stand.token).await;
    for request in [
        "POST /api/drain",
        "POST /api/upgrade",
        "PUT /api/config",
        "POST /api/vault/rotate-root",
        "POST /api/backup",
        "DELETE /api/tenants/default",
        "OPTIONS /api/status",
    ] {
        stand.change(&session, request, "{}").await.refused(403, "not_offered");
    }
    assert_eq!(stand.house.drains.load(std::sync::atomic::Ordering::Relaxed), 0);
    for path in ["/api/nothing", "/api/", "/nothing", "/assets/nothing.js", "/assets/../mod.rs"] {
        assert_eq!(stand.ask(&format!("GET {path}"), &session.cookie, "").await.status, 404, "{path}");
    }
    let optional = format!("{}x-igris-optional: 1\r\n", session.cookie);
    assert_eq!(stand.ask("GET /api/nothing", &optional, "").await.status, 204);
}

#[tokio::test]
async fn another_name_for_us_is_refused_everywhere() {
    let stand = Stand::open().await;
    let session = stand.enter(&stand.token).await;
    let link = format!("GET /?token={}", stand.token);
    for host in ["host: evil.example\r\n", "", "host: 127.0.0.1.evil.example\r\n", "host: a\r\nhost: b\r\n"] {
        for request in ["GET /", "GET /login", "GET /assets/app.js", "GET /api/status", &link] {
            let seen = stand.ask_as(host, request, &session.cookie, "").await;
            assert!(matches!(seen.status, 400 | 421) && !seen.head.contains("set-cookie"), "{host:?} {request}");
        }
    }
    for host in ["host: localhost:1\r\n", "host: igris.example\r\n", "host: [::1]:8082\r\n"] {
        assert_eq!(stand.ask_as(host, "GET /api/status", &session.cookie, "").await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_trust_nothing_else() {
    let stand = Stand::open().await;
    let session = stand.enter(&stand.token).await;
    for (path, fields) in [
        ("/", ""),
        ("/", session.cookie.as_str()),
        ("/login", ""),
        ("/assets/app.js", ""),
        ("/api/status", ""),
        ("/api/status", &session.cookie),
        ("/api/nothing", &session.cookie),
        ("/nothing", ""),
    ] {
        let head = stand.ask(&format!("GET {path}"), fields, "").await.head;
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
            "report-uri /csp-report",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(head.contains(field), "{path}: {field} is not in {head}");
        }
        assert!(!head.contains("unsafe"), "{path}: {head}");
        assert_eq!(head.matches("cache-control").count(), 1, "{path}: {head}");
    }
}

#[tokio::test]
async fn what_a_browser_stopped_is_counted() {
    let stand = Stand::open().await;
    let session = stand.enter(&stand.token).await;
    let count = async || stand.ask("GET /csp-report", &session.cookie, "").await.json();
    assert_eq!(count().await["count"], 0);
    let report =
        r#"{"csp-report":{"effective-directive":"img-src","blocked-uri":"http://evil.example/x.png?secret=1"}}"#;
    for body in [report, "no json", ""] {
        assert_eq!(stand.ask("POST /csp-report", "", body).await.status, 204);
    }
    assert_eq!(stand.ask("POST /csp-report", "", report).await.status, 204);
    let seen = count().await;
    assert_eq!((&seen["count"], &seen["last"]["directive"]), (&4.into(), &"img-src".into()));
    assert_eq!(seen["last"]["blocked"], "http://evil.example/x.png");
}

#[tokio::test]
async fn a_feed_ends_with_its_session() {
    let stand = Stand::open().await;
    let session = stand.enter(&stand.token).await;
    let mut feed = TcpStream::connect(stand.address).await.expect("connected");
    let request = format!("GET /api/events HTTP/1.1\r\nhost: {}\r\n{}\r\n", stand.address, session.cookie);
    feed.write_all(request.as_bytes()).await.expect("sent");
    let mut begun = [0; 512];
    assert!(feed.read(&mut begun).await.expect("a head") > 0);
    assert_eq!(stand.change(&session, "POST /logout", "").await.status, 204);
    // Something happens, and whoever left does not hear of it.
    stand.enter(OPERATOR).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), feed.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the feed goes on");
    assert!(!String::from_utf8_lossy(&rest).contains("token operator"));
}

#[tokio::test]
async fn assets_have_their_types() {
    let stand = Stand::open().await;
    for (name, kind, text) in assets::all() {
        let seen = stand.ask(&format!("GET /assets/{name}"), "", "").await;
        assert_eq!((seen.status, seen.body.as_str()), (200, *text), "{name}");
        assert!(seen.head.contains(&format!("content-type: {kind}\r\n")), "{name}: {}", seen.head);
        let wanted = match name.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some("svg") => "image/svg+xml",
            _ => "text/plain",
        };
        assert!(kind.starts_with(wanted), "{name} is {kind}");
    }
}

#[test]
fn the_pages_keep_to_their_own_policy() {
    let own: Vec<(&str, &str)> = assets::all()
        .filter(|file| !file.0.starts_with("vendor/"))
        .map(|file| (file.0, file.2))
        .chain([("page.html", assets::PAGE), ("login.html", "")])
        .collect();
    for (name, text) in &own {
        // Addresses of specifications stand in comments, and of the kind of a drawing in its head.
        let code =
            text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("www.w3.org/2000/svg"));
        for line in code {
            for sign in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "eval(",
                "new Function",
                "http://",
                "https://",
                "style=\"",
                "onclick=\"",
                "@import",
                "document.write",
            ] {
                assert!(!line.contains(sign), "{sign} in {name}: {line}");
            }
        }
    }
    // Whatever a script imports is in the table.
    for (name, text) in own.iter().filter(|file| file.0.ends_with(".js")) {
        for path in text.split("from \"").skip(1).filter_map(|part| part.split('"').next()) {
            let folder = if path.starts_with("../") || !name.contains('/') { "" } else { "pages/" };
            let wanted = format!("{folder}{}", path.trim_start_matches("../").trim_start_matches("./"));
            assert!(assets::all().any(|file| file.0 == wanted), "{name} imports {path}");
        }
    }
}

#[test]
fn a_token_does_not_print() {
    let token = Token::make(&mut OsEntropy).expect("a token");
    assert_eq!(token.expose().len(), 43);
    assert_eq!(format!("{token:?}"), "Token(…)");
}

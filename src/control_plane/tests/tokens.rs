//! Service accounts at Vertex: exchanged at a token server on loopback, published as tokens, renewed, and left out when there is none.

use super::listener::{CA, SERVER, SERVER_KEY};
use super::*;
use crate::tls::server_config;
use crate::vault::sign::pem_of_a_new_key;
use aws_lc_rs::rsa::KeyPair as RsaPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A token server that answers one request after the other with what it was given, and hands back the requests it got.
struct TokenServer {
    url: String,
    asked: tokio::task::JoinHandle<Vec<String>>,
}

impl TokenServer {
    async fn start(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/token", listener.local_addr().expect("an address"));
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (connection, _) = listener.accept().await.expect("a connection");
                asked.push(serve(connection, answer).await);
            }
            asked
        });
        Self { url, asked }
    }

    /// The same over TLS, with a certificate of the tests' own authority.
    async fn start_tls(answer: (u16, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}/token", listener.local_addr().expect("an address").port());
        let shown = server_config(SERVER.as_bytes(), SERVER_KEY.as_bytes(), None, false).expect("a pair");
        let asked = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("a connection");
            let secured = tokio_rustls::TlsAcceptor::from(shown).accept(connection).await;
            match secured {
                Ok(connection) => vec![serve(connection, answer).await],
                Err(_) => Vec::new(),
            }
        });
        Self { url, asked }
    }
}

/// Reads one request and answers it.
async fn serve(mut connection: impl AsyncRead + AsyncWrite + Unpin, (status, body): (u16, &str)) -> String {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let read = connection.read_buf(&mut request).await.expect("a request");
        assert!(read > 0, "the request ended early");
    }
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await.expect("written");
    connection.write_all(body.as_bytes()).await.expect("written");
    connection.flush().await.expect("written");
    String::from_utf8(request).expect("text")
}

/// Whether head and body of a request with `content-length` are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let stated = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    stated.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

fn account(pem: &str, token_uri: &str) -> String {
    let members = serde_json::json!({
        "type": "service_account",
        "private_key_id": "k1",
        "private_key": pem,
        "client_email": "igris@my-project.iam.gserviceaccount.com",
        "token_uri": token_uri,
    });
    serde_json::to_string_pretty(&members).expect("JSON")
}

const VERTEX: &str = r#"
[[providers]]
name = "vertex"
base_url = "http://127.0.0.1:9002"
allow_private_address = true
region = "us-east5"
project = "my-project"
api_key = { env = "ACCOUNT" }
[[providers]]
name = "openai"
"#;

fn opened(house: &mut House, account: String) -> Arc<Mutex<Control>> {
    house.env.insert("ACCOUNT".to_owned(), account);
    Arc::new(Mutex::new(house.open(VERTEX)))
}

async fn exchange(control: &Mutex<Control>, now: Instant) {
    exchange_due(control, None, now).await;
    lock(control).tick();
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

#[tokio::test]
async fn an_account_is_exchanged_and_only_its_token_is_published() {
    let mut house = House::new("tokens");
    let pem = pem_of_a_new_key();
    let server = TokenServer::start(vec![
        (200, r#"{"access_token":"ya29.first","expires_in":3600,"token_type":"Bearer"}"#),
        (503, "marker"),
        (200, r#"{"access_token":"ya29.second","expires_in":3600,"token_type":"Bearer"}"#),
    ])
    .await;
    let control = opened(&mut house, account(&pem, &server.url));
    assert!(keys_for(&lock(&control), "default", "vertex").is_empty(), "no token yet");
    let now = Instant::now();
    exchange(&control, now).await;
    assert_eq!(keys_for(&lock(&control), "default", "vertex"), ["ya29.first"]);
    exchange(&control, now + Duration::from_secs(2_800)).await;
    // Renewal fails once: the old token serves on, and after a pause there is a new one.
    exchange(&control, now + Duration::from_secs(2_900)).await;
    assert_eq!(keys_for(&lock(&control), "acme", "vertex"), ["ya29.first"]);
    exchange(&control, now + Duration::from_secs(2_902)).await;
    assert_eq!(keys_for(&lock(&control), "default", "vertex"), ["ya29.second"]);

    let said = events(&lock(&control));
    assert!(said.contains("gets no access token: it answered 503"), "{said}");
    let asked = server.asked.await.expect("three requests");
    assert!(asked[0].starts_with("POST /token HTTP/1.1\r\n"), "{}", asked[0]);
    let form = asked[0].rsplit_once("\r\n\r\n").expect("a body").1;
    let assertion = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .expect("the grant of RFC 7523");
    let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
    let (header, claim) = signed.split_once('.').expect("three parts");
    assert_eq!(part(header), serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claim = part(claim);
    assert_eq!(claim["iss"], "igris@my-project.iam.gserviceaccount.com");
    assert_eq!(claim["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(claim["aud"], server.url);
    assert_eq!(claim["exp"].as_u64(), claim["iat"].as_u64().map(|issued| issued + 3_600));
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let pair = RsaPair::from_pkcs8(der.secret_der()).expect("a key");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    assert!(public.verify(signed.as_bytes(), &signature).is_ok());
    for secret in ["ya29", "marker", "PRIVATE", &signed[..40]] {
        assert!(!said.contains(secret), "rule R1: {said}");
    }
}

#[tokio::test]
async fn a_token_server_must_show_a_certificate_that_is_trusted() {
    let mut house = House::new("token-tls");
    let pem = pem_of_a_new_key();
    let server = TokenServer::start_tls((200, "{}")).await;
    let control = opened(&mut house, account(&pem, &server.url));
    exchange(&control, Instant::now()).await;
    assert!(server.asked.await.expect("a connection").is_empty(), "nothing is said to a stranger");
    let said = events(&lock(&control));
    assert!(said.contains("gets no access token: TLS failed"), "{said}");
    drop(control);

    let server = TokenServer::start_tls((200, r#"{"access_token":"ya29.tls","expires_in":60}"#)).await;
    house.env.insert("ACCOUNT".to_owned(), account(&pem, &server.url));
    let authority = house.directory.join("ca.pem");
    fs::write(&authority, CA).expect("written");
    let with_ca = format!("ca = \"{}\"\nproject", authority.display());
    let control = Mutex::new(house.open(&VERTEX.replacen("project", &with_ca, 1)));
    exchange(&control, Instant::now()).await;
    assert_eq!(keys_for(&lock(&control), "default", "vertex"), ["ya29.tls"]);
    assert_eq!(server.asked.await.expect("a request").len(), 1);
}

#[tokio::test]
async fn a_refused_account_is_left_out_and_said_once() {
    let mut house = House::new("refused-account");
    let answer = r#"{"error":"invalid_grant","error_description":"marker"}"#;
    let server = TokenServer::start(vec![(400, answer), (400, answer)]).await;
    let control = opened(&mut house, account(&pem_of_a_new_key(), &server.url));
    exchange(&control, Instant::now()).await;
    exchange(&control, Instant::now() + Duration::from_secs(2)).await;
    assert_eq!(server.asked.await.expect("two requests").len(), 2);
    assert!(keys_for(&lock(&control), "default", "vertex").is_empty());
    let said = events(&lock(&control));
    assert!(said.matches("it answered 400, `invalid_grant`").count() == 1, "{said}");
    assert!(!said.contains("marker"), "{said}");
}

#[tokio::test]
async fn token_servers_may_be_where_the_provider_may_be_and_nowhere_else() {
    let mut house = House::new("token-places");
    let pem = pem_of_a_new_key();
    for uri in ["http://169.254.169.254/token", "https://token.example/token"] {
        let control = opened(&mut house, account(&pem, uri));
        exchange(&control, Instant::now()).await;
        let said = events(&lock(&control));
        assert!(said.contains("gets no access token: its "), "{said}");
    }
    // Without the operator's word even loopback is refused; nothing is resolved for it, and nothing asked.
    let server = TokenServer::start(vec![(200, "{}")]).await;
    house.env.insert("ACCOUNT".to_owned(), account(&pem, &server.url));
    let text =
        VERTEX.replace("http://127.0.0.1:9002", "https://vertex.example").replace("allow_private_address = true", "");
    let control = Mutex::new(house.open(&text));
    exchange(&control, Instant::now()).await;
    let said = events(&lock(&control));
    assert!(said.contains("its `token_uri` is plain http"), "{said}");
    server.asked.abort();
}

#[test]
fn a_ready_token_is_used_as_it_is_and_misplaced_credentials_are_left_out() {
    let mut house = House::new("ready-token");
    house.env.insert("ACCOUNT".to_owned(), "ya29.ready".to_owned());
    let text = format!("{VERTEX}[[providers]]\nname = \"bedrock\"\nbase_url = \"https://aws-proxy.example\"\n");
    let mut control = house.open(&text);
    assert_eq!(keys_for(&control, "default", "vertex"), ["ya29.ready"]);
    let spec = control.published().load().providers[0].spec.clone();
    assert_eq!(spec.platform.project.as_deref(), Some("my-project"));

    let file = account(&pem_of_a_new_key(), "https://oauth2.googleapis.com/token");
    let view = add(&mut control, "default", "openai", &file).expect("taken in");
    assert_eq!(view.key, "igris@my-project.iam.gserviceaccount.com");
    assert!(keys_for(&control, "default", "openai").is_empty(), "its private key would be shown");
    add(&mut control, "default", "bedrock", "AKIA1:CANARY").expect("taken in");
    assert!(keys_for(&control, "default", "bedrock").is_empty());
    add(&mut control, "default", "bedrock", "ABSKmarker").expect("taken in");
    assert_eq!(keys_for(&control, "default", "bedrock"), ["ABSKmarker"]);
    let said = events(&control);
    assert!(said.contains("it is a service account, and this provider takes plain keys"), "{said}");
    assert!(said.contains("requests to AWS are signed for a region") && !said.contains("CANARY"), "{said}");
    let error = add(&mut control, "default", "vertex", "{\"type\":\"CANARY\"}").expect_err("no account");
    assert!(error.status() == 400 && !error.to_string().contains("CANARY"), "{error}");
}

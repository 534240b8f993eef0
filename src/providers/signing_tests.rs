//! Signatures against AWS's published vectors, and against two requests that AWS's own Python library (botocore 1.44.8) signed.

use super::*;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// SHA-256 of nothing.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "bedrock-runtime.eu-west-1.amazonaws.com";
const TARGET: &str = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
/// 2026-11-26T03:45:00Z.
const NOW: UnixMillis = UnixMillis(1_795_664_700_000);

/// The signature of a request of the vectors: 2015-08-30, us-east-1, `service`.
fn vector(method: &str, path_and_query: &str, fields: &[(&str, &str)], digest: &str) -> String {
    let scope = Scope { date: "20150830T123600Z", region: "us-east-1", service: "service" };
    let request = Canonical { method, path_and_query, fields, body_digest: digest };
    let line = request.authorization(ID, SECRET, &scope);
    line.rsplit_once("Signature=").expect("a signature").1.to_owned()
}

fn line<'a>(lines: &'a [HeaderLine], name: &str) -> Option<&'a str> {
    lines.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

#[test]
fn the_published_vectors_come_out() {
    let plain = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    let cases = [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        (
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
    ];
    for (method, target, signature) in cases {
        assert_eq!(vector(method, target, &plain, NOTHING), signature, "{method} {target}");
    }
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
    ];
    let digest = hex(&sha256(b"Param1=value1"));
    let expected = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
    assert_eq!(vector("POST", "/", &form, &digest), expected);
}

#[test]
fn the_example_of_a_signing_key_comes_out() {
    let scope = Scope { date: "20150830T123600Z", region: "us-east-1", service: "iam" };
    let key = signing_key(SECRET, "20150830", &scope);
    assert_eq!(hex(&key[..]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn a_model_with_a_colon_is_signed_as_aws_signs_it() {
    let body = br#"{"messages":[]}"#;
    let text = format!("{ID}:{SECRET}");
    let keys = AwsCredential::parse(text.as_bytes()).expect("keys");
    let lines = sign(keys, region_of(HOST), HOST, TARGET, body, NOW).expect("signed");
    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-west-1/bedrock/aws4_request, \
                    SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
                    Signature=13edcbeef56632157d55ac2d1a9ae77fc614411a3058f76cb32f5c26536851d2";
    assert_eq!(line(&lines, "authorization"), Some(expected));
    assert_eq!(line(&lines, "x-amz-date"), Some("20261126T034500Z"));
    let digest = "5e4ce7b36ba37b78a5d5f9fd08e6b7b54ba6879d651aa46ec9e1d6fa24ebe30a";
    assert_eq!(line(&lines, "x-amz-content-sha256"), Some(digest));
    assert_eq!(lines.len(), 3);
    let all: String = lines.iter().map(|(_, value)| value.as_str()).collect();
    assert!(!all.contains(SECRET));
}

#[test]
fn a_temporary_pair_shows_and_signs_its_token() {
    let token = "FwoGZXIvYXdzEXAMPLE//token+with=signs";
    let text = format!("ASIAEXAMPLE:{SECRET}:{token}");
    let keys = AwsCredential::parse(text.as_bytes()).expect("keys");
    let lines = sign(keys, Some("eu-west-1"), HOST, TARGET, br#"{"messages":[]}"#, NOW).expect("signed");
    let authorization = line(&lines, "authorization").expect("a signature");
    assert!(
        authorization.ends_with("Signature=b35d623b3e9f799c08cfbe5297591676803ac16557bb64f1b7978ee067f5a33f"),
        "{authorization}"
    );
    assert_eq!(line(&lines, "x-amz-security-token"), Some(token));
}

#[test]
fn a_bearer_key_is_shown_and_needs_no_region() {
    let key = AwsCredential::parse(b"ABSKmarker").expect("a key");
    let lines = sign(key, None, HOST, TARGET, b"", NOW).expect("shown");
    assert_eq!((lines.len(), line(&lines, "authorization")), (1, Some("Bearer ABSKmarker")));
    let keys = AwsCredential::parse(b"AKIA1:secret").expect("keys");
    assert_eq!(sign(keys, None, HOST, TARGET, b"", NOW), Err(SigningError::RegionMissing));
}

#[test]
fn texts_of_another_shape_are_refused() {
    for text in ["", ":", "AKIA1:", ":secret", "AKIA1:secret:", "AK IA:secret", "AK/IA:secret", "ABSK\nx", "bücher"] {
        assert!(AwsCredential::parse(text.as_bytes()) == Err(SigningError::Shape), "{text}");
    }
    let token = AwsCredential::parse(b"ASIA1:secret:to:ken").expect("keys");
    assert!(matches!(token, AwsCredential::Keys { session_token: Some("to:ken"), .. }));
}

#[test]
fn hosts_tell_their_region() {
    for (host, region) in [
        (HOST, Some("eu-west-1")),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443", Some("us-gov-west-1")),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
        ("vpce-0a1b.bedrock-runtime.us-east-1.vpce.amazonaws.com", Some("us-east-1")),
        ("bedrock-runtime.us-east-1.example.com", None),
        ("proxy.example.com", None),
        ("127.0.0.1:8000", None),
        ("bedrock-runtime.amazonaws.com", None),
    ] {
        assert_eq!(region_of(host), region, "{host}");
    }
}

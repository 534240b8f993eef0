//! AWS Signature Version 4 as a suspicious service checks it (AWS General Reference, "Create a signed request", read 2026-11).
//!
//! The form is always checked; the signature itself where the secret is known.

use super::sha256::{hex, hmac, sha256};
use crate::simulator::wire::Head;
use std::fmt::Write as _;

/// What an `Authorization` field of this scheme says.
pub(super) struct Signed<'a> {
    /// The access key's id.
    pub(super) id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminal: &'a str,
    names: Vec<&'a str>,
    signature: &'a str,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a signature's clock may be off.
const SKEW_SECONDS: u64 = 900;

/// Reads the field's three parts.
pub(super) fn read(head: &Head) -> Option<Signed<'_>> {
    let rest = head.field("authorization")?.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
    let part = |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let mut scope = part("Credential")?.split('/');
    let mut step = || scope.next().unwrap_or_default();
    let (id, date, region, service, terminal) = (step(), step(), step(), step(), step());
    let names = part("SignedHeaders")?.split(';').collect();
    Some(Signed { id, date, region, service, terminal, names, signature: part("Signature")? })
}

impl Signed<'_> {
    /// Checks the form, and with a secret the signature and its clock.
    ///
    /// # Errors
    /// The name of the exception and its message.
    pub(super) fn check(
        &self,
        head: &Head,
        body: &[u8],
        secret: Option<&str>,
        now_unix: u64,
    ) -> Result<(), (&'static str, String)> {
        let incomplete = |message: String| Err(("IncompleteSignatureException", message));
        let invalid = |message: String| Err(("InvalidSignatureException", message));
        let stamp = head.field("x-amz-date").unwrap_or_default();
        let seconds = parse_stamp(stamp);
        if seconds.is_none() {
            let message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
            return incomplete(message.into());
        }
        if !stamp.starts_with(self.date) || self.date.len() != 8 {
            return invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date, {stamp}."
            ));
        }
        if self.service != "bedrock" || self.terminal != "aws4_request" || self.region.is_empty() {
            return invalid("Credential should be scoped to correct service: 'bedrock'.".into());
        }
        let mut sorted = self.names.clone();
        sorted.sort_unstable();
        let lower = self.names.iter().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        if sorted != self.names || !lower {
            return incomplete("SignedHeaders must be sorted and in lower case.".into());
        }
        let must = ["host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
        let there = |name: &&str| matches!(*name, "host" | "x-amz-date") || head.field(name).is_some();
        if let Some(missing) = must.iter().filter(|name| there(name)).find(|name| !self.names.contains(name)) {
            return incomplete(format!("'{missing}' must be a 'SignedHeader' in the AWS Authorization."));
        }
        let digits = self.signature.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if self.signature.len() != 64 || !digits {
            return incomplete("Signature must be 64 hexadecimal digits in lower case.".into());
        }
        let digest = hex(&sha256(body));
        if head.field("x-amz-content-sha256").is_some_and(|told| told != digest && told != "UNSIGNED-PAYLOAD") {
            return invalid("The provided 'x-amz-content-sha256' header does not match what was computed.".into());
        }
        let Some(secret) = secret else { return Ok(()) };
        if seconds.is_none_or(|then| then.abs_diff(now_unix) > SKEW_SECONDS) {
            return invalid(format!("Signature expired: {stamp} is too far from the present time."));
        }
        if self.expected(head, &digest, secret, stamp) == self.signature {
            return Ok(());
        }
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                       Access Key and signing method. Consult the service documentation for details.";
        invalid(message.into())
    }

    fn expected(&self, head: &Head, digest: &str, secret: &str, stamp: &str) -> String {
        let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
        let mut pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.contains('=') {
                true => pair.to_owned(),
                false => format!("{pair}="),
            })
            .collect();
        pairs.sort_unstable();
        let mut request = format!("{}\n{}\n{}\n", head.method, encoded(path), pairs.join("&"));
        for name in &self.names {
            let values = head.fields.iter().filter(|(known, _)| known == name);
            let values: Vec<_> =
                values.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            let _ = writeln!(request, "{name}:{}", values.join(","));
        }
        let payload = head.field("x-amz-content-sha256").unwrap_or(digest);
        let _ = write!(request, "\n{}\n{payload}", self.names.join(";"));
        let scope = format!("{}/{}/{}/{}", self.date, self.region, self.service, self.terminal);
        let text = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", hex(&sha256(request.as_bytes())));
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), self.date.as_bytes());
        for part in [self.region, self.service, self.terminal] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&hmac(&key, text.as_bytes()))
    }
}

/// A path as it is signed: encoded once more, as every service but S3 wants it.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Seconds since 1970 of `20261126T120000Z`.
fn parse_stamp(stamp: &str) -> Option<u64> {
    let whole = stamp.len() == 16 && stamp.as_bytes().get(8) == Some(&b'T') && stamp.ends_with('Z');
    let number = |from: usize, to: usize| stamp.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !whole || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Days since 0000-03-01, as in `text::utc` backwards.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read() {
        assert_eq!(parse_stamp("19700101T000000Z"), Some(0));
        assert_eq!(parse_stamp("20000229T123456Z"), Some(951_827_696));
        for wrong in ["2000-02-29T12:34Z", "20001329T123456Z", "20000229 123456Z", ""] {
            assert_eq!(parse_stamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_published_example_is_verified() {
        // AWS test suite for version 4, "get-vanilla", with its service and region.
        let signed = Signed {
            id: "AKIDEXAMPLE",
            date: "20150830",
            region: "us-east-1",
            service: "service",
            terminal: "aws4_request",
            names: vec!["host", "x-amz-date"],
            signature: "",
        };
        let text = b"GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n\r\n";
        let (head, _) = crate::simulator::wire::head(text, 0).expect("a good head").expect("a whole head");
        let expected =
            signed.expected(&head, &hex(&sha256(b"")), "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830T123600Z");
        assert_eq!(expected, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOON: u64 = 1_795_694_400;

    /// The verdict on a request that was signed by another implementation, after `change`.
    fn verdict(change: impl Fn(String) -> String, body: &str, now: u64) -> Result<(), &'static str> {
        let text = "POST /model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse HTTP/1.1\r\nhost: sim\r\n\
            content-type: application/json\r\nx-amz-date: 20261126T120000Z\r\nauthorization: AWS4-HMAC-SHA256 \
            Credential=AKIDEXAMPLE/20261126/us-east-1/bedrock/aws4_request, \
            SignedHeaders=content-type;host;x-amz-date, \
            Signature=771c9ee9b3c63179e1fbce237165ce5ee9ffe85f8fb3f0f2ee26b96a7dfb8e49\r\ncontent-length: 15\r\n\r\n";
        let text = change(text.to_owned());
        let (head, _) = crate::simulator::wire::head(text.as_bytes(), 0).expect("a good head").expect("a whole head");
        let signed = read(&head).ok_or("unreadable")?;
        signed.check(&head, body.as_bytes(), Some(SECRET), now).map_err(|(kind, _)| kind)
    }

    #[test]
    fn whatever_was_signed_must_not_change() {
        let body = r#"{"messages":[]}"#;
        assert_eq!(verdict(|text| text, body, NOON + 800), Ok(()));
        let (invalid, incomplete) = (Err("InvalidSignatureException"), Err("IncompleteSignatureException"));
        assert_eq!(verdict(|text| text, r#"{"messages":{}}"#, NOON), invalid, "another body");
        assert_eq!(verdict(|text| text, body, NOON + 1000), invalid, "too late");
        let table = [
            ("/converse ", "/converse-stream ", invalid),
            ("POST ", "GET ", invalid),
            ("host: sim", "host: elsewhere", invalid),
            ("application/json", "text/plain", invalid),
            ("/bedrock/", "/s3/", invalid),
            ("/us-east-1/", "/us-west-2/", invalid),
            ("Signature=771c", "Signature=771d", invalid),
            ("Signature=771c", "Signature=71c", incomplete),
            ("Signature=771c", "Signature=771C", incomplete),
            ("content-type;host;", "host;content-type;", incomplete),
            ("content-type;host;", "content-type;", incomplete),
            ("x-amz-date: 2026", "x-other-date: 2026", incomplete),
            ("x-amz-date: 20261126", "x-amz-date: 20261127", invalid),
            ("content-type: ", "x-amz-security-token: x\r\ncontent-type: ", incomplete),
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", Err("unreadable")),
        ];
        for (old, new, expected) in table {
            assert_eq!(verdict(|text| text.replace(old, new), body, NOON), expected, "{old:?} as {new:?}");
        }
    }
}

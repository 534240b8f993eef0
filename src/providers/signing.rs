//! Signature Version 4: how AWS wants requests to Bedrock signed.
//!
//! Pure: credential, request and instant in, header lines out. The primitives are the vault's; `aws-sigv4` would bring a second set of
//! them (RustCrypto) and some thirty crates for the one kind of request we send. A credential is a bearer key, which is shown as it is,
//! or a pair of keys, of which only the signature leaves this process.
//! Source: "Signature Version 4 for API requests" in the AWS IAM User Guide, read 2026-11-23.

use crate::domain::clock::UnixMillis;
use crate::vault::sign::{hmac_sha256, sha256};
use std::fmt::Write;
use zeroize::Zeroizing;

/// The service that requests to Bedrock are signed for.
const SERVICE: &str = "bedrock";
/// The name of the scheme, in the header and in what is signed.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Parts of a credential's text are separated by this.
const SEPARATOR: u8 = b':';

/// What the text of a credential for AWS holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AwsCredential<'a> {
    /// A Bedrock API key (`ABSK…`), sent as `authorization: Bearer`.
    Bearer(&'a [u8]),
    /// Keys to sign with: `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`.
    Keys {
        /// Public name of the secret (`AKIA…`, `ASIA…`).
        access_key_id: &'a str,
        /// What signs.
        secret_access_key: &'a str,
        /// Shown beside a temporary pair.
        session_token: Option<&'a str>,
    },
}

/// Why a request cannot be signed. The operator's to mend; it would fail the same way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The text is neither form of a credential.
    #[error(
        "the key is neither a Bedrock API key nor ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]; give one of them"
    )]
    Shape,
    /// The address does not name the region, and the configuration neither.
    #[error("requests to AWS are signed for a region and none is known; set `region` at the provider")]
    RegionMissing,
}

/// A field of a request's head: its name in lower case, its value.
pub type HeaderLine = (&'static str, Zeroizing<String>);

impl<'a> AwsCredential<'a> {
    /// Reads the text of a credential. White space around it was dropped when it was taken in.
    ///
    /// # Errors
    /// [`SigningError::Shape`].
    pub fn parse(text: &'a [u8]) -> Result<Self, SigningError> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return Err(SigningError::Shape);
        }
        if !text.contains(&SEPARATOR) {
            return Ok(Self::Bearer(text));
        }
        let text = std::str::from_utf8(text).map_err(|_| SigningError::Shape)?;
        let mut parts = text.splitn(3, char::from(SEPARATOR));
        let (id, secret, token) = (parts.next(), parts.next(), parts.next());
        let stated = |part: Option<&'a str>| part.filter(|part| !part.is_empty()).ok_or(SigningError::Shape);
        let id = stated(id)?;
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(SigningError::Shape);
        }
        Ok(Self::Keys {
            access_key_id: id,
            secret_access_key: stated(secret)?,
            session_token: token.map(|token| stated(Some(token))).transpose()?,
        })
    }
}

/// The header lines that show a credential to Bedrock: `authorization`, and for a pair of keys `x-amz-date`, `x-amz-content-sha256` and,
/// for a temporary pair, `x-amz-security-token`. The request is a POST.
///
/// `host` is the value of the request's `host` field, and `path_and_query` its target, percent-encoded as sent.
///
/// # Errors
/// [`SigningError`]; a bearer key needs no region.
pub fn sign(
    credential: AwsCredential<'_>,
    region: Option<&str>,
    host: &str,
    path_and_query: &str,
    body: &[u8],
    now: UnixMillis,
) -> Result<Vec<HeaderLine>, SigningError> {
    let (id, secret, token) = match credential {
        AwsCredential::Bearer(key) => {
            let key = std::str::from_utf8(key).map_err(|_| SigningError::Shape)?;
            return Ok(vec![("authorization", joined(&["Bearer ", key]))]);
        }
        AwsCredential::Keys { access_key_id, secret_access_key, session_token } => {
            (access_key_id, secret_access_key, session_token)
        }
    };
    let region = region.ok_or(SigningError::RegionMissing)?;
    let (date, digest) = (basic_date(now), hex(&sha256(body)));
    // In the order of their names, as the canonical request lists them.
    let mut signed = vec![("host", host), ("x-amz-content-sha256", &*digest), ("x-amz-date", &*date)];
    signed.extend(token.map(|token| ("x-amz-security-token", token)));
    let scope = Scope { date: &date, region, service: SERVICE };
    let request = Canonical { method: "POST", path_and_query, fields: &signed, body_digest: &digest };
    let mut lines = vec![("authorization", request.authorization(id, secret, &scope))];
    lines.extend(token.map(|token| ("x-amz-security-token", joined(&[token]))));
    lines.push(("x-amz-date", Zeroizing::new(date.clone())));
    lines.push(("x-amz-content-sha256", Zeroizing::new(digest.clone())));
    Ok(lines)
}

/// The region that the name of an AWS host tells: the label after the service's, as in `bedrock-runtime.eu-west-1.amazonaws.com`, its FIPS,
/// China and VPC endpoint forms. A port may follow.
pub fn region_of(host: &str) -> Option<&str> {
    let name = host.split(':').next().unwrap_or_default();
    let aws = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|zone| name.ends_with(zone));
    let mut labels = name.split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
    labels.next();
    labels.next().filter(|region| aws && region.contains('-'))
}

// === Canonical requests ===

/// For which day, place and service a signature holds.
struct Scope<'a> {
    /// `20150830T123600Z`.
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

/// A request in the one form that both sides can make of it.
struct Canonical<'a> {
    method: &'a str,
    path_and_query: &'a str,
    /// The signed fields, names in lower case and in order.
    fields: &'a [(&'a str, &'a str)],
    /// Lower-case hexadecimal SHA-256.
    body_digest: &'a str,
}

impl Canonical<'_> {
    fn authorization(&self, id: &str, secret: &str, scope: &Scope<'_>) -> Zeroizing<String> {
        let day = scope.date.get(..8).unwrap_or_default();
        let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
        let to_sign = format!("{ALGORITHM}\n{}\n{place}\n{}", scope.date, hex(&sha256(self.text().as_bytes())));
        let key = signing_key(secret, day, scope);
        let signature = hex(&hmac_sha256(&key[..], &[to_sign.as_bytes()])[..]);
        let names = self.field_names();
        Zeroizing::new(format!("{ALGORITHM} Credential={id}/{place}, SignedHeaders={names}, Signature={signature}"))
    }

    /// The canonical request. It may hold a session token, so it is wiped.
    fn text(&self) -> Zeroizing<String> {
        let (path, query) = self.path_and_query.split_once('?').unwrap_or((self.path_and_query, ""));
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        // Never grown, so that no copy of a token is left behind: an encoded byte takes three.
        let room = 256 + 3 * self.path_and_query.len() + self.path_and_query.len() + 2 * fields;
        let mut text = Zeroizing::new(String::with_capacity(room));
        text.push_str(self.method);
        text.push('\n');
        encode_path(path, &mut text);
        text.push('\n');
        push_query(query, &mut text);
        text.push('\n');
        for (name, value) in self.fields {
            for part in [name, ":", value.trim_matches(' '), "\n"] {
                text.push_str(part);
            }
        }
        text.push('\n');
        text.push_str(&self.field_names());
        text.push('\n');
        text.push_str(self.body_digest);
        text
    }

    fn field_names(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| *name).collect();
        names.join(";")
    }
}

/// The key of one day, region and service, derived from the secret.
fn signing_key(secret: &str, day: &str, scope: &Scope<'_>) -> Zeroizing<[u8; 32]> {
    let first = joined(&["AWS4", secret]);
    let mut key = hmac_sha256(first.as_bytes(), &[day.as_bytes()]);
    for part in [scope.region, scope.service, "aws4_request"] {
        key = hmac_sha256(&key[..], &[part.as_bytes()]);
    }
    key
}

/// Every byte of the path as sent but unreserved ones and slashes, encoded (again): `%3A` becomes `%253A`.
fn encode_path(path: &str, out: &mut String) {
    if path.is_empty() {
        out.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The pairs of an encoded query by name and value; a name alone gets its `=`.
fn push_query(query: &str, out: &mut String) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push('&');
        }
        for part in [name, "=", value] {
            out.push_str(part);
        }
    }
}

/// `20150830T123600Z` (ISO 8601, basic form).
fn basic_date(now: UnixMillis) -> String {
    now.to_rfc3339().chars().filter(|letter| !matches!(letter, '-' | ':')).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The parts as one text in one allocation, wiped when it is dropped.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(parts.concat())
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;

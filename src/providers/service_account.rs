//! A service account of Google Cloud, as its JSON file has it: who signs, with what, and where the signature is exchanged for a token.
//!
//! Pure. Of the file only four members are kept, in one form of visible ASCII, so that such a credential is stored as any other. The private
//! key is never decoded into memory that is not wiped, and no error repeats a word of the file.
//! Source: "OAuth 2.0 for server to server applications" (Google Identity), read 2026-11-23.

use crate::domain::secret::Secret;
use crate::vault::sign::RsaKey;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use zeroize::Zeroizing;

/// What signs for an account.
pub struct ServiceAccount {
    /// The account's address; it is no secret.
    pub client_email: String,
    /// Which of the account's keys this is; it is no secret.
    pub private_key_id: Option<String>,
    /// Where a signed claim is exchanged for a token.
    pub token_uri: String,
    /// PEM.
    private_key: Zeroizing<String>,
}

/// Why a text is no usable service account. Its owner has to give another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAServiceAccount {
    /// Not JSON, or without one of the members that are needed.
    #[error("it lacks `type`, `client_email`, `private_key` or `token_uri`; download the key file again")]
    Shape,
    /// Another kind of Google credential.
    #[error("its `type` is not `service_account`; create a key for a service account")]
    Kind,
    /// The key does not sign.
    #[error("its `private_key` is not an RSA key in PEM form; download the key file again")]
    Key,
}

#[derive(Deserialize)]
struct File<'a> {
    r#type: &'a str,
    client_email: &'a str,
    #[serde(default)]
    private_key_id: Option<&'a str>,
    token_uri: &'a str,
    #[serde(borrow)]
    private_key: &'a RawValue,
}

/// Whether a credential's text is meant to be one: no provider's key begins with a brace.
pub fn is_meant(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// The account's essence as JSON of visible ASCII without a space, fit to be stored as a credential. Takes its own results too.
///
/// # Errors
/// [`NotAServiceAccount`].
pub fn essence(text: &[u8]) -> Result<Secret, NotAServiceAccount> {
    let file = File::read(text)?;
    file.key()?;
    let raw = file.private_key.get();
    let spaces = raw.bytes().filter(|byte| *byte == b' ').count();
    let id = file.private_key_id.unwrap_or_default();
    let fixed = [file.client_email, id, file.token_uri].iter().map(|part| part.len()).sum::<usize>();
    // Never grown, so that no copy of the key is left behind.
    let mut out = Vec::with_capacity(128 + fixed + raw.len() + 5 * spaces);
    for (name, value) in [
        ("type", file.r#type),
        ("client_email", file.client_email),
        ("private_key_id", id),
        ("token_uri", file.token_uri),
    ] {
        let start: &[u8] = if out.is_empty() { b"{\"" } else { b",\"" };
        for part in [start, name.as_bytes(), b"\":\"", value.as_bytes(), b"\""] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b",\"private_key\":");
    for byte in raw.bytes() {
        match byte {
            b' ' => out.extend_from_slice(b"\\u0020"),
            byte => out.push(byte),
        }
    }
    out.push(b'}');
    Ok(Secret::take(out))
}

impl<'a> File<'a> {
    fn read(text: &'a [u8]) -> Result<Self, NotAServiceAccount> {
        let file: File<'a> = serde_json::from_slice(text).map_err(|_| NotAServiceAccount::Shape)?;
        if file.r#type != "service_account" {
            return Err(NotAServiceAccount::Kind);
        }
        // These are written into JSON as they are.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        let id = file.private_key_id.unwrap_or_default();
        if [file.client_email, file.token_uri].iter().any(|part| part.is_empty() || !plain(part)) || !plain(id) {
            return Err(NotAServiceAccount::Shape);
        }
        Ok(file)
    }

    fn key(&self) -> Result<Zeroizing<String>, NotAServiceAccount> {
        let pem = unescaped(self.private_key.get()).ok_or(NotAServiceAccount::Key)?;
        RsaKey::from_pem(pem.as_bytes()).map_err(|_| NotAServiceAccount::Key)?;
        Ok(pem)
    }
}

impl ServiceAccount {
    /// Reads the file's text, or its essence.
    ///
    /// # Errors
    /// [`NotAServiceAccount`].
    pub fn parse(text: &[u8]) -> Result<Self, NotAServiceAccount> {
        let file = File::read(text)?;
        Ok(Self {
            client_email: file.client_email.to_owned(),
            private_key_id: file.private_key_id.filter(|id| !id.is_empty()).map(str::to_owned),
            token_uri: file.token_uri.to_owned(),
            private_key: file.key()?,
        })
    }

    /// The key that signs.
    ///
    /// # Errors
    /// [`NotAServiceAccount::Key`], which [`ServiceAccount::parse`] excludes.
    pub fn key(&self) -> Result<RsaKey, NotAServiceAccount> {
        RsaKey::from_pem(self.private_key.as_bytes()).map_err(|_| NotAServiceAccount::Key)
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({}, …)", self.client_email)
    }
}

/// The text of a JSON string of ASCII, escapes resolved, in one allocation that is wiped; `None` for anything else (RFC 8259 §7).
fn unescaped(raw: &str) -> Option<Zeroizing<String>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = Zeroizing::new(String::with_capacity(inside.len()));
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        let resolved = match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let mut code = 0_u32;
                    for _ in 0..4 {
                        code = code * 16 + letters.next()?.to_digit(16)?;
                    }
                    char::from_u32(code)?
                }
                same @ ('"' | '\\' | '/') => same,
                _ => return None,
            },
            plain => plain,
        };
        // Anything else is no PEM, and would not fit the room.
        if !resolved.is_ascii() {
            return None;
        }
        text.push(resolved);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::sign::pem_of_a_new_key;

    fn file(key: &str) -> String {
        let members = serde_json::json!({
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "0123abcd",
            "private_key": key,
            "client_email": "igris@my-project.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        serde_json::to_string_pretty(&members).expect("JSON")
    }

    #[test]
    fn the_essence_is_one_word_and_reads_as_the_file_does() {
        let pem = pem_of_a_new_key();
        let text = file(&pem).replace('=', "\\u003d").replace("-----\\n", "-----\\u000a");
        let short = essence(text.as_bytes()).expect("an account");
        assert!(short.expose().iter().all(u8::is_ascii_graphic));
        assert!(!short.expose().windows(10).any(|part| part == b"project_id"));
        assert_eq!(essence(short.expose()).expect("itself").expose(), short.expose());
        let account = ServiceAccount::parse(short.expose()).expect("an account");
        assert_eq!(account.private_key.as_str(), pem);
        assert_eq!(account.client_email, "igris@my-project.iam.gserviceaccount.com");
        assert_eq!(account.private_key_id.as_deref(), Some("0123abcd"));
        assert!(account.key().is_ok_and(|key| key.sign(b"x").is_ok()));
        assert!(!format!("{account:?}").contains("PRIVATE"));
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        let good = file(&pem_of_a_new_key());
        for (text, expected) in [
            (good.replace("service_account", "authorized_user"), NotAServiceAccount::Kind),
            (good.replace("client_email", "email"), NotAServiceAccount::Shape),
            (good.replace("0123abcd", "01\\n23"), NotAServiceAccount::Shape),
            (file("marker"), NotAServiceAccount::Key),
            (file("mårker"), NotAServiceAccount::Key),
            ("{".to_owned(), NotAServiceAccount::Shape),
        ] {
            let fault = essence(text.as_bytes()).expect_err("refused");
            assert_eq!(fault, expected, "{text}");
            assert!(!fault.to_string().contains("marker"));
        }
        assert!(is_meant(b" \n{") && !is_meant(b"ya29.x"));
    }
}

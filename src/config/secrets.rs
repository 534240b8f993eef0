//! Secrets behind the references of a configuration: from environment, file or descriptor into [`Secret`].
//!
//! The only part of `config` that reads anything, and never while parsing. What was read is wiped but for the returned secret (rule V12);
//! faults name the place and never the content (rule R1).

use super::operation::KeySource;
use crate::domain::secret::Secret;
use crate::limits::{ACCESS_KEY_CHARS_MIN, SECRET_BYTES_MAX};
use crate::providers::service_account::{self, NotAServiceAccount};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// The variable that holds the public half of an AWS key pair.
pub(super) const AWS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The one that holds its secret half.
pub(super) const AWS_SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// The one that holds the token of a temporary pair.
const AWS_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Why a secret could not be had. The operator's to repair; the same reference may work later.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// The variable is not set.
    #[error("{0} is not set; set it or change the reference")]
    Unset(KeySource),
    /// The file or descriptor could not be read.
    #[error("{0} could not be read: {1}; check path and permissions")]
    Unreadable(KeySource, #[source] io::Error),
    /// There is nothing in it.
    #[error("{0} is empty; put the secret there")]
    Empty(KeySource),
    /// More than [`SECRET_BYTES_MAX`].
    #[error("{0} holds more than {SECRET_BYTES_MAX} bytes; it is probably not the secret")]
    TooLong(KeySource),
    /// A control character or non-ASCII inside, which a header could not carry.
    #[error("{0} holds a character that no key has; write the key alone, on one line")]
    OddCharacter(KeySource),
    /// A service account that cannot sign.
    #[error("{0} begins as a service account and is none: {1}")]
    Account(KeySource, #[source] NotAServiceAccount),
    /// An access key that could be guessed.
    #[error("{0} has fewer than {ACCESS_KEY_CHARS_MIN} characters; use a longer access key")]
    TooShort(KeySource),
}

/// The bytes exactly as they are, for keys that are not text (the vault's root key).
pub fn bytes(source: &KeySource, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretFault> {
    let content = match source {
        KeySource::Env(name) => env(name).ok_or_else(|| SecretFault::Unset(source.clone()))?.into_bytes(),
        KeySource::File(path) => content(source, path)?,
        // Opened by its name in /proc, which needs no unsafe claim of ownership over a descriptor that we merely inherited.
        KeySource::Fd(number) => content(source, &PathBuf::from(format!("/proc/self/fd/{number}")))?,
    };
    let secret = Secret::take(content);
    if secret.is_empty() {
        return Err(SecretFault::Empty(source.clone()));
    }
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(SecretFault::TooLong(source.clone()));
    }
    Ok(secret)
}

/// A key that is text: surrounding white space is dropped, and what a header cannot carry is refused.
pub fn text(source: &KeySource, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretFault> {
    let whole = bytes(source, env)?;
    let key = whole.expose().trim_ascii();
    if key.is_empty() {
        return Err(SecretFault::Empty(source.clone()));
    }
    if !key.iter().all(u8::is_ascii_graphic) {
        return Err(SecretFault::OddCharacter(source.clone()));
    }
    Ok(Secret::copy_of(key))
}

/// A provider's key: text, or a service account of Google, of which what is needed is kept. `AWS_ACCESS_KEY_ID` stands for the pair, and is
/// joined with `AWS_SECRET_ACCESS_KEY` and, if that is set, `AWS_SESSION_TOKEN`.
pub fn provider_key(source: &KeySource, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretFault> {
    if *source == KeySource::Env(AWS_KEY_ID.to_owned()) {
        return aws_pair(source, env);
    }
    let whole = bytes(source, env)?;
    if service_account::is_meant(whole.expose()) {
        return service_account::essence(whole.expose()).map_err(|fault| SecretFault::Account(source.clone(), fault));
    }
    text(source, env)
}

/// The variables of AWS's own tools, in the form `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`.
fn aws_pair(id: &KeySource, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretFault> {
    let variable = |name: &str| KeySource::Env(name.to_owned());
    let (id, secret) = (text(id, env)?, text(&variable(AWS_SECRET), env)?);
    let token = match text(&variable(AWS_TOKEN), env) {
        Ok(token) => Some(token),
        Err(SecretFault::Unset(_) | SecretFault::Empty(_)) => None,
        Err(fault) => return Err(fault),
    };
    let parts = [Some(&id), Some(&secret), token.as_ref()];
    let parts: Vec<&[u8]> = parts.into_iter().flatten().map(Secret::expose).collect();
    // `join` allocates once, so that no copy is left behind.
    Ok(Secret::take(parts.join(&b':')))
}

/// A key that clients will show us: text of [`ACCESS_KEY_CHARS_MIN`] characters or more.
pub fn access_key(source: &KeySource, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretFault> {
    let key = text(source, env)?;
    if key.len() < ACCESS_KEY_CHARS_MIN {
        return Err(SecretFault::TooShort(source.clone()));
    }
    Ok(key)
}

/// Reads into one allocation that never grows, so that no copy is left behind; one byte more than allowed tells that there is more.
fn content(source: &KeySource, path: &Path) -> Result<Vec<u8>, SecretFault> {
    let unreadable = |fault| SecretFault::Unreadable(source.clone(), fault);
    let most = SECRET_BYTES_MAX as usize + 1;
    let mut file = File::open(path).map_err(unreadable)?;
    let mut buffer = vec![0; most];
    let mut length = 0;
    while length < most {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => {
                buffer.zeroize();
                return Err(SecretFault::Unreadable(source.clone(), fault));
            }
        }
    }
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn env(name: &str) -> Option<String> {
        match name {
            "GOOD" => Some("  sk-marker-0123456789abcdef\n".to_owned()),
            "BLANK" => Some(" \n".to_owned()),
            "SPLIT" => Some("sk-marker\nsecond".to_owned()),
            "SHORT" => Some("sk-marker-012345678".to_owned()),
            _ => None,
        }
    }

    fn variable(name: &str) -> KeySource {
        KeySource::Env(name.to_owned())
    }

    #[test]
    fn a_key_is_trimmed_and_checked() {
        let key = access_key(&variable("GOOD"), &env).expect("a good key");
        assert_eq!(key.expose(), b"sk-marker-0123456789abcdef");
        assert!(matches!(text(&variable("MISSING"), &env), Err(SecretFault::Unset(_))));
        assert!(matches!(text(&variable("BLANK"), &env), Err(SecretFault::Empty(_))));
        assert!(matches!(text(&variable("SPLIT"), &env), Err(SecretFault::OddCharacter(_))));
    }

    #[test]
    fn an_aws_pair_is_put_together_and_a_half_is_named() {
        let id = variable(AWS_KEY_ID);
        let with = |set: &'static [(&str, &str)]| {
            let env =
                move |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
            provider_key(&id, &env).map(|key| String::from_utf8_lossy(key.expose()).into_owned())
        };
        let pair = [("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", " s/1\n"), ("AWS_SESSION_TOKEN", "")];
        let temporary = [("AWS_ACCESS_KEY_ID", "ASIA1"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t==")];
        assert_eq!(with(Box::leak(Box::new(pair))).expect("a pair"), "AKIA1:s/1");
        assert_eq!(with(Box::leak(Box::new(temporary))).expect("a pair"), "ASIA1:s:t==");
        let fault = with(&[("AWS_ACCESS_KEY_ID", "AKIA1")]).expect_err("half");
        assert!(fault.to_string().contains("AWS_SECRET_ACCESS_KEY is not set"), "{fault}");
        assert_eq!(provider_key(&variable("GOOD"), &env).expect("a key").expose(), b"sk-marker-0123456789abcdef");
    }

    #[test]
    fn what_begins_as_a_service_account_must_be_one() {
        let text = |_: &str| Some("{ \"marker\": 1 }".to_owned());
        let fault = provider_key(&variable("ACCOUNT"), &text).expect_err("none");
        assert!(matches!(fault, SecretFault::Account(..)) && !format!("{fault} {fault:?}").contains("marker"));
    }

    #[test]
    fn an_access_key_of_one_character_less_is_refused_and_not_shown() {
        let fault = access_key(&variable("SHORT"), &env).expect_err("19 characters");
        assert!(matches!(fault, SecretFault::TooShort(_)));
        assert!(!format!("{fault} {fault:?}").contains("marker"), "rule R4");
    }

    #[test]
    fn files_and_descriptors_are_read_and_bounded() {
        let path = std::env::temp_dir().join(format!("igris-secret-{}", std::process::id()));
        std::fs::write(&path, vec![b'k'; SECRET_BYTES_MAX as usize]).expect("a writable temporary directory");
        let file = File::open(&path).expect("the file just written");
        let most = bytes(&KeySource::File(path.clone()), &env).expect("as long as allowed");
        assert_eq!(most.len() as u64, SECRET_BYTES_MAX);
        assert!(text(&KeySource::Fd(file.as_raw_fd()), &env).is_ok());
        std::fs::write(&path, vec![b'k'; SECRET_BYTES_MAX as usize + 1]).expect("a writable temporary directory");
        assert!(matches!(bytes(&KeySource::File(path.clone()), &env), Err(SecretFault::TooLong(_))));
        std::fs::remove_file(&path).expect("the file just written");
        assert!(matches!(bytes(&KeySource::File(path), &env), Err(SecretFault::Unreadable(..))));
    }
}

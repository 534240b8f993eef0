//! Provider keys for `igris admin keys add`: from stdin, a file or a variable, never from the arguments, which every user can see.

use crate::domain::secret::Secret;
use crate::limits::{PROVIDER_KEY_BYTES_MAX, SECRET_BYTES_MAX};
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use zeroize::Zeroize;

/// Where the key is.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct SecretArgs {
    /// Read the provider key from this file instead of stdin
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Read the provider key from this environment variable instead of stdin
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
}

/// Reads the key, without white space around it.
///
/// # Errors
/// A sentence with a remedy when it is not there, empty, or no text.
pub(super) fn read(source: &SecretArgs) -> anyhow::Result<Secret> {
    let (bytes, place) = match (&source.key_file, &source.key_env) {
        (Some(path), _) => {
            let file = File::open(path).with_context(|| format!("cannot open {}; check the path", path.display()))?;
            (bounded(file)?, path.display().to_string())
        }
        (None, Some(name)) => match std::env::var(name) {
            Ok(text) => (text.into_bytes(), format!("the variable {name}")),
            Err(_) => bail!("the variable {name} is not set or no text; export it, or pipe the key in"),
        },
        (None, None) => {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!("Type or paste the provider key, then Enter and Ctrl-D:");
            }
            (bounded(input.lock())?, "stdin".to_owned())
        }
    };
    let whole = Secret::take(bytes);
    let text = whole.expose().trim_ascii();
    if text.is_empty() {
        bail!("{place} holds no key; pipe it in, or use --key-file or --key-env");
    }
    if text.len() > PROVIDER_KEY_BYTES_MAX || std::str::from_utf8(text).is_err() {
        bail!("{place} holds something else than a provider key; give the key alone");
    }
    Ok(Secret::copy_of(text))
}

/// Reads into memory that never grows, so that no copy is left behind.
fn bounded(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let most = usize::try_from(SECRET_BYTES_MAX)?;
    let mut bytes = vec![0; most + 1];
    let mut filled = 0;
    let mut input = input;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                bytes.zeroize();
                return Err(error).context("the provider key could not be read");
            }
        }
    }
    if filled > most {
        bytes.zeroize();
        bail!("the input is larger than {most} bytes; give the key alone");
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_without_the_line_end() {
        let path = std::env::temp_dir().join(format!("igris-key-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::write(&path, b" sk-test-0123\r\n").expect("written");
        let source = SecretArgs { key_file: Some(path.clone()), key_env: None };
        assert_eq!(read(&source).expect("a key").expose(), b"sk-test-0123");
        std::fs::write(&path, b" \n").expect("written");
        let refused = read(&source).expect_err("refused").to_string();
        assert!(refused.contains("holds no key"), "{refused}");
        std::fs::write(&path, vec![b'x'; 70_000]).expect("written");
        assert!(read(&source).is_err());
        std::fs::remove_file(&path).expect("removed");
        assert!(read(&source).is_err());
    }
}

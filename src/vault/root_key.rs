//! The root key: 32 bytes the owner keeps, as 64 hexadecimal digits in a file, an inherited descriptor, or (for development)
//! an environment variable (rule V1). Never an argument of a command.
//!
//! A file that others can read is refused. A missing file is made on the first start, mode 0400; how files are written and replaced is
//! in `root_file`.

use super::entropy::Entropy;
use super::error::VaultError;
use super::locked::LockedKey;
use super::root_file::{self, TEXT_BYTES_MAX};
use super::seal::KEY_BYTES;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where the root key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A file of mode 0400 or 0600, made on first start.
    File(PathBuf),
    /// An environment variable, for development.
    Env(String),
    /// A descriptor inherited from whoever started us. It is read to its end and stays open.
    Fd(i32),
}

/// The key at the top of the hierarchy, in locked memory.
#[derive(Debug)]
pub struct RootKey(LockedKey);

// === impl RootSource ===

impl RootSource {
    /// Reads the root key; `None` when the file or the variable does not exist.
    ///
    /// # Errors
    /// [`VaultError::RootKeyExposed`], [`VaultError::RootKeyText`], [`VaultError::RootKeyIo`], [`VaultError::LockedMemory`].
    pub fn load(&self) -> Result<Option<RootKey>, VaultError> {
        match self {
            Self::File(path) => match File::open(path) {
                Ok(file) => {
                    let mode = file.metadata().map_err(|cause| self.io(cause))?.mode() & 0o7777;
                    if mode & 0o077 != 0 {
                        return Err(VaultError::RootKeyExposed { path: path.clone(), mode });
                    }
                    self.read(file).map(Some)
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(self.io(cause)),
            },
            Self::Env(name) => match std::env::var_os(name) {
                Some(text) => self.parse(text.as_encoded_bytes()).map(Some),
                None => Ok(None),
            },
            // Through /proc, because taking over a bare descriptor number cannot be made safe.
            Self::Fd(fd) => match File::open(format!("/proc/self/fd/{fd}")) {
                Ok(file) => self.read(file).map(Some),
                Err(cause) => Err(self.io(cause)),
            },
        }
    }

    /// Makes a root key where a file should be; other sources cannot be written and so are missing.
    ///
    /// # Errors
    /// [`VaultError::RootKeyIo`], also when the file exists; [`VaultError::NoEntropy`]; [`VaultError::LockedMemory`].
    pub fn make(&self, entropy: &mut dyn Entropy) -> Result<RootKey, VaultError> {
        let Self::File(path) = self else {
            return Err(self.io(io::Error::from(io::ErrorKind::NotFound)));
        };
        let key = RootKey::random(entropy)?;
        root_file::write_once(path, key.bytes()).map_err(|cause| self.io(cause))?;
        Ok(key)
    }

    /// The error that says: sealed rows without their root key.
    pub fn missing(&self) -> VaultError {
        VaultError::RootKeyMissing { source_name: self.to_string() }
    }

    fn read(&self, file: File) -> Result<RootKey, VaultError> {
        // One byte more than a text with CR LF, so that a longer file shows; never grown, so never copied.
        let mut text = Zeroizing::new(Vec::with_capacity(TEXT_BYTES_MAX));
        let most = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut text).map_err(|cause| self.io(cause))?;
        self.parse(&text)
    }

    fn parse(&self, text: &[u8]) -> Result<RootKey, VaultError> {
        let digits = text.trim_ascii_end();
        let mut key = LockedKey::zeroed()?;
        let pairs = digits.chunks_exact(2);
        if text.len() >= TEXT_BYTES_MAX || digits.len() != 2 * KEY_BYTES || !pairs.remainder().is_empty() {
            return Err(VaultError::RootKeyText { source_name: self.to_string() });
        }
        for (slot, pair) in key.expose_mut().iter_mut().zip(pairs) {
            *slot = hex_pair(pair).ok_or_else(|| VaultError::RootKeyText { source_name: self.to_string() })?;
        }
        Ok(RootKey(key))
    }

    pub(super) fn io(&self, cause: io::Error) -> VaultError {
        VaultError::RootKeyIo { source_name: self.to_string(), cause }
    }
}

impl std::fmt::Display for RootSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::Fd(fd) => write!(f, "file descriptor {fd}"),
        }
    }
}

// === impl RootKey ===

impl RootKey {
    /// The bytes, for the key ring only.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }

    /// From random bytes.
    pub(super) fn random(entropy: &mut dyn Entropy) -> Result<Self, VaultError> {
        let mut key = LockedKey::zeroed()?;
        entropy.fill(key.expose_mut())?;
        Ok(Self(key))
    }

    /// The same key on another locked page.
    pub(super) fn duplicate(&self) -> Result<Self, VaultError> {
        LockedKey::copy_of(self.bytes()).map(Self)
    }
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some((value(high)? << 4) | value(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::entropy::OsEntropy;
    use crate::vault::entropy::tests::Counting;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("igris-root-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    #[test]
    fn a_made_key_reads_back_and_belongs_to_its_owner_alone() {
        let path = directory("made").join("root.key");
        let source = RootSource::File(path.clone());
        assert!(source.load().expect("a missing file is no error").is_none());
        let made = source.make(&mut OsEntropy).expect("made");
        assert_eq!(source.load().expect("read").expect("there").bytes(), made.bytes());
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(path.parent().expect("a parent")).expect("listed").count(), 1, "no leftovers");
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let path = directory("kept").join("root.key");
        let source = RootSource::File(path.clone());
        source.make(&mut Counting(1)).expect("made");
        let before = fs::read(&path).expect("read");
        assert!(matches!(source.make(&mut Counting(9)), Err(VaultError::RootKeyIo { .. })));
        assert_eq!(fs::read(&path).expect("read"), before);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let path = directory("mode").join("root.key");
        let source = RootSource::File(path.clone());
        source.make(&mut Counting(1)).expect("made");
        for (mode, fine) in
            [(0o400, true), (0o600, true), (0o440, false), (0o604, false), (0o644, false), (0o420, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            assert_eq!(source.load().is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn only_sixty_four_digits_are_a_key() {
        let path = directory("text").join("root.key");
        let source = RootSource::File(path.clone());
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        let write = |text: &str| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).expect("open");
            file.write_all(text.as_bytes()).expect("write");
        };
        for fine in [digits.clone(), format!("{digits}\n"), format!("{digits}\r\n")] {
            write(&fine);
            assert!(source.load().is_ok(), "{fine:?}");
        }
        for bad in [
            String::new(),
            digits[1..].into(),
            format!("{digits}0"),
            format!("{digits}\n\n\n0"),
            digits.replace('a', "g"),
            digits.replace("01", "+1"),
        ] {
            write(&bad);
            assert!(matches!(source.load(), Err(VaultError::RootKeyText { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_descriptor_gives_the_key_and_a_variable_that_is_not_set_gives_none() {
        use std::os::fd::AsRawFd;
        let path = directory("fd").join("root.key");
        let made = RootSource::File(path.clone()).make(&mut Counting(4)).expect("made");
        let file = File::open(&path).expect("opened");
        let read = RootSource::Fd(file.as_raw_fd()).load().expect("read").expect("there");
        assert_eq!(read.bytes(), made.bytes());
        assert!(matches!(RootSource::Fd(9_999).load(), Err(VaultError::RootKeyIo { .. })));
        assert!(RootSource::Env("IGRIS_TEST_NEVER_SET".into()).load().expect("no error").is_none());
    }
}

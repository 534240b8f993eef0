//! `igris sign`: keys that sign configurations, signatures, and whether they hold (rule C1).
//!
//! Everything is in the form of the stock `minisign` tool: it reads these keys and signatures, and its own are read here. Passwords come
//! from a file, a variable or the terminal, never from the arguments, which every user can see. A secret key file belongs to its owner
//! alone, and nothing that exists is written over but a signature.

use super::failed;
use crate::config::Config;
use crate::control_plane::{ControlError, OfflineVault, VaultPlace, known, public_key, signature_path};
use crate::domain::clock::UnixMillis;
use crate::limits::{CONFIG_BYTES_MAX, SIGNATURE_BYTES_MAX};
use crate::vault::signature::{self, Signatures, TrustSet};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// `igris sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a key pair: a secret key that signs, a public key for --trust-key
    Keygen(KeygenArgs),
    /// Sign a configuration: writes FILE.minisig beside it
    Sign(SigningArgs),
    /// Say whether trusted keys signed a file
    Verify(VerifyArgs),
    /// Trust other keys from now on, with the gateway stopped: after keys were lost, or on another machine
    Repin(RepinArgs),
}

/// `igris sign keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Where the secret key goes
    #[arg(long, value_name = "FILE", default_value = "igris-sign.key")]
    pub secret: PathBuf,
    /// Where the public key goes
    #[arg(long, value_name = "FILE", default_value = "igris-sign.pub")]
    pub public: PathBuf,
    /// Leave the secret key without a password
    #[arg(long, conflicts_with_all = ["password_file", "password_env"])]
    pub no_password: bool,
    /// Where the password is
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `igris sign sign`.
#[derive(Debug, Args)]
pub struct SigningArgs {
    /// Configuration in TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE", default_value = "igris-sign.key")]
    pub secret: PathBuf,
    /// Keep the signatures of other keys that are there already
    #[arg(long)]
    pub add: bool,
    /// Where the password is
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `igris sign verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Configuration in TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Who is trusted
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `igris sign repin`.
#[derive(Debug, Args)]
pub struct RepinArgs {
    /// Where state lies
    #[arg(long, value_name = "DIR", default_value = super::DATA_DIR_DEFAULT)]
    pub data_dir: PathBuf,
    /// The gateway's configuration, where it says where the root key is
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Who is trusted
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Who is trusted.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// A trusted public key, by its text or a file; may be repeated
    #[arg(long, value_name = "KEY", required = true)]
    pub key: Vec<String>,
    /// How many of the keys must have signed [default: all]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub threshold: Option<u8>,
}

/// Where a password is; the terminal unless said.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Read the password of the secret key from this file
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// Read the password of the secret key from this environment variable
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
}

/// Carries out a command and answers the exit code: 1 where a signature does not hold, 2 for what was typed.
pub fn run(args: &SignArgs) -> ExitCode {
    let done = match &args.verb {
        Verb::Keygen(args) => keygen(args),
        Verb::Sign(args) => sign(args),
        Verb::Verify(args) => verify(args),
        Verb::Repin(args) => repin(args),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

// === Keys ===

fn keygen(args: &KeygenArgs) -> anyhow::Result<String> {
    for path in [&args.secret, &args.public] {
        if path.exists() {
            bail!("{} exists and is not written over; move it away, or name another file", path.display());
        }
    }
    let pair = match args.no_password {
        true => KeyPair::generate_unencrypted_keypair(),
        false => {
            let password = args.password.read(&args.secret)?;
            KeyPair::generate_encrypted_keypair(password.map(|text| text.to_string()))
        }
    };
    let pair = pair.context("no key could be made")?;
    let secret = Zeroizing::new(
        pair.sk.to_box(Some("igris signing key: keep it secret")).context("no key could be made")?.into_string(),
    );
    let public = pair.pk.to_box().context("no key could be made")?.into_string();
    let key = public_key_of(&public)?;
    write_new(&args.secret, 0o600, &secret)?;
    if let Err(error) = write_new(&args.public, 0o644, &public) {
        // A secret key whose public half is lost is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(&args.secret);
        return Err(error);
    }
    Ok(format!(
        "secret key {} (keep it off the gateways), public key {}\nkey {}: start gateways with --trust-key {}",
        args.secret.display(),
        args.public.display(),
        key.id(),
        key.text()
    ))
}

fn public_key_of(text: &str) -> anyhow::Result<signature::PublicKey> {
    signature::PublicKey::parse(text).context("the key that was made cannot be read")
}

/// Never over anything that exists.
fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}; check the path", path.display()))
}

/// Opens a secret key, with its password where it has one.
fn secret_key(args: &SigningArgs) -> anyhow::Result<SecretKey> {
    let path = args.secret.display();
    let text = Zeroizing::new(text_of(&args.secret, SIGNATURE_BYTES_MAX as u64)?);
    let secret = || SecretKeyBox::from(text.to_string());
    if let Ok(key) = secret().into_unencrypted_secret_key() {
        return Ok(key);
    }
    if let Some(key) = bare_key(&text) {
        return Ok(key);
    }
    let password = args.password.read(&args.secret)?;
    let key = secret().into_secret_key(password.map(|text| text.to_string()));
    key.map_err(|_| {
        anyhow::anyhow!("{path} is no secret key in minisign's form, or its password is another; check both")
    })
}

/// A key that `minisign -G -W` made: without a password and, unlike ours, without a checksum. That its halves belong together shows when
/// it signs.
fn bare_key(text: &str) -> Option<SecretKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text.lines().nth(1)?.trim()).ok()?);
    let (derivation, checksum) = (bytes.get(2..4)?, bytes.get(126..)?);
    let is_bare = derivation == [0; 2] && checksum == [0; 32];
    if is_bare { SecretKey::from_bytes(&bytes).ok() } else { None }
}

impl PasswordArgs {
    /// The password; `None` leaves the asking to the terminal.
    fn read(&self, of: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
        let text = match (&self.password_file, &self.password_env) {
            (Some(path), _) => text_of(path, SIGNATURE_BYTES_MAX as u64)?,
            (None, Some(name)) => match std::env::var(name) {
                Ok(text) => text,
                Err(_) => bail!("the variable {name} is not set or no text; export it"),
            },
            (None, None) if std::io::stdin().is_terminal() => return Ok(None),
            (None, None) => bail!(
                "a password for {} is needed and there is no terminal to ask; use --password-file or --password-env{}",
                of.display(),
                if of.exists() { "" } else { ", or --no-password" }
            ),
        };
        let text = Zeroizing::new(text);
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            bail!("the password is empty; give one, or make a key with --no-password");
        }
        Ok(Some(Zeroizing::new(line.to_owned())))
    }
}

// === Signatures ===

fn sign(args: &SigningArgs) -> anyhow::Result<String> {
    let bytes = bytes_of(&args.file, CONFIG_BYTES_MAX)?;
    let (comment, warning) = comment(&args.file, &bytes);
    let key = secret_key(args)?;
    let beside = signature_path(&args.file);
    let kept = if args.add && beside.exists() { others(&beside, &bytes, &key)? } else { String::new() };
    let public = PublicKey::from_secret_key(&key).context("the secret key cannot be used")?;
    let signed =
        minisign::sign(Some(&public), &key, Cursor::new(&bytes), Some(&comment), Some("signature by igris sign"));
    let signed = signed.context("the file could not be signed")?.into_string();
    let text = format!("{kept}{signed}");
    Signatures::parse(&text)?;
    replace(&beside, &text)?;
    if let Some(warning) = warning {
        eprintln!("igris: {warning}");
    }
    Ok(format!("{} signed: {comment}", beside.display()))
}

/// What the signature says it is for, and a warning where a gateway would refuse the file.
fn comment(path: &Path, bytes: &[u8]) -> (String, Option<String>) {
    let file = path.display();
    let plain = || {
        format!("timestamp:{}\tfile:{}", UnixMillis::now().0 / 1_000, path.file_name().unwrap_or_default().display())
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (plain(), Some(format!("{file} is no text and no configuration; a gateway will refuse it")));
    };
    match Config::parse(&file.to_string(), text, &known()) {
        Ok(Config { version, identity: crate::config::Identity { config_id: Some(id), .. }, .. }) if version > 0 => {
            (signature::comment(&id, version, bytes), None)
        }
        Ok(_) => {
            let what = "has no `config_id` or no `version`; a gateway will refuse it: add both and sign it again";
            (plain(), Some(format!("{file} {what}")))
        }
        Err(problems) => {
            let count = problems.count();
            (
                plain(),
                Some(format!("{file} has {count} problems and a gateway will refuse it; see `igris check {file}`")),
            )
        }
    }
}

/// The signatures of other keys beside a file, as they are.
fn others(beside: &Path, bytes: &[u8], key: &SecretKey) -> anyhow::Result<String> {
    let text = text_of(beside, SIGNATURE_BYTES_MAX as u64)?;
    Signatures::parse(&text).with_context(|| format!("{} cannot be added to", beside.display()))?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut kept = String::new();
    for block in lines.chunks_exact(4) {
        let own = signature::key_id_of(block[1]).is_some_and(|id| id.is(key.keynum()));
        if own {
            continue;
        }
        if block[2].contains(signature::PURPOSE) && !block[2].ends_with(&signature::digest_of(bytes)) {
            bail!("{} holds a signature of another content; leave --add out to begin anew", beside.display());
        }
        kept.extend(block.iter().flat_map(|line| [*line, "\n"]));
    }
    Ok(kept)
}

/// A reader sees the old signatures or the new ones.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
    written.with_context(|| format!("cannot write {}; check the path", path.display()))
}

fn verify(args: &VerifyArgs) -> anyhow::Result<String> {
    let trust = args.trust.read()?;
    let bytes = bytes_of(&args.file, CONFIG_BYTES_MAX)?;
    let beside = signature_path(&args.file);
    let signatures = Signatures::parse(&text_of(&beside, SIGNATURE_BYTES_MAX as u64)?);
    let verified = signatures.and_then(|signatures| trust.verify(&bytes, &signatures));
    let verified = verified.with_context(|| args.file.display().to_string())?;
    let signers: Vec<String> = verified.signers.iter().map(ToString::to_string).collect();
    let purpose = verified
        .purposes
        .first()
        .map_or(String::new(), |purpose| format!(", as version {} of `{}`", purpose.version, purpose.config_id));
    Ok(format!("{}: signed by {}{purpose}", args.file.display(), signers.join(", ")))
}

impl TrustArgs {
    fn read(&self) -> anyhow::Result<TrustSet> {
        let keys = self.key.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>();
        let trust = keys.and_then(|keys| TrustSet::new(keys, self.threshold.map(usize::from)));
        trust.map_err(|error| ControlError::Config(vec![format!("--key: {error}")]).into())
    }
}

// === Pins ===

fn repin(args: &RepinArgs) -> anyhow::Result<String> {
    let trust = args.trust.read()?;
    let path = args.data_dir.join("igris.db");
    if !path.exists() {
        return Err(ControlError::Config(vec![format!(
            "{} is not there; name the gateway's --data-dir (a new one needs no pinning)",
            path.display()
        )])
        .into());
    }
    let config = args.config.as_deref().map(super::vault::read_config).transpose()?;
    let place = VaultPlace::of(config.as_ref(), &args.data_dir);
    let (who, now) = (format!("uid:{} offline", super::vault::own_uid()), UnixMillis::now());
    OfflineVault::open(&place, &who, now)?.repin(&trust.line(), now)?;
    let ids: Vec<String> = trust.keys().iter().map(|key| key.id().to_string()).collect();
    Ok(format!("{} trusts {} of {} from now on", path.display(), trust.threshold(), ids.join(", ")))
}

// === Files ===

/// A path that cannot be read was typed wrong: exit code 2.
fn bytes_of(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|cause| ControlError::File { path: path.to_owned(), cause })?;
    if bytes.len() as u64 > most {
        bail!("{} is larger than {most} bytes; give another file", path.display());
    }
    Ok(bytes)
}

fn text_of(path: &Path, most: u64) -> anyhow::Result<String> {
    let text = String::from_utf8(bytes_of(path, most)?);
    text.map_err(|_| anyhow::anyhow!("{} is no text; give another file", path.display()))
}

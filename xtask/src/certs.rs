//! Throw-away certificates for a simulated provider behind TLS, by openssl(1): an authority, and a server under it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::ask;

/// What openssl is to put into them; nothing of the machine's own settings.
const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = igris bench
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Where the certificates of one run are; all files are PEM.
#[derive(Clone, Debug)]
pub(crate) struct Certs {
    /// The authority that clients are told to trust.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) server: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Makes both in a folder that is there.
///
/// # Errors
/// openssl is missing, older than 3.0, or fails.
pub(crate) fn make(folder: &Path) -> Result<Certs> {
    let settings = folder.join("openssl.cnf");
    fs::write(&settings, SETTINGS)?;
    let certs =
        Certs { authority: folder.join("ca.pem"), server: folder.join("server.pem"), key: folder.join("server.key") };
    let authority_key = folder.join("ca.key");
    let new = |section: &str, key: &Path, out: &Path| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "30", "-extensions", section, "-config"]).arg(&settings);
        command.arg("-keyout").arg(key).arg("-out").arg(out);
        command
    };
    made(new("authority", &authority_key, &certs.authority))?;
    let mut server = new("server", &certs.key, &certs.server);
    // The names differ, or a verifier takes the server for an authority that signed itself.
    server.args(["-subj", "/CN=localhost", "-CA"]).arg(&certs.authority).arg("-CAkey").arg(&authority_key);
    made(server)?;
    Ok(certs)
}

fn made(mut command: Command) -> Result<()> {
    let ran = ask(&mut command).context("certificates need the Debian package openssl")?;
    ensure!(ran.ok, "openssl made no certificate; it must be 3.0 or later:\n{}", ran.output);
    Ok(())
}

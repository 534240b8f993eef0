//! Programs that a fresh machine may lack: taken from its Debian packages when we may, asked for by name when we may not.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::place::on_path;
use crate::process;

const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The program's path, installing its package first when it is missing and we are root on a Debian machine.
///
/// # Errors
/// One sentence for a skipped step: what is missing and how to get it.
pub fn program(name: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(path) = on_path(name) {
        return Ok(path);
    }
    install(package)?;
    on_path(name).ok_or_else(|| format!("`{name}` is missing although package {package} is installed"))
}

/// Installs one package.
///
/// # Errors
/// One sentence for a skipped step.
pub fn install(package: &str) -> Result<(), String> {
    if on_path("apt-get").is_none() {
        return Err(format!("it needs what Debian calls {package}, and there is no apt-get here"));
    }
    if !is_root() {
        return Err(format!("it needs the Debian package {package}: run `apt-get install {package}` as root"));
    }
    let install = ["install", "--yes", "--no-install-recommends", package];
    for words in [&["update"][..], &install[..]] {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        match process::run(&mut command, INSTALL_LIMIT) {
            Ok(ran) if ran.ok => {}
            Ok(_) => return Err(format!("apt-get could not install {package}")),
            Err(error) => return Err(format!("apt-get could not install {package}: {error:#}")),
        }
    }
    Ok(())
}

fn is_root() -> bool {
    let mut command = Command::new("id");
    process::ask(command.arg("-u")).is_ok_and(|ran| ran.output.trim() == "0")
}

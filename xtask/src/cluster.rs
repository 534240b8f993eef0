//! A cluster of PostgreSQL for one step: made in a folder of its own, on loopback, ended and removed with it.
//!
//! Integration tests have a stand of their own; this one is for tests inside `src/`, which run in many processes and share it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::process::{Background, ask};

const START_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(10);
/// Whoever may make a socket here may use it: it lives for seconds and holds what tests write.
const SETTINGS: [&str; 4] = ["fsync=off", "max_connections=200", "shared_buffers=32MB", "unix_socket_directories="];

/// A cluster that runs.
pub struct Cluster {
    home: PathBuf,
    port: u16,
    server: Option<Background>,
}

impl Cluster {
    /// Makes and starts one from the programs in `bin`.
    ///
    /// # Errors
    /// A program fails; its words are in the error.
    pub fn start(bin: &Path) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("igris-xtask-cluster-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut cluster = Self { home, port, server: None };
        let data = cluster.home.join("data");
        if is_root()? {
            // PostgreSQL refuses to run as root; its package has made the user.
            done(Command::new("chown").arg("postgres").arg(&cluster.home))?;
        }
        let mut make = cluster.command(&bin.join("initdb"))?;
        done(make.arg("-D").arg(&data).args(["-U", "igris", "--auth", "trust", "--encoding", "UTF8", "--no-sync"]))?;
        let mut serve = cluster.command(&bin.join("postgres"))?;
        serve.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
        for setting in SETTINGS {
            serve.args(["-c", setting]);
        }
        cluster.server = Some(Background::start(&mut serve, &cluster.home.join("log"))?);
        cluster.wait(bin)?;
        Ok(cluster)
    }

    /// The URL of a database that is always there.
    pub fn url(&self) -> String {
        format!("postgres://igris@127.0.0.1:{}/postgres", self.port)
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let mut command = match is_root()? {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir("/");
        Ok(command)
    }

    fn wait(&mut self, bin: &Path) -> Result<()> {
        let started = Instant::now();
        loop {
            let mut asked = Command::new(bin.join("psql"));
            if ask(asked.args([&self.url(), "-c", "SELECT 1"])).is_ok_and(|ran| ran.ok) {
                return Ok(());
            }
            let said = self.server.as_ref().map(Background::output).unwrap_or_default();
            ensure!(started.elapsed() < START_LIMIT, "PostgreSQL does not answer:\n{said}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // Killed where it does not end in order: nothing in it is wanted.
            let _ = server.end(END_LIMIT);
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn is_root() -> Result<bool> {
    Ok(ask(Command::new("id").arg("-u"))?.output.trim() == "0")
}

fn done(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ran = ask(command)?;
    ensure!(ran.ok, "{name}: {}", ran.output.trim());
    Ok(())
}

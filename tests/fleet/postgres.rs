//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on an address of its own, that may be killed, paused and
//! started again, and that is gone with everything it made when it is dropped.
//!
//! Durability is on (`fsync`), so that what was committed before a kill must be there after it. Root may not run PostgreSQL: then it
//! runs as the user `postgres`, or `nobody`. Its processes are known by their working directory, which is its data, and are ended by
//! their ids. This file needs nothing of the stand beside it.

use igris_load::certs::Authority;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Where `cargo xtask` says that the programs are.
const VARIABLE: &str = "IGRIS_TEST_POSTGRES_BIN";
const VERSIONS: &str = "/usr/lib/postgresql";
/// The superuser of every cluster.
pub const USER: &str = "igris";
/// How long a start, a stop or the end of killed processes may take; a recovery after a kill is part of a start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ports that the kernel gives to nobody by itself, so that a restart finds its own free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Folders of clusters begin so, and the process that made them follows.
const PREFIX: &str = "igris-postgres-";

/// Small, and nothing outside of the folder: no socket below `/run`, no memory below `/dev/shm`. After a kill one call syncs what a call for
/// each of a thousand files would.
const SETTINGS: &str = "\
fsync = on
synchronous_commit = on
shared_buffers = 16MB
max_connections = 200
max_wal_senders = 0
wal_level = minimal
jit = off
shared_memory_type = mmap
dynamic_shared_memory_type = mmap
recovery_init_sync_method = syncfs
logging_collector = off
unix_socket_permissions = 0700
";

/// A user and group that PostgreSQL may run as.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

/// What a cluster shall be before it starts.
#[derive(Default)]
pub struct Builder {
    address: Option<IpAddr>,
    namespace: Option<String>,
    tls: bool,
    settings: String,
}

impl Builder {
    /// Listens here instead of on 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Runs in the network namespace of this name.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Takes connections over TCP with TLS alone, under a certificate for its address, `localhost` and 127.0.0.1 ([`Postgres::ca_file`]).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// One more line of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// Makes the cluster and waits until it takes connections.
    ///
    /// # Errors
    /// One sentence why a test must be skipped: there is no PostgreSQL on this machine. A cluster that does not start fails the test.
    pub fn start(self) -> Result<Postgres, String> {
        let bin = bin()?;
        remove_leftovers();
        let address = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let owner = owner()?;
        let home = new_home(owner);
        let postgres = Postgres {
            bin,
            namespace: self.namespace,
            address: SocketAddr::new(address, free_port()),
            password: random_word(),
            owner,
            encrypted: self.tls,
            home,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        if postgres.encrypted {
            postgres.certify();
        }
        postgres.initialise(&self.settings);
        postgres.start();
        Ok(postgres)
    }
}

/// A database of a cluster.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The password of [`USER`].
    pub password: String,
    /// Where the cluster listens.
    pub address: SocketAddr,
}

impl Database {
    /// `postgres://user:password@host:port/name`
    pub fn url(&self) -> String {
        self.url_at(self.address)
    }

    /// The same by way of another address, such as a proxy's.
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}:{}@{address}/{}", self.password, self.name)
    }
}

/// A cluster with its server, which may be down.
pub struct Postgres {
    bin: PathBuf,
    home: PathBuf,
    address: SocketAddr,
    namespace: Option<String>,
    password: String,
    owner: Option<Owner>,
    encrypted: bool,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// A cluster on 127.0.0.1 unless described further.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The cluster that tests of this process share while any of them holds it: for tests that leave its server alone.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub fn shared() -> Result<Arc<Self>, String> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(postgres) = shared.upgrade() {
            return Ok(postgres);
        }
        let postgres = Arc::new(Self::builder().start()?);
        *shared = Arc::downgrade(&postgres);
        Ok(postgres)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file with the authority behind its certificate (PEM), if it has one.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.encrypted.then(|| self.home.join("ca.pem"))
    }

    /// Where its data, its socket and its log lie.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A new, empty database.
    pub fn database(&self) -> Database {
        let name = format!("estate_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { name, password: self.password.clone(), address: self.address }
    }

    /// Runs statements by `psql` over the socket in its folder, past every network, and gives the rows: columns parted by a bar.
    #[track_caller]
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.try_sql(database, statements).unwrap_or_else(|trouble| panic!("{statements}: {trouble}"))
    }

    /// The same, or what it said instead.
    pub fn try_sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let mut command = self.psql();
        command.args(["--host", &self.home.display().to_string(), "--dbname", database, "--command", statements]);
        output_of(&mut command)
    }

    /// `psql` as this cluster's superuser, without a host and a database.
    pub fn psql(&self) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        command.args(["--username", USER, "--port", &self.address.port().to_string()]);
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10").current_dir("/");
        command
    }

    /// Starts the server on the data that is there, and waits until it takes connections.
    #[track_caller]
    pub fn start(&self) {
        let mut server = self.server();
        assert!(server.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.home.join("log")).expect("its folder is ours");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be had twice")).stderr(log);
        let child = server.insert(command.spawn().expect("PostgreSQL starts"));
        let end = Instant::now() + PATIENCE;
        while !is_ready(&self.data(), child.id()) {
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "PostgreSQL ended with {ended:?}:\n{}", self.log());
            assert!(Instant::now() < end, "PostgreSQL was not ready within {PATIENCE:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the server in order; connections are closed.
    #[track_caller]
    pub fn stop(&self) {
        self.resume();
        let mut server = self.server();
        let mut child = server.take().expect("it runs");
        signal(child.id(), Signal::INT);
        assert!(ends(&mut child), "PostgreSQL did not end within {PATIENCE:?}:\n{}", self.log());
    }

    /// Kills the server and all its processes without warning (SIGKILL), and waits until they are gone. What is dead already is no matter.
    pub fn kill(&self) {
        let mut server = self.server();
        if let Some(child) = server.as_ref() {
            // Stopped first, it forks no more while the others are looked up.
            signal(child.id(), Signal::STOP);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            left.iter().for_each(|pid| signal(*pid, Signal::KILL));
            if let Some(mut child) = server.take() {
                let _ = child.kill();
                let _ = child.wait();
            } else if left.is_empty() || Instant::now() > end {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops all its processes where they are: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        let server = self.server();
        if let Some(child) = server.as_ref() {
            signal(child.id(), Signal::STOP);
        }
        // Twice, for a child that was being made when the first round looked.
        for _ in 0..2 {
            self.processes().into_iter().for_each(|pid| signal(pid, Signal::STOP));
        }
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::CONT));
    }

    /// Whether its server was started and not ended by the stand.
    pub fn is_up(&self) -> bool {
        self.server().is_some()
    }

    /// The ids of all its processes.
    pub fn processes(&self) -> Vec<u32> {
        processes_in(&self.data())
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of its programs, as a user that may run it and in its namespace; each word before it replaces itself by the next.
    fn command(&self, program: &str) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(str::to_owned));
        }
        if let Some(Owner { user, group }) = self.owner {
            words.push("setpriv".to_owned());
            words.extend([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        }
        words.push(self.bin.join(program).display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir("/");
        command
    }

    /// Also for 127.0.0.1, where a wire to it may begin.
    fn certify(&self) {
        let authority = Authority::new("PostgreSQL of a test").expect("the crypto library makes keys");
        let names = ["localhost", "127.0.0.1", &self.address.ip().to_string()];
        let issued = authority.issue(&names).expect("the crypto library signs");
        let pem = [("ca.pem", authority.cert_pem()), ("server.crt", issued.cert_pem), ("server.key", issued.key_pem)];
        pem.iter().for_each(|(name, text)| write_as(self.owner, &self.home.join(name), text));
    }

    fn initialise(&self, settings: &str) {
        let password = self.home.join("password");
        write_as(self.owner, &password, &self.password);
        let mut command = self.command("initdb");
        command.arg("-D").arg(self.data()).arg("--pwfile").arg(&password);
        command.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        command.args(["--no-sync", "--no-instructions"]);
        output_of(&mut command).unwrap_or_else(|trouble| panic!("initdb: {trouble}"));
        let kind = if self.encrypted { "hostssl" } else { "host" };
        let rules = format!("local all all scram-sha-256\n{kind} all all all scram-sha-256\n");
        write_as(self.owner, &self.data().join("pg_hba.conf"), &rules);
        let home = self.home.display();
        let address = self.address;
        let mut text = format!(
            "{SETTINGS}listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{home}'\n",
            address.ip(),
            address.port()
        );
        if self.encrypted {
            text.push_str(&format!(
                "ssl = on\nssl_cert_file = '{home}/server.crt'\nssl_key_file = '{home}/server.key'\n"
            ));
        }
        text.push_str(settings);
        write_as(self.owner, &self.data().join("postgresql.conf"), &text);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("--- PostgreSQL said:\n{}---", self.log());
        }
        self.resume();
        if let Some(child) = self.server().as_mut() {
            signal(child.id(), Signal::QUIT);
            ends(child);
        }
        self.kill();
        remove(&self.home);
    }
}

/// The folder with PostgreSQL's programs.
///
/// # Errors
/// One sentence why a test must be skipped.
pub fn bin() -> Result<PathBuf, String> {
    let is_whole = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file());
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let numbered = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut known: Vec<(u32, PathBuf)> = numbered
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    known.sort();
    let newest_first = known.into_iter().rev().map(|(_, bin)| bin);
    named.into_iter().chain(newest_first).find(is_whole).ok_or_else(|| {
        format!(
            "there is no PostgreSQL here: `apt-get install postgresql-15`, or name its folder of programs in {VARIABLE}"
        )
    })
}

/// Whom the server runs as, if we are root.
fn owner() -> Result<Option<Owner>, String> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
        Some(Owner { user: fields.nth(2)?.parse().ok()?, group: fields.next()?.parse().ok()? })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.map(Some).ok_or_else(|| "root may not run PostgreSQL, and there is no user `postgres` or `nobody`".to_owned())
}

/// Ends and removes what clusters of test processes left that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            processes_in(&entry.path().join("data")).into_iter().for_each(|pid| signal(pid, Signal::KILL));
            remove(&entry.path());
        }
    }
}

/// Removes the folder of a cluster whose processes are gone, and the piece of System V memory that a killed one leaves.
fn remove(home: &Path) {
    let lock = fs::read_to_string(home.join("data/postmaster.pid")).unwrap_or_default();
    if let Some(segment) = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        let _ = Command::new("ipcrm").args(["--shmem-id", segment]).output();
    }
    let _ = fs::remove_dir_all(home);
}

fn new_home(owner: Option<Owner>) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let home = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&home);
    DirBuilder::new().mode(0o700).create(&home).expect("the temporary folder can be written to");
    give(owner, &home);
    // As the kernel names the working directory of what runs there.
    home.canonicalize().expect("it was just made")
}

/// A file that its server alone may read.
fn write_as(owner: Option<Owner>, path: &Path, text: &str) {
    fs::write(path, text).expect("its folder can be written to");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
    give(owner, path);
}

fn give(owner: Option<Owner>, path: &Path) {
    if let Some(Owner { user, group }) = owner {
        chown(path, Some(user), Some(group)).expect("root gives what it likes");
    }
}

fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(61);
    for _ in 0..span {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        let port = PORTS.start + u16::try_from(offset).expect("less than the span");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free in {PORTS:?}");
}

fn random_word() -> String {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("the system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last line of its lock file says when it takes connections; a killed one's file names another process.
fn is_ready(data: &Path, pid: u32) -> bool {
    let lock = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = lock.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Processes whose working directory this is: all of PostgreSQL's go to their data, and nobody else does.
fn processes_in(data: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_there = |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder == data);
    entries.filter(is_there).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Sends a signal to one process; one that is gone is no matter.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn ends(child: &mut Child) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("it cannot be started: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
    }
}

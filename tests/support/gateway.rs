//! `igris serve` as a child process with a configuration and an empty state folder of its own; ended, by its id, when dropped.
//!
//! Set `IGRIS_TEST_IO` to `io_uring` or `epoll` to run the same tests on that driver.

use super::client::{Answer, Client, Stream};
use super::{Namespace, SOON, bare, bearer, post};
use igris_load::Simulator;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The access key with every scope, of the tenant `default`.
pub const ACCESS_KEY: &str = "sk-igris-canary-all-scopes-0123456789abcdef";
/// An access key for inference alone.
pub const INFERENCE_KEY: &str = "sk-igris-canary-inference-0123456789abcdef";
/// An access key for figures alone.
pub const BOOKS_KEY: &str = "sk-igris-canary-costs-only-0123456789abcdef";
/// An access key with every scope, of the tenant `other`.
pub const STRANGER_KEY: &str = "sk-igris-canary-stranger-0123456789abcdef";

const ACCESS_KEYS: [(&str, &str, &str, &str); 4] = [
    ("app", "default", ACCESS_KEY, r#"["inference", "keys", "costs", "admin"]"#),
    ("narrow", "default", INFERENCE_KEY, r#"["inference"]"#),
    ("books", "default", BOOKS_KEY, r#"["costs"]"#),
    ("stranger", "other", STRANGER_KEY, r#"["inference", "keys", "costs", "admin"]"#),
];

/// The key that the gateway is given for a provider.
pub fn provider_key(name: &str) -> String {
    format!("sk-canary-{name}-0123456789abcdef")
}

/// A loopback address where nobody listens.
pub fn closed_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    listener.local_addr().expect("a bound socket has an address")
}

/// What a gateway shall be before it starts.
pub struct Builder {
    providers: Vec<Provider>,
    server: String,
    limits: String,
    admin: String,
    sections: String,
    files: Vec<(String, String)>,
    words: Vec<String>,
    workers: usize,
    io: Option<String>,
    variables: Vec<(String, String)>,
    tls: bool,
    common: bool,
    namespace: Option<Namespace>,
}

struct Provider {
    name: String,
    base_url: String,
    key: Option<String>,
    members: String,
}

impl Builder {
    /// A built-in provider whose address is a simulator's.
    #[must_use]
    pub fn provider(self, name: &str, simulator: &Simulator) -> Self {
        self.provider_at(name, &simulator.base_url(), "")
    }

    /// A provider of the OpenAI dialect under a name of its own that serves `gpt-4o`.
    #[must_use]
    pub fn own_provider(self, name: &str, base_url: &str, members: &str) -> Self {
        let members = format!("dialect = \"openai\"\nmodels = [\"gpt-4o\"]\n{members}");
        self.provider_at(name, base_url, &members)
    }

    /// A provider at an address; `members` are further lines of its table.
    #[must_use]
    pub fn provider_at(mut self, name: &str, base_url: &str, members: &str) -> Self {
        let key = Some(provider_key(name));
        let (name, base_url, members) = (name.to_owned(), base_url.to_owned(), members.to_owned());
        self.providers.push(Provider { name, base_url, key, members });
        self
    }

    /// Another key for the provider named last; `None`: it gets none from the configuration.
    #[must_use]
    pub fn key(mut self, key: Option<&str>) -> Self {
        self.providers.last_mut().expect("a provider comes first").key = key.map(str::to_owned);
        self
    }

    /// Further lines of `[server]`.
    #[must_use]
    pub fn server(mut self, lines: &str) -> Self {
        writeln!(self.server, "{lines}").expect("a String takes everything");
        self
    }

    /// Further lines of `[server.limits]`.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        writeln!(self.limits, "{lines}").expect("a String takes everything");
        self
    }

    /// Further lines of `[admin]`.
    #[must_use]
    pub fn admin(mut self, lines: &str) -> Self {
        writeln!(self.admin, "{lines}").expect("a String takes everything");
        self
    }

    /// Further sections.
    #[must_use]
    pub fn config_toml(mut self, sections: &str) -> Self {
        writeln!(self.sections, "{sections}").expect("a String takes everything");
        self
    }

    /// The model `any`, asked of these providers in order.
    #[must_use]
    pub fn ordered(self, providers: &[&str]) -> Self {
        let targets: Vec<String> =
            providers.iter().map(|name| format!(r#"{{ provider = "{name}", model = "gpt-4o" }}"#)).collect();
        let targets = targets.join(", ");
        self.config_toml(&format!("[[models]]\nname = \"any\"\npolicy = \"ordered\"\ntargets = [{targets}]\n"))
    }

    /// A file beside the configuration; `{home}` in any setting stands for where it lies.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// A listener with the certificate in `cert.pem` and its key in `key.pem`, to be given by [`Builder::file`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.server(r#"tls = { cert = "{home}/cert.pem", key = "{home}/key.pem" }"#)
    }

    /// A configuration that says nothing of this machine alone, so that many machines may have the very same: its admin socket is on the
    /// command line, and keys of providers are in variables.
    #[must_use]
    pub fn common(mut self) -> Self {
        self.common = true;
        self
    }

    /// One more word of the command line.
    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    /// Threads of the data plane; one unless set, so that connections and counts are where a test expects them.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// The I/O driver, whatever the environment says.
    #[must_use]
    pub fn io(mut self, driver: &str) -> Self {
        self.io = Some(driver.to_owned());
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs in this network namespace; what asks it enters there, too.
    #[must_use]
    pub fn within(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(mut self) -> Gateway {
        let home = new_home();
        if self.common {
            self.words.extend(["--admin-socket".to_owned(), home.join("admin.sock").display().to_string()]);
            let keys =
                self.providers.iter().filter_map(|provider| Some((variable(&provider.name), provider.key.clone()?)));
            self.variables.extend(keys);
        }
        for (name, content) in &self.files {
            fs::write(home.join(name), content).expect("a new folder can be written to");
        }
        for provider in &self.providers {
            if let Some(key) = &provider.key {
                fs::write(home.join(format!("{}.key", provider.name)), key).expect("a new folder can be written to");
            }
        }
        let mut gateway = Gateway {
            child: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            config: self.config().replace("{home}", &home.display().to_string()),
            home,
            words: self.words,
            workers: self.workers,
            io: self.io,
            variables: self.variables,
            tls: self.tls,
            namespace: self.namespace,
            starts: 0,
            successor: None,
        };
        gateway.write_config(&gateway.config.clone());
        gateway.start();
        gateway
    }

    fn config(&self) -> String {
        let mut text = format!("version = 1\n[server]\n{}", self.server);
        if !self.limits.is_empty() {
            write!(text, "[server.limits]\n{}", self.limits).expect("a String takes everything");
        }
        let socket = if self.common { "" } else { "socket = \"{home}/admin.sock\"\n" };
        write!(text, "[admin]\n{socket}{}", self.admin).expect("a String takes everything");
        for Provider { name, base_url, key, members } in &self.providers {
            let key = key.as_ref().map_or(String::new(), |_| match self.common {
                true => format!("api_key = {{ env = \"{}\" }}\n", variable(name)),
                false => format!("api_key = {{ file = \"{{home}}/{name}.key\" }}\n"),
            });
            write!(
                text,
                "[[providers]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\nallow_private_address = true\n{key}{members}\n"
            )
            .expect("a String takes everything");
        }
        text.push_str(&self.sections);
        text.push_str("[[tenants]]\nid = \"default\"\n[[tenants]]\nid = \"other\"\n");
        for (name, tenant, _, scopes) in ACCESS_KEYS {
            let variable = variable(name);
            write!(
                text,
                "[[access_keys]]\nname = \"{name}\"\ntenant = \"{tenant}\"\nkey = {{ env = \"{variable}\" }}\nscopes = {scopes}\n"
            )
            .expect("a String takes everything");
        }
        text
    }
}

/// A running gateway.
pub struct Gateway {
    child: Option<Child>,
    address: SocketAddr,
    config: String,
    home: PathBuf,
    words: Vec<String>,
    workers: usize,
    io: Option<String>,
    variables: Vec<(String, String)>,
    tls: bool,
    namespace: Option<Namespace>,
    starts: u32,
    /// The process that took over last.
    successor: Option<u32>,
}

impl Gateway {
    /// A gateway without providers, to be described further.
    pub fn builder() -> Builder {
        Builder {
            providers: Vec::new(),
            server: String::new(),
            limits: String::new(),
            admin: String::new(),
            sections: String::new(),
            files: Vec::new(),
            words: Vec::new(),
            workers: 1,
            io: None,
            variables: Vec::new(),
            tls: false,
            common: false,
            namespace: None,
        }
    }

    /// A gateway in front of one simulated OpenAI.
    pub fn before(simulator: &Simulator) -> Self {
        Self::builder().provider("openai", simulator).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The id of the process that serves.
    pub fn pid(&self) -> u32 {
        self.successor.unwrap_or_else(|| self.child.as_ref().expect("it runs").id())
    }

    /// Has it hand over to a new process; `members` is the body. The process that was started here can still be waited for.
    pub fn upgrade(&mut self, members: &str) -> Answer {
        let answer = self.admin_ask("POST", "/upgrade", members);
        if answer.status == 200 {
            let pid = answer.json()["pid"].as_u64().expect("a process id");
            self.successor = Some(u32::try_from(pid).expect("a process id"));
        }
        answer
    }

    /// Where its configuration, its state (`data`) and its output lie.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// What it wrote to stdout, over all its starts.
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// What it wrote to stderr, over all its starts.
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, kind: &str) -> String {
        (1..=self.starts).map(|start| self.said(kind, start)).collect()
    }

    /// What one of its starts wrote.
    fn said(&self, kind: &str, start: u32) -> String {
        let bytes = fs::read(self.home.join(format!("{kind}.{start}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        self.try_client().unwrap_or_else(|error| panic!("{} does not take connections: {error}", self.address))
    }

    /// A new connection to it, or why there is none.
    pub fn try_client(&self) -> std::io::Result<Client> {
        match &self.namespace {
            Some(namespace) => namespace.within(|| Client::try_connect(self.address)),
            None => Client::try_connect(self.address),
        }
    }

    /// Asks on a new connection.
    pub fn ask(&self, request: &[u8]) -> Answer {
        self.client().ask(request)
    }

    /// A chat on a new connection.
    pub fn chat(&self, body: &str) -> Answer {
        self.ask(&post(body))
    }

    /// A streamed chat on a new connection.
    pub fn stream(&self, body: &str) -> Stream {
        let mut client = self.client();
        client.send(&post(body));
        client.stream()
    }

    /// A page, with the access key that may everything.
    pub fn page(&self, path: &str) -> Answer {
        self.ask(&bare("GET", path, &bearer(ACCESS_KEY)))
    }

    /// A page of the admin socket.
    pub fn admin(&self, path: &str) -> Answer {
        self.admin_ask("GET", path, "")
    }

    /// A request to the admin socket.
    pub fn admin_ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut client = Client::unix(&self.home.join("admin.sock")).expect("the admin socket takes connections");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        client.ask(request.as_bytes())
    }

    /// Replaces the configuration file at once.
    pub fn write_config(&self, text: &str) {
        let (draft, file) = (self.home.join("igris.toml.new"), self.home.join("igris.toml"));
        fs::write(&draft, text).expect("the home folder can be written to");
        fs::rename(&draft, &file).expect("a file can be renamed in its folder");
    }

    /// Sends it a signal such as `TERM`, by its id.
    pub fn signal(&self, name: &str) {
        let words = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &words]).status().expect("there is a shell");
        assert!(status.success(), "{words}");
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        let child = self.child.as_mut().expect("it runs");
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.child = None;
                return Some(status);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        if let Some(pid) = self.successor.take() {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {pid} 2>&1")]).output();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills it and starts it again with the same configuration and state.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Kills it and starts it again with these words at the end of its command line instead of the former ones.
    pub fn restart_with(&mut self, words: &[&str]) {
        self.words = words.iter().map(|word| (*word).to_owned()).collect();
        self.restart();
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, kind: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs, as our own user").count()
    }

    /// Those of them that are sockets: what sessions hold, and not the files that its books come to need.
    pub fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs, as our own user");
        let places = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        places.filter(|place| place.to_string_lossy().starts_with("socket:")).count()
    }

    /// Kills it, starts it again, and kills it once more after so long, ready or not.
    pub fn restart_and_kill(&mut self, after: Duration) {
        self.kill();
        self.spawn();
        std::thread::sleep(after);
        self.kill();
    }

    /// The command that starts it, without its streams.
    pub fn command(&self) -> Command {
        let io = self.io.clone().or_else(|| std::env::var("IGRIS_TEST_IO").ok()).unwrap_or_else(|| "auto".into());
        let program = env!("CARGO_BIN_EXE_igris");
        let mut command =
            self.namespace.as_ref().map_or_else(|| Command::new(program), |inside| inside.command(program));
        command.arg("serve").arg("--config").arg(self.home.join("igris.toml"));
        command.arg("--data-dir").arg(self.home.join("data")).args(["--listen", "127.0.0.1:0"]);
        command.args(["--workers", &self.workers.to_string(), "--io", &io]).args(&self.words);
        for (name, _, key, _) in ACCESS_KEYS {
            command.env(variable(name), key);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    fn spawn(&mut self) {
        self.starts += 1;
        let file = |kind| File::create(self.home.join(format!("{kind}.{}", self.starts))).expect("a new file");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    fn wait_until_ready(&mut self) {
        let scheme = if self.tls { "https" } else { "http" };
        let mark = format!("listening on {scheme}://");
        let end = Instant::now() + SOON;
        loop {
            let said = self.said("stdout", self.starts) + &self.said("stderr", self.starts);
            let latest = said.rsplit_once(&mark).map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default());
            let found = latest.and_then(|text| text.trim_end_matches(['/', ',', '.']).parse().ok());
            if let Some(address) = found {
                self.address = address;
                if self.tls || self.is_ready() {
                    return;
                }
            }
            let ended = self.child.as_mut().expect("it was started").try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{said}\n{}", self.config);
            assert!(Instant::now() < end, "not ready within {SOON:?}:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it says that it takes requests.
    pub fn is_ready(&self) -> bool {
        let Ok(mut client) = self.try_client() else { return false };
        client.send(&bare("GET", "/v1/health/ready", ""));
        client.try_answer().is_ok_and(|answer| answer.status == 200)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- the gateway said:\n{}{}---", self.stdout(), self.stderr());
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Asks until the answer is yes; fails the test when it does not come in time.
#[track_caller]
pub fn wait_until(patience: Duration, what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !ready() {
        assert!(Instant::now() < end, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn variable(access_key: &str) -> String {
    format!("IGRIS_TEST_{}_KEY", access_key.to_ascii_uppercase())
}

/// A folder that only we may enter, as the admin socket wants it.
fn new_home() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let home = std::env::temp_dir().join(format!("igris-test-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&home);
    DirBuilder::new().mode(0o700).create(&home).expect("the temporary folder can be written to");
    home
}

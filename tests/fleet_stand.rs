//! The stand of the fleet's tests holds what it promises: a real PostgreSQL that survives a kill, a wire that is felt when it is slow or cut,
//! machines that lose one network and keep the other, gateways on them under load, and nothing left behind.

mod fleet;
mod support;

use fleet::{Ground, Link, Load, Net, Postgres, Wire, or_skip, seen_by_all};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Namespace, SOON, bare, chat, post, wait_until};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Longer than any answer takes when nothing stands in its way.
const SILENCE: Duration = Duration::from_millis(700);

/// A client of PostgreSQL, one connection; its socket is where it was made.
struct Session {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    fn try_connect(url: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connecting = async { tokio::time::timeout(SOON, tokio_postgres::connect(url, NoTls)).await };
        let connected = runtime.block_on(connecting).map_err(|_| "no answer".to_owned())?;
        let (client, connection) = connected.map_err(|error| error.to_string())?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    #[track_caller]
    fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|trouble| panic!("{url}: {trouble}"))
    }

    /// The first column of each row; `Err` for an error or when nothing comes in time.
    fn ask_within(&self, patience: Duration, sql: &str) -> Result<Vec<String>, String> {
        let asking = async { tokio::time::timeout(patience, self.client.simple_query(sql)).await };
        let answer = self.runtime.block_on(asking).map_err(|_| "no answer".to_owned())?;
        let rows = answer.map_err(|error| error.to_string())?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    }

    #[track_caller]
    fn ask(&self, sql: &str) -> Vec<String> {
        self.ask_within(SOON, sql).unwrap_or_else(|trouble| panic!("{sql}: {trouble}"))
    }
}

#[test]
fn a_real_client_is_answered_and_databases_are_apart() {
    let Some(postgres) = or_skip(Postgres::shared()) else { return };
    let (one, other) = (postgres.database(), postgres.database());
    let session = Session::connect(&one.url());
    assert_eq!(session.ask("SELECT 1"), ["1"]);
    session.ask("CREATE TABLE keys (id INT); INSERT INTO keys VALUES (7)");
    assert_eq!(postgres.sql(&one.name, "SELECT id FROM keys"), "7");
    assert!(Session::connect(&other.url()).ask_within(SOON, "SELECT id FROM keys").is_err());
    assert_eq!(session.ask("SHOW fsync"), ["on"]);
    let wrong = one.url().replace(&one.password, "guessed");
    assert!(Session::try_connect(&wrong).is_err(), "a password is asked for");
}

#[test]
fn what_was_committed_survives_a_kill_and_what_was_not_is_gone() {
    let Some(postgres) = or_skip(Postgres::builder().start()) else { return };
    let database = postgres.database();
    let (session, open) = (Session::connect(&database.url()), Session::connect(&database.url()));
    session.ask("CREATE TABLE rows (id INT)");
    for id in 0..50 {
        session.ask(&format!("INSERT INTO rows VALUES ({id})"));
    }
    open.ask("BEGIN; INSERT INTO rows VALUES (1000)");
    for round in 0..2 {
        assert!(postgres.processes().len() > 3, "a server has several processes");
        postgres.kill();
        assert_eq!(postgres.processes(), [0; 0]);
        assert!(session.ask_within(SOON, "SELECT 1").is_err());
        assert!(Session::try_connect(&database.url()).is_err());
        postgres.start();
        let rows = Session::connect(&database.url()).ask("SELECT count(*) FROM rows WHERE id < 1000");
        assert_eq!(rows, ["50"], "round {round}");
    }
    assert_eq!(postgres.sql(&database.name, "SELECT count(*) FROM rows"), "50");
    postgres.stop();
    assert!(Session::try_connect(&database.url()).is_err());
    postgres.start();
    assert_eq!(Session::connect(&database.url()).ask("SELECT count(*) FROM rows"), ["50"]);
}

#[test]
fn a_paused_server_keeps_connections_and_says_nothing() {
    let Some(postgres) = or_skip(Postgres::builder().start()) else { return };
    let session = Session::connect(&postgres.database().url());
    postgres.pause();
    assert_eq!(session.ask_within(SILENCE, "SELECT 1"), Err("no answer".to_owned()));
    postgres.resume();
    assert_eq!(session.ask("SELECT 2"), ["2"]);
    postgres.pause();
    postgres.kill();
    assert_eq!(postgres.processes(), [0; 0]);
}

#[test]
fn with_tls_nobody_is_served_without_and_the_certificate_is_good() {
    let ground = Ground::builder(1).postgres_with(|cluster| cluster.tls()).wires().store("ca = \"{ca}\"");
    let Some(ground) = or_skip(ground.start()) else { return };
    let (postgres, database) = (ground.postgres(), ground.database());
    let trouble = Session::try_connect(&database.url()).err().expect("a plain connection is refused");
    println!("{trouble}");
    let ca = postgres.ca_file().expect("it has one").display().to_string();
    assert_eq!(ground.store_section(0), format!("[store]\nurl = \"{}\"\nca = \"{ca}\"\n", ground.store_url(0)));
    let ask = |address: SocketAddr, ca: &str| {
        let (host, port, name) = (address.ip(), address.port(), &database.name);
        let place = format!("host={host} port={port} dbname={name} sslmode=verify-full sslrootcert={ca}");
        let sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let output = postgres.psql().args(["--dbname", &place, "--command", sql]).output().expect("psql is there");
        println!("{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask(postgres.address(), &ca), "TLSv1.3");
    assert_eq!(ask(ground.wire(0).address(), &ca), "TLSv1.3", "a wire passes it on");
    let stranger = igris_load::certs::Authority::new("another").expect("the crypto library makes keys");
    let other = postgres.home().join("stranger.pem");
    fs::write(&other, stranger.cert_pem()).expect("its folder can be written to");
    assert_eq!(ask(postgres.address(), &other.display().to_string()), "", "only its own authority vouches for it");
}

#[test]
fn a_slow_wire_is_felt_and_so_is_a_cut_and_so_is_a_hole() {
    let Some(postgres) = or_skip(Postgres::shared()) else { return };
    let database = postgres.database();
    let wire = Wire::to(postgres.address());
    let url = database.url_at(wire.address());
    let session = Session::connect(&url);
    let timed = |session: &Session| {
        let began = Instant::now();
        session.ask("SELECT 1");
        began.elapsed()
    };
    let quick = timed(&session);
    assert!(quick < SILENCE, "{quick:?}");
    wire.delay(Duration::from_millis(400));
    let slow = timed(&session);
    assert!(slow >= Duration::from_millis(800) && slow < Duration::from_secs(4), "{slow:?}");
    wire.delay(Duration::ZERO);

    wire.hole();
    assert_eq!(session.ask_within(SILENCE, "SELECT 1").unwrap_err(), "no answer");
    assert_eq!(wire.connections(), 1, "nothing is closed");
    wire.heal();
    assert_eq!(session.ask("SELECT 3"), ["3"]);

    wire.cut();
    let trouble = session.ask_within(SOON, "SELECT 1").unwrap_err();
    assert_ne!(trouble, "no answer", "a cut is told at once");
    assert!(Session::try_connect(&url).is_err());
    assert_eq!(wire.connections(), 0);
    wire.heal();
    assert_eq!(Session::connect(&url).ask("SELECT 4"), ["4"]);
    assert_eq!(wire.opened(), 2);
}

#[test]
fn a_wire_with_a_delay_is_no_narrower() {
    let Some(postgres) = or_skip(Postgres::shared()) else { return };
    let wire = Wire::to(postgres.address());
    wire.delay(Duration::from_millis(100));
    let session = Session::connect(&postgres.database().url_at(wire.address()));
    let began = Instant::now();
    // Some megabytes in one answer travel together: two delays, and not one for each of some hundred pieces.
    assert_eq!(session.ask("SELECT repeat('x', 4000000)")[0].len(), 4_000_000);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(wire.passed() > 4_000_000);
}

/// Whether a connection from one place to a listener is made within `SILENCE`.
fn reaches(from: &Namespace, to: SocketAddr) -> bool {
    from.within(|| TcpStream::connect_timeout(&to, SILENCE).is_ok())
}

#[test]
fn machines_reach_each_other_until_they_are_parted_and_again_when_healed() {
    let Some(net) = or_skip(Net::of(2)) else { return };
    let listen = |place: &Namespace, address| {
        let listener = place.within(|| TcpListener::bind((address, 0)).expect("its own address"));
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    };
    let database = listen(net.hub(), net.hub_address(Link::Fleet));
    let provider = listen(net.hub(), net.hub_address(Link::World));
    let other = listen(net.machine(1), net.address(1, Link::Fleet));
    let seen = || [database.1, other.1, provider.1].map(|to| reaches(net.machine(0), to));
    assert_eq!(seen(), [true, true, true]);
    assert!(TcpStream::connect_timeout(&database.1, SILENCE).is_err(), "nothing of it is seen outside");
    net.partition(0);
    assert_eq!(seen(), [false, false, true], "its providers stay");
    assert!(reaches(net.machine(1), database.1), "only one machine was cut off");
    net.drop_on(0, Link::World);
    assert_eq!(seen(), [false, false, false]);
    net.heal(0);
    assert_eq!(seen(), [true, true, true]);
}

#[test]
fn each_machine_reaches_the_one_database_by_its_own_wire() {
    let Some(ground) = or_skip(Ground::builder(3).namespaces().postgres().wires().start()) else { return };
    ground.sql("CREATE TABLE seen (machine INT)");
    let sessions: Vec<Session> =
        (0..3).map(|number| ground.on(number, || Session::connect(&ground.store_url(number)))).collect();
    for (number, session) in sessions.iter().enumerate() {
        session.ask(&format!("INSERT INTO seen VALUES ({number})"));
    }
    assert_eq!(ground.sql("SELECT machine FROM seen ORDER BY 1"), "0\n1\n2");
    assert_eq!(
        ground.sql("SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE client_addr IS NOT NULL"),
        "3"
    );

    ground.net().partition(1);
    ground.wire(2).hole();
    let asked = |number: usize| sessions[number].ask_within(SILENCE, "SELECT 1").is_ok();
    assert_eq!([asked(0), asked(1), asked(2)], [true, false, false]);
    ground.net().heal(1);
    ground.wire(2).heal();
    assert!(sessions.iter().all(|session| session.ask("SELECT 5") == ["5"]), "what was lost is sent again");

    ground.postgres().kill();
    assert!(sessions.iter().all(|session| session.ask_within(SOON, "SELECT 1").is_err()));
    ground.postgres().start();
    let again = ground.on(1, || Session::connect(&ground.store_url(1)).ask("SELECT count(*) FROM seen"));
    assert_eq!(again, ["3"]);
}

/// Serves on every machine while one is killed and started again.
fn are_served(ground: &Ground) {
    let mut machines = ground.machines(|_, builder| builder);
    let ready = seen_by_all(&machines, SOON, "every machine is ready", |machine| machine.is_ready());
    println!("all ready after {ready:?}");
    let balanced = Load::on(&machines.iter().collect::<Vec<_>>(), 3);
    let strict = Load::on(&[&machines[0]], 1);
    std::thread::sleep(Duration::from_millis(400));
    let before = machines[0].cpu();
    machines[2].kill();
    // The kernel closes the listener of a ring some time after its process has ended.
    wait_until(SOON, "nobody listens any more", || machines[2].try_client().is_err());
    std::thread::sleep(Duration::from_millis(400));
    machines[2].restart();
    assert_eq!(machines[2].chat(&chat("after a restart")).status, 200);
    std::thread::sleep(Duration::from_millis(400));
    let (balanced, strict) = (balanced.end(), strict.end());
    assert_eq!((balanced.failures, strict.failures), (Vec::new(), Vec::new()));
    assert!(balanced.answered > 50 && strict.answered > 20, "{} {}", balanced.answered, strict.answered);
    assert!((1..10).contains(&balanced.moved), "one client moved: {}", balanced.moved);
    assert!(machines[0].cpu() > before, "work takes time");
    for machine in &machines {
        assert_eq!(machine.admin("/status").status, 200, "the admin socket of machine {}", machine.number);
        assert_eq!(machine.ask(&bare("GET", "/v1/health/live", "")).status, 200);
    }
    let counts = ground.provider.truth().counts();
    assert!(counts.requests > balanced.answered + strict.answered, "{counts:?}");
    // A strict client notices what a balanced one walks round.
    let strict = Load::on(&[&machines[1]], 1);
    std::thread::sleep(Duration::from_millis(100));
    machines[1].kill();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!strict.end().failures.is_empty());
    assert!(machines[0].stop(SOON), "it ends in order");
}

#[test]
fn three_gateways_on_loopback_are_served() {
    are_served(&Ground::builder(3).start().expect("loopback is everywhere"));
}

#[test]
fn three_gateways_in_namespaces_are_served_and_a_partition_leaves_them_their_provider() {
    let Some(ground) = or_skip(Ground::builder(3).namespaces().start()) else { return };
    are_served(&ground);
    let machine = ground.machine(0, |builder| builder);
    ground.net().partition(0);
    assert_eq!(machine.chat(&chat("cut off from the fleet")).status, 200);
    ground.net().drop_on(0, Link::World);
    let mut client = machine.client();
    client.send(&post(&chat("cut off from the world")));
    assert!(!client.is_readable(SILENCE), "its provider is not reached");
    ground.net().heal(0);
    assert_eq!(client.answer().status, 200, "what was lost is sent again");
}

/// The piece of System V memory that a cluster holds, by its id.
fn segment_of(postgres: &Postgres) -> String {
    let lock = fs::read_to_string(postgres.home().join("data/postmaster.pid")).expect("it runs");
    let line = lock.lines().nth(6).expect("the seventh line names it");
    line.split_whitespace().nth(1).expect("a key and an id").to_owned()
}

fn has_segment(id: &str) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(1) == Some(id))
}

fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn nothing_is_left_behind_even_after_a_panic() {
    let Some(ground) = or_skip(Ground::builder(2).namespaces().postgres().wires().start()) else { return };
    let segment = segment_of(ground.postgres());
    let names =
        [ground.net().hub(), ground.net().machine(0), ground.net().machine(1)].map(|place| place.name().to_owned());
    assert!(names.iter().all(|name| namespaces().contains(name)) && has_segment(&segment));
    let mut processes = ground.postgres().processes();
    let mut folders = vec![ground.postgres().home().to_owned()];
    let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let ground = ground;
        // The gateway itself needs no database here.
        let machine = Ground::builder(1).start().expect("loopback").machine(0, |builder| builder);
        processes.push(machine.pid());
        folders.push(machine.home().to_owned());
        assert!(folders.iter().all(|folder| folder.is_dir()));
        let _load = Load::on(&[&machine], 1);
        ground.postgres().kill();
        panic!("the test failed, as it was meant to");
    }));
    let said = *struck.expect_err("it panicked").downcast::<&str>().expect("words");
    assert_eq!(said, "the test failed, as it was meant to");
    // Orphans stay in the table until the first process has taken note of their end.
    wait_until(SOON, "no process is left", || {
        processes.retain(|pid| Path::new("/proc").join(pid.to_string()).exists());
        processes.is_empty()
    });
    assert!(folders.iter().all(|folder| !folder.exists()), "{folders:?}");
    assert!(!names.iter().any(|name| namespaces().contains(name)), "{:?}", namespaces());
    assert!(!has_segment(&segment), "its memory is given back");
}

#[test]
fn what_a_killed_test_left_is_removed_by_the_next() {
    // It stands for a test process: while it lives nobody touches what is named after it.
    let mut maker = Command::new("sleep").arg("600").spawn().expect("it starts");
    let left = ["hub", "m0"].map(|end| format!("igris-{}-0-{end}", maker.id()));
    let folder = std::env::temp_dir().join(format!("igris-postgres-{}-0", maker.id()));
    fs::create_dir_all(folder.join("data")).expect("the temporary folder can be written to");
    let mut server = Command::new("sleep").arg("600").current_dir(folder.join("data")).spawn().expect("it starts");
    let made = left.iter().all(|name| {
        let made = Command::new("ip").args(["netns", "add", name]).output();
        made.is_ok_and(|output| output.status.success())
    });
    let mut inside = made.then(|| Namespace::named(&left[1]).command("sleep").arg("600").spawn().expect("it starts"));
    let _ = (maker.kill(), maker.wait());

    let cluster = or_skip(Postgres::builder().start());
    let net = or_skip(if made { Net::of(1) } else { Err("no network namespace can be made here".to_owned()) });
    if cluster.is_some() {
        assert!(!folder.exists());
        wait_until(SOON, "its processes were ended", || server.try_wait().is_ok_and(|ended| ended.is_some()));
    } else {
        let _ = (server.kill(), server.wait(), fs::remove_dir_all(&folder));
    }
    if let (Some(_), Some(inside)) = (net, &mut inside) {
        assert!(!left.iter().any(|name| namespaces().contains(name)), "{:?}", namespaces());
        wait_until(SOON, "what ran inside was ended", || inside.try_wait().is_ok_and(|ended| ended.is_some()));
    }
}

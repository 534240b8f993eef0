//! Steady load over TLS: so many clients, each with its own connection and its own schedule, every answer checked byte for byte.

use crate::support::{Answer, Client, bearer, chat_of, post_with};
use igris_load::certs::Authority;
use igris_load::dialect::Expectation;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Requests on one connection, so that handshakes go on all the time.
const PER_CONNECTION: u32 = 10;
/// One of so many requests shows a key that is about to be revoked, or was.
const OF_VICTIMS: u64 = 8;
/// Rule V10.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

/// Access keys that live for about a second.
#[derive(Default)]
pub struct Victims(Mutex<Vec<Victim>>);

/// One of them.
#[derive(Clone, Debug)]
pub struct Victim {
    pub id: String,
    pub text: String,
    /// When its revocation was asked for.
    pub asked: Option<Instant>,
    /// When it was acknowledged.
    pub acknowledged: Option<Instant>,
}

/// The load and where it goes.
pub struct Load<'v> {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    victims: &'v Victims,
    rate: u32,
    pub clients: u32,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whole answers of 200.
    pub served: u64,
    /// Answers of 401 to a revoked key.
    pub refused: u64,
    /// Requests that found their kept connection closed and went out again on a new one.
    pub resent: u64,
    pub handshakes: u64,
    latencies: Vec<Duration>,
}

// === impl Victims ===

impl Victims {
    pub fn add(&self, victim: Victim) {
        self.0.lock().expect("nobody panics over it").push(victim);
    }

    /// Changes the latest one and answers it as it is then.
    pub fn latest(&self, change: impl FnOnce(&mut Victim)) -> Victim {
        let mut all = self.0.lock().expect("nobody panics over it");
        let last = all.last_mut().expect("there is one");
        change(last);
        last.clone()
    }

    fn state(&self, id: &str) -> Victim {
        let all = self.0.lock().expect("nobody panics over it");
        all.iter().rev().find(|victim| victim.id == id).expect("never removed").clone()
    }

    /// The latest, or the one before.
    fn pick(&self, number: u64) -> Victim {
        let all = self.0.lock().expect("nobody panics over it");
        let back = usize::try_from(number % 2).expect("small").min(all.len() - 1);
        all[all.len() - 1 - back].clone()
    }
}

// === impl Load ===

impl<'v> Load<'v> {
    pub fn new(address: SocketAddr, trusted: &Authority, victims: &'v Victims, rate: u32) -> Self {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(trusted.cert_pem().as_bytes()).expect("our own PEM");
        roots.add(cert).expect("our own certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("defaults are usable").with_root_certificates(roots).with_no_client_auth();
        Self { address, tls: Arc::new(config), victims, rate, clients: (rate / 8).clamp(8, 128) }
    }

    /// Sends until it is told to stop; a request that fails fails the test.
    pub fn run(&self, stop: &AtomicBool) -> Outcome {
        let began = Instant::now();
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.clients).map(|number| scope.spawn(move || self.client(number, began, stop))).collect();
            let mut whole = Outcome::default();
            clients.into_iter().for_each(|client| whole.add(client.join().expect("no request failed")));
            whole
        })
    }

    fn client(&self, number: u32, began: Instant, stop: &AtomicBool) -> Outcome {
        let mut outcome = Outcome::default();
        let gap = Duration::from_secs(1) * self.clients / self.rate;
        let mut planned = began + Duration::from_secs(1) * number / self.rate;
        let mut kept: Option<(Client, u32)> = None;
        for round in 0_u64.. {
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                return outcome;
            }
            let stream = if round % 2 == 0 { ",\"stream\":true" } else { "" };
            let body = chat_of("any", &format!("sim:tokens=6 client {number}, round {round}"), stream);
            let victim = (round % OF_VICTIMS == 1).then(|| self.victims.pick(round / OF_VICTIMS));
            let sent = Instant::now();
            let answer = self.ask(&mut kept, &body, victim.as_ref(), &mut outcome);
            self.judge(&body, &answer, victim.as_ref(), sent, &mut outcome);
            outcome.latencies.push(planned.elapsed());
            planned += gap;
        }
        outcome
    }

    /// A kept connection that was closed before any byte of an answer is no answer: the request goes out once more on a new one.
    fn ask(
        &self,
        kept: &mut Option<(Client, u32)>,
        body: &str,
        victim: Option<&Victim>,
        outcome: &mut Outcome,
    ) -> Answer {
        let key = victim.map_or(crate::support::ACCESS_KEY, |victim| &victim.text);
        let bytes = post_with("/v1/chat/completions", &bearer(key), body.as_bytes());
        let usable = kept.take().filter(|(_, uses)| *uses < PER_CONNECTION);
        let (mut client, uses) = usable.unwrap_or_else(|| (self.connect(outcome), 0));
        client.send(&bytes);
        let (answer, uses) = match client.try_answer() {
            Ok(answer) => (answer, uses),
            Err(trouble) => {
                assert!(uses > 0 && trouble.ends_with("\"\""), "client {body}: {trouble}");
                outcome.resent += 1;
                client = self.connect(outcome);
                client.send(&bytes);
                (client.answer(), 0)
            }
        };
        client.received.clear();
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes && answer.whole {
            *kept = Some((client, uses + 1));
        }
        answer
    }

    /// A revoked key may be refused from the moment its revocation was asked for, and must be a second after it was acknowledged.
    fn judge(&self, body: &str, answer: &Answer, victim: Option<&Victim>, sent: Instant, outcome: &mut Outcome) {
        let now = victim.map(|victim| self.victims.state(&victim.id));
        if answer.status == 401 {
            assert!(now.is_some_and(|victim| victim.asked.is_some()), "nobody revoked this key: {}", answer.text());
            outcome.refused += 1;
            return;
        }
        assert_eq!((answer.status, answer.whole), (200, true), "{body}: {}", answer.text());
        let late = now.and_then(|victim| victim.acknowledged).filter(|at| sent > *at + REVOKED_WITHIN);
        assert!(late.is_none(), "a key revoked {:?} ago was served", late.map(|at| at.elapsed()));
        let expected = Expectation::new(body.as_bytes(), Some("gpt-4o")).expect("good");
        expected.check(&answer.body).unwrap_or_else(|difference| panic!("{body}: {difference}"));
        outcome.served += 1;
    }

    fn connect(&self, outcome: &mut Outcome) -> Client {
        outcome.handshakes += 1;
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(self.tls.clone(), name).expect("a good configuration");
        let tcp = TcpStream::connect(self.address).expect("the listener takes connections");
        tcp.set_nodelay(true).expect("a socket");
        tcp.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout above zero");
        let mut stream = StreamOwned::new(connection, tcp.try_clone().expect("a socket"));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("the handshake comes to its end");
        }
        Client::over(stream, tcp)
    }
}

// === impl Outcome ===

impl Outcome {
    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.resent += other.resent;
        self.handshakes += other.handshakes;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { served, refused, resent, handshakes, latencies } = self;
        let at = |share: f64| {
            latencies.get((latencies.len() as f64 * share) as usize).or(latencies.last()).copied().unwrap_or_default()
        };
        write!(
            out,
            "{served} served, {refused} refused with a revoked key, {resent} sent again, {handshakes} handshakes; p50 {:?}, p99 {:?}, p99.9 {:?}",
            at(0.5),
            at(0.99),
            at(0.999)
        )
    }
}

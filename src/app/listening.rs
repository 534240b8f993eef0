//! The public listening sockets: bound here, passed by systemd, or taken over from the process before.
//!
//! They are kept beside the workers, so that a worker that is started again finds its sockets and what waits in them. One that is bound
//! here has a twin for each core (`SO_REUSEPORT`), and each twin has a queue of its own: none may be closed before its queue is someone
//! else's. Where there are more cores than sockets, cores share one; where there are fewer, a core has several.

use crate::handover::{Passed, SocketKind};
use crate::limits;
use anyhow::Context;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sockets, by address; emptied when the drain begins.
pub(super) struct Listening(Mutex<Vec<Place>>);

/// One address.
struct Place {
    /// As it was asked for, perhaps with port 0.
    asked: SocketAddr,
    /// From systemd.
    lasting: bool,
    sockets: Vec<TcpListener>,
}

impl Listening {
    /// Takes what was passed for these addresses, and binds the others. Sockets from systemd count instead of any address.
    pub(super) fn open(wanted: &[SocketAddr], passed: &mut Vec<Passed>, cores: usize) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        while let Some(place) = take(passed, |socket| socket.lasting) {
            places.push(place);
        }
        if places.is_empty() {
            for address in wanted {
                let asked = address.to_string();
                let place = match take(passed, |socket| socket.asked == asked) {
                    Some(place) => place,
                    None => Place { asked: *address, lasting: false, sockets: bind(*address, cores)? },
                };
                places.push(place);
            }
        }
        Ok(Self(Mutex::new(places)))
    }

    /// Where it listens, ports filled in.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.places().iter().filter_map(|place| place.sockets.first()?.local_addr().ok()).collect()
    }

    /// The sockets that a core accepts on.
    pub(super) fn of_core(&self, core: usize, cores: usize) -> Vec<TcpListener> {
        let mut own = Vec::new();
        for place in self.places().iter() {
            own.extend(
                share(core, cores, place.sockets.len()).filter_map(|nth| place.sockets.get(nth)?.try_clone().ok()),
            );
        }
        own
    }

    /// The same sockets for the next process.
    pub(super) fn passed(&self) -> std::io::Result<Vec<Passed>> {
        let mut passed = Vec::new();
        for Place { asked, lasting, sockets } in self.places().iter() {
            for socket in sockets {
                let (kind, asked, socket) = (SocketKind::Public, asked.to_string(), socket.try_clone()?.into());
                passed.push(Passed { kind, asked, lasting: *lasting, file: None, socket });
            }
        }
        Ok(passed)
    }

    /// Lets go of them: the kernel refuses new connections, unless another process has them.
    pub(super) fn close(&self) {
        self.places().clear();
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of `sockets` a core accepts on: every socket has a core, every core has a socket.
fn share(core: usize, cores: usize, sockets: usize) -> impl Iterator<Item = usize> {
    let cores = cores.max(1);
    let shared = (cores > sockets && sockets > 0).then(|| core % sockets);
    let own = (core..sockets).step_by(cores).filter(move |_| shared.is_none());
    shared.into_iter().chain(own)
}

/// Takes the twins of one address out of what was passed: those of the first socket that fits.
fn take(passed: &mut Vec<Passed>, fits: impl Fn(&Passed) -> bool) -> Option<Place> {
    let public = |socket: &Passed| socket.kind == SocketKind::Public && fits(socket);
    let first = passed.iter().find(|socket| public(socket))?;
    let (asked, lasting) = (first.asked.clone(), first.lasting);
    let address = address_of(first)?;
    let (taken, rest): (Vec<Passed>, Vec<Passed>) = std::mem::take(passed)
        .into_iter()
        .partition(|socket| public(socket) && socket.asked == asked && address_of(socket) == Some(address));
    *passed = rest;
    let sockets = taken.into_iter().map(|socket| TcpListener::from(socket.socket)).collect();
    Some(Place { asked: asked.parse().unwrap_or(address), lasting, sockets })
}

fn address_of(passed: &Passed) -> Option<SocketAddr> {
    socket2::SockRef::from(&passed.socket).local_addr().ok()?.as_socket()
}

/// One listening socket per core on the same address, so that the kernel spreads connections (`SO_REUSEPORT`).
fn bind(address: SocketAddr, cores: usize) -> anyhow::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(cores);
    for _ in 0..cores {
        let socket = listen_on(address)
            .with_context(|| format!("cannot listen on {address}; stop what uses it or choose another --listen"))?;
        // Where port 0 was asked for, the first socket decides.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    const ANY: &str = "127.0.0.1:0";

    fn any() -> SocketAddr {
        ANY.parse().expect("an address")
    }

    #[test]
    fn every_socket_has_a_core_and_every_core_a_socket() {
        for cores in 1..9 {
            for sockets in 1..9 {
                let shares: Vec<Vec<usize>> = (0..cores).map(|core| share(core, cores, sockets).collect()).collect();
                assert!(shares.iter().all(|own| !own.is_empty()), "{cores} cores, {sockets} sockets: {shares:?}");
                let mut all: Vec<usize> = shares.concat();
                all.sort_unstable();
                all.dedup();
                assert_eq!(all, (0..sockets).collect::<Vec<_>>(), "{cores} cores: {shares:?}");
            }
        }
        assert_eq!(share(0, 1, 0).count(), 0);
    }

    #[test]
    fn the_next_one_has_the_same_sockets_whatever_its_cores() {
        let mut nothing = Vec::new();
        let old = Listening::open(&[any(), any()], &mut nothing, 3).expect("bound");
        let addresses = old.addresses();
        assert_ne!(addresses[0], addresses[1]);
        let mut passed = old.passed().expect("duplicated");
        assert_eq!(passed.len(), 6);
        let new = Listening::open(&[any(), any()], &mut passed, 2).expect("taken over");
        assert!(passed.is_empty());
        assert_eq!(new.addresses(), addresses);
        old.close();
        assert!(old.addresses().is_empty());
        let waiting: Vec<TcpStream> = (0..32).map(|_| TcpStream::connect(addresses[0]).expect("still taken")).collect();
        let sockets: Vec<TcpListener> = (0..2).flat_map(|core| new.of_core(core, 2)).collect();
        let mut found = 0;
        for socket in &sockets {
            socket.set_nonblocking(true).expect("set");
            while socket.accept().is_ok() {
                found += 1;
            }
        }
        assert_eq!(found, waiting.len(), "no queue is without its core");
    }

    #[test]
    fn an_address_that_is_no_longer_wanted_is_let_go_and_a_new_one_bound() {
        let mut nothing = Vec::new();
        let old = Listening::open(&[any()], &mut nothing, 1).expect("bound");
        let mut passed = old.passed().expect("duplicated");
        let fixed = SocketAddr::from(([127, 0, 0, 2], 0));
        let new = Listening::open(&[fixed], &mut passed, 1).expect("bound");
        assert_eq!(passed.len(), 1, "the caller drops it");
        assert_eq!(new.addresses()[0].ip(), fixed.ip());
    }

    #[test]
    fn what_systemd_passed_stays() {
        let socket = TcpListener::bind(ANY).expect("bound");
        let address = socket.local_addr().expect("an address");
        let (kind, asked) = (SocketKind::Public, address.to_string());
        let mut passed = vec![Passed { kind, asked, lasting: true, file: None, socket: socket.into() }];
        let old = Listening::open(&["127.0.0.1:1".parse().expect("an address")], &mut passed, 4).expect("taken");
        assert_eq!(old.addresses(), [address]);
        assert!((0..4).all(|core| old.of_core(core, 4).len() == 1), "the cores share it");
        let mut passed = old.passed().expect("duplicated");
        let new = Listening::open(&[], &mut passed, 2).expect("taken");
        assert_eq!(new.addresses(), [address]);
    }
}

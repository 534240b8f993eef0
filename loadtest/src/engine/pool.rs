//! The connections of one thread, by number, and which of them are free.

use super::flight::Flight;
use super::link::Link;

/// One connection.
pub(super) struct Connection {
    pub(super) link: Link,
    /// Which endpoint it leads to.
    pub(super) route: usize,
    pub(super) phase: Phase,
    /// The request on it; one at a time.
    pub(super) flight: Option<Flight>,
    /// Bytes of the request that the system has not taken yet.
    pub(super) unsent: Vec<u8>,
}

/// ```text
/// Opening --connected--> Securing --handshake done--> Busy <--answer whole / next request--> Idle
/// ```
/// Any of them ends when the connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TCP is being connected, since that instant.
    Opening(u64),
    /// TLS is being agreed on; of a plain connection, over at once.
    Securing(u64),
    /// A request is on it.
    Busy,
    /// Nothing is on it.
    Idle,
}

/// Where a request may go now.
pub(super) enum Place {
    /// Over a connection that is open and free.
    Kept(usize),
    /// Over one that has this number and is to be opened.
    Fresh(usize),
}

/// All connections of a thread.
pub(super) struct Pool {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// By endpoint, the last one freed last. What is in here may have been closed or used since, and is then passed over.
    idle: Vec<Vec<usize>>,
}

impl Pool {
    /// Room for so many connections to so many endpoints.
    pub(super) fn new(connections: usize, routes: usize) -> Self {
        let slots = std::iter::repeat_with(|| None).take(connections).collect();
        Self { slots, free: (0..connections).rev().collect(), idle: vec![Vec::new(); routes] }
    }

    /// The connection with this number, if it is open.
    pub(super) fn at(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Finds a place for a request to an endpoint; the free connection that was used last comes first. A free connection to
    /// another endpoint is closed where nothing else is left.
    pub(super) fn place(&mut self, route: usize) -> Option<Place> {
        if let Some(slot) = self.pop_idle(route) {
            return Some(Place::Kept(slot));
        }
        if let Some(slot) = self.free.pop() {
            return Some(Place::Fresh(slot));
        }
        let slot = (0..self.idle.len()).find_map(|other| self.pop_idle(other))?;
        self.slots[slot] = None;
        Some(Place::Fresh(slot))
    }

    fn pop_idle(&mut self, route: usize) -> Option<usize> {
        while let Some(slot) = self.idle[route].pop() {
            let known = self.slots[slot].as_ref();
            if known.is_some_and(|known| known.phase == Phase::Idle && known.route == route) {
                return Some(slot);
            }
        }
        None
    }

    /// Puts a new connection at its place.
    pub(super) fn open(&mut self, slot: usize, connection: Connection) {
        self.slots[slot] = Some(connection);
    }

    /// Gives a number back that was not used, or whose connection has ended.
    pub(super) fn close(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }

    /// Keeps a connection whose answer was whole.
    pub(super) fn rest(&mut self, slot: usize) {
        if let Some(connection) = &mut self.slots[slot] {
            connection.phase = Phase::Idle;
            self.idle[connection.route].push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_connection_is_small() {
        let bytes = size_of::<Option<Connection>>();
        assert!(bytes <= 1024, "ten thousand streams are to fit into a small machine: {bytes} bytes each");
    }
}

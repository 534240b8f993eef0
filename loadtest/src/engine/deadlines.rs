//! Which connection's request has waited longest: a list through the connections' numbers, in the order of their starts.
//!
//! All requests of a run have the same timeout, so the first in the list is the first to expire, and adding and removing cost
//! nothing that grows with the number of requests.

/// No connection.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    before: u32,
    after: u32,
    since: u64,
}

/// The list.
#[derive(Debug)]
pub(super) struct Deadlines {
    nodes: Vec<Node>,
    first: u32,
    last: u32,
}

impl Deadlines {
    /// A list for so many connections, none of them in it.
    pub(super) fn new(connections: usize) -> Self {
        let alone = Node { before: NONE, after: NONE, since: u64::MAX };
        Self { nodes: vec![alone; connections], first: NONE, last: NONE }
    }

    /// A request began on this connection; `since` is no earlier than any before.
    pub(super) fn begin(&mut self, slot: usize, since: u64) {
        self.end(slot);
        self.nodes[slot] = Node { before: self.last, after: NONE, since };
        match self.last {
            NONE => self.first = slot as u32,
            last => self.nodes[last as usize].after = slot as u32,
        }
        self.last = slot as u32;
    }

    /// The request on this connection has ended; nothing happens if there was none.
    pub(super) fn end(&mut self, slot: usize) {
        let node = self.nodes[slot];
        if node.since == u64::MAX {
            return;
        }
        match node.before {
            NONE => self.first = node.after,
            before => self.nodes[before as usize].after = node.after,
        }
        match node.after {
            NONE => self.last = node.before,
            after => self.nodes[after as usize].before = node.before,
        }
        self.nodes[slot].since = u64::MAX;
    }

    /// The request that began first: its connection and when.
    pub(super) fn oldest(&self) -> Option<(usize, u64)> {
        (self.first != NONE).then(|| (self.first as usize, self.nodes[self.first as usize].since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_always_known() {
        let mut list = Deadlines::new(50);
        let mut plain: Vec<(usize, u64)> = Vec::new();
        let mut state = 7_u64;
        for now in 0..5000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let slot = (state >> 33) as usize % 50;
            plain.retain(|(known, _)| *known != slot);
            if (state >> 60).is_multiple_of(2) {
                list.begin(slot, now);
                plain.push((slot, now));
            } else {
                list.end(slot);
            }
            assert_eq!(list.oldest(), plain.first().copied());
        }
        for (slot, _) in plain {
            list.end(slot);
        }
        assert_eq!(list.oldest(), None);
    }
}

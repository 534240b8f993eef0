//! How much of a limit one machine gets: arithmetic without a clock and without a database.
//!
//! ```text
//!   limit = used by all + unspent leases of the machines that live + reserve + what is in nobody's hand
//! ```
//!
//! The reserve is what machines without a lease may use before they have asked ([`credit`]). So nothing is given twice: what all may
//! spend together is never more than the limit, whoever asks first. What a machine still has in its hand counts as its own until it has
//! said that it let it go; a lease is lowered by its machine first, and in the database after that.

use crate::limits::fleet::{CREDIT_ONE_IN, RATE_WINDOW, ROUND_OVERLAP};
use std::collections::HashMap;
use std::time::Duration;

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Money: what is used is gone until the period ends.
    Spent,
    /// So many a minute, or at a time: what is used comes back by itself.
    Flowing,
}

/// What the machine that asks says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mine {
    /// What it has used.
    pub used: u64,
    /// What it may still use by what it was given, and has not let go.
    pub have: u64,
    /// What it would like to have instead.
    pub want: u64,
}

/// What is known of another machine that ever had a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// What it had used when it last said so.
    pub used: u64,
    /// What it may use beyond that.
    pub granted: u64,
    /// What it wanted.
    pub want: u64,
    /// Whether it was heard of lately. The lease of one that was not is free again, unless it is `bound`.
    pub lives: bool,
    /// Whether it may have spent its lease unheard, and nobody else may.
    pub bound: bool,
}

/// What comes of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// What the machine may use from now on.
    pub may: u64,
    /// What counts as its own until it says otherwise: never less than it had.
    pub noted: u64,
    /// Whether so little is in nobody's hand that there is no more credit.
    pub closes: bool,
}

/// What a machine without a lease may use of a limit, where so many machines live; and of a budget, what it leases ahead.
pub fn credit(limit: u64, machines: u64) -> u64 {
    limit / CREDIT_ONE_IN.saturating_mul(machines.max(1))
}

/// What a machine gets. `reserve` is the credit of the living machines that have no lease.
pub fn give(nature: Nature, limit: u64, mine: Mine, others: &[Other], reserve: u64) -> Given {
    let used = match nature {
        Nature::Spent => others.iter().fold(mine.used, |sum, other| sum.saturating_add(other.used)),
        Nature::Flowing => 0,
    };
    let keepers = || others.iter().filter(|other| other.lives || other.bound);
    let held = keepers().fold(0_u64, |sum, other| sum.saturating_add(other.granted));
    let pot = limit.saturating_sub(used);
    // Beside what others have: mine, and what is in nobody's hand.
    let free = pot.saturating_sub(held).saturating_sub(reserve);
    let room = free.saturating_sub(mine.have);
    let is_alone = reserve == 0 && keepers().next().is_none();
    let part = match nature {
        // Not all of it at once, so that who comes next finds some; of little, all.
        Nature::Spent if !is_alone => (room / 2).max(room.min(limit / LITTLE_ONE_IN)),
        _ => room,
    };
    let living = || others.iter().filter(|other| other.lives);
    let fair = fair(pot - reserve.min(pot), mine.want, living().map(|other| other.want));
    let may = if mine.want >= mine.have {
        mine.want.min(mine.have.min(free).saturating_add(part)).min(fair)
    } else {
        // What it could not let go of yet stays, unless somebody waits for it.
        let unmet = living().fold(0_u64, |sum, other| sum.saturating_add(other.want.saturating_sub(other.granted)));
        if unmet > room { mine.want.min(fair).min(free) } else { mine.have.min(free) }
    };
    let noted = may.max(mine.have);
    let gone = used.saturating_add(held).saturating_add(noted).saturating_add(reserve);
    Given { may, noted, closes: gone > limit - limit / CREDIT_ONE_IN }
}

// ---- A pool -----------------------------------------------------------------------------------------------------------------

/// Another machine, as the database knows it. Times are the database's, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whether it was heard of lately.
    pub lives: bool,
    /// When it was last heard of.
    pub seen: i64,
    /// Whether its leases stay its own when it is not.
    pub bound: bool,
    /// The time of the last round whose answer it has taken in.
    pub knows: i64,
    /// How many machines it takes its credit for.
    pub peers: u64,
}

/// One machine's lease in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseRow {
    /// What it had used when it last said so.
    pub used: u64,
    /// What it may use beyond that.
    pub granted: u64,
    /// What it wanted.
    pub want: u64,
}

/// A limit in one period, with all leases of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Since when there is no more credit in it; 0: there is.
    pub closed: i64,
    /// When somebody let a part go of which something was owed.
    pub spilled: i64,
    /// The lease of the machine that asks.
    pub mine: LeaseRow,
    /// Those of the others.
    pub others: Vec<([u8; 16], LeaseRow)>,
}

/// What a pool comes to after somebody asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What the machine gets.
    pub given: Given,
    /// What it has used.
    pub used: u64,
    /// What all others have used.
    pub elsewhere: u64,
    /// [`Pool::closed`] from now on.
    pub closed: i64,
    /// [`Pool::spilled`] from now on.
    pub spilled: i64,
    /// Of what flows: whether what is new in the lease was used by nobody for a minute.
    pub is_full: bool,
}

impl Pool {
    /// What a machine gets that asks at a time. `is_full`: nothing is owed of what it let go.
    pub fn decide(
        &self,
        (nature, limit): (Nature, u64),
        (mine, is_full): (Mine, bool),
        peers: &HashMap<[u8; 16], Peer>,
        seen: i64,
    ) -> Decided {
        let other = |(machine, row): &([u8; 16], LeaseRow)| {
            let (lives, bound) = peers.get(machine).map_or((false, false), |peer| (peer.lives, peer.bound));
            // A bound machine that is silent refuses everybody: of what flows it uses nothing.
            let bound = bound && nature == Nature::Spent;
            Other { used: row.used, granted: row.granted, want: row.want, lives, bound }
        };
        let others: Vec<Other> = self.others.iter().map(other).collect();
        // What was said once was used, also if the machine has lost its books since.
        let mine = Mine { used: mine.used.max(self.mine.used), ..mine };
        let given = give(nature, limit, mine, &others, self.reserve((nature, limit), peers));
        let elsewhere = others.iter().fold(0_u64, |sum, other| sum.saturating_add(other.used));
        let closed = if self.closed == 0 && given.closes { seen } else { self.closed };
        // The part of a machine that is gone is as full as it was when it was last heard of.
        let left_behind = self.others.iter().filter(|(_, row)| row.granted > 0);
        let left_behind = left_behind.filter_map(|(machine, _)| peers.get(machine)).filter(|peer| !peer.lives);
        let before = left_behind.fold(self.spilled, |last, peer| last.max(peer.seen));
        let spills = given.noted < self.mine.granted && !is_full;
        let is_full = seen.saturating_sub(before) >= millis(RATE_WINDOW);
        Decided {
            given,
            used: mine.used,
            elsewhere,
            closed,
            spilled: if spills { seen } else { self.spilled },
            is_full,
        }
    }

    /// What the living machines without a lease may use before they have asked: until they have heard that there is no more credit. Of
    /// what flows they always may.
    fn reserve(&self, (nature, limit): (Nature, u64), peers: &HashMap<[u8; 16], Peer>) -> u64 {
        let has_lease = |id: &[u8; 16]| self.others.iter().any(|(machine, _)| machine == id);
        let knows_better = |peer: &Peer| self.closed != 0 && peer.knows > self.closed + millis(ROUND_OVERLAP);
        let may = |peer: &Peer| peer.lives && (nature == Nature::Flowing || !knows_better(peer));
        let without = peers.iter().filter(|(id, peer)| may(peer) && !has_lease(id));
        without.fold(0, |sum, (_, peer)| sum.saturating_add(credit(limit, peer.peers)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Below this part of a limit, halving it is not worth a round.
const LITTLE_ONE_IN: u64 = 64;

/// The share of one who wants `mine` when nobody gets more than they want, and what is left over goes to those who want more (max-min
/// fairness).
fn fair(pot: u64, mine: u64, others: impl Iterator<Item = u64>) -> u64 {
    let mut wants: Vec<u64> = others.collect();
    wants.push(mine);
    wants.sort_unstable();
    let (mut left, mut count) = (pot, wants.len() as u64);
    for want in wants {
        let each = left / count;
        if want > each {
            return mine.min(each);
        }
        if want == mine {
            return mine;
        }
        left -= want;
        count -= 1;
    }
    mine
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn other(used: u64, granted: u64, want: u64) -> Other {
        Other { used, granted, want, lives: true, bound: false }
    }

    #[test]
    fn one_that_is_alone_gets_what_it_wants_and_no_more_than_there_is() {
        let ask = |want| give(Nature::Spent, 1_000, Mine { used: 100, have: 0, want }, &[], 0).may;
        assert_eq!((ask(10), ask(900), ask(5_000)), (10, 900, 900));
    }

    #[test]
    fn others_find_some_when_one_wants_all() {
        let mine = Mine { used: 0, have: 0, want: 10_000 };
        let first = give(Nature::Spent, 6_400, mine, &[], 800);
        assert_eq!((first.may, first.closes), (2_800, false), "half of what is in nobody's hand");
        let second = give(Nature::Spent, 6_400, mine, &[other(0, 2_800, 10_000)], 400);
        assert_eq!(second.may, 1_600);
        let last = give(Nature::Spent, 6_400, mine, &[other(3_000, 3_350, 0)], 0);
        assert_eq!((last.may, last.closes), (50, true), "of little, all");
    }

    #[test]
    fn who_has_more_than_its_fair_part_is_asked_to_lower_it_and_it_counts_until_then() {
        let mine = Mine { used: 0, have: 900, want: 900 };
        let given = give(Nature::Flowing, 1_000, mine, &[other(0, 100, 500)], 0);
        assert_eq!((given.may, given.noted), (500, 900));
        let lowered = give(Nature::Flowing, 1_000, Mine { have: 500, want: 900, used: 0 }, &[other(0, 100, 500)], 0);
        assert_eq!((lowered.may, lowered.noted), (500, 500));
    }

    #[test]
    fn the_lease_of_one_that_is_gone_is_free_unless_it_may_have_spent_it() {
        let gone = |bound| Other { used: 100, granted: 400, want: 400, lives: false, bound };
        let mine = Mine { used: 0, have: 0, want: 1_000 };
        assert_eq!(give(Nature::Spent, 1_000, mine, &[gone(false)], 0).may, 900);
        assert_eq!(give(Nature::Spent, 1_000, mine, &[gone(true)], 0).may, 250);
    }

    #[test]
    fn a_lower_limit_takes_what_is_not_spent() {
        let mine = Mine { used: 300, have: 200, want: 200 };
        assert_eq!(give(Nature::Spent, 400, mine, &[other(100, 50, 50)], 0).may, 0);
    }

    proptest! {
        /// Whoever asks, in whatever order: what all may use is never more than the limit, and what nobody wants is left.
        #[test]
        fn nothing_is_given_twice(
            nature in prop_oneof![Just(Nature::Spent), Just(Nature::Flowing)],
            limit in 1_u64..1_000_000,
            asks in proptest::collection::vec((0_usize..5, 0_u64..500_000, 0_u64..100), 1..60),
        ) {
            let mut rows = [Other { lives: true, ..Other::default() }; 5];
            for (machine, want, spends) in asks {
                let spent = rows[machine].granted * spends / 100;
                if nature == Nature::Spent {
                    rows[machine].used += spent;
                    rows[machine].granted -= spent;
                }
                let mine = Mine { used: rows[machine].used, have: rows[machine].granted.min(want), want };
                let others: Vec<Other> = (0..5).filter(|it| *it != machine).map(|it| rows[it]).collect();
                let given = give(nature, limit, mine, &others, 0);
                prop_assert!(given.may <= want && given.noted >= given.may);
                (rows[machine].granted, rows[machine].want) = (given.noted, want);
                let all: u64 = rows.iter().map(|row| row.granted + row.used).sum();
                prop_assert!(all <= limit, "{all} of {limit}: {rows:?}");
            }
        }

        /// Nobody gets more than they want, and all of it is given where enough is wanted.
        #[test]
        fn shares_are_fair(pot in 0_u64..10_000, wants in proptest::collection::vec(0_u64..5_000, 1..8)) {
            let share = |place: usize| {
                let others = wants.iter().enumerate().filter(|(it, _)| *it != place).map(|(_, want)| *want);
                fair(pot, wants[place], others)
            };
            let shares: Vec<u64> = (0..wants.len()).map(share).collect();
            let (given, wanted): (u64, u64) = (shares.iter().sum(), wants.iter().sum());
            prop_assert!(given <= pot.min(wanted) && given + wants.len() as u64 > pot.min(wanted), "{shares:?}");
        }
    }
}

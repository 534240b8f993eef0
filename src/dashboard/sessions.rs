//! Who is signed in: a random id in a cookie, what it may do, and its word against forged requests.
//!
//! Sessions live in memory: a new process knows none. They end after a time without a request, after a time in any case, and when their
//! owner leaves. There is a bound; beyond it the one that was silent longest gives way.

use super::token::Token;
use crate::domain::role::Roles;
use crate::limits::dashboard::{SESSION_IDLE, SESSION_LIFETIME, SESSIONS_MAX};
use crate::vault::{Entropy, VaultError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The name of the configured token; `None`: the printed one.
    pub(super) name: Option<Arc<str>>,
    pub(super) roles: Roles,
}

/// What a request by a session may know of it.
#[derive(Clone, Debug)]
pub(super) struct Seated {
    pub(super) holder: Holder,
    /// Until it ends in any case.
    pub(super) left: Duration,
    /// Tells it from every other session of this process.
    pub(super) number: u64,
}

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<Session>,
    made: u64,
}

#[derive(Debug)]
struct Session {
    number: u64,
    id: Token,
    /// What every change must repeat in a field of its own, which no other site can set.
    csrf: Token,
    holder: Holder,
    began: Instant,
    seen: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= SESSION_LIFETIME
            || now.saturating_duration_since(self.seen) >= SESSION_IDLE
    }
}

impl Sessions {
    /// Opens one; answers its id, for the cookie.
    ///
    /// # Errors
    /// [`VaultError::NoEntropy`].
    pub(super) fn open(
        &mut self,
        holder: Holder,
        entropy: &mut dyn Entropy,
        now: Instant,
    ) -> Result<String, VaultError> {
        let (id, csrf) = (Token::make(entropy)?, Token::make(entropy)?);
        self.open.retain(|session| !session.is_over(now));
        if self.open.len() >= SESSIONS_MAX
            && let Some(oldest) = (0..self.open.len()).min_by_key(|place| self.open[*place].seen)
        {
            self.open.swap_remove(oldest);
        }
        self.made += 1;
        let text = id.expose().to_owned();
        self.open.push(Session { number: self.made, id, csrf, holder, began: now, seen: now });
        Ok(text)
    }

    /// The session of this id, which was seen `now`.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<Seated> {
        let session = self.session(id, now)?;
        session.seen = now;
        let left = SESSION_LIFETIME.saturating_sub(now.saturating_duration_since(session.began));
        Some(Seated { holder: session.holder.clone(), left, number: session.number })
    }

    /// Whether a session is still open; asking does not keep it so.
    pub(super) fn stands(&self, number: u64, now: Instant) -> bool {
        self.open.iter().any(|session| session.number == number && !session.is_over(now))
    }

    /// Its word against forged requests, for its own pages.
    pub(super) fn csrf(&mut self, id: &str, now: Instant) -> Option<String> {
        self.session(id, now).map(|session| session.csrf.expose().to_owned())
    }

    /// Whether a request repeats the word of its session.
    pub(super) fn repeats(&mut self, id: &str, word: &[u8], now: Instant) -> bool {
        self.session(id, now).is_some_and(|session| session.csrf.is(word))
    }

    /// Ends one.
    pub(super) fn end(&mut self, id: &str) {
        self.open.retain(|session| !session.id.is(id.as_bytes()));
    }

    /// Every id is compared, each in constant time (rule V11).
    fn session(&mut self, id: &str, now: Instant) -> Option<&mut Session> {
        let of =
            |found, (place, session): (usize, &Session)| if session.id.is(id.as_bytes()) { Some(place) } else { found };
        let place = self.open.iter().enumerate().fold(None, of)?;
        if self.open[place].is_over(now) {
            self.open.swap_remove(place);
            return None;
        }
        self.open.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::OsEntropy;

    fn holder() -> Holder {
        Holder { name: None, roles: Roles::ALL }
    }

    fn open(sessions: &mut Sessions, now: Instant) -> String {
        sessions.open(holder(), &mut OsEntropy, now).expect("a session")
    }

    #[test]
    fn a_session_ends_by_silence_by_age_and_by_its_owner() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let silent = open(&mut sessions, start);
        assert!(sessions.find(&silent, start + SESSION_IDLE - Duration::from_secs(1)).is_some());
        assert!(sessions.find(&silent, start + 2 * SESSION_IDLE).is_none());
        let busy = open(&mut sessions, start);
        let mut now = start;
        while now < start + SESSION_LIFETIME {
            assert!(sessions.find(&busy, now).is_some(), "{:?}", now - start);
            now += SESSION_IDLE / 2;
        }
        assert!(sessions.find(&busy, start + SESSION_LIFETIME).is_none());
        let left = open(&mut sessions, start);
        let number = sessions.find(&left, start).expect("open").number;
        assert!(sessions.stands(number, start));
        sessions.end(&left);
        assert!(sessions.find(&left, start).is_none() && !sessions.stands(number, start));
    }

    #[test]
    fn the_word_belongs_to_one_session() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (open(&mut sessions, now), open(&mut sessions, now));
        let word = sessions.csrf(&one, now).expect("a word");
        assert!(sessions.repeats(&one, word.as_bytes(), now));
        assert!(!sessions.repeats(&other, word.as_bytes(), now));
        assert!(!sessions.repeats(&one, one.as_bytes(), now) && !sessions.repeats(&one, b"", now));
        sessions.end(&one);
        assert!(!sessions.repeats(&one, word.as_bytes(), now));
    }

    #[test]
    fn beyond_the_bound_the_most_silent_one_gives_way() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let ids: Vec<String> =
            (0..SESSIONS_MAX as u64).map(|n| open(&mut sessions, start + Duration::from_millis(n))).collect();
        let late = start + Duration::from_secs(1);
        assert!(sessions.find(&ids[0], late).is_some());
        open(&mut sessions, late);
        assert!(sessions.find(&ids[0], late).is_some() && sessions.find(&ids[1], late).is_none());
    }
}

//! The new process takes over: it says when it is prepared, waits for the store, then for the sockets, and serves.

use crate::control_plane::ControlError;
use crate::handover::{Channel, FORMAT, HandoverFault, Message, Passed, Prepared, adopted, peer_of};
use crate::limits::{HANDOVER_PATIENCE_MAX, HANDOVER_TAKE_DEADLINE};
use anyhow::{Context, bail, ensure};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

/// A process that takes over from the one that started it.
pub(super) struct Heir {
    channel: Channel,
    old: u32,
}

impl Heir {
    /// Hears what is offered on standard input, from our own user and parent alone.
    pub(super) fn join() -> anyhow::Result<(Self, Vec<Passed>)> {
        let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        let peer = peer_of(&stream).context("standard input is not the socket of an igris that hands over")?;
        let own = peer_of(&UnixStream::pair()?.0)?.uid;
        let parent = parent_id();
        ensure!(
            peer.uid == own && u32::try_from(peer.pid) == Ok(parent),
            "the process that hands over is not our parent, or another user's; start igris by itself"
        );
        let mut channel = Channel::over(stream)?;
        let offer = match channel.receive(Instant::now() + HANDOVER_TAKE_DEADLINE, &mut || None)? {
            Message::Offer(offer) => offer,
            other => bail!("the old process began with `{}`; is it an igris of this kind?", other.name()),
        };
        if offer.format != FORMAT {
            let why = format!(
                "it hands over by rules {} and this version knows {FORMAT}; stop it and start this one",
                offer.format
            );
            let _ = channel.send(&Message::Refused(why.clone()));
            bail!(why);
        }
        let passed = adopted(offer).context("an offered socket cannot be used")?;
        Ok((Self { channel, old: parent }, passed))
    }

    /// Says that everything else is read and good, and waits until the store is free.
    pub(super) fn wait_for_store(&mut self) -> Result<(), ControlError> {
        let prepared = Prepared { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() };
        let said = self.say(&Message::Prepared(prepared));
        let heard = said.and_then(|()| self.hear(&Message::StoreFree, HANDOVER_PATIENCE_MAX));
        heard.map_err(|fault| ControlError::Handover(format!("the old process keeps the store: {fault}")))
    }

    /// Says that it could serve, and waits until nobody else accepts.
    pub(super) fn wait_for_sockets(&mut self) -> anyhow::Result<()> {
        self.say(&Message::Ready)?;
        self.hear(&Message::Take, HANDOVER_PATIENCE_MAX).context("the old process keeps its sockets")
    }

    /// Says that it serves. From here on the old one only brings what it still counts.
    pub(super) fn serve(mut self) -> anyhow::Result<Channel> {
        self.say(&Message::Serving)?;
        Ok(self.channel)
    }

    /// Says why not.
    pub(super) fn refuse(&mut self, why: &anyhow::Error) {
        let _ = self.channel.send(&Message::Refused(format!("{why:#}")));
    }

    /// A process that is gone minds nothing: its store and sockets are free, and somebody must serve.
    fn is_orphan(&self) -> bool {
        parent_id() != self.old
    }

    fn say(&mut self, message: &Message) -> Result<(), HandoverFault> {
        match self.channel.send(message) {
            Err(_) if self.is_orphan() => Ok(()),
            other => other,
        }
    }

    fn hear(&mut self, wanted: &Message, patience: Duration) -> Result<(), HandoverFault> {
        match self.channel.receive(Instant::now() + patience, &mut || None) {
            Ok(message) if message == *wanted => Ok(()),
            Ok(other) => Err(HandoverFault::OutOfTurn(other.name())),
            Err(HandoverFault::Gone) if self.is_orphan() => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

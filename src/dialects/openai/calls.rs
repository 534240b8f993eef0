//! Tool calls out of the pieces that vendors send: every call opened once, by one index, with an id.
//!
//! The shape says that pieces of one call have one index and that the first has id and name. Vendors leave out the index (then id, name and
//! whether the call before is whole tell), reuse it for another call (then the id tells), repeat the name, or give no id (then one is made).
//! Fragments of input that come before the name wait for it.
//!
//! ```text
//! a call:  heard of --name--> open (ToolStart) --fragments--> ... --end of the answer--> closed (ToolEnd)
//! ```

use super::heard::{self, Words};
use crate::chat::carry;
use crate::chat::delta::Delta;
use crate::chat::request::{Maker, Seal};
use crate::dialects::Sink;
use serde_json::Value;
use std::borrow::Cow;

/// The calls of one answer.
#[derive(Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
}

struct Call {
    /// The index on the wire, if it had one.
    wire: Option<u32>,
    /// The id on the wire; empty if none came.
    id: String,
    name: String,
    open: bool,
    /// Input that came before the name.
    waiting: String,
    /// How far the input is, where nothing else tells one call from the next.
    braces: Braces,
}

/// What a piece says.
struct Piece<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    input: Cow<'a, str>,
    custom: bool,
    seal: Option<Seal>,
}

// === impl Calls ===

impl Calls {
    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a piece of a call of the answer `choice`. `event` is what it came in, for a made id.
    pub(super) fn take(&mut self, heard: heard::Call<'_>, choice: u32, event: &[u8], sink: Sink<'_>) {
        let wire = heard.index.0;
        let piece = Piece::of(heard);
        let place = self.find(wire, &piece).unwrap_or_else(|| {
            self.calls.push(Call {
                wire,
                id: piece.id.clone().into_owned(),
                name: String::new(),
                open: false,
                waiting: String::new(),
                braces: Braces::default(),
            });
            self.calls.len() - 1
        });
        let (Some(call), Ok(index)) = (self.calls.get_mut(place), u32::try_from(place)) else { return };
        if call.id.is_empty() {
            call.braces.feed(piece.input.as_bytes());
            call.id.push_str(&piece.id);
        }
        if !call.open && !piece.name.is_empty() {
            call.name.push_str(&piece.name);
            call.open = true;
            let id = shown_id(call, choice, index, event);
            let name = Cow::Borrowed(call.name.as_str());
            sink(Delta::ToolStart { choice, index, id, name, custom: piece.custom, seal: piece.seal });
            if !call.waiting.is_empty() {
                let json = Cow::Owned(std::mem::take(&mut call.waiting));
                sink(Delta::ToolInput { choice, index, json });
            }
        }
        if !call.open {
            call.waiting.push_str(&piece.input);
        } else if !piece.input.is_empty() {
            sink(Delta::ToolInput { choice, index, json: piece.input });
        }
    }

    /// The answer has ended, and with it its calls. One that never got a name cannot be called, and is not heard of.
    pub(super) fn end(&self, choice: u32, sink: Sink<'_>) {
        for (index, call) in (0u32..).zip(&self.calls) {
            if call.open {
                sink(Delta::ToolEnd { choice, index });
            }
        }
    }

    /// Which call a piece belongs to; none that is known is a new one.
    fn find(&self, wire: Option<u32>, piece: &Piece<'_>) -> Option<usize> {
        // A name after a whole input begins another call, where ids do not tell.
        let goes_on = |call: &Call| {
            let another = !piece.name.is_empty() && call.open && (call.name != piece.name || call.braces.is_whole());
            if piece.id.is_empty() {
                !(another && call.id.is_empty())
            } else {
                call.id.is_empty() || call.id == piece.id
            }
        };
        if wire.is_some() {
            return self.calls.iter().rposition(|call| call.wire == wire && goes_on(call));
        }
        if !piece.id.is_empty() {
            return self.calls.iter().rposition(|call| call.id == piece.id);
        }
        let last = self.calls.last()?;
        let another = !piece.name.is_empty() && call_is_done(last, &piece.name);
        (!another).then(|| self.calls.len() - 1)
    }
}

/// Whether a piece with this name, and neither id nor index, cannot belong to `call`.
fn call_is_done(call: &Call, name: &str) -> bool {
    call.open && (call.name != name || !call.id.is_empty() || call.braces.is_whole())
}

/// The vendor's id, or one made of what is known: the same bytes give the same id, other answers another.
fn shown_id<'c>(call: &'c Call, choice: u32, index: u32, event: &[u8]) -> Cow<'c, str> {
    if !call.id.is_empty() {
        return Cow::Borrowed(&call.id);
    }
    let seed = format!("{choice}/{index}/{}", String::from_utf8_lossy(event));
    Cow::Owned(carry::conform(&seed).into_owned())
}

// === impl Piece ===

impl<'a> Piece<'a> {
    fn of(heard: heard::Call<'a>) -> Self {
        let id = heard.id.unwrap_or_default().0;
        let seal = heard.extra_content.and_then(|extra| google_seal(extra.get()));
        if let Some(custom) = heard.custom {
            let (name, input) = (custom.name.unwrap_or_default().0, custom.input.unwrap_or_default().0);
            return Self { id, name, input, custom: true, seal };
        }
        let (name, input) = match heard.function {
            Some(function) => (function.name.unwrap_or_default().0, function.arguments.map(|raw| input(raw.get()))),
            None => (Cow::default(), None),
        };
        Self { id, name, input: input.unwrap_or_default(), custom: false, seal }
    }
}

/// The text of `arguments`: inside the string, or the JSON itself where a vendor sends that.
fn input(raw: &str) -> Cow<'_, str> {
    if raw.starts_with('"') {
        return serde_json::from_str::<Words<'_>>(raw).unwrap_or_default().0;
    }
    Cow::Borrowed(raw)
}

fn google_seal(extra: &str) -> Option<Seal> {
    let extra: Value = serde_json::from_str(extra).ok()?;
    let data = extra.get("google")?.get("thought_signature")?.as_str()?.to_owned();
    Some(Seal { maker: Maker::Google, data, redacted: false })
}

// === Braces ===

/// Counts braces outside strings: whether an object has come to its end.
#[derive(Default)]
struct Braces {
    depth: usize,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

// === impl Braces ===

impl Braces {
    fn feed(&mut self, fragment: &[u8]) {
        for byte in fragment {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' if !self.in_string => {
                    self.begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0
    }
}

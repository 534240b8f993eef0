//! Edits inside the messages of a request that passes: a client of this format, a vendor of this shape.
//!
//! Such a request is not read and written again; its bytes go on, and only what the vendor refuses is spliced away or put right: a role it
//! does not know, ids that carry our thinking, ids of the wrong shape, names and thinking it refuses, thinking and marks it demands. Every
//! other byte stays. A look for a few words says that most requests need nothing. What cannot be read is left as it is, for the vendor to
//! refuse.

use super::ways::{History, Names as NamePlaces, Ways};
use crate::chat::ability::Abilities;
use crate::chat::carry;
use crate::json::scan::{self, Names};
use crate::json::splice::{Edits, escape_into};
use crate::json::{Element, Kind, Member, ObjectSpan, Span, text};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Notes in `edits` what `ways` (those of the model) want otherwise in the array `messages` of `body`. The span comes from a scan of the
/// same body.
pub fn edits(body: &[u8], messages: Span, ways: &Ways, abilities: &Abilities, edits: &mut Edits) {
    if !concerns(messages.of(body), ways) {
        return;
    }
    let mut elements = scan::elements(body, messages).peekable();
    while let Some(Ok(element)) = elements.next() {
        let is_last = elements.peek().is_none();
        if let Some(message) = Message::find(body, element) {
            message.clean(&Cleaner { body, ways, abilities }, is_last, edits);
        }
    }
}

/// Whether any of the words is there without which nothing is to do.
fn concerns(messages: &[u8], ways: &Ways) -> bool {
    let words = &*WORDS;
    let has = |word: &Finder<'_>| word.find(messages).is_some();
    has(&words.mark)
        || (!ways.developer_role && has(&words.developer))
        || (ways.history == History::Refused && has(&words.reasoning))
        || (ways.history == History::Demanded && has(&words.tool_calls))
        || (ways.nine_ids && has(&words.tool_call))
        || (ways.names != NamePlaces::Everywhere && has(&words.name))
        || (ways.prefill.is_some() && has(&words.assistant))
}

/// What stands in every id that carries something; see [`carry`].
const MARK: &str = "-igc1-";
/// Looked for in requests that pass: what a search needs to know of its word is worked out once.
static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    mark: Finder::new(MARK),
    developer: Finder::new("developer"),
    reasoning: Finder::new("\"reasoning"),
    tool_calls: Finder::new("\"tool_calls\""),
    tool_call: Finder::new("\"tool_call"),
    name: Finder::new("\"name\""),
    assistant: Finder::new("\"assistant\""),
});

struct Words {
    mark: Finder<'static>,
    developer: Finder<'static>,
    reasoning: Finder<'static>,
    tool_calls: Finder<'static>,
    tool_call: Finder<'static>,
    name: Finder<'static>,
    assistant: Finder<'static>,
}

struct Cleaner<'a> {
    body: &'a [u8],
    ways: &'a Ways,
    abilities: &'a Abilities,
}

/// One message and the members of it that are looked at.
struct Message {
    object: ObjectSpan,
    role: Member,
    name: Option<Member>,
    tool_calls: Option<Member>,
    tool_call_id: Option<Member>,
    reasoning_content: Option<Member>,
    other_reasoning: [Option<Member>; 2],
    marks: [Option<Member>; 2],
}

// === impl Message ===

impl Message {
    fn find(body: &[u8], element: Element) -> Option<Self> {
        static NAMES: Names = Names::new(&[
            "role",
            "name",
            "tool_calls",
            "tool_call_id",
            "reasoning_content",
            "reasoning_details",
            "reasoning",
            "prefix",
            "partial",
        ]);
        let mut found = [None; 9];
        let object = scan::members_at(body, element.value, &NAMES, &mut found).ok()?;
        let [role, name, tool_calls, tool_call_id, reasoning_content, details, reasoning, prefix, partial] = found;
        Some(Self {
            object,
            role: role?,
            name,
            tool_calls,
            tool_call_id,
            reasoning_content,
            other_reasoning: [details, reasoning],
            marks: [prefix, partial],
        })
    }

    fn clean(&self, cleaner: &Cleaner<'_>, is_last: bool, edits: &mut Edits) {
        let (body, ways) = (cleaner.body, cleaner.ways);
        let is = |role: &str| text::equals(self.role.value.of(body), role);
        if !ways.developer_role && is("developer") {
            edits.replace(self.role.value, b"\"system\"");
        }
        if let Some(id) = self.tool_call_id {
            cleaner.put_right(id, edits);
        }
        let mut calls = false;
        if let Some(list) = self.tool_calls {
            for call in scan::elements(body, list.value).map_while(Result::ok) {
                calls = true;
                cleaner.call(call, edits);
            }
        }
        let name_stays = match ways.names {
            NamePlaces::Everywhere => true,
            NamePlaces::OnResults => is("tool") || is("function"),
            // The older form of a result has nothing else to be known by.
            NamePlaces::Nowhere => is("function"),
        };
        if let Some(name) = self.name.filter(|_| !name_stays) {
            edits.remove_member(name);
        }
        self.reasoning(cleaner, calls && is("assistant"), edits);
        if is_last && !calls && is("assistant") {
            self.prefill(cleaner, edits);
        }
    }

    fn reasoning(&self, cleaner: &Cleaner<'_>, with_calls: bool, edits: &mut Edits) {
        match cleaner.ways.history {
            History::Refused => {
                let [details, reasoning] = self.other_reasoning;
                for member in [self.reasoning_content, details, reasoning].into_iter().flatten() {
                    edits.remove_member(member);
                }
            }
            History::Demanded if with_calls && cleaner.abilities.reasoning != Some(false) => {
                match self.reasoning_content {
                    None => edits.append_member(self.object, b"\"reasoning_content\":\" \""),
                    Some(lost) if lost.kind == Kind::Null || lost.value.of(cleaner.body) == b"\"\"" => {
                        edits.replace(lost.value, b"\" \"");
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }

    /// Marks the last answer as a prefix, unless the client says something about it in any vendor's word.
    fn prefill(&self, cleaner: &Cleaner<'_>, edits: &mut Edits) {
        let Some(mark) = cleaner.ways.prefill else { return };
        if cleaner.abilities.assistant_prefill != Some(false) && self.marks.iter().all(Option::is_none) {
            edits.append_member(self.object, format!("\"{mark}\":true").as_bytes());
        }
    }
}

// === impl Cleaner ===

impl Cleaner<'_> {
    fn call(&self, call: Element, edits: &mut Edits) {
        static NAMES: Names = Names::new(&["id"]);
        let mut found = [None; 1];
        if scan::members_at(self.body, call.value, &NAMES, &mut found).is_ok()
            && let [Some(id)] = found
        {
            self.put_right(id, edits);
        }
    }

    /// Replaces an id that carries something, or that the vendor does not take.
    fn put_right(&self, id: Member, edits: &mut Edits) {
        let mut unescaped = Vec::new();
        let shown = match text::text(self.body, id.value) {
            Some(plain) => plain,
            None if text::unescape(self.body, id.value, &mut unescaped) => {
                let Ok(shown) = std::str::from_utf8(&unescaped) else { return };
                shown
            }
            None => return,
        };
        let own = carry::unpack(shown).0;
        let sent = if self.ways.nine_ids { carry::conform_nine(own) } else { Cow::Borrowed(own) };
        if sent != shown {
            let mut quoted = Vec::new();
            escape_into(&sent, &mut quoted);
            edits.replace(id.value, &quoted);
        }
    }
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;

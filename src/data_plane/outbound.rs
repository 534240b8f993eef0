//! The request a provider gets: our head, the client's body with the few members that must change.
//!
//! The head is an allow-list written from values (rules H1, H11): what the provider's API needs, what we make, and trace context. The
//! body keeps every byte that no edit names, unknown members included.

use super::ask::Ask;
use crate::domain::id::RequestId;
use crate::http::head::{KnownField, Method, RequestHead};
use crate::http::write::RequestWriter;
use crate::json::scan::{self, Names};
use crate::json::splice::{Edits, escape_into};
use crate::json::{Kind, Member};
use crate::providers::Rewrite;
use crate::providers::quirks::StreamUsage;
use crate::routing::resolve::Insert;
use crate::snapshot::{Credential, Provider};

/// Fields of the client's head that go on to the provider.
const PASSED_ON: [KnownField; 2] = [KnownField::Traceparent, KnownField::Tracestate];
/// Bytes of a head beside what is counted one by one: its fixed fields take some 330.
const HEAD_BYTES_ROOM: usize = 512;
/// Who we say we are.
const USER_AGENT: &str = concat!("igris/", env!("CARGO_PKG_VERSION"));

/// Members that some provider's row drops or renames.
const REWRITABLE_NAMES: [&str; 20] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "presence_penalty",
    "prompt_cache_options",
    "prompt_cache_retention",
    "random_seed",
    "safety_identifier",
    "seed",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
static REWRITABLE: Names = Names::new(&REWRITABLE_NAMES);
const REWRITABLE_COUNT: usize = REWRITABLE_NAMES.len();

/// One request to one provider.
pub struct Outbound<'a> {
    /// Who gets it.
    pub provider: &'a Provider,
    /// The key to show.
    pub credential: Option<&'a Credential>,
    /// The model's name there.
    pub model: &'a str,
    /// What is sent along unless the client stated it.
    pub insert: Option<&'a Insert>,
    /// What the client asks for.
    pub ask: &'a Ask,
    /// The client's body.
    pub body: &'a [u8],
    /// The client's head and its bytes, for what is passed on.
    pub head: (&'a RequestHead, &'a [u8]),
    /// The exchange, told to the provider as `x-request-id`.
    pub request: RequestId,
}

impl Outbound<'_> {
    /// What must change in the body for this provider.
    pub fn edits(&self) -> Edits {
        let mut edits = Edits::new();
        if self.model != self.ask.model_name {
            let mut quoted = Vec::with_capacity(self.model.len() + 2);
            escape_into(self.model, &mut quoted);
            edits.replace(self.ask.model.value, &quoted);
        }
        for member in &self.ask.native {
            edits.remove_member(*member);
        }
        let mut found = [None; REWRITABLE_COUNT];
        if self.provider.spec.quirks.rewrites(self.model).next().is_some() {
            // The body has been validated; a duplicate among these names is the provider's to judge.
            let _ = scan::members(self.body, &REWRITABLE, &mut found);
        }
        self.rewrite(&found, &mut edits);
        self.send_along(&mut edits);
        self.ask_for_usage(&mut edits);
        edits
    }

    fn rewrite(&self, found: &[Option<Member>; REWRITABLE_COUNT], edits: &mut Edits) {
        let place = |name: &str| REWRITABLE_NAMES.iter().position(|known| *known == name).and_then(|at| found[at]);
        for rewrite in self.provider.spec.quirks.rewrites(self.model) {
            let Some(member) = place(rewrite.member()) else { continue };
            match rewrite {
                Rewrite::Rename(_, sent) if place(sent).is_none() => {
                    let mut quoted = Vec::with_capacity(sent.len() + 2);
                    escape_into(sent, &mut quoted);
                    edits.replace(member.key, &quoted);
                }
                Rewrite::Rename(..) | Rewrite::Drop(_) => edits.remove_member(member),
            }
        }
    }

    /// A retired name may stand for a living model with one member set, unless the client set it.
    fn send_along(&self, edits: &mut Edits) {
        let Some(insert) = self.insert else { return };
        let stated = [b"\"", insert.member.as_bytes(), b"\""].concat();
        if memchr::memmem::find(self.body, &stated).is_none() {
            edits.append_member(self.ask.object, &[&stated, b":".as_slice(), insert.json.as_bytes()].concat());
        }
    }

    /// Streams are metered from the provider's own figure: we ask for it where it does not come by itself.
    fn ask_for_usage(&self, edits: &mut Edits) {
        let quirks = &self.provider.spec.quirks;
        let refused = quirks.rewrite(self.model, "stream_options").is_some();
        if !self.ask.stream || self.ask.usage_event || refused || quirks.stream_usage != StreamUsage::OnRequest {
            return;
        }
        match &self.ask.stream_options {
            None => edits.append_member(self.ask.object, b"\"stream_options\":{\"include_usage\":true}"),
            Some(options) if options.kind == Kind::Object => self.extend_stream_options(options, edits),
            Some(options) if options.kind == Kind::Null => edits.replace(options.value, b"{\"include_usage\":true}"),
            // Neither: the provider will say so.
            Some(_) => {}
        }
    }

    fn extend_stream_options(&self, options: &Member, edits: &mut Edits) {
        static INCLUDE_USAGE: Names = Names::new(&["include_usage"]);
        let mut found = [None];
        let Ok(object) = scan::members_at(self.body, options.value, &INCLUDE_USAGE, &mut found) else { return };
        match found[0] {
            Some(member) => edits.replace(member.value, b"true"),
            None => edits.append_member(object, b"\"include_usage\":true"),
        }
    }

    /// Bytes that [`Outbound::write`] takes at most.
    pub fn size_hint(&self, edits: &Edits) -> usize {
        let secret = self.credential.map_or(0, |credential| credential.secret.len());
        let extra: usize = self.provider.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let passed: usize = self.passed_on().map(|(_, value)| value.len() + 16).sum();
        let place = self.provider.base_path.len() + self.provider.origin.authority.len();
        HEAD_BYTES_ROOM + place + secret + extra + passed + edits.edited_len(self.body)
    }

    /// Writes head and body. A value that cannot stand in a head is left out: configured values were checked when they were read, and
    /// the client's were checked by the parser.
    pub fn write(&self, edits: &Edits, out: &mut Vec<u8>) {
        let spec = &self.provider.spec;
        let mut target = String::with_capacity(64);
        target.push_str(&self.provider.base_path);
        target.push_str("/chat/completions");
        let Ok(mut head) = RequestWriter::new(out, Method::Post, &target) else { return };
        macro_rules! put {
            ($written:expr) => {
                match $written {
                    Ok(next) => head = next,
                    Err(_) => return,
                }
            };
        }
        put!(head.field("host", self.provider.origin.authority.as_bytes()));
        if let Some(credential) = self.credential {
            put!(head.field_of_parts(spec.auth.field(), &[spec.auth.prefix().as_bytes(), credential.secret.expose()]));
        }
        put!(head.field("content-type", b"application/json"));
        put!(head.field("accept", if self.ask.stream { b"text/event-stream" } else { b"application/json" }));
        put!(head.field("accept-encoding", b"identity"));
        put!(head.field("user-agent", USER_AGENT.as_bytes()));
        put!(head.field("via", b"1.1 igris"));
        put!(head.field("x-request-id", self.request.to_string().as_bytes()));
        for (name, value) in &self.provider.headers {
            put!(head.field(name, value.as_bytes()));
        }
        for (name, value) in self.passed_on() {
            put!(head.field(name, value));
        }
        head.end_with_length(edits.edited_len(self.body) as u64);
        edits.write(self.body, out);
    }

    fn passed_on(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let (head, bytes) = self.head;
        PASSED_ON.iter().filter_map(move |known| {
            let name = if *known == KnownField::Traceparent { "traceparent" } else { "tracestate" };
            head.find(bytes, *known).map(|value| (name, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::table;

    #[test]
    fn every_member_that_a_row_rewrites_is_looked_for() {
        for rule in table::ROWS.iter().flat_map(|row| row.quirks.rules) {
            let names = match rule.rewrite {
                Rewrite::Drop(member) => vec![member],
                Rewrite::Rename(member, sent) => vec![member, sent],
            };
            for name in names {
                assert!(REWRITABLE_NAMES.contains(&name), "`{name}` is in a row and not in REWRITABLE_NAMES");
            }
        }
    }
}

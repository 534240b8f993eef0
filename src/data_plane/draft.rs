//! What one candidate would be sent: the body in the provider's dialect, and how its answer will have to be read.
//!
//! Where client and provider speak the same format, the client's bytes go with a few spliced edits and unknown members survive. Where they do
//! not, the body is read once into the inner language and written anew for each candidate. A request that a candidate's format or model cannot
//! express is no failure of an attempt: the next candidate may be able to.

use super::continuation;
use super::inquiry::Inquiry;
use super::object_ids;
use super::plan::Target;
use super::surface::Task;
use crate::chat::request::{Effort, Refusal, Request};
use crate::dialects::{self, Aim, Wire, Written, anthropic, cohere, gemini, openai};
use crate::json::scan::{self, Names};
use crate::json::splice::{Edits, escape_into};
use crate::json::{Kind, Member, ObjectSpan};
use crate::providers::quirks::StreamUsage;
use crate::providers::{Dialect, ProviderSpec, Rewrite, endpoint};
use crate::routing::resolve::Insert;
use crate::snapshot::Provider;
use memchr::memmem;

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

/// A request as one candidate would get it.
pub struct Draft {
    /// The provider's wire format for it.
    pub wire: Wire,
    /// How its answer becomes the client's.
    pub carriage: Carriage,
    /// Members that are left out on the way, by name.
    pub dropped: Vec<String>,
    /// Bytes of an answer begun elsewhere that the body replays.
    pub replayed: usize,
    body: Body,
}

/// How an answer becomes the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Its bytes pass.
    Pass,
    /// It is read into the inner language and written in the client's dialect.
    Translated,
    /// Vectors in the provider's own form become OpenAI's list.
    Vectors {
        /// Whether the client wants them in base64.
        base64: bool,
    },
}

enum Body {
    /// The client's bytes with these edits.
    Spliced(Edits),
    /// Bytes of our own.
    Written(Vec<u8>),
}

impl Draft {
    /// Drafts the request for one candidate.
    ///
    /// # Errors
    /// When the provider's format or the model cannot say what the client means.
    pub fn of(inquiry: &Inquiry<'_>, target: &Target, provider: &Provider) -> Result<Self, Refusal> {
        let ask = inquiry.ask;
        match ask.task {
            Task::Generate => {
                let wire = endpoint::wire(&provider.spec, ask.wire, &target.model, &target.abilities.endpoints);
                // Claude on a platform wants a version in the body where its own API wants a model.
                let own_body = wire == Wire::Messages && endpoint::messages_version(&provider.spec).is_some();
                if wire == ask.wire && !own_body && !has_foreign_seals(wire, inquiry.body(), &target.model) {
                    return Ok(passed(inquiry, target, provider, wire));
                }
                translated(inquiry, target, provider, wire)
            }
            Task::CountTokens => Ok(passed(inquiry, target, provider, ask.wire)),
            Task::Embeddings if !is_openai_shaped(&provider.spec) => vectors(inquiry, target, provider),
            _ => Ok(passed(inquiry, target, provider, ask.wire)),
        }
    }

    /// Drafts the request that makes a candidate go on from what another has said.
    ///
    /// # Errors
    /// As for [`Draft::of`].
    pub fn continued(inquiry: &Inquiry<'_>, target: &Target, provider: &Provider, said: &str) -> Result<Self, Refusal> {
        let abilities = &target.abilities;
        let wire = endpoint::wire(&provider.spec, inquiry.ask.wire, &target.model, &abilities.endpoints);
        let draft = written(&continuation::replay(inquiry.request()?, said, wire, abilities), target, provider, wire)?;
        Ok(Self { replayed: said.len(), ..draft })
    }

    /// Drafts a question for one candidate, written anew whatever its format; `asked` is the dialect that the answer will be told in.
    ///
    /// # Errors
    /// When the provider's format or the model cannot say it.
    pub fn anew(request: &Request, asked: Wire, target: &Target, provider: &Provider) -> Result<Self, Refusal> {
        let wire = endpoint::wire(&provider.spec, asked, &target.model, &target.abilities.endpoints);
        written(request, target, provider, wire)
    }

    /// Length of the body in bytes.
    pub fn body_len(&self, client_body: &[u8]) -> usize {
        match &self.body {
            Body::Spliced(edits) => edits.edited_len(client_body),
            Body::Written(body) => body.len(),
        }
    }

    /// Appends the body.
    pub fn write_body(&self, client_body: &[u8], out: &mut Vec<u8>) {
        match &self.body {
            Body::Spliced(edits) => edits.write(client_body, out),
            Body::Written(body) => out.extend_from_slice(body),
        }
    }
}

/// Whether a provider's own format is OpenAI's.
pub fn is_openai_shaped(spec: &ProviderSpec) -> bool {
    matches!(spec.dialect, Dialect::OpenAi | Dialect::Azure)
}

/// Whose ways hold: those of the company at the address, where one name stands for two.
fn vendor(spec: &ProviderSpec) -> &str {
    spec.price_source.unwrap_or(spec.id.as_str())
}

/// Whether the history holds seals that this gateway carried for another maker: its bytes would mean nothing to this provider, so it is
/// written anew. Chat has its own, finer edits.
fn has_foreign_seals(wire: Wire, body: &[u8], model: &str) -> bool {
    match wire {
        // A carried id, or a seal in a place of the dialect's own; Gemini has it in base64.
        Wire::Messages | Wire::Responses => memmem::find(body, b"igc1").is_some(),
        Wire::Gemini => {
            memmem::find(body, b"aWdjMS").is_some()
                || memmem::find(body, b"-igc1-").is_some()
                || gemini::has_unsealed_calls(body, model)
        }
        Wire::Chat | Wire::Converse | Wire::Cohere => false,
    }
}

// ---- The client's own bytes -------------------------------------------------------------------------------------------------

fn passed(inquiry: &Inquiry<'_>, target: &Target, provider: &Provider, wire: Wire) -> Draft {
    let mut edits = Edits::new();
    let ask = inquiry.ask;
    if let Some(member) = ask.model.filter(|_| *target.model != *ask.model_name) {
        edits.replace(member.value, &quoted(&target.model));
    }
    if let Some(place) = ask.form_model.filter(|_| *target.model != *ask.model_name) {
        edits.replace(place, target.model.as_bytes());
    }
    for member in &ask.native {
        edits.remove_member(*member);
    }
    if matches!(ask.task, Task::Object(_)) {
        object_ids::unmark_body(inquiry.body(), &mut edits);
    }
    if let (Some(object), Wire::Chat) = (ask.object, wire) {
        Passing { body: inquiry.body(), object, target, provider }.edit(inquiry, &mut edits);
    }
    Draft { wire, carriage: Carriage::Pass, dropped: Vec::new(), replayed: 0, body: Body::Spliced(edits) }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    escape_into(text, &mut quoted);
    quoted
}

/// The edits of a body in OpenAI's format.
struct Passing<'a> {
    body: &'a [u8],
    object: ObjectSpan,
    target: &'a Target,
    provider: &'a Provider,
}

impl Passing<'_> {
    fn edit(&self, inquiry: &Inquiry<'_>, edits: &mut Edits) {
        match inquiry.ask.task {
            Task::Generate => {}
            Task::Completions => return self.ask_for_usage(inquiry, edits),
            _ => return,
        }
        if self.provider.spec.quirks.rewrites(&self.target.model).next().is_some() {
            self.rewrite(edits);
        }
        self.send_along(edits);
        self.ask_for_usage(inquiry, edits);
        if let Some(messages) = inquiry.ask.messages {
            let ways = openai::ways::Ways::of(vendor(&self.provider.spec)).for_model(&self.target.model);
            openai::clean::edits(self.body, messages.value, ways, &self.target.abilities, edits);
        }
    }

    #[inline(never)]
    fn rewrite(&self, edits: &mut Edits) {
        let mut found = [None; REWRITABLE_COUNT];
        // The body has been validated; a duplicate among these names is the provider's to judge.
        let _ = scan::members(self.body, &REWRITABLE, &mut found);
        let place = |name: &str| REWRITABLE_NAMES.iter().position(|known| *known == name).and_then(|at| found[at]);
        for rewrite in self.provider.spec.quirks.rewrites(&self.target.model) {
            let Some(member) = place(rewrite.member()) else { continue };
            match rewrite {
                Rewrite::Rename(_, sent) if place(sent).is_none() => edits.replace(member.key, &quoted(sent)),
                Rewrite::Rename(..) | Rewrite::Drop(_) => edits.remove_member(member),
            }
        }
    }

    /// A retired name may stand for a living model with one member set, unless the client set it.
    fn send_along(&self, edits: &mut Edits) {
        if let Some(member) = self.target.insert.as_ref().and_then(|insert| unstated(self.body, insert)) {
            edits.append_member(self.object, &member);
        }
    }

    /// Streams are metered from the provider's own figure: we ask for it where it does not come by itself.
    fn ask_for_usage(&self, inquiry: &Inquiry<'_>, edits: &mut Edits) {
        let quirks = &self.provider.spec.quirks;
        let ask = inquiry.ask;
        if !ask.stream || ask.usage_event || quirks.stream_usage != StreamUsage::OnRequest {
            return;
        }
        // Some vendor's model refuses the member that would ask for it.
        if quirks.rewrite(&self.target.model, "stream_options").is_some() {
            return;
        }
        match &ask.stream_options {
            None => edits.append_member(self.object, b"\"stream_options\":{\"include_usage\":true}"),
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
}

/// The member `"name":json`, unless the body states it.
fn unstated(body: &[u8], insert: &Insert) -> Option<Vec<u8>> {
    let name = [b"\"", insert.member.as_bytes(), b"\""].concat();
    memmem::find(body, &name).is_none().then(|| [&name, b":".as_slice(), insert.json.as_bytes()].concat())
}

// ---- Another dialect ---------------------------------------------------------------------------------------------------------

fn translated(inquiry: &Inquiry<'_>, target: &Target, provider: &Provider, wire: Wire) -> Result<Draft, Refusal> {
    written(inquiry.request()?, target, provider, wire)
}

/// The request in the provider's own words.
fn written(request: &Request, target: &Target, provider: &Provider, wire: Wire) -> Result<Draft, Refusal> {
    let aim = Aim { model: &target.model, abilities: &target.abilities, provider: vendor(&provider.spec) };
    let write = match (wire, provider.spec.dialect) {
        // The same format under Google's roof wants the model in the path and its own version in the body.
        (Wire::Messages, Dialect::Vertex) => dialects::anthropic::write_for_vertex,
        _ => wire.provider_side().write_request,
    };
    let Written { mut body, mut dropped } = write(request, &aim)?;
    let insert = target.insert.as_ref().filter(|_| wire == Wire::Chat);
    if let Some(member) = insert.and_then(|insert| unstated(&body, insert))
        && body.last() == Some(&b'}')
    {
        body.pop();
        body.push(b',');
        body.extend_from_slice(&member);
        body.push(b'}');
    }
    for name in &request.dropped {
        if !dropped.contains(name) {
            dropped.push(name.clone());
        }
    }
    Ok(Draft { wire, carriage: Carriage::Translated, dropped, replayed: 0, body: Body::Written(body) })
}

/// Reads the client's body into the inner language, without the fields that are ours alone.
pub fn read_request(inquiry: &Inquiry<'_>) -> Result<Request, Refusal> {
    let ask = inquiry.ask;
    let side = ask.wire.client_side().ok_or_else(|| Refusal::new("", "This path has no dialect of its own."))?;
    let counts = ask.task == Task::CountTokens && ask.wire == Wire::Messages;
    let read = if counts { anthropic::read_count_tokens } else { side.read_request };
    let mut request = match ask.native.as_slice() {
        [] => read(inquiry.body())?,
        native => {
            let mut edits = Edits::new();
            native.iter().for_each(|member| edits.remove_member(*member));
            let mut bare = Vec::with_capacity(inquiry.body().len());
            edits.write(inquiry.body(), &mut bare);
            read(&bare)?
        }
    };
    request.stream = ask.stream;
    // Chat has no word for showing thoughts, and a place for them: who asks for thinking gets to see it.
    let reasoning = &mut request.reasoning;
    if ask.wire == Wire::Chat && reasoning.is_stated() && reasoning.effort != Some(Effort::None) {
        reasoning.shown.get_or_insert(true);
    }
    Ok(request)
}

/// OpenAI's embeddings, asked of a provider with a form of its own.
fn vectors(inquiry: &Inquiry<'_>, target: &Target, provider: &Provider) -> Result<Draft, Refusal> {
    let (body, model) = (inquiry.body(), &target.model);
    let (wire, written, base64) = match provider.spec.dialect {
        Dialect::Cohere => {
            let (written, encoding) = cohere::embeddings::write_request(body, model)?;
            (Wire::Cohere, written, encoding == cohere::embeddings::Encoding::Base64)
        }
        _ => (Wire::Gemini, gemini::embeddings::write_batch(body, model)?, gemini::embeddings::wants_base64(body)),
    };
    let Written { body, dropped } = written;
    Ok(Draft { wire, carriage: Carriage::Vectors { base64 }, dropped, replayed: 0, body: Body::Written(body) })
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

    #[test]
    fn carried_seals_are_seen_in_every_dialect() {
        let gemini = br#"{"thoughtSignature":"aWdjMS5hLnMuRXFR"}"#;
        assert!(has_foreign_seals(Wire::Gemini, gemini, "") && !has_foreign_seals(Wire::Gemini, b"{}", ""));
        assert!(has_foreign_seals(Wire::Messages, br#"{"signature":"igc1.g.s.Ci"}"#, ""));
        assert!(!has_foreign_seals(Wire::Responses, br#"{"encrypted_content":"gAAAA"}"#, ""));
    }
}

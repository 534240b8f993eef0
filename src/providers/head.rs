//! What stands in the head of every request to one provider, written out once when it is published: the lines that no request changes, and
//! the beginning of the call that nearly all make. It holds no credential.

use super::endpoint::{self, Operation};
use super::{Dialect, ProviderSpec};
use crate::dialects::Wire;
use crate::http::head::Method;
use crate::http::write::{FieldLines, Opening};

/// Who we say we are.
const USER_AGENT: &str = concat!("igris/", env!("CARGO_PKG_VERSION"));

/// The constant part of the heads of requests to one provider.
#[derive(Debug, Default)]
pub struct StandingHead {
    /// Our own lines and those that its owner configured.
    pub lines: FieldLines,
    /// How a request to its chat begins, these lines included; `None` where the path depends on the model.
    pub chat: Option<Opening>,
}

impl StandingHead {
    /// Writes it out for a provider at `authority`, whose paths begin with `base_path`; `headers` are configured ones, whose form was checked
    /// when they were read: one that cannot stand in a head is left out.
    pub fn of<'a>(
        spec: &ProviderSpec,
        authority: &str,
        base_path: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let own = [("accept-encoding", "identity"), ("user-agent", USER_AGENT), ("via", "1.1 igris")];
        let mut lines = FieldLines::default();
        for (name, value) in own.into_iter().chain(headers) {
            let _checked_before = lines.push(name, value.as_bytes());
        }
        let chat = (spec.dialect == Dialect::OpenAi).then(|| {
            let mut target = base_path.to_owned();
            endpoint::target(spec, Wire::Chat, Operation::Generate, "", false, &mut target).ok()?;
            Opening::new(Method::Post, &target, authority, &lines).ok()
        });
        Self { chat: chat.flatten(), lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::write::RequestWriter;
    use crate::providers::table;

    #[test]
    fn what_stands_in_every_head_is_written_once() {
        let spec = ProviderSpec::built_in(table::find("openai").expect("a row"), None).expect("it has an address");
        let head = StandingHead::of(&spec, "a:1", "/v1", [("x-a", "b"), ("x-c", "d\r\nx-e: f")].into_iter());
        let mut out = Vec::new();
        RequestWriter::opened(&mut out, head.chat.as_ref().expect("its path is fixed")).end_unframed();
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.starts_with("POST /v1/chat/completions HTTP/1.1\r\nhost: a:1\r\naccept-encoding: identity\r\n"));
        assert!(text.ends_with("\r\nx-a: b\r\n\r\n"));
        let mut out = Vec::new();
        RequestWriter::new(&mut out, Method::Get, "/").expect("a target").lines(&head.lines).end_unframed();
        let text = String::from_utf8(out).expect("ASCII");
        assert!(
            text.contains("accept-encoding: identity\r\nuser-agent: igris/") && text.ends_with("\r\nx-a: b\r\n\r\n")
        );
        let spec = ProviderSpec::built_in(table::find("anthropic").expect("a row"), None).expect("it has an address");
        assert!(StandingHead::of(&spec, "a", "", std::iter::empty()).chat.is_none());
    }
}

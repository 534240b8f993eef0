//! What stands in the head of every request to one provider, written out once when it is published: the lines that no request changes, and
//! the target of the call that nearly all make. It holds no credential.

use super::endpoint::{self, Operation};
use super::{Dialect, ProviderSpec};
use crate::dialects::Wire;
use crate::http::write::FieldLines;

/// Who we say we are.
const USER_AGENT: &str = concat!("igris/", env!("CARGO_PKG_VERSION"));

/// The constant part of the heads of requests to one provider.
#[derive(Debug, Default)]
pub struct StandingHead {
    /// Our own lines and those that its owner configured.
    pub lines: FieldLines,
    /// Where its chat is, base path included; `None` where the path depends on the model.
    pub chat_target: Option<Box<str>>,
}

impl StandingHead {
    /// Writes it out; `headers` are configured ones, whose form was checked when they were read: one that cannot stand in a head is left out.
    pub fn of<'a>(spec: &ProviderSpec, base_path: &str, headers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let own = [("accept-encoding", "identity"), ("user-agent", USER_AGENT), ("via", "1.1 igris")];
        let mut lines = FieldLines::default();
        for (name, value) in own.into_iter().chain(headers) {
            let _checked_before = lines.push(name, value.as_bytes());
        }
        let chat_target = (spec.dialect == Dialect::OpenAi).then(|| {
            let mut target = base_path.to_owned();
            endpoint::target(spec, Wire::Chat, Operation::Generate, "", false, &mut target).map(|()| target.into())
        });
        Self { lines, chat_target: chat_target.and_then(Result::ok) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Method;
    use crate::http::write::RequestWriter;
    use crate::providers::table;

    #[test]
    fn what_stands_in_every_head_is_written_once() {
        let spec = ProviderSpec::built_in(table::find("openai").expect("a row"), None).expect("it has an address");
        let head = StandingHead::of(&spec, "/v1", [("x-a", "b"), ("x-c", "d\r\nx-e: f")].into_iter());
        assert_eq!(head.chat_target.as_deref(), Some("/v1/chat/completions"));
        let mut out = Vec::new();
        RequestWriter::new(&mut out, Method::Get, "/").expect("a target").lines(&head.lines).end_unframed();
        let text = String::from_utf8(out).expect("ASCII");
        assert!(
            text.contains("accept-encoding: identity\r\nuser-agent: igris/") && text.ends_with("\r\nx-a: b\r\n\r\n")
        );
        let spec = ProviderSpec::built_in(table::find("anthropic").expect("a row"), None).expect("it has an address");
        assert_eq!(StandingHead::of(&spec, "", std::iter::empty()).chat_target, None);
    }
}

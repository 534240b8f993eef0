//! Names of tools that this dialect has and others do not: tools in a namespace, and custom tools that a provider knows
//! as functions.
//!
//! Inside, a tool of a namespace has one flat name, made from both so that history and tools agree without looking each
//! other up. A call that comes back under it is told to the client with the namespace again, and a call of a custom
//! tool with free text again, whatever form the provider gave it. Both are read from the client's own request, so
//! nothing is kept.

use super::fields::{Fields, Path};
use crate::chat::carry;
use crate::json::scan::{self, Names};
use crate::json::text;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

/// The namespace of tools that stand in none.
const PLAIN: &str = "functions";

/// The one name inside for a tool of a namespace. At most 64 characters: a longer one becomes a digest.
pub(super) fn flat(namespace: Option<&str>, name: String) -> String {
    match namespace {
        Some(namespace) if !matches!(namespace, "" | PLAIN) => {
            carry::conform(&format!("{namespace}__{name}")).into_owned()
        }
        _ => name,
    }
}

/// How the client names its tools, where that is not how a provider does.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientNames {
    tools: Vec<Tool>,
}

#[derive(Clone, Debug)]
struct Tool {
    flat: String,
    namespace: Option<String>,
    name: String,
    custom: bool,
}

/// One tool's name as the client has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'n> {
    /// The namespace it is in.
    pub(super) namespace: Option<&'n str>,
    /// Its own name.
    pub(super) name: &'n str,
    /// Whether its input is free text.
    pub(super) custom: bool,
}

// === impl ClientNames ===

impl ClientNames {
    /// The names in a client's request body. Plain functions need no entry, so most requests cost a search.
    pub(super) fn of(request: &[u8]) -> Self {
        let special = [&b"\"namespace\""[..], b"\"custom\""];
        let mut names = Self::default();
        if special.iter().any(|word| memmem::find(request, word).is_some()) {
            for tool in tools_of(request).unwrap_or_default() {
                names.add(tool, None);
            }
        }
        names
    }

    fn add(&mut self, tool: Value, namespace: Option<&str>) {
        let root = Path::Root;
        let Ok(mut tool) = Fields::of(tool, &root) else { return };
        let (Ok(Some(kind)), Ok(Some(name))) = (tool.string("type"), tool.string("name")) else { return };
        match (kind.as_str(), namespace) {
            ("namespace", None) => {
                for inner in tool.array("tools").ok().flatten().unwrap_or_default() {
                    self.add(inner, Some(&name));
                }
            }
            ("custom", _) | ("function", Some(_)) => self.tools.push(Tool {
                flat: flat(namespace, name.clone()),
                namespace: namespace.map(str::to_owned),
                name,
                custom: kind == "custom",
            }),
            _ => {}
        }
    }

    /// The client's name for what a provider called `flat`; `custom` is what the provider says it is.
    pub(super) fn find<'n>(&'n self, flat: &'n str, custom: bool) -> Named<'n> {
        match self.tools.iter().find(|tool| tool.flat == flat) {
            Some(tool) => {
                Named { namespace: tool.namespace.as_deref(), name: &tool.name, custom: tool.custom || custom }
            }
            None => Named { namespace: None, name: flat, custom },
        }
    }
}

/// The tools of a request, also those that an item of its input offers.
fn tools_of(request: &[u8]) -> Option<Vec<Value>> {
    static NAMES: Names = Names::new(&["tools", "input"]);
    let mut found = [None, None];
    scan::members(request, &NAMES, &mut found).ok()?;
    let [own, input] = found.map(|member| member.map(|member| member.value.of(request)));
    let mut tools: Vec<Value> = own.and_then(|own| serde_json::from_slice(own).ok()).unwrap_or_default();
    let input = input.filter(|input| memmem::find(input, b"\"additional_tools\"").is_some());
    for item in input.and_then(|input| serde_json::from_slice::<Vec<Item>>(input).ok()).unwrap_or_default() {
        if let (Some("additional_tools"), Some(Value::Array(more))) = (item.kind.as_deref(), item.tools) {
            tools.extend(more);
        }
    }
    Some(tools)
}

/// Of an item of the input, what offers tools.
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    tools: Option<Value>,
}

/// The free text in the input that a provider gave a custom tool as if it were a function with the one string `input`;
/// what is no such object is the text itself.
pub(super) fn unwrapped(input: &str) -> String {
    static NAMES: Names = Names::new(&["input"]);
    let mut found = [None];
    let mut inner = Vec::new();
    let wrapped = scan::members(input.as_bytes(), &NAMES, &mut found).is_ok()
        && found[0].is_some_and(|member| text::unescape(input.as_bytes(), member.value, &mut inner));
    match String::from_utf8(inner) {
        Ok(inner) if wrapped => inner,
        _ => input.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_flat_and_come_back() {
        let request =
            br#"{"model":"m","tools":[{"type":"function","name":"plain"},{"type":"custom","name":"apply_patch"},
            {"type":"namespace","name":"mcp_mail","description":"Mail","tools":[{"type":"function","name":"search"},
            {"type":"custom","name":"raw"}]}]}"#;
        let names = ClientNames::of(request);
        assert_eq!(names.find("plain", false), Named { namespace: None, name: "plain", custom: false });
        assert_eq!(names.find("apply_patch", false), Named { namespace: None, name: "apply_patch", custom: true });
        let search = flat(Some("mcp_mail"), "search".into());
        assert_eq!(search, "mcp_mail__search");
        assert_eq!(names.find(&search, false), Named { namespace: Some("mcp_mail"), name: "search", custom: false });
        assert!(names.find("mcp_mail__raw", false).custom);
        let long = flat(Some(&"n".repeat(60)), "search".into());
        assert!(long.len() <= 64 && long != flat(Some(&"n".repeat(60)), "other".into()));
    }

    #[test]
    fn tools_that_an_item_offers_have_names_too() {
        let request = br#"{"input":[{"type":"message","role":"user","content":"x"},{"type":"additional_tools",
            "tools":[{"type":"namespace","name":"functions","tools":[{"type":"custom","name":"exec"}]}]}]}"#;
        let named = Named { namespace: Some("functions"), name: "exec", custom: true };
        assert_eq!(ClientNames::of(request).find("exec", false), named);
    }

    #[test]
    fn bodies_without_such_tools_have_no_names() {
        for body in
            [&b"{}"[..], b"", b"[\"custom\"]", b"{\"tools\":{\"type\":\"custom\"}}", b"{\"tools\":[1,\"custom\"]}"]
        {
            assert!(ClientNames::of(body).tools.is_empty());
        }
    }

    #[test]
    fn wrapped_input_is_unwrapped() {
        assert_eq!(unwrapped(r#"{"input":"a\nb"}"#), "a\nb");
        for other in ["plain", "{}", r#"{"input":1}"#, ""] {
            assert_eq!(unwrapped(other), other);
        }
    }
}

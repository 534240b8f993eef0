//! A request body that is a JSON object, with its members in order and repeated ones kept: what a careless sender shows.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Fields of our own that no provider may ever see.
pub const GATEWAY_FIELDS: [&str; 6] =
    ["routing_policy", "provider", "optimization", "speculative_mode", "deadline_ms", "council_mode"];

/// The members of a JSON object in order, duplicates included.
pub(super) struct Members(pub(super) Vec<(String, Value)>);

impl Members {
    /// What this object shows of a careless sender: repeated members, members that are the gateway's own.
    pub(super) fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (at, (name, _)) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                found.push(("repeated-field", name.clone()));
            }
            if GATEWAY_FIELDS.contains(&name.as_str()) {
                found.push(("gateway-field", name.clone()));
            }
        }
        found
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

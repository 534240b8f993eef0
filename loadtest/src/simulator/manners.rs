//! What a gateway must not let through to a provider, noted even where the provider itself would not mind.

use super::truth::Truth;
use super::wire::Head;

/// Fields that belong to one hop (RFC 9110 §7.6.1) and have no business here.
const HOP_BY_HOP: [&str; 5] = ["proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"];

/// How an access key of the gateway starts; a provider that sees one has seen a secret.
const ACCESS_KEY_START: &[u8] = b"sk-igris-";

/// Notes every breach in a head.
pub(super) fn check_head(truth: &Truth, connection: u64, head: &Head) {
    for (name, value) in &head.fields {
        if name.starts_with("x-igris-") {
            truth.violate(connection, "gateway-header", name.as_str());
        }
        // A WebSocket is asked for hop by hop, and this hop is meant.
        let upgrades = name == "upgrade" && value.eq_ignore_ascii_case("websocket");
        if HOP_BY_HOP.contains(&name.as_str()) && !upgrades {
            truth.violate(connection, "hop-by-hop-header", name.as_str());
        }
        if name == "accept-encoding" && !value.trim().eq_ignore_ascii_case("identity") {
            truth.violate(connection, "accept-encoding", value.as_str());
        }
        if value.as_bytes().windows(ACCESS_KEY_START.len()).any(|part| part == ACCESS_KEY_START) {
            truth.violate(connection, "access-key-leaked", name.as_str());
        }
    }
}

//! Every public endpoint, one row each, and where a row can name somebody else's things.
//!
//! The table is checked against the sources: a path that the gateway routes and no row asks for fails the test. So whoever adds a route
//! adds a row, and with it every question of the matrix.

use std::fs;
use std::path::{Path, PathBuf};

/// A row: how to ask an endpoint. `{tenant}`, `{key}` (a provider key), `{access}` (an access key), `{decision}`, `{rotation}` and `{file}`
/// stand for things of the tenant that is asked about.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// JSON; empty for none.
    pub body: &'static str,
    pub kind: Kind,
}

/// What an endpoint does with the tenant of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names a tenant in its path.
    Tenant,
    /// Names a thing that somebody owns.
    Thing,
    /// Asks a model, or shows what may be asked.
    Model,
    /// Tells everybody the same, also without a key.
    Open,
}

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#;
const GEMINI: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#;
const INPUT: &str = r#"{"model":"gpt-4o","input":"hello"}"#;

const fn row(kind: Kind, method: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { method, path, body, kind }
}

use Kind::{Model, Open, Tenant, Thing};

/// The table.
pub const ROUTES: &[Route] = &[
    row(Open, "GET", "/", ""),
    row(Open, "GET", "/v1/health", ""),
    row(Open, "GET", "/v1/health/live", ""),
    row(Open, "GET", "/v1/health/ready", ""),
    row(Model, "GET", "/v1/models", ""),
    row(Model, "GET", "/v1/models/gpt-4o", ""),
    row(Model, "GET", "/v1beta/models", ""),
    row(Model, "GET", "/v1beta/models/gpt-4o", ""),
    row(Model, "GET", "/v1/providers", ""),
    row(Model, "GET", "/v1/providers/openai/stats", ""),
    row(Model, "POST", "/v1/chat/completions", CHAT),
    row(Model, "POST", "/v1/infer", CHAT),
    row(Model, "POST", "/v1/responses", INPUT),
    row(
        Model,
        "POST",
        "/v1/messages",
        r#"{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
    ),
    row(Model, "POST", "/v1/messages/count_tokens", CHAT),
    row(Model, "POST", "/v1/models/gpt-4o:generateContent", GEMINI),
    row(Model, "POST", "/v1beta/models/gpt-4o:streamGenerateContent?alt=sse", GEMINI),
    row(Model, "POST", "/v1beta/models/gpt-4o:countTokens", GEMINI),
    row(Model, "POST", "/v1beta/models/gpt-4o:embedContent", GEMINI),
    row(Model, "POST", "/v1beta/models/gpt-4o:batchEmbedContents", GEMINI),
    row(Model, "POST", "/v1/completions", r#"{"model":"gpt-4o","prompt":"hello"}"#),
    row(Model, "POST", "/v1/embeddings", INPUT),
    row(Model, "POST", "/v1/moderations", INPUT),
    row(Model, "POST", "/v1/rerank", r#"{"model":"gpt-4o","query":"a","documents":["b"]}"#),
    row(Model, "POST", "/v2/rerank", r#"{"model":"gpt-4o","query":"a","documents":["b"]}"#),
    row(Model, "POST", "/v1/images/generations", r#"{"model":"gpt-4o","prompt":"hello"}"#),
    row(Model, "POST", "/v1/images/edits", r#"{"model":"gpt-4o","prompt":"hello"}"#),
    row(Model, "POST", "/v1/images/variations", r#"{"model":"gpt-4o"}"#),
    row(Model, "POST", "/v1/audio/speech", r#"{"model":"gpt-4o","input":"hello","voice":"a"}"#),
    row(Model, "POST", "/v1/audio/transcriptions", r#"{"model":"gpt-4o"}"#),
    row(Model, "POST", "/v1/audio/translations", r#"{"model":"gpt-4o"}"#),
    row(Model, "POST", "/v1/routing/preview", CHAT),
    row(Model, "GET", "/v1/realtime?model=gpt-4o", ""),
    row(Thing, "GET", "/v1/routing/decisions/{decision}", ""),
    row(Thing, "GET", "/v1/files", ""),
    row(Thing, "GET", "/v1/files/{file}", ""),
    row(Thing, "GET", "/v1/files/{file}/content", ""),
    row(Thing, "DELETE", "/v1/files/{file}", ""),
    row(
        Thing,
        "POST",
        "/v1/batches",
        r#"{"input_file_id":"{file}","endpoint":"/v1/chat/completions","completion_window":"24h"}"#,
    ),
    row(Thing, "GET", "/v1/batches/batch_{file}", ""),
    row(Thing, "POST", "/v1/batches/batch_{file}/cancel", "{}"),
    row(Thing, "GET", "/v1/passthrough/openai/files/{file}", ""),
    row(Thing, "DELETE", "/v1/passthrough/openai/files/{file}", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/keys", ""),
    row(
        Tenant,
        "POST",
        "/v1/tenants/{tenant}/providers/openai/keys",
        r#"{"api_key":"sk-planted-by-somebody-else-0001"}"#,
    ),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/keys/{key}", ""),
    row(Tenant, "DELETE", "/v1/tenants/{tenant}/providers/openai/keys/{key}", ""),
    row(
        Tenant,
        "POST",
        "/v1/tenants/{tenant}/providers/openai/keys/rotate",
        r#"{"new_api_key":"sk-planted-by-somebody-else-0002"}"#,
    ),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/rotations", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/rotations/{rotation}", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/providers/openai/rotations/{rotation}/cancel", "{}"),
    row(Tenant, "POST", "/v1/tenants/{tenant}/providers/openai/rotations/{rotation}/complete", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/keys/rotations", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/providers/openai/keys/rotations/{rotation}", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/providers/openai/keys/rotations/{rotation}/cancel", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/rotations", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/rotations/{rotation}", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/rotations/{rotation}/cancel", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/access-keys", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/access-keys", r#"{"name":"planted"}"#),
    row(Tenant, "GET", "/v1/tenants/{tenant}/access-keys/{access}", ""),
    row(Tenant, "PATCH", "/v1/tenants/{tenant}/access-keys/{access}", r#"{"name":"planted"}"#),
    row(Tenant, "POST", "/v1/tenants/{tenant}/access-keys/{access}/rotate", "{}"),
    row(Tenant, "DELETE", "/v1/tenants/{tenant}/access-keys/{access}", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/usage", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/usage?period=month", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/costs", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/costs/forecast", ""),
    row(Tenant, "GET", "/v1/tenants/{tenant}/budget", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/budget", r#"{"budget":"$1/day"}"#),
    row(Tenant, "GET", "/v1/tenants/{tenant}/alerts", ""),
    row(Tenant, "DELETE", "/v1/tenants/{tenant}/budget", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/alerts", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/alerts/al_00000000000000000000000001", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/alerts/al_00000000000000000000000001/acknowledge", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/alerts/webhooks", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/alerts/webhooks", r#"{"webhooks":[]}"#),
    row(Tenant, "GET", "/v1/tenants/{tenant}/alerts/webhooks/wh_00000000000000000000000001", ""),
    row(Tenant, "DELETE", "/v1/tenants/{tenant}/alerts/webhooks/wh_00000000000000000000000001", ""),
    row(Tenant, "POST", "/v1/tenants/{tenant}/alerts/webhooks/wh_00000000000000000000000001/rotate", "{}"),
    row(Tenant, "POST", "/v1/tenants/{tenant}/alerts/webhooks/wh_00000000000000000000000001/test", "{}"),
    row(Tenant, "GET", "/v1/tenants/{tenant}/alerts/webhooks/wh_00000000000000000000000001/messages", ""),
    row(Tenant, "GET", "/v1/admin/anything", ""),
];

/// Every path that the gateway's sources route: what stands in `.route("/v1/…")` behind the internal socket, and every path that the
/// files which sort requests compare with.
pub fn routed() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec!["data_plane/surface.rs".into(), "data_plane/local.rs".into(), "data_plane/forward.rs".into()];
    for entry in fs::read_dir(root.join("admin")).expect("the sources") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name.ends_with(".rs") && !name.contains("tests") {
            files.push(PathBuf::from("admin").join(name));
        }
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(root.join(&file)).expect("a source");
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: String =
            shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for literal in code.split('"').skip(1).step_by(2) {
            if (literal.starts_with("/v1") || literal.starts_with("/v2")) && literal.len() > "/v1/".len() {
                found.push((file.clone(), literal.to_owned()));
            }
        }
    }
    found
}

/// Whether some row asks for a routed path. A path that ends with a slash stands for everything below it.
pub fn is_asked_for(routed: &str) -> bool {
    let plain = |path: &str| -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        path.split('/').map(|part| if part.contains('{') { "*".to_owned() } else { part.to_owned() }).collect()
    };
    // Not a path of its own: what stands before a provider's, and is taken off to see whose dialect it speaks.
    if routed == "/v1/passthrough" {
        return true;
    }
    let wanted = plain(routed);
    ROUTES.iter().any(|route| {
        let row = plain(route.path);
        match routed.ends_with('/') {
            true => route.path.starts_with(routed),
            false => {
                let same = |(row, wanted): (&String, &String)| row == wanted || wanted == "*";
                row.len() == wanted.len() && row.iter().zip(&wanted).all(same)
            }
        }
    })
}

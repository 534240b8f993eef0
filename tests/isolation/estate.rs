//! Three tenants beside the operator, each with everything that a tenant can own, and what of it must never be seen by another.

use crate::support::{ACCESS_KEY, Answer, Client, Gateway, SOON, bearer, chat, form, post_with, wait_until, with_body};
use igris_load::Simulator;
use serde_json::{Value, json};

/// The scopes of a tenant's keys: each alone, and all.
pub const SCOPES: [&[&str]; 5] =
    [&["inference"], &["keys"], &["costs"], &["admin"], &["inference", "keys", "costs", "admin"]];

/// A tenant with its things.
#[derive(Clone, Debug)]
pub struct Owner {
    pub id: String,
    /// Texts of its access keys, as in [`SCOPES`].
    pub keys: Vec<String>,
    /// One more access key, which nothing but the matrix touches.
    pub access: String,
    /// The id of its provider key.
    pub key: String,
    pub decision: String,
    pub rotation: String,
    pub file: String,
    /// What nobody else may be told: ids, names, texts.
    pub secrets: Vec<String>,
}

/// The text of a tenant's own provider key. Its end tells them apart in the simulator's books.
pub fn own_provider_key(tenant: &str) -> String {
    format!("sk-canary-of-{tenant}-0123456789-{}", &tenant[..4])
}

/// What it is rotated to.
fn next_provider_key(tenant: &str) -> String {
    format!("sk-canary-next-of-{tenant}-0123456789-{}", &tenant[..4])
}

/// What a tenant asks its model, which is nobody else's to read.
pub fn prompt_of(tenant: &str) -> String {
    format!("the-prompt-of-{tenant}")
}

impl Owner {
    /// A tenant that uses everything there is.
    pub fn settle(gateway: &Gateway, id: &str) -> Self {
        let answer = gateway.admin_ask("POST", "/tenants", &json!({ "id": id }).to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made: Vec<(String, String)> =
            SCOPES.iter().map(|scopes| make_key(gateway, id, &format!("{id}-{}", scopes.join("-")), scopes)).collect();
        let (access, _) = make_key(gateway, id, &format!("{id}-spare"), &["inference"]);
        let all = &made[4].1;
        let path = format!("/v1/tenants/{id}/providers/openai/keys");
        let body = json!({ "api_key": own_provider_key(id) });
        let added = ask(gateway, all, "POST", &path, &body.to_string());
        assert_eq!(added.status, 201, "{}", added.text());
        let key = member(&added, "id");
        let request = post_with("/v1/chat/completions", &bearer(all), chat(&prompt_of(id)).as_bytes());
        let answer = gateway.ask(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let decision = answer.header("x-request-id").expect("on every answer").to_owned();
        wait_until(SOON, "the decision is kept", || gateway.admin(&format!("/decisions/{decision}")).status == 200);
        let file = upload(gateway, all, id);
        let rotation = Self::rotation(gateway, all, id, &path).unwrap_or_else(|| nothing_like("rot_"));
        let mut secrets: Vec<String> = made.iter().flat_map(|(id, text)| [id.clone(), text.clone()]).collect();
        secrets.extend([own_provider_key(id), next_provider_key(id), prompt_of(id), format!("{id}-spare")]);
        secrets.extend([id, &access, &key, &decision, &file].map(str::to_owned));
        let keys = made.into_iter().map(|(_, text)| text).collect();
        Self { id: id.to_owned(), keys, access, key, decision, rotation, file, secrets }
    }

    /// A rotation under way, where the gateway has them.
    fn rotation(gateway: &Gateway, key: &str, id: &str, path: &str) -> Option<String> {
        let body = json!({ "new_api_key": next_provider_key(id), "grace_period_minutes": 15 });
        let answer = ask(gateway, key, "POST", &format!("{path}/rotate"), &body.to_string());
        if answer.status == 404 && answer.text().contains("There is nothing at") {
            println!("NOTE: there are no rotations here yet; their rows ask for paths that nothing serves");
            return None;
        }
        assert!(answer.status < 300, "{}", answer.text());
        Some(member(&answer, "rotation_id"))
    }

    /// Nobody, with things that nobody has: what a tenant is to look like from outside. As long as the tenant's own, so that answers are.
    pub fn nobody(like: &Owner) -> Self {
        let id: String = like.id.chars().map(|letter| if letter == '-' { '-' } else { 'z' }).collect();
        Self {
            id,
            keys: Vec::new(),
            access: nothing_like("ak_"),
            key: nothing_like("key_"),
            decision: nothing_like("req_"),
            rotation: nothing_like("rot_"),
            file: "file-00000000".to_owned(),
            secrets: Vec::new(),
        }
    }

    /// A text of the table with this tenant's things in its places.
    pub fn fill(&self, text: &str) -> String {
        self.places().iter().fold(text.to_owned(), |text, (place, thing)| text.replace(place, thing))
    }

    /// A text with this tenant's things taken out again.
    pub fn unfill(&self, text: &str) -> String {
        self.places().iter().fold(text.to_owned(), |text, (place, thing)| text.replace(thing.as_str(), place))
    }

    fn places(&self) -> [(&'static str, &String); 6] {
        [
            ("{access}", &self.access),
            ("{key}", &self.key),
            ("{decision}", &self.decision),
            ("{rotation}", &self.rotation),
            ("{file}", &self.file),
            ("{tenant}", &self.id),
        ]
    }

    /// What of this tenant is in some bytes, and was not in the question.
    pub fn leaks_into(&self, told: &[u8], asked: &str) -> Option<&String> {
        let told = String::from_utf8_lossy(told);
        self.secrets.iter().find(|secret| told.contains(secret.as_str()) && !asked.contains(secret.as_str()))
    }
}

fn nothing_like(prefix: &str) -> String {
    format!("{prefix}{}", "0".repeat(26))
}

/// An access key by the admin socket: id and text.
pub fn make_key(gateway: &Gateway, tenant: &str, name: &str, scopes: &[&str]) -> (String, String) {
    let body = json!({ "name": name, "scopes": scopes }).to_string();
    let answer = gateway.admin_ask("POST", &format!("/access-keys?tenant={tenant}"), &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    (member(&answer, "id"), member(&answer, "key"))
}

/// A file of a tenant's, at the provider.
pub fn upload(gateway: &Gateway, key: &str, tenant: &str) -> String {
    let content = format!("{tenant}.jsonl|{{\"words\":\"{}\"}}\n", prompt_of(tenant));
    let parts: [(&str, &[u8]); 2] = [("purpose", b"batch"), ("file", content.as_bytes())];
    let request = with_body("POST", "/v1/files", crate::support::FORM, &bearer(key), &form(&parts));
    let answer = gateway.ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    member(&answer, "id")
}

/// A request with a key; fields beyond that are whole header lines.
pub fn request(key: &str, method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    let fields = if key.is_empty() { fields.to_owned() } else { format!("{}{fields}", bearer(key)) };
    with_body(method, path, "application/json", &fields, body.as_bytes())
}

pub fn ask(gateway: &Gateway, key: &str, method: &str, path: &str, body: &str) -> Answer {
    gateway.ask(&request(key, method, path, "", body))
}

pub fn member(answer: &Answer, name: &str) -> String {
    let value = answer.json();
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// The operator's gateway with three tenants in it.
pub struct Estate {
    pub gateway: Gateway,
    pub simulator: Simulator,
    pub owners: Vec<Owner>,
}

pub const TENANTS: [&str; 3] = ["north-of-canary", "south-of-canary", "west-of-canary"];

impl Estate {
    pub fn settled() -> Self {
        let simulator = Simulator::builder().keep_bodies().start().expect("a loopback port");
        let gateway = Gateway::builder()
            .provider("openai", &simulator)
            .word("-v")
            .config_toml("[log]\nlevel = \"trace\"\n")
            .start();
        let owners = TENANTS.iter().map(|id| Owner::settle(&gateway, id)).collect();
        Self { gateway, simulator, owners }
    }
}

/// One connection that is opened anew whenever an answer ended the last one.
pub struct Line<'g> {
    gateway: &'g Gateway,
    client: Option<Client>,
}

impl<'g> Line<'g> {
    pub fn to(gateway: &'g Gateway) -> Self {
        Self { gateway, client: None }
    }

    pub fn ask(&mut self, request: &[u8]) -> Answer {
        let gateway = self.gateway;
        let client = self.client.get_or_insert_with(|| gateway.client());
        let answer = client.ask(request);
        if answer.header("connection").is_some_and(|said| said.eq_ignore_ascii_case("close")) {
            self.client = None;
        }
        answer
    }
}

/// The operator's key: tenant `default`, every scope.
pub fn operators_key() -> &'static str {
    ACCESS_KEY
}

/// An answer without what differs between any two requests: its id, its date, the time it took. Headers in order.
pub fn bare_bones(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let own = ["x-request-id", "request-id", "date", "x-igris-overhead-us"];
    let kept = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let id = answer.header("x-request-id").unwrap_or("no id");
    (answer.status, kept.cloned().collect(), answer.text().replace(id, "(its id)"))
}

/// Whether a JSON value holds a text anywhere.
pub fn mentions(value: &Value, text: &str) -> bool {
    value.to_string().contains(text)
}

//! Tenants are strangers to each other: each endpoint is asked, by keys of every scope, for every other tenant's things, in path, query,
//! headers and body, and answers as if they did not exist (rules T1, T3, T4, R4, R5).

#[path = "isolation/estate.rs"]
mod estate;
#[path = "isolation/routes.rs"]
mod routes;
mod support;

use estate::{
    Estate, Line, Owner, SCOPES, ask, bare_bones, make_key, operators_key, own_provider_key, prompt_of, request, upload,
};
use igris_load::Simulator;
use routes::{Kind, ROUTES, is_asked_for, routed};
use serde_json::{Value, json};
use support::{ACCESS_KEY, Answer, Gateway, SOON, Scripted, bearer, chat, post_with, provider_key, wait_until};

/// All tenants' secrets but the asker's own, and every provider key whoever's it is, in an answer that it was told.
#[track_caller]
fn must_be_silent(estate: &Estate, asker: Option<&Owner>, asked: &str, answer: &Answer) {
    let heads: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let told = [heads.as_bytes(), &answer.body].concat();
    for owner in &estate.owners {
        let own = asker.is_some_and(|asker| asker.id == owner.id);
        let leak = owner.leaks_into(&told, asked).filter(|_| !own);
        assert!(leak.is_none(), "{asked}\ntells {leak:?}: {}", answer.text());
        assert!(!answer.text().contains("sk-canary-"), "rule R4: {asked}: {}", answer.text());
    }
    assert!(!answer.text().contains(&provider_key("openai")), "rule R4: {asked}: {}", answer.text());
}

/// How a row is asked about somebody: one request each for path, query, headers and body.
fn questions(route: &routes::Route, key: &str, about: &Owner) -> Vec<Vec<u8>> {
    let (method, path, body) = (route.method, about.fill(route.path), about.fill(route.body));
    let mark = if path.contains('?') { '&' } else { '?' };
    let asked_by_query = format!("{path}{mark}tenant={0}&tenant_id={0}", about.id);
    let fields = format!(
        "x-igris-principal-tenant: {0}\r\nx-igris-tenant: {0}\r\nx-tenant-id: {0}\r\nopenai-organization: {0}\r\nopenai-project: {0}\r\n\
         x-igris-principal-key: {1}\r\nx-igris-principal-scopes: inference,keys,costs,admin\r\n",
        about.id, about.access
    );
    let mut found = vec![
        request(key, method, &path, "", &body),
        request(key, method, &asked_by_query, "", &body),
        request(key, method, &path, &fields, &body),
    ];
    if let Ok(Value::Object(mut members)) = serde_json::from_str::<Value>(&body) {
        let more = json!({ "tenant": about.id, "tenant_id": about.id, "access_key": about.access, "key_id": about.key,
            "credential": about.key, "metadata": { "tenant": about.id, "user_id": about.access } });
        members.extend(more.as_object().cloned().expect("an object"));
        found.push(request(key, method, &path, "", &Value::Object(members).to_string()));
    }
    found
}

/// The same, to the letter, once each tenant's own things are taken out again.
fn seen_as(about: &Owner, answer: &Answer) -> (u16, String, String) {
    let (status, mut headers, body) = bare_bones(answer);
    headers.retain(|(name, _)| name != "content-length");
    (status, about.unfill(&format!("{headers:?}")), about.unfill(&body))
}

#[test]
fn every_route_of_the_sources_is_in_the_table() {
    let all = routed();
    assert!(all.len() > 30, "the search finds routes: {all:?}");
    let missing: Vec<_> = all.iter().filter(|(_, path)| !is_asked_for(path)).collect();
    assert!(missing.is_empty(), "add a row to tests/isolation/routes.rs for each of {missing:#?}");
}

#[test]
fn rule_t1_another_tenants_things_are_answered_as_things_that_do_not_exist() {
    let estate = Estate::settled();
    std::thread::scope(|scope| {
        let askers: Vec<_> = estate.owners.iter().map(|asker| scope.spawn(|| ask_for_others(&estate, asker))).collect();
        let asked: usize = askers.into_iter().map(|asker| asker.join().expect("no answer told anything")).sum();
        println!("{asked} questions");
    });
    everything_is_still_there(&estate);
}

/// One tenant asks for everything of the others; how many questions that took.
fn ask_for_others(estate: &Estate, asker: &Owner) -> usize {
    let mut line = Line::to(&estate.gateway);
    let mut asked = 0;
    for victim in estate.owners.iter().filter(|owner| owner.id != asker.id) {
        let nobody = Owner::nobody(victim);
        for route in ROUTES.iter().filter(|route| route.kind == Kind::Tenant) {
            for (scopes, key) in SCOPES.iter().zip(&asker.keys) {
                let pairs = questions(route, key, victim).into_iter().zip(questions(route, key, &nobody));
                for (about_victim, about_nobody) in pairs {
                    let (told, unknown) = (line.ask(&about_victim), line.ask(&about_nobody));
                    let question = String::from_utf8_lossy(&about_victim).into_owned();
                    assert!(
                        matches!(told.status, 404 | 405),
                        "{scopes:?}: {question}\n{}: {}",
                        told.status,
                        told.text()
                    );
                    assert_eq!(seen_as(victim, &told), seen_as(&nobody, &unknown), "{scopes:?}: {question}");
                    must_be_silent(estate, Some(asker), &question, &told);
                    asked += 2;
                }
            }
        }
        things_under_ones_own_name(estate, &mut line, asker, victim, &nobody);
    }
    asked
}

/// The asker's own paths with the other's ids in them.
fn things_under_ones_own_name(estate: &Estate, line: &mut Line<'_>, asker: &Owner, victim: &Owner, nobody: &Owner) {
    let mixed = |of: &Owner| Owner { id: asker.id.clone(), ..of.clone() };
    let (theirs, nobodys) = (mixed(victim), mixed(nobody));
    let names_a_thing =
        |path: &str| ["{key}", "{access}", "{rotation}", "{decision}"].iter().any(|place| path.contains(place));
    for route in ROUTES.iter().filter(|route| names_a_thing(route.path)) {
        for key in &asker.keys {
            let pairs = questions(route, key, &theirs).into_iter().zip(questions(route, key, &nobodys));
            for (about_theirs, about_nobodys) in pairs {
                let (told, unknown) = (line.ask(&about_theirs), line.ask(&about_nobodys));
                let question = String::from_utf8_lossy(&about_theirs).into_owned();
                // 403: the scope is not there, whoever's it is; 400: what stands in the query or the body has no meaning here.
                assert!(matches!(told.status, 400 | 403 | 404), "{question}\n{}: {}", told.status, told.text());
                assert_eq!(seen_as(&theirs, &told), seen_as(&nobodys, &unknown), "{question}");
                must_be_silent(estate, Some(asker), &question, &told);
            }
        }
    }
}

/// Nothing was changed by all that was asked.
fn everything_is_still_there(estate: &Estate) {
    for owner in &estate.owners {
        let all = &owner.keys[4];
        let page = |path: &str| {
            let answer = ask(&estate.gateway, all, "GET", &owner.fill(path), "");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            answer
        };
        let keys = page("/v1/tenants/{tenant}/providers/openai/keys").json();
        assert!(estate::mentions(&keys, &owner.key) && !estate::mentions(&keys, "planted"), "{keys}");
        let access = page("/v1/tenants/{tenant}/access-keys").json();
        assert_eq!(access["data"].as_array().map(Vec::len), Some(SCOPES.len() + 1), "{access}");
        assert!(!estate::mentions(&access, "planted") && !estate::mentions(&access, "revoked"), "{access}");
        assert_eq!(page("/v1/tenants/{tenant}/access-keys/{access}").json()["name"], format!("{}-spare", owner.id));
        let decision = page("/v1/routing/decisions/{decision}");
        must_be_silent(estate, Some(owner), "its own decision", &decision);
        wait_until(SOON, "usage is counted", || {
            page("/v1/tenants/{tenant}/usage?period=hour").json()["requests"].as_u64().is_some_and(|count| count >= 1)
        });
    }
}

#[test]
fn models_and_objects_show_nothing_of_others_whatever_is_asked() {
    let estate = Estate::settled();
    let mut line = Line::to(&estate.gateway);
    // What is in a provider's account is the provider's to keep apart, and asked about below.
    let here = |route: &&routes::Route| {
        route.kind != Kind::Tenant && !["/files", "/batches"].iter().any(|stored| route.path.contains(stored))
    };
    for (place, asker) in estate.owners.iter().enumerate() {
        let victim = &estate.owners[(place + 1) % estate.owners.len()];
        let nobody = Owner::nobody(victim);
        for route in ROUTES.iter().filter(here) {
            for key in asker.keys.iter().map(String::as_str).chain([""]) {
                let pairs = questions(route, key, victim).into_iter().zip(questions(route, key, &nobody));
                for (about_victim, about_nobody) in pairs {
                    let (told, unknown) = (line.ask(&about_victim), line.ask(&about_nobody));
                    let question = String::from_utf8_lossy(&about_victim).into_owned();
                    assert_eq!(told.status, unknown.status, "{question}\n{}\n{}", told.text(), unknown.text());
                    if told.status >= 400 {
                        assert_eq!(seen_as(victim, &told), seen_as(&nobody, &unknown), "{question}");
                    }
                    must_be_silent(&estate, Some(asker), &question, &told);
                }
            }
        }
    }
    // Whatever was asked for, it was asked of the provider with the asker's own key.
    assert_eq!(
        estate.simulator.truth().requests_with_key(&provider_key("openai")),
        0,
        "nobody was served with the operator's"
    );
    what_the_operator_is_told_is_no_tenants_secret(&estate);
}

/// Logs and metrics after all of that.
fn what_the_operator_is_told_is_no_tenants_secret(estate: &Estate) {
    let metrics = estate.gateway.admin("/metrics").text();
    let logs = estate.gateway.stdout() + &estate.gateway.stderr();
    for owner in &estate.owners {
        for secret in &owner.secrets {
            assert!(!metrics.contains(secret.as_str()), "rule R5: {secret} in a metric");
        }
        for text in owner.keys.iter().chain([&own_provider_key(&owner.id), &prompt_of(&owner.id)]) {
            assert!(!logs.contains(text.as_str()), "rules R1 and R4: {text} in the log");
        }
    }
    assert!(!logs.contains(&provider_key("openai")), "rule R4");
    assert!(metrics.contains("igris_attempts_total{"), "there was something to tell: {metrics}");
}

#[test]
fn the_operator_may_act_for_every_tenant_and_others_of_its_tenant_may_not() {
    let estate = Estate::settled();
    let gateway = &estate.gateway;
    let narrow = SCOPES[..3].iter().map(|scopes| make_key(gateway, "default", "narrow", scopes).1);
    let narrow: Vec<String> = narrow.collect();
    for owner in &estate.owners {
        for route in ROUTES.iter().filter(|route| route.kind == Kind::Tenant && route.method == "GET") {
            let path = owner.fill(route.path);
            let (own, operators) =
                (ask(gateway, &owner.keys[4], "GET", &path, ""), ask(gateway, operators_key(), "GET", &path, ""));
            assert_eq!(own.status, operators.status, "{path}: {} {}", own.text(), operators.text());
            for key in &narrow {
                let refused = ask(gateway, key, "GET", &path, "");
                assert_eq!(refused.status, 404, "{path}: {}", refused.text());
                must_be_silent(&estate, None, &path, &refused);
            }
        }
        let decision = ask(gateway, operators_key(), "GET", &owner.fill("/v1/routing/decisions/{decision}"), "");
        assert_eq!((decision.status, &decision.json()["tenant"]), (200, &json!(owner.id)));
    }
}

#[test]
fn an_idempotency_key_is_its_tenants_own() {
    let estate = Estate::settled();
    let body = chat("the same words from everybody");
    for owner in &estate.owners {
        let before = estate.simulator.truth().counts().requests;
        let fields = format!("{}Idempotency-Key: order-1\r\n", bearer(&owner.keys[4]));
        let first = estate.gateway.ask(&post_with("/v1/chat/completions", &fields, body.as_bytes()));
        assert_eq!((first.status, first.header("x-igris-idempotent-replay")), (200, None), "{}", first.text());
        let again = estate.gateway.ask(&post_with("/v1/chat/completions", &fields, body.as_bytes()));
        assert_eq!(again.header("x-igris-idempotent-replay"), Some("true"));
        assert_eq!(again.text(), first.text());
        let asked = estate.simulator.truth().counts().requests - before;
        assert_eq!(asked, 1, "{}: worked on once, and not answered with what another was told", owner.id);
    }
}

#[test]
fn rule_t3_what_a_provider_keeps_in_the_operators_account_is_the_operators_alone() {
    let simulator = Simulator::builder().keep_bodies().start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).start();
    let file = upload(&gateway, ACCESS_KEY, "operator");
    assert_eq!(ask(&gateway, ACCESS_KEY, "GET", &format!("/v1/files/{file}"), "").status, 200);
    let tenant = "guest-of-canary";
    assert_eq!(gateway.admin_ask("POST", "/tenants", &json!({ "id": tenant }).to_string()).status, 201);
    let (_, key) = make_key(&gateway, tenant, "app", &["inference", "keys"]);
    // It is served with the operator's provider key, as far as answers of models go.
    assert_eq!(gateway.ask(&post_with("/v1/chat/completions", &bearer(&key), chat("x").as_bytes())).status, 200);
    let before = simulator.truth().counts().requests;
    let unknown = "file-00000000";
    let batch = |file: &str| {
        json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h" }).to_string()
    };
    let goes_on = |id: &str| json!({ "model": "gpt-4o", "input": "and then?", "previous_response_id": id }).to_string();
    let talks_on = |id: &str| json!({ "model": "gpt-4o", "input": "and then?", "conversation": id }).to_string();
    for (method, path, theirs, nobodys) in [
        ("GET", "/v1/files", String::new(), String::new()),
        ("GET", "/v1/files/{id}", String::new(), String::new()),
        ("GET", "/v1/files/{id}/content", String::new(), String::new()),
        ("DELETE", "/v1/files/{id}", String::new(), String::new()),
        ("GET", "/v1/batches", String::new(), String::new()),
        ("POST", "/v1/batches", batch(&file), batch(unknown)),
        ("GET", "/v1/passthrough/openai/files/{id}", String::new(), String::new()),
        ("DELETE", "/v1/passthrough/openai/files/{id}", String::new(), String::new()),
        ("POST", "/v1/passthrough/openai/chat/completions", chat("x"), chat("x")),
        ("POST", "/v1/responses", goes_on(&file), goes_on(unknown)),
        ("POST", "/v1/responses", talks_on(&file), talks_on(unknown)),
    ] {
        let (told, other) = (
            ask(&gateway, &key, method, &path.replace("{id}", &file), &theirs),
            ask(&gateway, &key, method, &path.replace("{id}", unknown), &nobodys),
        );
        told.must_be_fault(403, "provider_key_required");
        assert_eq!(bare_bones(&told), bare_bones(&other), "{method} {path}");
    }
    assert_eq!(simulator.truth().counts().requests, before, "nobody asked the provider");
    // With a key of its own it has an account of its own.
    let body = json!({ "api_key": own_provider_key(tenant) }).to_string();
    assert_eq!(ask(&gateway, &key, "POST", &format!("/v1/tenants/{tenant}/providers/openai/keys"), &body).status, 201);
    let own = upload(&gateway, &key, tenant);
    assert_eq!(ask(&gateway, &key, "GET", &format!("/v1/files/{own}"), "").status, 200);
    assert_eq!(ask(&gateway, &key, "GET", "/v1/passthrough/openai/models", "").status, 200);
    assert_eq!(simulator.truth().requests_with_key(&own_provider_key(tenant)), 3);
    assert_eq!(
        ask(&gateway, ACCESS_KEY, "GET", &format!("/v1/files/{file}"), "").status,
        200,
        "the operator's is still there"
    );
}

/// Members that other gateways let a client pick a place or a key with.
const PLACES: [&str; 9] = [
    "api_base",
    "base_url",
    "api_key",
    "custom_host",
    "api_host",
    "endpoint_url",
    "organization_url",
    "proxy_url",
    "azure_endpoint",
];

#[test]
fn rule_t4_no_field_of_a_client_picks_a_place_or_a_key_on_any_route() {
    let trap = Scripted::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let estate = Estate::settled();
    let gateway = &estate.gateway;
    let mut line = Line::to(gateway);
    let (place, owner) = (trap.base_url(), &estate.owners[0]);
    let fields = format!(
        "x-custom-host: {place}\r\nx-openai-host: {place}\r\nx-portkey-custom-host: {place}\r\nx-upstream-host: {place}\r\n\
         x-forwarded-host: {place}\r\nforwarded: host={place}\r\nx-base-url: {place}\r\nx-api-base: {place}\r\nhelicone-target-url: {place}\r\n"
    );
    let planted = "sk-planted-by-a-client-0123456789";
    for route in ROUTES.iter().filter(|route| route.method != "DELETE") {
        let (path, body) = (owner.fill(route.path), owner.fill(route.body));
        let ask = |line: &mut Line<'_>, fields: &str, body: &str| {
            line.ask(&request(&owner.keys[4], route.method, &path, fields, body))
        };
        ask(&mut line, &fields, &body);
        let Ok(Value::Object(plain)) = serde_json::from_str::<Value>(&body) else { continue };
        for name in PLACES {
            let value = if name == "api_key" { json!(planted) } else { json!(place) };
            if plain.contains_key(name) {
                continue;
            }
            let mut flat = plain.clone();
            flat.insert(name.to_owned(), value.clone());
            let mut deep = plain.clone();
            let nested = json!({ name: value, "extra_body": { "litellm_params": { name: value } } });
            deep.insert("metadata".to_owned(), nested.clone());
            if let Some(message) = deep.get_mut("messages").and_then(|messages| messages.get_mut(0)) {
                message[name] = value.clone();
            }
            for members in [flat, deep] {
                let answer = ask(&mut line, "", &Value::Object(members.clone()).to_string());
                if route.kind == Kind::Tenant {
                    assert!(answer.status >= 400, "{path} took {name}: {}", answer.text());
                }
            }
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(trap.connections(), 0, "nothing went where a client pointed");
    assert_eq!(estate.simulator.truth().requests_with_key(planted), 0, "nothing went out with a client's key");
    let own = estate.simulator.truth().requests_with_key(&own_provider_key(&owner.id));
    assert!(own > 0, "they were served as ever");
}

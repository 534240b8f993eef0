//! The work of models that do one thing, through the same door as chat: completions, vectors, judgements, pictures, speech and order.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igris_load::Simulator;
use igris_load::simulator::Surface;
use serde_json::{Value, json};
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Client, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, Scripted, bare, bearer,
    events_of, form, named, post_form, post_with, provider_key, wait_until, with_body,
};

fn simulator(name: &str, surface: Surface) -> Simulator {
    let keyed = Simulator::builder().dialect(surface).keys([provider_key(name)]);
    keyed.models(Vec::<String>::new()).keep_bodies().start().expect("a loopback port")
}

/// A gateway before OpenAI, Google and Cohere.
struct House {
    gateway: Gateway,
    openai: Simulator,
    google: Simulator,
    cohere: Simulator,
}

impl House {
    fn new() -> Self {
        let openai = simulator("openai", Surface::OpenAi);
        let google = simulator("google", Surface::Gemini);
        let cohere = simulator("cohere", Surface::Cohere);
        let builder = Gateway::builder().provider("openai", &openai).provider("google", &google);
        Self { gateway: builder.provider("cohere", &cohere).start(), openai, google, cohere }
    }

    fn must_be_clean(&self) {
        for simulator in [&self.openai, &self.google, &self.cohere] {
            assert_eq!(simulator.truth().violations(), []);
        }
    }
}

fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    gateway.ask(&post_with(path, &bearer(ACCESS_KEY), body.to_string().as_bytes()))
}

#[track_caller]
fn good(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    let answer = ask(gateway, path, body);
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
    answer
}

/// What the provider itself answers to the same request.
fn direct(simulator: &Simulator, name: &str, content_type: &str, path: &str, body: &[u8]) -> Answer {
    let request = with_body("POST", path, content_type, &bearer(&provider_key(name)), body);
    let answer = Client::connect(simulator.addr()).ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn last_body(simulator: &Simulator) -> Value {
    let record = simulator.truth().last().expect("a request arrived");
    serde_json::from_slice(&record.body.expect("bodies are kept")).expect("what we send is JSON")
}

/// Requests and tokens in the books of the tenant `default`.
fn books(gateway: &Gateway) -> (u64, u64, u64) {
    let usage = gateway.page("/v1/tenants/default/usage?period=day").json();
    let number = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("no {name} in {usage}"));
    (number("requests"), number("input_tokens"), number("output_tokens"))
}

// ---- Text ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_text_is_continued_whole_or_as_a_stream() {
    let house = House::new();
    let mut body = json!({ "model": "openai/gpt-3.5-turbo-instruct", "prompt": "Once upon", "max_tokens": 9 });
    let whole = good(&house.gateway, "/v1/completions", &body).json();
    assert_eq!((&whole["object"], &whole["metadata"]["provider"]), (&json!("text_completion"), &json!("openai")));
    assert_eq!(last_body(&house.openai)["model"], "gpt-3.5-turbo-instruct", "without our prefix");
    let text = whole["choices"][0]["text"].as_str().expect("a text").to_owned();
    assert!(!text.is_empty());
    body["stream"] = json!(true);
    for wanted in [false, true] {
        if wanted {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let mut client = house.gateway.client();
        client.send(&post_with("/v1/completions", &bearer(ACCESS_KEY), body.to_string().as_bytes()));
        let stream = client.stream();
        assert_eq!(stream.answer.status, 200, "{}", stream.answer.text());
        let events: Vec<Value> =
            stream.events.iter().filter_map(|event| named(&event.bytes)).map(|(_, data)| data).collect();
        let said: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        assert_eq!(said, text, "the same words");
        assert_eq!(stream.events.last().expect("events").bytes, b"data: [DONE]\n\n");
        let last = events.last().expect("events");
        assert_eq!(last["usage"].is_object(), wanted, "our own wish for usage stays with us: {last}");
        assert_eq!(last["metadata"]["provider"], "openai", "{last}");
        assert_eq!(last["metadata"]["cost_breakdown"]["output_tokens"], whole["usage"]["completion_tokens"], "{last}");
        assert_eq!(last_body(&house.openai)["stream_options"]["include_usage"], true, "we meter by it");
    }
    let tokens = |name: &str| whole["usage"][name].as_u64().expect("a count") * 3;
    let seen = (3, tokens("prompt_tokens"), tokens("completion_tokens"));
    wait_until(SOON, "the books have all three", || books(&house.gateway) == seen);
    house.must_be_clean();
}

#[test]
fn nobody_but_openais_kind_continues_texts() {
    let house = House::new();
    for (path, extra) in
        [("/v1/completions", "prompt"), ("/v1/moderations", "input"), ("/v1/images/generations", "prompt")]
    {
        let body = json!({ "model": "google/gemini-3.5-flash", extra: "x" });
        let answer = ask(&house.gateway, path, &body);
        answer.must_be_fault(400, "invalid_request");
        assert_eq!(answer.json()["error"]["param"], "model", "{path}: {}", answer.text());
    }
    assert_eq!(house.google.truth().counts().requests, 0);
}

// ---- Vectors ------------------------------------------------------------------------------------------------------------

fn floats(embedding: &Value) -> Vec<f32> {
    match embedding {
        Value::String(coded) => {
            let bytes = STANDARD.decode(coded).expect("base64");
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
        }
        list => list.as_array().expect("a list").iter().map(|part| part.as_f64().expect("a number") as f32).collect(),
    }
}

#[test]
fn vectors_come_from_every_provider_in_one_shape() {
    let house = House::new();
    for model in ["openai/text-embedding-3-small", "google/gemini-embedding-001", "cohere/embed-v4.0"] {
        let mut body = json!({ "model": model, "input": ["first text", "second"] });
        let plain = good(&house.gateway, "/v1/embeddings", &body).json();
        assert_eq!(plain["object"], "list", "{model}: {plain}");
        let data = plain["data"].as_array().expect("a list");
        assert_eq!(data.len(), 2, "{model}");
        for (place, entry) in data.iter().enumerate() {
            assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(place)), "{model}");
            assert!(floats(&entry["embedding"]).len() > 100, "{model}");
        }
        assert!(plain["usage"]["prompt_tokens"].as_u64().is_some_and(|count| count > 0), "{model}: {}", plain["usage"]);
        assert_ne!(data[0]["embedding"], data[1]["embedding"], "{model}");
        body["encoding_format"] = json!("base64");
        let coded = good(&house.gateway, "/v1/embeddings", &body).json();
        for place in 0..2 {
            assert!(coded["data"][place]["embedding"].is_string(), "{model}");
            let (coded, plain) = (floats(&coded["data"][place]["embedding"]), floats(&data[place]["embedding"]));
            assert_eq!(coded.len(), plain.len(), "{model}");
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            assert!(coded.iter().zip(&plain).all(near), "{model}: the same vector in both codings");
        }
        body["input"] = json!("one text alone");
        assert_eq!(good(&house.gateway, "/v1/embeddings", &body).json()["data"].as_array().map(Vec::len), Some(1));
    }
    house.must_be_clean();
}

#[test]
fn lists_of_tokens_mean_something_to_their_maker_alone() {
    let house = House::new();
    for input in [json!([1, 2, 3]), json!([[1, 2], [3]])] {
        let body = |model: &str| json!({ "model": model, "input": input });
        good(&house.gateway, "/v1/embeddings", &body("openai/text-embedding-3-small"));
        for (model, simulator) in [("google/gemini-embedding-001", &house.google), ("cohere/embed-v4.0", &house.cohere)]
        {
            let answer = ask(&house.gateway, "/v1/embeddings", &body(model));
            answer.must_be_fault(400, "invalid_request");
            let param = answer.json()["error"]["param"].as_str().unwrap_or_default().to_owned();
            assert!(param.starts_with("input"), "{model}: {}", answer.text());
            assert_eq!(simulator.truth().counts().requests, 0, "nothing was sent");
        }
    }
}

#[test]
fn googles_own_way_to_ask_for_vectors_passes() {
    let house = House::new();
    let text = json!({ "parts": [{ "text": "a text" }] });
    let path = "/v1beta/models/gemini-embedding-001";
    let one = good(&house.gateway, &format!("{path}:embedContent"), &json!({ "content": text })).json();
    assert!(one["embedding"]["values"].is_array() && one["metadata"].is_null(), "{one}");
    let request = json!({ "model": "models/gemini-embedding-001", "content": text });
    let body = json!({ "requests": [request, request] });
    let two = good(&house.gateway, &format!("{path}:batchEmbedContents"), &body).json();
    assert_eq!(two["embeddings"].as_array().map(Vec::len), Some(2), "{two}");
    house.must_be_clean();
}

// ---- Judgements ---------------------------------------------------------------------------------------------------------

#[test]
fn content_is_judged_with_a_model_or_without() {
    let house = House::new();
    let mut body = json!({ "model": "omni-moderation-latest", "input": ["good morning", "violence"] });
    for named in [true, false] {
        let answer = good(&house.gateway, "/v1/moderations", &body);
        let said = answer.json();
        let flagged: Vec<&Value> =
            said["results"].as_array().expect("results").iter().map(|one| &one["flagged"]).collect();
        assert_eq!(flagged, [&json!(false), &json!(true)]);
        assert_eq!(answer.header("x-igris-provider"), Some("openai"));
        assert_eq!(answer.header("x-igris-model"), named.then_some("omni-moderation-latest"), "no empty field");
        assert_eq!(last_body(&house.openai).get("model").is_some(), named, "the provider chooses its own");
        body.as_object_mut().expect("an object").remove("model");
    }
    house.must_be_clean();
}

// ---- Pictures -----------------------------------------------------------------------------------------------------------

#[test]
fn pictures_are_made_and_metered() {
    let house = House::new();
    let body = json!({ "model": "openai/gpt-image-1", "prompt": "a lighthouse", "n": 2 });
    let said = good(&house.gateway, "/v1/images/generations", &body).json();
    assert_eq!(said["data"].as_array().map(Vec::len), Some(2));
    assert!(said["data"][0]["b64_json"].is_string());
    let tokens = |name: &str| said["usage"][name].as_u64().expect("a count");
    let seen = (1, tokens("input_tokens"), tokens("output_tokens"));
    wait_until(SOON, "the books have the tokens of pictures", || books(&house.gateway) == seen);
    let unnamed = good(&house.gateway, "/v1/images/generations", &json!({ "prompt": "a lighthouse" })).json();
    assert!(unnamed["data"][0]["b64_json"].is_string(), "the provider's own default");
    house.must_be_clean();
}

#[test]
fn pictures_are_changed_by_a_form() {
    let said = r#"{"created":1,"data":[{"b64_json":"AAAA"}]}"#;
    let scripted = Scripted::start(json_answer(said).as_bytes());
    let gateway = Gateway::builder().own_provider("studio", &scripted.base_url(), "").start();
    for path in ["edits", "variations"] {
        let parts: [(&str, &[u8]); 3] =
            [("model", b"studio/gpt-4o"), ("image", b"a.png|\x89PNG\r\n--igris\r\n\0\xff"), ("prompt", b"more light")];
        let answer = gateway.ask(&post_form(&format!("/v1/images/{path}"), &bearer(ACCESS_KEY), &parts));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["data"][0]["b64_json"], "AAAA");
        let heard = scripted.heard();
        assert!(heard.starts_with(&format!("POST /v1/images/{path} HTTP/1.1\r\n")), "{heard}");
        assert!(heard.contains("content-type: multipart/form-data; boundary=igris-5f0e\r\n"), "{heard}");
        let mut sent = parts;
        sent[0].1 = b"gpt-4o";
        assert!(heard.ends_with(&*String::from_utf8_lossy(&form(&sent))), "only the name changed: {heard}");
    }
}

fn json_answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

// ---- Speech -------------------------------------------------------------------------------------------------------------

#[test]
fn speech_is_relayed_to_the_byte() {
    let house = House::new();
    for extra in [json!({}), json!({ "response_format": "wav" }), json!({ "stream_format": "sse" })] {
        let mut body = json!({ "model": "gpt-4o-mini-tts", "input": "say these few words aloud", "voice": "alloy" });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let expected =
            direct(&house.openai, "openai", "application/json", "/v1/audio/speech", body.to_string().as_bytes());
        let heard = good(&house.gateway, "/v1/audio/speech", &body);
        assert!(heard.whole && heard.body.len() > 500);
        assert_eq!(heard.body, expected.body, "{extra}");
        assert_eq!(heard.header("content-type"), expected.header("content-type"), "{extra}");
        assert_eq!(heard.header("x-igris-provider"), Some("openai"));
    }
    house.must_be_clean();
}

const WORDS: &[u8] = b"speech.wav|RIFF\0\xff\r\n--igris-5f0\r\nWAVE";

#[test]
fn speech_becomes_text() {
    let house = House::new();
    for (path, model, format) in [
        ("transcriptions", "gpt-4o-transcribe", "json"),
        ("transcriptions", "openai/whisper-1", "srt"),
        ("translations", "openai/whisper-1", "verbose_json"),
    ] {
        let parts: [(&str, &[u8]); 3] =
            [("model", model.as_bytes()), ("response_format", format.as_bytes()), ("file", WORDS)];
        let path = format!("/v1/audio/{path}");
        let answer = house.gateway.ask(&post_form(&path, &bearer(INFERENCE_KEY), &parts));
        assert_eq!(answer.status, 200, "{path} {model}: {}", answer.text());
        let bare = model.trim_start_matches("openai/");
        let record = house.openai.truth().last().expect("a request arrived");
        let mut sent = parts;
        sent[0].1 = bare.as_bytes();
        assert_eq!(
            record.body.as_deref(),
            Some(&*form(&sent)),
            "the name is the provider's own, all else the client's"
        );
        let expected = direct(&house.openai, "openai", support::FORM, &path, &form(&sent));
        if format == "srt" {
            assert_eq!(answer.body, expected.body, "{}", answer.text());
        } else {
            assert_eq!(answer.json()["text"], expected.json()["text"], "{}", answer.text());
        }
        assert_eq!(answer.header("content-type"), expected.header("content-type"));
    }
    house.must_be_clean();
}

#[test]
fn a_streamed_transcript_passes_and_is_metered() {
    let house = House::new();
    let parts: [(&str, &[u8]); 3] = [("model", b"gpt-4o-transcribe"), ("stream", b"true"), ("file", WORDS)];
    let path = "/v1/audio/transcriptions";
    let answer = house.gateway.ask(&post_form(path, &bearer(ACCESS_KEY), &parts));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = direct(&house.openai, "openai", support::FORM, path, &form(&parts));
    assert_eq!(answer.text(), expected.text(), "to the last event");
    let (_, done) = events_of(&answer.body).iter().rev().find_map(|event| named(event)).expect("events");
    assert_eq!(done["type"], "transcript.text.done");
    let tokens = |name: &str| done["usage"][name].as_u64().expect("a count");
    let seen = (1, tokens("input_tokens"), tokens("output_tokens"));
    wait_until(SOON, "the books have its tokens", || books(&house.gateway) == seen);
}

#[test]
fn an_owners_name_for_a_model_is_replaced_inside_a_form() {
    let openai = simulator("openai", Surface::OpenAi);
    let route = "[[models]]\nname = \"ears\"\ntargets = [{ provider = \"openai\", model = \"gpt-4o-transcribe\" }]\n";
    let gateway = Gateway::builder().provider("openai", &openai).config_toml(route).start();
    // The file before the field, as some clients write it.
    let parts: [(&str, &[u8]); 2] = [("file", WORDS), ("model", b"ears")];
    let answer = gateway.ask(&post_form("/v1/audio/transcriptions", &bearer(ACCESS_KEY), &parts));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = openai.truth().last().and_then(|record| record.body).expect("bodies are kept");
    assert!(sent == form(&[("file", WORDS), ("model", b"gpt-4o-transcribe")]), "{}", String::from_utf8_lossy(&sent));
}

#[test]
fn a_form_without_a_model_is_told_so() {
    let house = House::new();
    for parts in [&[("file", WORDS)][..], &[("file", WORDS), ("modell", b"whisper-1")], &[("model", b"")]] {
        let answer = house.gateway.ask(&post_form("/v1/audio/transcriptions", &bearer(ACCESS_KEY), parts));
        answer.must_be_fault(400, "invalid_request");
        assert_eq!(answer.json()["error"]["param"], "model", "{}", answer.text());
    }
    // A conversation is no form.
    for path in ["/v1/chat/completions", "/v1/embeddings", "/v1/messages"] {
        let answer = house.gateway.ask(&post_form(path, &bearer(ACCESS_KEY), &[("model", b"gpt-4o")]));
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert_eq!(house.openai.truth().counts().requests, 0);
}

// ---- Order --------------------------------------------------------------------------------------------------------------

#[test]
fn documents_are_ordered_by_cohere_and_by_openais_kind() {
    let house = House::new();
    let body = json!({ "model": "cohere/rerank-v4.0-pro", "query": "blue whale", "top_n": 2,
        "documents": ["the red fox", "a blue whale", "blue paint"] });
    for path in ["/v1/rerank", "/v2/rerank"] {
        let said = good(&house.gateway, path, &body).json();
        let places: Vec<u64> =
            said["results"].as_array().expect("results").iter().filter_map(|one| one["index"].as_u64()).collect();
        assert_eq!(places, [1, 2], "{path}: {said}");
    }
    house.must_be_clean();
    let said = r#"{"results":[{"index":0,"relevance_score":0.5}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
    let scripted = Scripted::start(json_answer(said).as_bytes());
    let gateway = Gateway::builder().own_provider("sorter", &scripted.base_url(), "").start();
    let body = json!({ "model": "sorter/gpt-4o", "query": "q", "documents": ["d"] });
    let answer = good(&gateway, "/v1/rerank", &body).json();
    assert_eq!(answer["results"][0]["relevance_score"], 0.5, "{answer}");
    assert!(scripted.heard().starts_with("POST /v1/rerank HTTP/1.1\r\n"), "{}", scripted.heard());
    wait_until(SOON, "the books have the tokens", || books(&gateway) == (1, 7, 0));
}

// ---- Who may, and how it is asked -----------------------------------------------------------------------------------------

/// Every path that a model or a provider answers, each with a body that is good there.
fn paths() -> Vec<(&'static str, &'static str)> {
    vec![
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/models/gpt-4o:generateContent"),
        ("POST", "/v1beta/models/gpt-4o:streamGenerateContent"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/images/edits"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/rerank"),
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("DELETE", "/v1/files/file-1"),
        ("GET", "/v1/batches"),
        ("POST", "/v1/passthrough/openai/chat/completions"),
        ("GET", "/v1/passthrough/openai/models"),
        ("GET", "/v1/realtime?model=gpt-4o"),
        ("GET", "/v1/models"),
        ("GET", "/v1beta/models"),
        ("GET", "/v1/providers"),
    ]
}

fn with_key(method: &str, path: &str, key: &str) -> Vec<u8> {
    match method {
        "POST" => post_with(path, &bearer(key), br#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#),
        _ => bare(method, path, &bearer(key)),
    }
}

#[test]
fn a_key_without_inference_is_refused_everywhere() {
    let house = House::new();
    for (method, path) in paths() {
        let answer = house.gateway.ask(&with_key(method, path, BOOKS_KEY));
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        let answer = house.gateway.ask(&bare(method, path, ""));
        assert_eq!(answer.status, 401, "{method} {path} without a key: {}", answer.text());
        let url = format!("{path}{}key={ACCESS_KEY}", if path.contains('?') { '&' } else { '?' });
        let answer = house.gateway.ask(&bare(method, &url, ""));
        assert_eq!(answer.status, 401, "{method} {url}: {}", answer.text());
    }
    assert_eq!(house.openai.truth().counts().requests, 0);
}

#[test]
fn another_tenants_key_has_no_credentials_here() {
    let openai = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::builder().provider("openai", &openai).key(None).start();
    let body = json!({ "api_key": provider_key("openai") }).to_string();
    let keys = "/v1/tenants/default/providers/openai/keys";
    assert!(gateway.ask(&post_with(keys, &bearer(ACCESS_KEY), body.as_bytes())).status < 300);
    let own = with_key("GET", "/v1/passthrough/openai/models", ACCESS_KEY);
    wait_until(SOON, "the tenant's key is used", || gateway.ask(&own).status == 200);
    let used = openai.truth().counts().requests;
    let answer = gateway.ask(&with_key("GET", "/v1/passthrough/openai/models", STRANGER_KEY));
    answer.must_be_fault(503, "all_providers_unavailable");
    for (method, path) in paths().into_iter().filter(|(_, path)| !path.contains("/models") && *path != "/v1/providers")
    {
        let answer = gateway.ask(&with_key(method, path, STRANGER_KEY));
        assert!(answer.status >= 400, "{method} {path}: {}", answer.text());
    }
    let listed = gateway.ask(&bare("GET", "/v1/models", &bearer(STRANGER_KEY))).json();
    assert_eq!(listed["data"], json!([]), "{listed}");
    assert_eq!(openai.truth().counts().requests, used, "nothing went out with another tenant's key");
}

#[test]
fn members_that_name_places_or_keys_change_nothing() {
    let openai = simulator("openai", Surface::OpenAi);
    let trap = Scripted::start(json_answer("{}").as_bytes());
    let gateway = Gateway::builder().provider("openai", &openai).start();
    let place = trap.base_url();
    for (path, member) in [
        ("/v1/embeddings", "input"),
        ("/v1/moderations", "input"),
        ("/v1/rerank", "query"),
        ("/v1/completions", "prompt"),
        ("/v1/passthrough/openai/embeddings", "input"),
        ("/v1/batches", "input_file_id"),
    ] {
        let mut body = json!({ "model": "openai/text-embedding-3-small", member: "x" });
        for name in ["api_base", "base_url", "api_key", "host", "organization"] {
            body[name] = json!(if name == "api_key" { "sk-of-the-client" } else { &*place });
        }
        let fields =
            format!("{}x-igris-base-url: {place}\r\nx-igris-api-key: sk-of-the-client\r\n", bearer(ACCESS_KEY));
        let before = openai.truth().counts().requests;
        gateway.ask(&post_with(path, &fields, body.to_string().as_bytes()));
        assert_eq!(openai.truth().counts().requests, before + 1, "{path}: it went to the provider it always goes to");
        let record = openai.truth().last().expect("a request arrived");
        assert!(record.key.as_deref().is_some_and(|key| key.ends_with("cdef")), "{path}: {:?}", record.key);
    }
    assert_eq!((trap.connections(), trap.requests()), (0, 0));
}

// ---- Models -------------------------------------------------------------------------------------------------------------

#[test]
fn models_are_listed_in_the_clients_own_shape() {
    let house = House::new();
    let openai = house.gateway.page("/v1/models").json();
    assert_eq!(openai["object"], "list");
    let ids: Vec<&str> =
        openai["data"].as_array().expect("a list").iter().filter_map(|one| one["id"].as_str()).collect();
    assert!(ids.contains(&"gpt-4o"), "{ids:?}");
    let fields = format!("x-api-key: {ACCESS_KEY}\r\nanthropic-version: 2023-06-01\r\n");
    let anthropic = house.gateway.ask(&bare("GET", "/v1/models", &fields)).json();
    let data = anthropic["data"].as_array().expect("a list");
    assert!(data.iter().all(|one| one["type"] == "model" && one["display_name"].is_string()), "{anthropic}");
    assert_eq!((data.len(), &anthropic["has_more"]), (ids.len(), &json!(false)));
    assert_eq!(anthropic["first_id"], data[0]["id"]);
    let fields = format!("x-goog-api-key: {ACCESS_KEY}\r\n");
    let google = house.gateway.ask(&bare("GET", "/v1beta/models", &fields)).json();
    let data = google["models"].as_array().expect("a list");
    assert_eq!(data.len(), ids.len());
    assert!(data.iter().all(|one| one["name"].as_str().is_some_and(|name| name.starts_with("models/"))), "{google}");
    for (path, fields, member, value) in [
        ("/v1/models/gpt-4o", String::new(), "object", "model"),
        ("/v1/models/gpt-4o/", String::new(), "id", "gpt-4o"),
        ("/v1/models/gpt-4o", "anthropic-version: 2023-06-01\r\n".to_owned(), "type", "model"),
        ("/v1beta/models/gpt-4o", String::new(), "name", "models/gpt-4o"),
    ] {
        let one = house.gateway.ask(&bare("GET", path, &format!("{}{fields}", bearer(ACCESS_KEY))));
        assert_eq!((one.status, &one.json()[member]), (200, &json!(value)), "{path}: {}", one.text());
    }
    house.gateway.page("/v1/models/nobody").must_be_fault(404, "model_not_found");
}

#[test]
fn googles_path_answers_on_both_versions() {
    let house = House::new();
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    for path in ["/v1/models/gemini-3.5-flash:generateContent", "/v1beta/models/gemini-3.5-flash:generateContent"] {
        let said = good(&house.gateway, path, &body).json();
        assert!(said["candidates"][0]["content"]["parts"][0]["text"].is_string(), "{path}: {said}");
        let counted = good(&house.gateway, &path.replace("generateContent", "countTokens"), &body);
        assert!(counted.json()["totalTokens"].as_u64().is_some_and(|count| count > 0), "{}", counted.text());
        assert_eq!(counted.header("x-igris-estimated"), None, "Google itself has counted");
    }
    house.must_be_clean();
}

// ---- Paths and methods ----------------------------------------------------------------------------------------------------

#[test]
fn slashes_and_doubled_versions_are_forgiven_or_explained() {
    let house = House::new();
    let body = json!({ "model": "openai/text-embedding-3-small", "input": "x" });
    good(&house.gateway, "/v1/embeddings/", &body);
    assert_eq!(house.gateway.page("/v1/models/").status, 200);
    assert_eq!(house.gateway.page("/v1/files/").status, 200);
    for path in ["/v1/v1/embeddings", "/v1/v1/chat/completions"] {
        let answer = ask(&house.gateway, path, &body);
        answer.must_be_fault(404, "not_found");
        assert!(answer.message().contains("/v1 twice"), "{}", answer.message());
    }
}

#[test]
fn wrong_methods_are_told_the_right_one() {
    let house = House::new();
    for (method, path) in
        paths().into_iter().filter(|(method, path)| *method == "POST" && !path.contains("passthrough"))
    {
        if path == "/v1/files" {
            continue;
        }
        for wrong in ["GET", "DELETE", "PUT"] {
            let answer = house.gateway.ask(&bare(wrong, path, &bearer(ACCESS_KEY)));
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(method)),
                "{wrong} {path}: {}",
                answer.text()
            );
        }
    }
    let answer = house.gateway.ask(&with_key("POST", "/v1/realtime?model=gpt-4o", ACCESS_KEY));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{}", answer.text());
    let answer = house.gateway.ask(&with_key("POST", "/v1/models", ACCESS_KEY));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{}", answer.text());
    for (method, path) in [("HEAD", "/"), ("HEAD", "/v1/models"), ("OPTIONS", "/"), ("OPTIONS", "*")] {
        let mut client = house.gateway.client();
        client.send(&bare(method, path, &bearer(ACCESS_KEY)));
        let answer = if method == "HEAD" { client.answer_to_head() } else { client.answer() };
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        assert_eq!(client.ask(&bare("GET", "/v1/health/live", "")).status, 200, "{method} {path} left the line clean");
    }
}

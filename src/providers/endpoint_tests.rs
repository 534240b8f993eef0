//! Every dialect's targets, the wires that are chosen, and names that would leave their place.

use super::*;
use crate::providers::{Platform, table};
use proptest::prelude::*;

fn spec(name: &str, base_url: &str) -> ProviderSpec {
    let row = table::find(name).expect("a known row");
    ProviderSpec::built_in(row, Some(base_url)).expect("an address")
}

fn vertex() -> ProviderSpec {
    let (project, region) = (Some("my-project".into()), Some("us-east5".into()));
    let platform = Platform { project, region, ..Platform::default() };
    ProviderSpec { platform, ..spec("vertex", "https://us-east5-aiplatform.googleapis.com") }
}

fn versioned(version: &str, spec: ProviderSpec) -> ProviderSpec {
    ProviderSpec { platform: Platform { api_version: Some(version.into()), ..Platform::default() }, ..spec }
}

fn at(spec: &ProviderSpec, wire: Wire, operation: Operation<'_>, model: &str, stream: bool) -> String {
    let mut out = String::from("/base");
    match target(spec, wire, operation, model, stream, &mut out) {
        Ok(()) => out.strip_prefix("/base").expect("what stood before stays").to_owned(),
        Err(reason) => {
            assert_eq!(out, "/base", "nothing is left of a target that is none");
            format!("{reason:?}")
        }
    }
}

#[test]
fn openai_shaped_providers_have_openais_paths() {
    let openai = spec("openai", "https://api.openai.com/v1");
    for (wire, operation, expected) in [
        (Wire::Chat, Operation::Generate, "/chat/completions"),
        (Wire::Responses, Operation::Generate, "/responses"),
        (Wire::Responses, Operation::CountTokens, "/responses/input_tokens"),
        (Wire::Chat, Operation::CountTokens, "Operation"),
        (Wire::Chat, Operation::Completions, "/completions"),
        (Wire::Chat, Operation::Embeddings, "/embeddings"),
        (Wire::Chat, Operation::Moderations, "/moderations"),
        (Wire::Chat, Operation::Rerank, "/rerank"),
        (Wire::Chat, Operation::Images("edits"), "/images/edits"),
        (Wire::Chat, Operation::Audio("speech"), "/audio/speech"),
        (Wire::Chat, Operation::Audio(""), "Operation"),
        (Wire::Responses, Operation::StoredResponse("resp_1/cancel"), "/responses/resp_1/cancel"),
        (Wire::Chat, Operation::Files(""), "/files"),
        (Wire::Chat, Operation::Files("file-1/content"), "/files/file-1/content"),
        (Wire::Chat, Operation::Files("../models"), "Name"),
        (Wire::Chat, Operation::Files("a//b"), "Name"),
        (Wire::Chat, Operation::Files("a?b#c"), "/files/a%3Fb%23c"),
        (Wire::Chat, Operation::Batches("batch_1"), "/batches/batch_1"),
    ] {
        assert_eq!(at(&openai, wire, operation, "gpt-5.6-sol", true), expected, "{operation:?}");
    }
}

#[test]
fn azure_has_two_generations_of_paths() {
    let v1 = spec("azure", "https://r.openai.azure.com/openai/v1/");
    assert_eq!(at(&v1, Wire::Chat, Operation::Generate, "dep", false), "/chat/completions");
    assert_eq!(at(&v1, Wire::Responses, Operation::Generate, "dep", false), "/responses");
    let preview = versioned("preview", v1);
    let expected = "/embeddings?api-version=preview";
    assert_eq!(at(&preview, Wire::Chat, Operation::Embeddings, "dep", false), expected);
    for base_url in ["https://r.openai.azure.com", "https://proxy.example/azure"] {
        let old = versioned("2025-04-01-preview", spec("azure", base_url));
        let expected = "/openai/deployments/my%2Fdep/chat/completions?api-version=2025-04-01-preview";
        assert_eq!(at(&old, Wire::Chat, Operation::Generate, "my/dep", true), expected);
    }
    let old = spec("azure", "https://r.openai.azure.com/openai");
    let expected = "/deployments/dep/images/generations?api-version=2024-10-21";
    assert_eq!(at(&old, Wire::Chat, Operation::Images("generations"), "dep", true), expected);
    assert_eq!(at(&old, Wire::Chat, Operation::Files("f-1"), "dep", true), "/files/f-1?api-version=2024-10-21");
    assert_eq!(at(&old, Wire::Chat, Operation::Rerank, "dep", true), "Operation");
}

#[test]
fn formats_of_their_own_have_paths_of_their_own() {
    let anthropic = spec("anthropic", "https://api.anthropic.com");
    let google = spec("google", "https://generativelanguage.googleapis.com");
    let bedrock = spec("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com");
    let cohere = spec("cohere", "https://api.cohere.com");
    let (generate, count) = (Operation::Generate, Operation::CountTokens);
    for (spec, operation, model, stream, expected) in [
        (&anthropic, generate, "m", true, "/v1/messages"),
        (&anthropic, count, "m", false, "/v1/messages/count_tokens"),
        (&anthropic, Operation::Batches("b_1/results"), "m", false, "/v1/messages/batches/b_1/results"),
        (&anthropic, Operation::Embeddings, "m", false, "Operation"),
        (&google, generate, "gemini-pro-latest", false, "/v1beta/models/gemini-pro-latest:generateContent"),
        (&google, generate, "models/gemini-x", true, "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        (&google, count, "g", false, "/v1beta/models/g:countTokens"),
        (&google, Operation::Embeddings, "g", false, "/v1beta/models/g:batchEmbedContents"),
        (&google, Operation::Rerank, "g", false, "Operation"),
        (&bedrock, generate, "us.anthropic.c-v1:0", false, "/model/us.anthropic.c-v1%3A0/converse"),
        (
            &bedrock,
            generate,
            "arn:aws:bedrock:x::p/y",
            true,
            "/model/arn%3Aaws%3Abedrock%3Ax%3A%3Ap%2Fy/converse-stream",
        ),
        (&bedrock, count, "m", false, "/model/m/count-tokens"),
        (&cohere, generate, "command-a", true, "/v2/chat"),
        (&cohere, Operation::Embeddings, "e", false, "/v2/embed"),
        (&cohere, Operation::Rerank, "r", false, "/v2/rerank"),
    ] {
        let spoken = wire(spec, Wire::Chat, model, &[]);
        assert_eq!(at(spec, spoken, operation, model, stream), expected);
    }
}

#[test]
fn vertex_names_project_place_and_publisher() {
    let start = "/v1/projects/my-project/locations/us-east5/publishers";
    for (operation, model, stream, end) in [
        (Operation::Generate, "gemini-x", false, "/google/models/gemini-x:generateContent"),
        (Operation::Generate, "gemini-x", true, "/google/models/gemini-x:streamGenerateContent?alt=sse"),
        (Operation::CountTokens, "gemini-x", false, "/google/models/gemini-x:countTokens"),
        (
            Operation::Generate,
            "claude-opus-4-5@20251101",
            false,
            "/anthropic/models/claude-opus-4-5@20251101:rawPredict",
        ),
        (Operation::Generate, "claude-x", true, "/anthropic/models/claude-x:streamRawPredict"),
        (Operation::CountTokens, "claude-x", false, "/anthropic/models/count-tokens:rawPredict"),
    ] {
        let spoken = wire(&vertex(), Wire::Chat, model, &[]);
        assert_eq!(at(&vertex(), spoken, operation, model, stream), format!("{start}{end}"));
    }
    assert_eq!(messages_version(&vertex()), Some("vertex-2023-10-16"));
    assert_eq!(messages_version(&spec("anthropic", "https://api.anthropic.com")), None);
    let nowhere = spec("vertex", "https://aiplatform.googleapis.com");
    assert_eq!(at(&nowhere, Wire::Gemini, Operation::Generate, "gemini-x", false), "Place");
}

#[test]
fn the_wire_is_the_clients_where_the_provider_speaks_it() {
    let openai = spec("openai", "https://api.openai.com/v1");
    let groq = spec("groq", "https://api.groq.com/openai/v1");
    let azure_v1 = spec("azure", "https://r.openai.azure.com/openai/v1");
    let azure = spec("azure", "https://r.openai.azure.com");
    let both: Vec<Box<str>> = vec!["/v1/chat/completions".into(), "/v1/responses".into()];
    let (chat_only, responses_only) = (&both[..1], &both[1..]);
    for (spec, client, endpoints, expected) in [
        (&openai, Wire::Chat, &[][..], Wire::Chat),
        (&openai, Wire::Responses, &[], Wire::Responses),
        (&openai, Wire::Messages, &[], Wire::Chat),
        (&openai, Wire::Gemini, &both, Wire::Chat),
        (&openai, Wire::Responses, &both, Wire::Responses),
        (&openai, Wire::Responses, chat_only, Wire::Chat),
        (&openai, Wire::Chat, responses_only, Wire::Responses),
        (&openai, Wire::Messages, responses_only, Wire::Responses),
        (&groq, Wire::Responses, &[], Wire::Chat),
        (&groq, Wire::Chat, responses_only, Wire::Chat),
        (&azure_v1, Wire::Responses, &[], Wire::Responses),
        (&azure, Wire::Responses, &[], Wire::Chat),
    ] {
        assert_eq!(wire(spec, client, "m", endpoints), expected, "{} {client:?} {endpoints:?}", spec.id);
    }
    for name in ["openai", "xai", "kimi", "qwen", "minimax"] {
        assert!(table::find(name).is_some_and(|row| row.quirks.responses), "{name}");
    }
    assert_eq!(wire(&vertex(), Wire::Chat, "claude-opus-4-5@20251101", &[]), Wire::Messages);
    assert_eq!(wire(&vertex(), Wire::Messages, "gemini-x", &[]), Wire::Gemini);
    let anthropic = spec("anthropic", "https://api.anthropic.com");
    assert_eq!(wire(&anthropic, Wire::Responses, "m", &[]), Wire::Messages);
}

proptest! {
    /// Whatever a model is called, a target keeps its shape: as many slashes as with a plain name, no query of its own, and only
    /// bytes that a request line may hold.
    #[test]
    fn no_name_leaves_its_place(model in "(\\.|/|\\\\|\\?|#|%|:|@|;|\\PC){0,12}", stream: bool) {
        for spec in [
            spec("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
            spec("google", "https://generativelanguage.googleapis.com"),
            spec("azure", "https://r.openai.azure.com"),
            vertex(),
        ] {
            let mut out = String::new();
            if target(&spec, wire(&spec, Wire::Chat, &model, &[]), Operation::Generate, &model, stream, &mut out).is_err() {
                prop_assert!(out.is_empty());
                continue;
            }
            let mut plain = String::new();
            prop_assert!(target(&spec, Wire::Gemini, Operation::Generate, "m", stream, &mut plain).is_ok());
            let shape = |text: &str| ["/", "?", "&", "="].map(|mark| text.matches(mark).count());
            prop_assert_eq!(shape(&out), shape(&plain), "{}", &out);
            prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\'));
            prop_assert!(out.split(['/', '?']).all(|segment| segment != "." && segment != ".."));
        }
    }
}

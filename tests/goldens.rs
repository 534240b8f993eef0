//! The sweep over every golden file: each provider has them in each direction, and they hold under the public codecs.
//!
//! The tests beside each codec compare with what a golden expects in that codec's own words; here one reader takes all of them, so that no
//! file is forgotten, and asks what must hold for every format alike: sums of usage, any split, any cut, and any client before any provider.

#[path = "goldens/crossing.rs"]
mod crossing;
#[path = "goldens/files.rs"]
mod files;
#[path = "goldens/requests.rs"]
mod requests;
#[path = "goldens/streams.rs"]
mod streams;

use files::{FOLDERS, Golden};
use igris::chat::request::Refusal;
use igris::dialects::{Aim, Wire, Written, anthropic};
use igris::domain::token::Usage;
use igris::providers::Dialect;
use igris::providers::table::ROWS;
use serde_json::{Value, json};

/// Providers that answer and stream as another does, plus members that the reader passes over, so that its goldens stand for them. Their
/// requests and faults have goldens of their own.
const ANSWERS_AS: &[(&str, &str)] =
    &[("fireworks", "openai"), ("ollama", "openai"), ("perplexity", "openai"), ("vertex", "google")];

/// Providers whose requests are those of others, in these folders: Vertex takes Gemini's and Claude's, and how its Claude differs is there.
const REQUESTS_AS: &[(&str, &[&str])] = &[("vertex", &["google", "anthropic"])];

#[test]
fn every_row_has_goldens_in_each_direction() {
    let mut missing = Vec::new();
    for row in ROWS {
        let answers = ANSWERS_AS.iter().find(|(id, _)| *id == row.id).map_or(row.id, |(_, other)| other);
        let requests = REQUESTS_AS.iter().find(|(id, _)| *id == row.id).map_or(vec![row.id], |(_, all)| all.to_vec());
        let mut need = |folder: &str, kind: &str, ends: &[&str]| {
            if files::in_folder(folder, kind, ends).is_empty() {
                missing.push(format!("{}: no {folder}/{kind}*", row.id));
            }
        };
        requests.iter().for_each(|folder| need(folder, "request-", &[".json"]));
        need(answers, "response-", &[".json"]);
        need(answers, "stream-", &[".txt", ".hex"]);
        need(row.id, "fault-", &[".json"]);
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn sharing_is_stated_only_where_it_is_used_and_between_like_formats() {
    let wire_of = |name: &str| FOLDERS.iter().find(|(folder, _)| *folder == name).map(|(_, wire)| *wire);
    for (id, other) in ANSWERS_AS {
        assert!(ROWS.iter().any(|row| row.id == *id), "{id} is no row");
        assert_eq!(wire_of(id), wire_of(other), "{id} does not answer as {other}");
        let own =
            files::in_folder(id, "response-", &[".json"]).len() + files::in_folder(id, "stream-", &[".json"]).len();
        assert_eq!(own, 0, "{id} has goldens of its own");
    }
    for row in ROWS.iter().filter(|row| matches!(row.dialect, Dialect::OpenAi | Dialect::Azure)) {
        assert_eq!(wire_of(row.id), Some(Wire::Chat), "{}", row.id);
    }
}

#[test]
fn every_file_is_of_a_known_kind_in_a_known_folder() {
    for entry in std::fs::read_dir(files::root()).expect("the goldens") {
        let folder = entry.expect("an entry").file_name().into_string().expect("a plain name");
        assert!(FOLDERS.iter().any(|(name, _)| *name == folder), "{folder} is not swept");
        for golden in files::in_folder(&folder, "", &[""]) {
            let (_, file) = golden.name.split_once('/').expect("folder and file");
            let kinds = ["request-", "response-", "stream-", "fault-", "client-request-", "client-stream-"];
            assert!(kinds.iter().any(|kind| file.starts_with(kind)), "{}", golden.name);
            // A stream is two files, its bytes and its deltas.
            if file.starts_with("stream-") {
                let other =
                    ["json", "txt", "hex"].iter().filter(|end| golden.path.with_extension(end).is_file()).count();
                assert_eq!(other, 2, "{} stands alone", golden.name);
            }
        }
    }
}

// ---- Requests ---------------------------------------------------------------------------------------------------------

/// Reads a request golden as the client it names and writes it for its aim. What was left out: by the reader, then by the writer.
fn written(golden: &Golden, case: &Value) -> Result<(Vec<String>, Written), Refusal> {
    let reader = files::client(case).client_side().expect("clients speak it").read_request;
    let request = reader(case["request"].to_string().as_bytes())?;
    let abilities = files::abilities(&case["aim"]["abilities"]);
    let text = |name: &str| case["aim"][name].as_str().unwrap_or_else(|| panic!("{}: no {name}", golden.name));
    let aim = Aim { model: text("model"), abilities: &abilities, provider: text("provider") };
    // Claude on other people's platforms: the same format in another envelope.
    let write = match (golden.wire, aim.provider) {
        (Wire::Messages, "vertex") => anthropic::write_for_vertex,
        (Wire::Messages, "bedrock") => anthropic::write_for_bedrock_invoke,
        (wire, _) => wire.provider_side().write_request,
    };
    let written = write(&request, &aim)?;
    Ok((request.dropped, written))
}

#[test]
fn every_request_golden_is_written_as_it_says() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for golden in files::everywhere("request-", &[".json"]) {
        let case = golden.json();
        count += 1;
        match written(&golden, &case) {
            Err(refusal) if case["refused"]["param"] == refusal.param.as_ref() => {
                assert!(refusal.message.ends_with('.'), "{}: no sentence: {}", golden.name, refusal.message);
            }
            Err(refusal) => wrong.push(format!("{}: refused: {}: {refusal}", golden.name, refusal.param)),
            Ok((read, written)) => {
                let body: Value = serde_json::from_slice(&written.body).expect("a body is JSON");
                // Goldens list what the writer left out, some also what the reader did before it.
                let both = json!([read, written.dropped.clone()].concat());
                if body != case["expect"] {
                    wrong.push(format!("{}:\n  found    {body}\n  expected {}", golden.name, case["expect"]));
                } else if case["dropped"] != json!(written.dropped) && case["dropped"] != both {
                    wrong.push(format!("{}: dropped {both}", golden.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} goldens were found");
}

// ---- Answers ------------------------------------------------------------------------------------------------------------

/// Whether the parts of a usage fit into their wholes.
fn adds_up(usage: &Usage) -> bool {
    usage.cached_input + usage.cache_write <= usage.input
        && usage.cache_write_long <= usage.cache_write
        && usage.reasoning <= usage.output
        && usage.audio_input <= usage.input
        && usage.audio_output <= usage.output
}

#[test]
fn every_answer_golden_reads_and_its_usage_adds_up() {
    let mut stated = 0;
    for golden in files::everywhere("response-", &[".json"]) {
        let case = golden.json();
        let read = (golden.wire.provider_side().read_response)(case["body"].to_string().as_bytes());
        let unreadable = case.get("unreadable").is_some() || case["expect"] == "unreadable";
        assert_eq!(read.is_err(), unreadable, "{}: {read:?}", golden.name);
        let Some(usage) = read.ok().and_then(|response| response.usage) else { continue };
        assert!(adds_up(&usage), "{}: {usage:?}", golden.name);
        stated += 1;
    }
    assert!(stated > 30, "only {stated} answers state their usage");
}

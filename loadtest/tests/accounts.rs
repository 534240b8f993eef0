//! A provider's own books: sums for each key and model, and a receipt for each request that named itself, in bounded memory.

use igris_load::Simulator;
use igris_load::simulator::{Account, AccountCounts, Fault, Outcome, When, masked};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FIRST: &str = "sk-sim-0123456789abcdef-aaaa";
const SECOND: &str = "sk-sim-0123456789abcdef-bbbb";
const SOON: Duration = Duration::from_secs(5);

/// One request on a connection of its own; reads so many bytes of its answer at most.
fn ask(simulator: &Simulator, key: &str, id: &str, model: &str, members: &str, at_most: usize) -> usize {
    let body = format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"sim:tokens=8;gap=5ms a b c"}}]{members}}}"#
    );
    let length = body.len();
    let mut stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n\
         x-request-id: {id}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("the simulator reads");
    let (mut read, mut room) = (0, [0; 256]);
    while read < at_most {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => break,
            Ok(got) => read += got,
        }
    }
    read
}

fn account(key: &str, model: &str) -> Account {
    Account { key: masked(key).into(), model: model.into() }
}

#[test]
fn each_key_and_model_has_its_sums_and_each_request_its_receipt() {
    let simulator = Simulator::builder()
        .keys([FIRST, SECOND])
        .models(["gpt-4o", "gpt-4o-mini"])
        .counters_only()
        .receipts("X-Request-Id", 100)
        .start()
        .expect("a loopback port");
    ask(&simulator, FIRST, "one", "gpt-4o", "", usize::MAX);
    ask(&simulator, FIRST, "two", "gpt-4o-mini", ",\"stream\":true", usize::MAX);
    ask(&simulator, SECOND, "three", "gpt-4o", ",\"stream\":true", 300);
    ask(&simulator, "sk-sim-unknown-0123456789-cccc", "four", "gpt-4o", "", usize::MAX);
    assert!(simulator.truth().wait_ended(4, SOON), "all have ended");
    let accounts = simulator.truth().accounts();
    let first = accounts[&account(FIRST, "gpt-4o")];
    assert_eq!((first.requests, first.ended, first.completed, first.completion_tokens), (1, 1, 1, 8));
    assert!(first.prompt_tokens > 0);
    let gone = accounts[&account(SECOND, "gpt-4o")];
    assert_eq!((gone.requests, gone.completed, gone.client_closed), (1, 0, 1));
    assert!(gone.completion_tokens < 8 && gone.prompt_tokens == first.prompt_tokens, "{gone:?}");
    let refused = accounts[&account("sk-sim-unknown-0123456789-cccc", "gpt-4o")];
    assert_eq!((refused.requests, refused.completed, refused.prompt_tokens), (1, 1, 0), "a refusal costs nothing");
    let (receipts, lost) = simulator.truth().receipts();
    let mut ids: Vec<&str> = receipts.iter().map(|receipt| &*receipt.id).collect();
    ids.sort_unstable();
    assert_eq!((ids, lost), (vec!["four", "one", "three", "two"], 0));
    let stream = receipts.iter().find(|receipt| &*receipt.id == "two").expect("it is there");
    assert_eq!((stream.stream, stream.status, stream.completion_tokens), (true, 200, 8));
    assert_eq!(stream.account, account(FIRST, "gpt-4o-mini"));
    // The whole is the sum of its parts.
    let counts = simulator.truth().counts();
    let sum = |of: fn(&AccountCounts) -> u64| accounts.values().map(of).sum::<u64>();
    assert_eq!(sum(|sums| sums.requests), counts.requests);
    assert_eq!(sum(|sums| sums.ended), counts.ended);
    assert_eq!(sum(|sums| sums.completed + sums.client_closed + sums.faulted), counts.ended);
    assert_eq!(sum(|sums| sums.prompt_tokens), counts.prompt_tokens);
    assert_eq!(sum(|sums| sums.completion_tokens), counts.completion_tokens);
    let told = receipts.iter().map(|receipt| u64::from(receipt.completion_tokens)).sum::<u64>();
    assert_eq!(told, counts.completion_tokens);
}

#[test]
fn receipts_are_bounded_and_what_finds_no_room_is_counted() {
    let fault = Fault::status(503);
    let simulator = Simulator::builder().fault(fault, When::Nth(1)).counters_only().receipts("x-request-id", 2);
    let simulator = simulator.start().expect("a loopback port");
    for id in ["one", "two", "three"] {
        ask(&simulator, FIRST, id, "gpt-4o", "", usize::MAX);
    }
    assert!(simulator.truth().wait_ended(3, SOON), "all have ended");
    let (receipts, lost) = simulator.truth().receipts();
    assert_eq!((receipts.len(), lost), (2, 1));
    assert_eq!((receipts[0].status, &receipts[0].outcome), (503, &Outcome::Faulted("503".to_owned())));
    assert_eq!(simulator.truth().accounts()[&account(FIRST, "gpt-4o")].requests, 3, "the sums know them all");
}

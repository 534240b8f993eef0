//! What an exchange pays to know what is asked for and what that needs, in one pass; and what rules for `auto` add.
//!
//! Run with `cargo bench --bench need`; say the machine and run twice, for a shared one moves by a tenth.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use igris::data_plane::ask::Ask;
use igris::data_plane::features;
use igris::data_plane::surface::{Asked, Task};
use igris::dialects::Wire;
use igris::http::head::RequestHead;
use igris::routing::affinity;
use igris::routing::semantic;
use serde_json::json;
use std::hint::black_box;

fn chat(turns: usize) -> String {
    let content = "Explain how a reverse proxy keeps its connections to an upstream alive, what happens when one is closed under \
                   a request, and which requests may be sent again.\nQuote the \"idempotent\" methods and say why POST is not one.";
    let role = |turn: usize| if turn.is_multiple_of(2) { "user" } else { "assistant" };
    let messages: Vec<_> = (0..turns).map(|turn| json!({"role": role(turn), "content": content})).collect();
    json!({"model": "auto", "temperature": 0.7, "max_tokens": 512, "stream": true, "messages": messages}).to_string()
}

fn picture() -> String {
    let url = format!("data:image/png;base64,{}", "Ab3/".repeat(250_000));
    let parts = json!([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]);
    json!({"model": "auto", "messages": [{"role": "user", "content": parts}]}).to_string()
}

fn read(body: &str) -> Ask {
    let asked = Asked { wire: Wire::Chat, task: Task::Generate, model: None, delivery: None };
    let Ok(ask) = Ask::read(body.as_bytes(), &RequestHead::default(), b"", &asked) else { panic!("a usable body") };
    ask
}

fn needs(criterion: &mut Criterion) {
    for (name, body) in [("chat 2 KB", chat(8)), ("chat 100 KB", chat(400)), ("picture of 1 MB", picture())] {
        let ask = read(&body);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("ask", |bench| {
            bench.iter_batched(|| (), |()| read(black_box(&body)), BatchSize::SmallInput)
        });
        group.bench_function("last words", |bench| {
            bench.iter(|| features::last_words(&ask, black_box(body.as_bytes())))
        });
        group.finish();
    }
}

fn rules(criterion: &mut Criterion) {
    let short = "Please debug this Python function, it raises an exception when I call it twice.";
    let long = short.repeat(50);
    let mut group = criterion.benchmark_group("semantic");
    group.bench_function("classify 80 B", |bench| bench.iter(|| semantic::classify(black_box(short))));
    group.bench_function("classify 4 KB", |bench| bench.iter(|| semantic::classify(black_box(&long))));
    group.bench_function("digest 4 KB", |bench| bench.iter(|| affinity::digest(0, black_box(long.as_bytes()))));
    group.finish();
}

criterion_group!(benches, needs, rules);
criterion_main!(benches);

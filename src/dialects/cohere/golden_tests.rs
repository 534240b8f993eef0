//! The golden files of Cohere: requests, answers and streams.

use super::PROVIDER;
use crate::dialects::provider_goldens::{cases, check_requests, check_responses, check_stream};

#[test]
fn requests_are_written_as_the_goldens_say() {
    check_requests("cohere", &PROVIDER);
}

#[test]
fn answers_are_read_as_the_goldens_say() {
    check_responses("cohere", &PROVIDER);
}

#[test]
fn streams_are_read_as_the_goldens_say() {
    let goldens = cases("cohere", "stream-", ".json");
    for ((name, text), (_, golden)) in cases("cohere", "stream-", ".txt").into_iter().zip(goldens) {
        check_stream(&name, text.as_bytes(), PROVIDER.stream_reader, &golden);
    }
}

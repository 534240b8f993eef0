//! The golden files of Bedrock: requests, answers, and streams as hexadecimal text, a frame a line. The frames were made by another program
//! than the one that reads them.

use super::PROVIDER;
use crate::dialects::provider_goldens::{cases, check_requests, check_responses, check_stream};

#[test]
fn requests_are_written_as_the_goldens_say() {
    check_requests("bedrock", &PROVIDER);
}

#[test]
fn answers_are_read_as_the_goldens_say() {
    check_responses("bedrock", &PROVIDER);
}

#[test]
fn streams_are_read_as_the_goldens_say() {
    for ((name, hex), (_, golden)) in
        cases("bedrock", "stream-", ".hex").into_iter().zip(cases("bedrock", "stream-", ".json"))
    {
        check_stream(&name, &unhex(&hex), PROVIDER.stream_reader, &golden);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|byte| char::from(byte).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

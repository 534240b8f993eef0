//! One exchange on one line.

use crate::config::{AccessField, AccessLog, Redaction};
use crate::domain::money::Money;
use crate::domain::token::Usage;
use crate::report::AttemptReport;
use crate::report::exchange::ExchangeReport;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends the line with its line feed.
pub(super) fn write(exchange: &ExchangeReport, terms: &AccessLog, out: &mut Vec<u8>) {
    let member = |field: &AccessField| (field.as_str().to_owned(), value(*field, exchange, terms.client_address));
    let line: Map<String, Value> = terms.fields.iter().map(member).collect();
    // Memory takes every byte, and a map of texts and numbers can always be written.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

fn value(field: AccessField, exchange: &ExchangeReport, redaction: Redaction) -> Value {
    let served = served(&exchange.attempts);
    let tokens =
        |part: fn(&Usage) -> u64| json!(exchange.attempts.iter().map(|attempt| part(&attempt.usage)).sum::<u64>());
    let asker = exchange.asker.as_ref();
    match field {
        AccessField::Time => exchange.began.to_rfc3339().into(),
        AccessField::RequestId => exchange.id.to_string().into(),
        AccessField::TraceId => format!("{:032x}", exchange.trace.id).into(),
        AccessField::Tenant => asker.map(|asker| asker.tenant.as_str()).into(),
        AccessField::AccessKey => asker.map(|asker| asker.access_key.to_string()).into(),
        AccessField::Client => exchange.client.and_then(|address| redacted(address, redaction)).into(),
        AccessField::Method => exchange.method.into(),
        AccessField::Surface => exchange.surface.as_str().into(),
        AccessField::Path => exchange.surface.template().into(),
        AccessField::Status => exchange.status.into(),
        AccessField::Finish => exchange.finish.as_str().into(),
        AccessField::Error => exchange.error.as_deref().into(),
        AccessField::ModelRequested => exchange.model.as_deref().into(),
        AccessField::ModelUsed => served.map(|attempt| &*attempt.model).into(),
        AccessField::Provider => served.map(|attempt| attempt.provider.as_str()).into(),
        AccessField::Policy => exchange.policy.map(|policy| policy.as_str()).into(),
        AccessField::Attempts => exchange.attempts.len().into(),
        AccessField::Stream => served.map(|attempt| attempt.stream).into(),
        AccessField::InputTokens => tokens(|usage| usage.input),
        AccessField::OutputTokens => tokens(|usage| usage.output),
        AccessField::CachedTokens => tokens(|usage| usage.cached_input),
        AccessField::UsageSource => served.map(|attempt| attempt.usage_source.name()).into(),
        AccessField::Cost => cost(&exchange.attempts).map(Money::to_usd).into(),
        AccessField::Overhead => exchange.times.overhead_us.into(),
        AccessField::FirstByte => Some(exchange.times.first_byte_us).filter(|us| *us > 0).into(),
        AccessField::FirstToken => served.map(|attempt| attempt.first_token_us).filter(|us| *us > 0).into(),
        AccessField::Total => exchange.times.total_us.into(),
        AccessField::BytesIn => exchange.bytes_in.into(),
        AccessField::BytesOut => exchange.bytes_out.into(),
    }
}

/// The attempt that the client saw.
fn served(attempts: &[AttemptReport]) -> Option<&AttemptReport> {
    attempts.iter().find(|attempt| attempt.last).or(attempts.last())
}

/// What all attempts cost; `None` where no price is known of any.
pub(in crate::control_plane) fn cost(attempts: &[AttemptReport]) -> Option<Money> {
    let mut known = attempts.iter().filter_map(|attempt| attempt.cost).peekable();
    known.peek()?;
    Some(known.sum())
}

/// An address as far as the owner wants it told.
fn redacted(address: IpAddr, redaction: Redaction) -> Option<String> {
    let address = match (redaction, address) {
        (Redaction::None, _) => return None,
        (Redaction::Full, address) => address,
        (Redaction::Truncated, IpAddr::V4(address)) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        (Redaction::Truncated, IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 80 << 80)),
    };
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_far_as_the_owner_wants() {
        let told = |address: &str, redaction| redacted(address.parse().expect("an address"), redaction);
        assert_eq!(told("203.0.113.77", Redaction::Truncated).as_deref(), Some("203.0.113.0"));
        assert_eq!(told("203.0.113.77", Redaction::Full).as_deref(), Some("203.0.113.77"));
        assert_eq!(told("2001:db8:aa:bb::7", Redaction::Truncated).as_deref(), Some("2001:db8:aa::"));
        assert_eq!(told("203.0.113.77", Redaction::None), None);
    }
}

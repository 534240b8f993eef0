//! The one inner language every provider speaks to: requests, answers, deltas and faults as values.
//!
//! Pure values and parsers: no sockets, no clock, no knowledge of a particular provider. What differs between providers arrives as
//! data (see [`fault::FaultBook`] and [`ability::Abilities`]) from their rows. How each wire format says these things is `dialects`' business.

pub mod ability;
pub mod carry;
pub mod delta;
pub mod fault;
mod fault_body;
mod fault_book;
pub mod request;
pub mod response;
pub mod retry_hint;
pub mod shown;

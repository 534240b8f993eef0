//! The one inner language every provider speaks to.
//!
//! Pure values and parsers: no sockets, no clock, no knowledge of a particular provider. What differs between providers arrives as
//! data (see [`fault::FaultBook`]) from their rows.

pub mod fault;
mod fault_body;
mod fault_book;
pub mod retry_hint;

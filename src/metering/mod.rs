//! Tokens and prices in, money out.
//!
//! Pure: no sockets, no clock, no floats (rule L1). `usage` reads what a provider says it counted, `tap` finds that inside a relayed
//! stream, `price` turns both into money, on the `terms` of the request.

pub mod price;
pub mod tap;
pub mod terms;
pub mod usage;

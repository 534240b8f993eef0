//! Tokens and prices in, money out.
//!
//! Pure: no sockets, no clock, no floats (rule L1). `usage` reads what a provider says it counted, in the one pass over an answer that
//! `answer` makes, and `mould` reads an answer by the last one like it; `tap` finds it inside a relayed stream; `price` turns both into money, on the `terms` of the request.

pub mod answer;
pub mod mould;
pub mod price;
pub mod tap;
pub mod terms;
pub mod usage;

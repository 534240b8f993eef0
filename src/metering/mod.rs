//! Tokens and prices in, money out.
//!
//! Pure: no sockets, no clock, no floats (rule L1). `usage` reads what a provider says it counted, `tap` finds that inside a relayed
//! stream, `price` turns both into money. Which price holds is decided before `price` is called, by the catalogue.

pub mod price;
pub mod tap;
pub mod usage;

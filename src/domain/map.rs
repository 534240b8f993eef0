//! Maps by ids and names, for questions that every request asks.
//!
//! The hash costs a few instructions where the standard one costs some hundred. It is seeded at random in each process, so that nobody
//! outside can reckon which names meet; it is no cryptographic hash, so it stands only where the owner chooses the keys or a bound of
//! `limits` holds their number.

use foldhash::fast::RandomState;
use std::collections::HashMap;

/// A map from ids or names.
pub type Map<K, V> = HashMap<K, V, Seeded>;

/// How the keys of a [`Map`] are hashed.
pub type Seeded = RandomState;

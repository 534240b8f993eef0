//! What `model: "auto"` stands for: the owner's rules, matched against plain features of a request.

use std::sync::Arc;

/// One row of the owner's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The category, as answers name it.
    pub category: Arc<str>,
    /// The model name to ask for in place of `auto`.
    pub model: Arc<str>,
}

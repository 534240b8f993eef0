//! A lane: one model at one provider under one credential, the unit that is scored, halted and counted.

use crate::domain::id::{CredentialId, ProviderId};
use std::sync::Arc;

/// Names a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The provider.
    pub provider: ProviderId,
    /// The model, by the provider's name.
    pub model: Arc<str>,
    /// The credential; `None` where the provider wants none.
    pub credential: Option<CredentialId>,
}

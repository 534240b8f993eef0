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

/// No credential has this id: those of ours begin with a time that is far away.
const ELSEWHERE: CredentialId = CredentialId::from_bits(u128::MAX);

impl LaneKey {
    /// A model at a provider as other machines see it, whatever their credentials. Nothing is ever sent on it.
    pub fn elsewhere(provider: ProviderId, model: Arc<str>) -> Self {
        Self { provider, model, credential: Some(ELSEWHERE) }
    }

    /// Whether it is one of other machines.
    pub fn is_elsewhere(&self) -> bool {
        self.credential == Some(ELSEWHERE)
    }
}

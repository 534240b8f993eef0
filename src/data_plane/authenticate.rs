//! Who asks: the access key that a request shows, and whether it may be used for this, from there.
//!
//! One lookup by the whole digest of what was shown (rule V10). In order: the key (401), its sources, its scopes, its endpoints (403).
//! Unknown, revoked and expired keys take one path to one answer (rule V11); nothing is cached that a snapshot does not say.

use super::closing::client_of;
use super::exchange::Exchange;
use super::fault::{Fault, KeyTrouble};
use super::surface::Task;
use crate::domain::endpoint::Endpoint;
use crate::domain::scope::Scope;
use crate::http::head::{Presented, RequestHead};
use crate::snapshot::{AccessKey, Snapshot};
use crate::vault::access_key;

impl Exchange<'_> {
    /// The access key of a request that a model answers, if it may ask for this task.
    ///
    /// # Errors
    /// As [`Exchange::authenticate`]; [`Fault::EndpointNotAllowed`].
    pub fn authenticate_task<'s>(
        &self,
        snapshot: &'s Snapshot,
        head: &RequestHead,
        bytes: &[u8],
        task: &Task,
    ) -> Result<&'s AccessKey, Fault> {
        let key = self.authenticate(snapshot, head, bytes, Scope::Inference)?;
        check_endpoint(key, task.endpoint())?;
        Ok(key)
    }

    /// The access key of a request, if it has the scope.
    ///
    /// # Errors
    /// As [`Exchange::authenticate_any`]; [`Fault::ScopeMissing`].
    pub fn authenticate<'s>(
        &self,
        snapshot: &'s Snapshot,
        head: &RequestHead,
        bytes: &[u8],
        needs: Scope,
    ) -> Result<&'s AccessKey, Fault> {
        let key = self.authenticate_any(snapshot, head, bytes)?;
        if !key.scopes.has(needs) {
            return Err(Fault::ScopeMissing { needs: needs.name() });
        }
        Ok(key)
    }

    /// Finds the access key in the exchange's own snapshot; unknown, revoked and expired ones take the same path to the same answer (rule V11).
    ///
    /// # Errors
    /// [`Fault::InvalidAccessKey`]; [`Fault::SourceNotAllowed`].
    pub fn authenticate_any<'s>(
        &self,
        snapshot: &'s Snapshot,
        head: &RequestHead,
        bytes: &[u8],
    ) -> Result<&'s AccessKey, Fault> {
        let refused = |why| Err(Fault::InvalidAccessKey { why });
        let shown = match head.credentials(bytes) {
            Presented::Bearer(key) | Presented::XApiKey(key) | Presented::XGoogApiKey(key) | Presented::ApiKey(key) => {
                key
            }
            Presented::None => return refused(KeyTrouble::Missing),
            Presented::Unusable => return refused(KeyTrouble::Unknown),
            Presented::Conflict => return refused(KeyTrouble::Several),
            Presented::InUrl => return refused(KeyTrouble::InUrl),
        };
        if snapshot.settings.checks_key_form && access_key::is_mistyped(shown) {
            // Rule V9: a typo is told by its checksum, which is public arithmetic, without a digest or a lookup.
            return refused(KeyTrouble::Unknown);
        }
        let access = &snapshot.access;
        // The table compares digests under a secret pepper: how long that takes says nothing about any key.
        let known = access.find(&access_key::digest(&access.pepper, shown));
        match known.filter(|key| key.expires_at.is_none_or(|end| self.at.0 < end)) {
            Some(key) => {
                self.notes.asked_by(key);
                if self.comes_from(key, head, bytes) { Ok(key) } else { Err(Fault::SourceNotAllowed) }
            }
            None => refused(KeyTrouble::Unknown),
        }
    }

    /// Whether the request comes from where the key may be shown.
    fn comes_from(&self, key: &AccessKey, head: &RequestHead, bytes: &[u8]) -> bool {
        if key.sources.is_empty() {
            return true;
        }
        let address = client_of(self, head, bytes);
        address.is_some_and(|address| key.sources.iter().any(|range| range.contains(address)))
    }
}

/// Whether a key may ask for this kind of task.
///
/// # Errors
/// [`Fault::EndpointNotAllowed`].
pub fn check_endpoint(key: &AccessKey, endpoint: Endpoint) -> Result<(), Fault> {
    match key.endpoints.is_empty() || key.endpoints.contains(&endpoint) {
        true => Ok(()),
        false => Err(Fault::EndpointNotAllowed { endpoint: endpoint.name() }),
    }
}

//! The view over all tenants: the only calls without a tenant (rule T2).

use super::Store;

/// Borrowed from [`Store::admin`]; for the control plane's own work, never for a client's request.
pub struct Admin<'s> {
    pub(super) store: &'s mut Store,
}

impl<'s> Admin<'s> {
    pub(super) fn new(store: &'s mut Store) -> Self {
        Self { store }
    }
}

//! Who may do what over the admin socket: `[admin] allowed_uids` and `[[admin.tokens]]`.

use super::leaf::{count, name, one_of};
use super::operation::{KeySource, key_source};
use super::problem::Findings;
use super::raw;
use super::read::Leaf;
use crate::domain::role::{Role, Roles};
use crate::limits::ADMIN_TOKENS_MAX;

/// A user beside the one we run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedUser {
    /// The user's number.
    pub uid: u32,
    /// What they may do beyond looking, unless tokens are configured.
    pub roles: Roles,
}

/// A token that is shown with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// What the audit log calls it.
    pub name: String,
    /// What it allows beyond looking.
    pub roles: Roles,
    /// Where its text is.
    pub key: KeySource,
}

const ROLES: &[(&str, Role)] = &[("read", Role::Read), ("operate", Role::Operate), ("keys", Role::Keys)];

/// `allowed_uids` as meant: a bare number may look, a table says more.
pub(super) fn users(raw: Option<Vec<raw::Allowed>>, findings: &mut Findings) -> Vec<AllowedUser> {
    let (mut numbers, mut roles) = (Vec::new(), Vec::new());
    for allowed in raw.unwrap_or_default() {
        let (number, given) = match allowed {
            raw::Allowed::Number(number) => (Some(number), None),
            raw::Allowed::User(user) => {
                if user.uid.is_none() {
                    findings.error(user.at, "`uid` is missing", "write it as in { uid = 1001, roles = [\"operate\"] }");
                }
                (user.uid, user.roles)
            }
        };
        if let Some(number) = number {
            numbers.push(number);
            roles.push(roles_of(given, findings));
        }
    }
    // Read one by one, so that roles stay with their user when another one is refused.
    let mut users = Vec::new();
    let mut typed = Vec::new();
    for (number, roles) in numbers.into_iter().zip(roles) {
        for uid in findings.all("allowed_uids", vec![number], count(0, u64::from(u32::MAX - 1))) {
            users.push(AllowedUser { uid: u32::try_from(uid.value).unwrap_or(u32::MAX), roles });
            typed.push(uid);
        }
    }
    findings.distinct("user", &typed);
    users
}

/// `[[admin.tokens]]` as meant.
pub(super) fn tokens(raw: Option<Vec<raw::AdminToken>>, findings: &mut Findings) -> Vec<AdminToken> {
    let (mut tokens, mut names) = (Vec::new(), Vec::new());
    for token in raw.unwrap_or_default() {
        let at = token.at;
        let says_roles = token.roles.as_ref().is_some_and(|roles| !roles.is_empty());
        let roles = roles_of(token.roles, findings);
        // Looking is for whoever opens the dashboard with it; that must be meant.
        if roles == Roles::READ && !says_roles {
            findings.error(
                at,
                "a token of `[[admin.tokens]]` allows nothing",
                "give it `roles = [\"operate\"]`, \"keys\", or both; \"read\" only looks at the dashboard",
            );
        }
        let named = findings.all("name", token.name.into_iter().collect(), name);
        if named.is_empty() {
            findings.error(at, "a token of `[[admin.tokens]]` has no usable `name`", "name it as the audit log should");
        }
        let Some(key) = token.key else {
            findings.error(
                at,
                "a token of `[[admin.tokens]]` has no `key`",
                "write `key = { env = \"NAME\" }` or { file = … }",
            );
            continue;
        };
        let key = key_source("key", key, false, findings);
        for (name, key) in named.into_iter().zip(key) {
            tokens.push(AdminToken { name: name.value.clone(), roles, key: key.value });
            names.push(name);
        }
    }
    findings.distinct("the token", &names);
    if tokens.len() > ADMIN_TOKENS_MAX {
        let at = names.first().map_or(0, |name| name.at);
        findings.error(at, format!("`[[admin.tokens]]` has more than {ADMIN_TOKENS_MAX} entries"), "keep those in use");
    }
    tokens
}

fn roles_of(raw: Option<Vec<Leaf>>, findings: &mut Findings) -> Roles {
    let roles = findings.all("roles", raw.unwrap_or_default(), one_of(ROLES));
    roles.into_iter().map(|role| role.value).collect()
}

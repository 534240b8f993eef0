//! What a user of the admin socket may do: a small set of roles. Reading needs none; whoever is let in may look.

use std::fmt;

/// One role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Looking: everybody who is let in.
    Read,
    /// Running the process: reload, drain, breakers, upgrades.
    Operate,
    /// Whatever decides who may ask and with which keys: tenants, access keys, provider keys, the vault, backups.
    Keys,
}

/// A set of roles, as one byte. [`Role::Read`] is in every set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

// === impl Role ===

impl Role {
    /// All of them, in the order they are written.
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Keys];

    /// The name in configuration and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Keys => "keys",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Operate => 1,
            Self::Keys => 2,
        }
    }
}

// === impl Roles ===

impl Roles {
    /// Looking alone.
    pub const READ: Roles = Roles(0);
    /// Running the process.
    pub const OPERATE: Roles = Roles(Role::Operate.bit());
    /// Keys and tenants.
    pub const KEYS: Roles = Roles(Role::Keys.bit());
    /// Everything.
    pub const ALL: Roles = Roles(3);

    /// With one more role.
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    /// Whether all of these roles are among them.
    pub const fn cover(self, needed: Roles) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// The roles' names, in order, but for `read`, which everybody has.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Role::ALL.into_iter().filter(move |role| self.0 & role.bit() != 0).map(Role::name)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::READ, Self::with)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_covers_what_is_in_it() {
        assert!(Roles::READ.cover(Roles::READ) && Roles::KEYS.cover(Roles::READ));
        assert!(
            !Roles::KEYS.cover(Roles::OPERATE) && !Roles::OPERATE.cover(Roles::ALL) && Roles::ALL.cover(Roles::KEYS)
        );
        assert_eq!(Role::ALL.into_iter().collect::<Roles>(), Roles::ALL);
        assert_eq!(Roles::ALL.names().collect::<Vec<_>>(), ["operate", "keys"]);
        assert!(!Roles::READ.cover(Roles::KEYS));
    }
}

//! What an access key may do: a small set of named rights.
//!
//! An access key without `inference` cannot cost money; one without `keys` and `admin` cannot change anything.

use std::fmt;

/// One right of an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Asking models: every path that a provider serves.
    Inference,
    /// The tenant's provider keys and their rotations.
    Keys,
    /// The tenant's usage, costs, budgets and alerts.
    Costs,
    /// Everything the admin API offers.
    Admin,
}

/// A set of rights, as one byte.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

// === impl Scope ===

impl Scope {
    /// All of them, in the order they are written.
    pub const ALL: [Scope; 4] = [Scope::Inference, Scope::Keys, Scope::Costs, Scope::Admin];

    /// The name in configuration and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Keys => "keys",
            Self::Costs => "costs",
            Self::Admin => "admin",
        }
    }

    /// Reads a name; `None` when there is no such right.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Inference => 1,
            Self::Keys => 2,
            Self::Costs => 4,
            Self::Admin => 8,
        }
    }
}

// === impl Scopes ===

impl Scopes {
    /// No right at all.
    pub const NONE: Scopes = Scopes(0);
    /// What an access key gets when nothing is said.
    pub const INFERENCE: Scopes = Scopes(Scope::Inference.bit());
    /// Every right.
    pub const ALL: Scopes = Scopes(15);

    /// With one more right.
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Whether this right is among them.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// The set as stored.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads a stored set; `None` when it holds a right this build does not know.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits > Self::ALL.0 { None } else { Some(Self(bits)) }
    }

    /// The rights' names, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope)).map(Scope::name)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_read_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(scope));
            let set = Scopes::NONE.with(scope);
            assert!(set.has(scope));
            assert_eq!(Scopes::from_bits(set.bits()), Some(set));
            assert_eq!(set.names().collect::<Vec<_>>(), [scope.name()]);
        }
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
        assert_eq!(Scope::parse("root"), None);
        assert_eq!(Scopes::from_bits(16), None);
        assert_eq!(Scopes::INFERENCE.names().collect::<Vec<_>>(), ["inference"]);
    }
}

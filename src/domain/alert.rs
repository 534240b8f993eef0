//! The sorts of alerts, by the names that configuration, answers and webhooks share.

/// What an alert tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// A threshold of a budget was passed.
    Budget,
    /// Spending or errors that are unusual.
    Anomaly,
    /// A provider key that is to be rotated.
    KeyAge,
    /// A rotation that is held because its new key is refused.
    Rotation,
    /// The books cannot be kept.
    Ledger,
    /// Something that whoever runs the gateway must look at: a configuration that ends, a trial that failed.
    Alarm,
    /// A message to a webhook was given up.
    Webhook,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Budget, Self::Anomaly, Self::KeyAge, Self::Rotation, Self::Ledger, Self::Alarm, Self::Webhook];

    /// Whether it tells of one gateway rather than of what several share.
    pub const fn is_of_one_machine(self) -> bool {
        matches!(self, Self::Ledger | Self::Alarm | Self::Webhook)
    }

    /// The name in configuration, in answers, in the store and on webhooks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget_alert",
            Self::Anomaly => "anomaly",
            Self::KeyAge => "key_age",
            Self::Rotation => "rotation_held",
            Self::Ledger => "ledger_trouble",
            Self::Alarm => "alarm",
            Self::Webhook => "webhook_failed",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// All names, for a sentence.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

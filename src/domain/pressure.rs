//! How much room a core has left, in one word, and what a request was turned away for.
//!
//! Judged by the data plane, shown by the control plane; both name it from here. Values only: the judging is `data_plane/overload.rs`.

/// How far a core is from being overloaded (rule O2), in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// There is room.
    #[default]
    Calm = 0,
    /// No connection is kept open between requests, unused ones to providers are closed, tenants are held to their fair share.
    Tight = 1,
    /// New requests are turned away.
    Shedding = 2,
    /// New connections wait outside.
    Closed = 3,
}

/// What a core can run out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strain {
    /// Resident memory of the process.
    #[default]
    Memory = 0,
    /// File descriptors of the process.
    Descriptors = 1,
    /// Processor time of the core, told by how late its clock ticks.
    Lag = 2,
    /// Places for exchanges of the core.
    InFlight = 3,
}

/// Why a request was turned away before it reached a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedReason {
    /// The core is shedding, and this is what it runs out of.
    Strain(Strain),
    /// Its tenant holds its fair share of a core that is short of room.
    Share,
    /// The core's memory for bodies is in use.
    Bodies,
    /// The control plane has not taken the core's reports (rule L4).
    Reports,
    /// The journal has no room, or the disk does not take it (rules L4, L8).
    Ledger,
}

/// A stage with what brought it about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// How far.
    pub stage: Stage,
    /// By the worst of these.
    pub strain: Strain,
    /// How much of it is in use, percent.
    pub percent: u32,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Stage; 4] = [Stage::Calm, Stage::Tight, Stage::Shedding, Stage::Closed];

    /// The name in states, events and logs.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Calm => "calm",
            Stage::Tight => "tight",
            Stage::Shedding => "shedding",
            Stage::Closed => "closed",
        }
    }
}

impl Strain {
    /// All of them.
    pub const ALL: [Strain; 4] = [Strain::Memory, Strain::Descriptors, Strain::Lag, Strain::InFlight];

    /// The name in states, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Strain::Memory => "memory",
            Strain::Descriptors => "descriptors",
            Strain::Lag => "loop_lag",
            Strain::InFlight => "in_flight",
        }
    }
}

impl ShedReason {
    /// All of them, in the order of their counters.
    pub const ALL: [ShedReason; 8] = [
        ShedReason::Strain(Strain::Memory),
        ShedReason::Strain(Strain::Descriptors),
        ShedReason::Strain(Strain::Lag),
        ShedReason::Strain(Strain::InFlight),
        ShedReason::Share,
        ShedReason::Bodies,
        ShedReason::Reports,
        ShedReason::Ledger,
    ];

    /// Where it stands in [`ShedReason::ALL`].
    pub fn place(self) -> usize {
        match self {
            ShedReason::Strain(strain) => strain as usize,
            ShedReason::Share => 4,
            ShedReason::Bodies => 5,
            ShedReason::Reports => 6,
            ShedReason::Ledger => 7,
        }
    }

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ShedReason::Strain(strain) => strain.name(),
            ShedReason::Share => "tenant_share",
            ShedReason::Bodies => "bodies",
            ShedReason::Reports => "reports",
            ShedReason::Ledger => "ledger",
        }
    }
}

impl Pressure {
    /// In one word, so that a core can show it in one atomic.
    pub fn pack(self) -> u64 {
        self.stage as u64 | (self.strain as u64) << 8 | u64::from(self.percent) << 32
    }

    /// Out of that word.
    pub fn unpack(word: u64) -> Self {
        let at = |shift: u32| usize::try_from(word >> shift & 0xff).unwrap_or_default();
        Self {
            stage: Stage::ALL.get(at(0)).copied().unwrap_or_default(),
            strain: Strain::ALL.get(at(8)).copied().unwrap_or_default(),
            percent: u32::try_from(word >> 32).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pressure_survives_its_word() {
        for stage in Stage::ALL {
            for strain in Strain::ALL {
                let pressure = Pressure { stage, strain, percent: 1_234 };
                assert_eq!(Pressure::unpack(pressure.pack()), pressure);
            }
        }
        assert_eq!(Pressure::unpack(0), Pressure::default());
    }

    #[test]
    fn every_reason_stands_at_its_place_under_a_name_of_its_own() {
        let mut names = Vec::new();
        for (place, reason) in ShedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.place(), place);
            assert!(!names.contains(&reason.name()), "{}", reason.name());
            names.push(reason.name());
        }
    }
}

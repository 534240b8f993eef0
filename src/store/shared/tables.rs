//! Which tables machines share, column by column: the one list that the tables of both engines are held against.

/// What a column holds. Nothing is a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits, signed.
    Integer,
    /// UTF-8 without a zero byte.
    Text,
    /// Bytes.
    Blob,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, the same on both engines.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it is part of the primary key.
    pub is_key: bool,
}

/// A table that machines share.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, the same on both engines.
    pub name: &'static str,
    /// In the order of `SELECT *`.
    pub columns: &'static [Column],
}

impl Table {
    /// The columns of its primary key, in the order of the columns.
    pub fn keys(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.is_key)
    }

    /// The table of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ESTATE.iter().find(|table| table.name == name)
    }
}

const fn key(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_key: true }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer, is_key: false }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, is_key: false }
}

const fn blob(name: &'static str) -> Column {
    Column { name, kind: Kind::Blob, is_key: false }
}

/// Columns of a primary key, at most.
pub(super) const KEY_COLUMNS_MAX: usize = 5;

/// Every shared table, those first that others refer to.
pub static ESTATE: &[Table] = &[
    Table { name: "vault", columns: &[key("one", Kind::Integer), blob("root_check"), number("kek_version_min")] },
    Table { name: "kek_versions", columns: &[key("version", Kind::Integer), blob("record"), number("created")] },
    Table {
        name: "peppers",
        columns: &[key("version", Kind::Integer), number("kek_version"), blob("record"), number("created")],
    },
    Table { name: "audit_key", columns: &[key("one", Kind::Integer), number("kek_version"), blob("record")] },
    Table {
        name: "tenants",
        columns: &[
            key("id", Kind::Text),
            number("created"),
            number("destroyed"),
            number("dek_generation"),
            number("dek_kek_version"),
            blob("dek_record"),
            number("dek_seals"),
        ],
    },
    Table {
        name: "access_keys",
        columns: &[
            key("id", Kind::Blob),
            text("tenant"),
            text("name"),
            number("pepper_version"),
            blob("digest"),
            text("last4"),
            number("scopes"),
            text("limits"),
            number("created"),
            number("expires"),
            number("revoked"),
            blob("succeeds"),
            blob("holder"),
        ],
    },
    Table {
        name: "credentials",
        columns: &[
            key("id", Kind::Blob),
            text("tenant"),
            text("provider"),
            text("base_url"),
            text("state"),
            text("origin"),
            number("generation"),
            number("kek_version"),
            blob("record"),
            text("display"),
            number("timeout_ms"),
            number("max_retries"),
            number("created"),
            number("retired"),
            number("rotated"),
        ],
    },
    Table {
        name: "rotations",
        columns: &[
            key("id", Kind::Blob),
            text("tenant"),
            text("provider"),
            blob("old_credential"),
            blob("new_credential"),
            text("state"),
            number("open"),
            text("detail"),
            number("created"),
            number("deadline"),
            number("updated"),
        ],
    },
    Table {
        name: "retired_keys",
        columns: &[
            key("tenant", Kind::Text),
            key("provider", Kind::Text),
            number("pepper_version"),
            key("digest", Kind::Blob),
            number("retired"),
        ],
    },
    Table {
        name: "audit",
        columns: &[
            key("sequence", Kind::Integer),
            number("at"),
            text("tenant"),
            text("who"),
            text("what"),
            text("target"),
            text("before"),
            text("after"),
            blob("hash"),
        ],
    },
    Table {
        name: "audit_head",
        columns: &[
            key("one", Kind::Integer),
            number("sequence"),
            number("keyed_from"),
            number("broken_at"),
            blob("bond"),
        ],
    },
    Table {
        name: "budgets",
        columns: &[
            key("tenant", Kind::Text),
            key("holder", Kind::Blob),
            key("origin", Kind::Text),
            key("period", Kind::Text),
            text("cap"),
            text("amount_pico"),
            text("alert_at"),
            number("created"),
            number("updated"),
        ],
    },
    Table {
        name: "webhooks",
        columns: &[
            key("tenant", Kind::Text),
            key("id", Kind::Blob),
            text("url"),
            text("events"),
            number("secret_version"),
            number("former_until"),
            number("created"),
        ],
    },
    Table {
        name: "budget_marks",
        columns: &[
            text("tenant"),
            key("holder", Kind::Blob),
            key("origin", Kind::Text),
            key("period", Kind::Text),
            key("started", Kind::Integer),
            key("threshold", Kind::Integer),
            text("amount_pico"),
            number("ends"),
        ],
    },
    Table {
        name: "alerts",
        columns: &[
            key("sequence", Kind::Integer),
            blob("id"),
            text("tenant"),
            text("kind"),
            text("subject"),
            text("sentence"),
            text("data"),
            number("created"),
            number("resolved"),
            number("acknowledged"),
            text("acknowledged_by"),
        ],
    },
    Table {
        name: "fleet_config",
        columns: &[
            key("number", Kind::Integer),
            text("digest"),
            text("config_id"),
            number("version"),
            text("text"),
            text("signature"),
            text("who"),
            number("at"),
        ],
    },
];

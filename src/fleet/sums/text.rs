//! The text of a question for PostgreSQL, put together from constants alone (rule T2).
//!
//! Texts are compared by their bytes, as SQLite does, whatever the collation of the database is.

use super::super::text::SCHEMA;
use crate::store::{Bucket, Dimension, SumQuestion};

/// Whose lines, and as whom they are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A tenant's, for itself.
    Own,
    /// A tenant's, for the operator.
    One,
    /// Everybody's, for the operator.
    All,
}

/// `$1`…`$6`: hours, days and hours, each from and up to; `$7` lines at most after `$8`; `$9` the tenant, unless it is everybody.
pub(super) fn statement(whose: Whose, question: &SumQuestion) -> String {
    let mut sql = String::from("SELECT ");
    sql.push_str(question.bucket.map_or("0::bigint", first_hour));
    sql.push_str(SUMS);
    for dimension in &question.group_by {
        sql.push_str(", ");
        sql.push_str(if (*dimension, whose) == (Dimension::Key, Whose::Own) { OWN_KEYS } else { dimension.column() });
    }
    sql.push_str(" FROM (SELECT hour");
    let parts = [
        ("usage_hours", "hour >= $1 AND hour < $2 UNION ALL SELECT day * 24 AS hour"),
        ("usage_days", "day >= $3 AND day < $4 UNION ALL SELECT hour"),
        ("usage_hours", "hour >= $5 AND hour < $6) AS books"),
    ];
    for (table, span) in parts {
        for dimension in &question.group_by {
            sql.push_str(", ");
            sql.push_str(dimension.column());
        }
        sql.push_str(AMOUNTS);
        for word in
            [" FROM ", SCHEMA, ".", table, if whose == Whose::All { " WHERE " } else { " WHERE tenant = $9 AND " }]
        {
            sql.push_str(word);
        }
        sql.push_str(span);
    }
    let names = &PLACES[..question.group_by.len()];
    if question.bucket.is_some() || !names.is_empty() {
        sql.push_str(" GROUP BY 1");
        names.iter().for_each(|place| sql.push_str(place));
    }
    sql.push_str(" ORDER BY 1, sum(cost_pico) DESC");
    for (place, dimension) in names.iter().zip(&question.group_by) {
        if dimension.is_id() {
            sql.push_str(place);
            sql.push_str(" NULLS FIRST");
        } else {
            sql.push_str(", convert_to(");
            sql.push_str(dimension.column());
            sql.push_str(", 'UTF8')");
        }
    }
    sql.push_str(" LIMIT $7 OFFSET $8");
    sql
}

/// The first hour of the bucket that `hour` is in. The Unix epoch was a Thursday.
const fn first_hour(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Hour => "hour",
        Bucket::Day => "hour - hour % 24",
        Bucket::Week => "hour - (hour + 72) % 168",
        Bucket::Month => {
            "extract(epoch FROM date_trunc('month', to_timestamp((hour * 3600)::double precision) AT TIME ZONE 'UTC'))::bigint / 3600"
        }
    }
}

const SUMS: &str = ", coalesce(sum(requests), 0)::bigint, coalesce(sum(attempts), 0)::bigint, coalesce(sum(failed), 0)::bigint, \
    coalesce(sum(estimated), 0)::bigint, coalesce(sum(unpriced), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint, \
    coalesce(sum(output_tokens), 0)::bigint, coalesce(sum(cached_tokens), 0)::bigint, coalesce(sum(cost_pico), 0)::text";
const AMOUNTS: &str =
    ", requests, attempts, failed, estimated, unpriced, input_tokens, output_tokens, cached_tokens, cost_pico";
/// A tenant without keys of its own is served with the operator's, whose ids are not its business (rule T3).
const OWN_KEYS: &str = "CASE WHEN credential = '\\x00000000000000000000000000000000'::bytea \
    OR credential IN (SELECT id FROM igris.credentials WHERE tenant = $9) THEN credential END";
/// Where names stand in a line: after the bucket and the nine sums.
pub(super) const FIRST_NAME: usize = 10;
const PLACES: [&str; 6] = [", 11", ", 12", ", 13", ", 14", ", 15", ", 16"];

#[cfg(test)]
mod tests {
    use super::*;

    fn question(group_by: &[Dimension], bucket: Option<Bucket>) -> SumQuestion {
        SumQuestion { hours: 0..1, group_by: group_by.to_vec(), bucket, skip: 0, most: 1 }
    }

    #[test]
    fn the_tenant_is_in_every_part_of_its_question_and_nowhere_else() {
        let all = question(&Dimension::ALL, Some(Bucket::Month));
        for (whose, count) in [(Whose::Own, 4), (Whose::One, 3), (Whose::All, 0)] {
            assert_eq!(statement(whose, &all).matches("tenant = $9").count(), count, "{whose:?}");
        }
        let own = statement(Whose::Own, &question(&[Dimension::Key], None));
        assert!(
            own.contains(OWN_KEYS)
                && own.ends_with("GROUP BY 1, 11 ORDER BY 1, sum(cost_pico) DESC, 11 NULLS FIRST LIMIT $7 OFFSET $8"),
            "{own}"
        );
        let sum = statement(Whose::All, &question(&[], None));
        assert!(!sum.contains("GROUP BY") && sum.starts_with("SELECT 0::bigint, "), "{sum}");
    }
}

//! How providers do elsewhere: each machine writes down what it saw lately, and reads what others wrote. Nothing depends on it.

use super::connect::words;
use super::pipeline::all;
use crate::limits::fleet::{LANES_TOLD_MAX, LEARN_FIRST, LEARN_KEPT};
use crate::store::ShareError;
use deadpool_postgres::ClientWrapper as Client;
use std::pin::Pin;
use tokio_postgres::Row;

/// What a machine saw of one model at a provider, as text of `routing::hearsay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearsay {
    /// The provider.
    pub provider: String,
    /// The model, by the provider's name.
    pub model: String,
    /// What was seen.
    pub seen: String,
}

/// What others told, and until when: milliseconds of the database's clock, to go on behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Each once.
    pub told: Vec<Hearsay>,
    /// The end.
    pub until: i64,
}

/// Writes down what `machine` saw, and answers what others did since `after`; `None`: lately.
pub(super) async fn exchange(
    client: &Client,
    machine: [u8; 16],
    told: &[Hearsay],
    after: Option<i64>,
) -> Result<Heard, ShareError> {
    swap(client, machine, told, after).await.map_err(|error| ShareError::Unreachable(words(&error)))
}

async fn swap(
    client: &Client,
    machine: [u8; 16],
    told: &[Hearsay],
    after: Option<i64>,
) -> Result<Heard, tokio_postgres::Error> {
    type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let (first, kept, most) = (millis(LEARN_FIRST), millis(LEARN_KEPT), LANES_TOLD_MAX as i64);
    let machine = machine.as_slice();
    let column = |of: fn(&Hearsay) -> &String| told.iter().map(of).cloned().collect::<Vec<_>>();
    let (providers, models, seen) = (column(|one| &one.provider), column(|one| &one.model), column(|one| &one.seen));
    let mut statements = all([TELL, HEAR, FORGET].map(|sql| Box::pin(client.prepare_cached(sql))).into()).await?;
    let (forget, hear, tell) = (statements.pop(), statements.pop(), statements.pop());
    let (Some(tell), Some(hear), Some(forget)) = (tell, hear, forget) else { return Ok(Heard::default()) };
    let steps: Vec<Answer<'_>> = vec![
        Box::pin(async { client.query(&tell, &[&machine, &providers, &models, &seen]).await }),
        Box::pin(async { client.query(&hear, &[&machine, &after, &first, &most]).await }),
        Box::pin(async { client.query(&forget, &[&kept]).await }),
    ];
    let mut answers = all(steps).await?;
    let rows = answers.swap_remove(1);
    let mut heard = Heard { told: Vec::with_capacity(rows.len()), until: after.unwrap_or(0) };
    for row in rows {
        heard.until = heard.until.max(row.try_get(3)?);
        heard.told.push(Hearsay { provider: row.try_get(0)?, model: row.try_get(1)?, seen: row.try_get(2)? });
    }
    Ok(heard)
}

const TELL: &str = "
    INSERT INTO igris.observed (machine, provider, model, at, seen)
    SELECT $1, u.provider, u.model, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, u.seen
    FROM unnest($2::text[], $3::text[], $4::text[]) AS u (provider, model, seen)
    ON CONFLICT (machine, provider, model) DO UPDATE SET at = excluded.at, seen = excluded.seen";
const HEAR: &str = "
    SELECT provider, model, seen, at FROM igris.observed
    WHERE machine <> $1 AND at > coalesce($2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $3)
    ORDER BY at DESC LIMIT $4";
const FORGET: &str =
    "DELETE FROM igris.observed WHERE at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{database, join};

    fn one(provider: &str, seen: &str) -> Hearsay {
        Hearsay { provider: provider.to_owned(), model: "m".to_owned(), seen: seen.to_owned() }
    }

    #[test]
    fn machines_hear_of_each_other_and_each_word_once() {
        let Ok(cluster) = std::env::var("IGRIS_TEST_STORE_URL") else { return };
        let url = database(&cluster, &format!("hearsay_{}", std::process::id()));
        let ((first, _), (second, _)) = (join(&url), join(&url));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let learn = |fleet: &crate::fleet::Fleet, told: Vec<Hearsay>, after| {
            runtime.block_on(fleet.learn(told, after)).expect("it answers")
        };
        let nothing = learn(&first, vec![one("openai", "1"), one("xai", "1")], None);
        assert_eq!(nothing.told, [], "nobody hears of what it said itself");
        let mut heard = learn(&second, vec![one("openai", "2")], None);
        heard.told.sort_by(|one, other| one.provider.cmp(&other.provider));
        assert_eq!(heard.told, [one("openai", "1"), one("xai", "1")]);
        assert_eq!(learn(&second, Vec::new(), Some(heard.until)).told, [], "each word once");
        assert_eq!(learn(&first, vec![one("openai", "3")], None).told, [one("openai", "2")]);
        // Within one millisecond what is new cannot be told from what was heard: it is told again.
        let heard_again = std::iter::repeat_with(|| {
            learn(&first, vec![one("openai", "4")], None);
            learn(&second, Vec::new(), Some(heard.until)).told
        });
        let last = heard_again.take(1_000).find(|told| !told.is_empty());
        assert_eq!(last, Some(vec![one("openai", "4")]), "of each the last");
    }
}

//! Sums over the books of all machines, for pages that people look at: the questions that a machine's own books answer too
//! (`store/analytics`), in the same order and to the same picodollar.
//!
//! Whoever asks opens a [`SharedSums`] and waits on a thread of its own. It has a connection for itself until it is dropped, in one
//! transaction that only reads: all its questions see one instant. It ends at its deadline, and a statement under way is cancelled in the
//! database when nobody waits for it any more.

mod sitting;
#[cfg(test)]
mod tests;
mod text;

pub(super) use sitting::{Readers, Sitting, sit};

use super::service::Ask;
use super::{Fleet, LEEWAY};
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::limits::fleet::SUMS_OPEN_DEADLINE;
use crate::store::{Dimension, SumQuestion, SumRow, Sums};
use sitting::Wanted;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use text::Whose;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// The books of all machines as of one instant.
#[derive(Debug)]
pub struct SharedSums {
    asks: mpsc::UnboundedSender<Wanted>,
    until: Instant,
}

/// Why the books of all machines cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SumsError {
    /// The database, or the way to it, said this.
    #[error("the books of all machines cannot be read ({0}); ask again once the database answers")]
    Unreachable(String),
    /// The deadline is over.
    #[error("adding that up takes too long; ask for a shorter time, or with fewer words in `group_by`")]
    TooLong,
}

// === impl Fleet ===

impl Fleet {
    /// Opens the books of all machines; blocks. No question of it runs longer than `until`, nor once `left` has lost its other end. A database
    /// that did not answer the last look is not waited for.
    ///
    /// # Errors
    /// [`SumsError`].
    pub fn sums(&self, until: Instant, left: oneshot::Receiver<()>) -> Result<SharedSums, SumsError> {
        let standing = self.standing();
        if !standing.is_reachable {
            return Err(SumsError::Unreachable(standing.trouble.unwrap_or_else(|| "no connection yet".to_owned())));
        }
        let (asks, asked) = mpsc::unbounded_channel();
        let (opened, is_open) = sync_channel(1);
        self.ask(Ask::Sums(Sitting { until, left, asked, opened }));
        waited(&is_open, SUMS_OPEN_DEADLINE)?;
        Ok(SharedSums { asks, until })
    }
}

// === impl SharedSums ===

impl SharedSums {
    /// A tenant's sums, as that tenant may see them: provider keys of others are one. With buckets in their order; within them, and
    /// without, the costliest first. Blocks.
    ///
    /// # Errors
    /// [`SumsError`]; then no later question is answered either.
    pub fn for_tenant(&self, tenant: &TenantId, question: &SumQuestion) -> Result<Vec<SumRow>, SumsError> {
        self.sums(Whose::Own, Some(tenant), question)
    }

    /// Sums of one tenant or of all, with every provider key by its id: for the operator. Blocks.
    ///
    /// # Errors
    /// As [`SharedSums::for_tenant`].
    pub fn for_operator(&self, tenant: Option<&TenantId>, question: &SumQuestion) -> Result<Vec<SumRow>, SumsError> {
        self.sums(if tenant.is_some() { Whose::One } else { Whose::All }, tenant, question)
    }

    fn sums(&self, whose: Whose, tenant: Option<&TenantId>, question: &SumQuestion) -> Result<Vec<SumRow>, SumsError> {
        let (reply, answer) = sync_channel(1);
        let wanted = Wanted { text: text::statement(whose, question), parameters: parameters(tenant, question), reply };
        self.asks.send(wanted).map_err(|_| ended())?;
        let rows = waited(&answer, self.until.saturating_duration_since(Instant::now()))?;
        rows.iter().map(|row| read(row, &question.group_by)).collect()
    }
}

/// The fleet's thread keeps the deadline, and is the one to say what happened; but it may be busy with a database that says nothing.
fn waited<T>(answer: &Receiver<Result<T, SumsError>>, within: Duration) -> Result<T, SumsError> {
    match answer.recv_timeout(within + LEEWAY) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(silent()),
        Err(RecvTimeoutError::Disconnected) => Err(ended()),
    }
}

/// What a statement is asked with, in the order of its numbers.
fn parameters(tenant: Option<&TenantId>, question: &SumQuestion) -> Vec<(sitting::Parameter, Type)> {
    let spans = question.spans();
    let numbers = [
        spans.head.start,
        spans.head.end,
        spans.days.start,
        spans.days.end,
        spans.tail.start,
        spans.tail.end,
        question.most,
        question.skip,
    ];
    let number = |number| (Box::new(i64::try_from(number).unwrap_or(i64::MAX)) as sitting::Parameter, Type::INT8);
    let tenant = tenant.map(|tenant| (Box::new(tenant.as_str().to_owned()) as sitting::Parameter, Type::TEXT));
    numbers.into_iter().map(number).chain(tenant).collect()
}

fn read(row: &Row, group_by: &[Dimension]) -> Result<SumRow, SumsError> {
    let count = |place: usize| row.try_get::<_, i64>(place).map(|count| u64::try_from(count).unwrap_or(0));
    let read = || {
        Ok::<_, tokio_postgres::Error>(SumRow {
            hour: count(0)?,
            names: Vec::with_capacity(group_by.len()),
            sums: Sums {
                requests: count(1)?,
                attempts: count(2)?,
                failed: count(3)?,
                estimated: count(4)?,
                unpriced: count(5)?,
                input_tokens: count(6)?,
                output_tokens: count(7)?,
                cached_tokens: count(8)?,
                cost: Money::ZERO,
            },
        })
    };
    let mut line = read().map_err(|_| damaged())?;
    // A `numeric` as its digits: whole picodollars, which an `i128` has room for.
    let digits = row.try_get::<_, &str>(text::FIRST_NAME - 1).map_err(|_| damaged())?;
    line.sums.cost = Money::from_pico(digits.parse().map_err(|_| damaged())?);
    for (place, dimension) in (text::FIRST_NAME..).zip(group_by) {
        let name = if dimension.is_id() {
            row.try_get::<_, Option<&[u8]>>(place).ok().and_then(|bytes| dimension.told_id(bytes))
        } else {
            row.try_get::<_, String>(place).ok().map(|text| dimension.told_text(text))
        };
        line.names.push(name.ok_or_else(damaged)?);
    }
    Ok(line)
}

fn damaged() -> SumsError {
    SumsError::Unreachable("a line of igris.usage_hours or igris.usage_days is damaged".to_owned())
}

fn silent() -> SumsError {
    SumsError::Unreachable("it does not answer in time".to_owned())
}

fn ended() -> SumsError {
    SumsError::Unreachable("its thread has ended".to_owned())
}

//! What answers of one provider have in common, so that the next one is read by comparing it with the last.
//!
//! An answer that was read in full leaves its mould: its text with holes where an id, an instant, words and figures stood. The next answer
//! that fills the mould is the first one with other words and figures, so that what was found out about its structure is true of it too: its
//! figures are those in the holes, and its tier is the first one's. Whatever does not fill the mould is read in full as before and may leave
//! its own; where no two answers are alike that is soon tried less often.

use super::answer::Answer;
use super::terms::Tier;
use super::usage::{self, Accounting, FIGURES_COUNT, Figures, Stated};
use crate::json::shape::{self, SHAPE_HOLES_MAX, Shape};
use crate::limits;

/// The moulds of the last answers that left one.
#[derive(Debug, Default)]
pub struct Recall {
    /// The one that was filled last comes first.
    moulds: Vec<Mould>,
    /// Answers that filled none, since one left its mould.
    misses: u8,
    /// Of how many misses the last one leaves a mould.
    patience: u8,
}

#[derive(Debug)]
struct Mould {
    shape: Shape,
    accounting: Accounting,
    /// Whether an answer has filled it.
    proven: bool,
    tier: Option<Option<Tier>>,
    /// The figures of the answer that left it: those that are in no hole stay.
    stated: Stated,
    /// By the place of a hole which of the figures it holds; [`FIGURES_COUNT`] for none.
    figure_in: [u8; SHAPE_HOLES_MAX],
}

/// Kinds of answers that are known at once: words, calls of tools, those of another model.
const MOULDS_MAX: usize = 3;
/// Of so many answers that fill no mould one is tried as the next, where none of those tried before was filled.
const PATIENCE_MOST: u8 = 64;
/// Members whose strings belong to the mould: the tier, which is understood by them, and what an answer is made of. All others are holes, so
/// that nothing of what an answer says is kept (rule R1).
const KINDS: [&[u8]; 4] = [b"\"service_tier\"", b"\"object\"", b"\"role\"", b"\"type\""];

// === impl Recall ===

impl Recall {
    /// What [`usage::answer_of_body`] finds, by the mould of an answer before it if there is one that fits.
    #[inline]
    pub fn read(&mut self, body: &[u8], accounting: Accounting) -> Answer {
        for (place, mould) in self.moulds.iter().enumerate() {
            if let Some(answer) = mould.read(body, accounting) {
                if place > 0 || !mould.proven {
                    self.filled(place);
                }
                return answer;
            }
        }
        self.read_anew(body, accounting)
    }

    #[cold]
    #[inline(never)]
    fn filled(&mut self, place: usize) {
        self.moulds[..=place].rotate_right(1);
        if let Some(first) = self.moulds.first_mut()
            && !std::mem::replace(&mut first.proven, true)
        {
            self.patience = 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn read_anew(&mut self, body: &[u8], accounting: Accounting) -> Answer {
        let (answer, figures) = usage::answer_with_figures(body, accounting);
        self.misses = self.misses.saturating_add(1);
        if self.misses >= self.patience {
            self.misses = 0;
            self.patience = self.patience.saturating_mul(2).clamp(1, PATIENCE_MOST);
            if let Some(mould) = figures.and_then(|figures| Mould::of(body, accounting, &answer, &figures)) {
                self.moulds.truncate(MOULDS_MAX - 1);
                self.moulds.insert(0, mould);
            }
        }
        answer
    }
}

// === impl Mould ===

impl Mould {
    /// The mould of an answer that was read; `None` if it says nothing of its usage, or is not of a kind that comes again.
    fn of(body: &[u8], accounting: Accounting, answer: &Answer, figures: &Figures) -> Option<Self> {
        // Where its own metadata is would be another place each time.
        if answer.usage.is_none() || answer.metadata.is_some() {
            return None;
        }
        let mut holes = Vec::with_capacity(SHAPE_HOLES_MAX);
        let mut figure_in = [FIGURES_COUNT as u8; SHAPE_HOLES_MAX];
        let mut is_plain = true;
        shape::scalars(body, |key, value| {
            // The reader knows the tier's name in any spelling; here it is compared as it is written.
            is_plain &= !key.contains(&b'\\');
            let is_open = match value.of(body) {
                [b'"', ..] => !KINDS.contains(&key),
                // What is nothing, or the place in a list, mostly stays so.
                number => shape::is_number(number) && number != b"0" && key != b"\"index\"",
            };
            // One too many is enough to know that.
            if is_open && holes.len() <= SHAPE_HOLES_MAX {
                let figure = figures.iter().position(|figure| figure.is_some_and(|figure| figure.at == value.start));
                if let (Some(slot), Some(figure)) = (figure_in.get_mut(holes.len()), figure) {
                    *slot = figure as u8;
                }
                holes.push(value);
            }
        });
        let in_holes: usize = holes.iter().map(|hole| hole.len()).sum();
        if !is_plain || body.len() - in_holes > limits::MOULD_BYTES_MAX {
            return None;
        }
        let shape = Shape::of(body, &holes)?;
        Some(Self { shape, accounting, proven: false, tier: answer.tier, stated: usage::stated(figures), figure_in })
    }

    /// What an answer says that fills it.
    #[inline]
    fn read(&self, body: &[u8], accounting: Accounting) -> Option<Answer> {
        let mut stated = self.stated;
        let end = self.shape.fit(body, |place, value| {
            let figure = self.figure_in.get(place).and_then(|figure| stated.get_mut(usize::from(*figure)));
            if let Some(figure) = figure {
                *figure = Some(shape::number(value.of(body)));
            }
        })?;
        if end != body.len() || accounting != self.accounting {
            return None;
        }
        Some(Answer { usage: Some(usage::balanced(&stated, accounting)), tier: self.tier, metadata: None })
    }
}

#[cfg(test)]
#[path = "mould_tests.rs"]
mod tests;

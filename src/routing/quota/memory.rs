//! What the fields of the answer before were, on one connection: a provider says the same names in the same order in every answer, limits stay
//! as they are and resets repeat, so that most fields are compared with what they were and not read.

use super::fields::Stated;

/// Fields that are remembered; those behind them are read each time.
const FIELDS_MAX: usize = 24;

/// Bytes of a value that is remembered.
const VALUE_BYTES_MAX: usize = 14;

/// Fields in the order in which an answer had them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Their names, one behind the other.
    names: Vec<u8>,
    fields: Vec<Field>,
    /// Which of them is expected next, and where its name begins.
    at: usize,
    name_at: usize,
}

/// One field.
#[derive(Clone, Copy, Debug)]
struct Field {
    name_bytes: u8,
    value_bytes: u8,
    value: [u8; VALUE_BYTES_MAX],
    stated: Stated,
}

// === impl Memory ===

impl Memory {
    /// Another answer begins.
    pub fn rewind(&mut self) {
        (self.at, self.name_at) = (0, 0);
    }

    /// What a field stated, if it is the next one and says what it said.
    #[inline]
    pub fn again(&mut self, name: &str, value: &[u8]) -> Option<Stated> {
        let field = self.fields.get(self.at)?;
        let end = self.name_at + usize::from(field.name_bytes);
        let is_same = self.names.get(self.name_at..end)? == name.as_bytes()
            && field.value.get(..usize::from(field.value_bytes))? == value;
        if !is_same {
            return None;
        }
        (self.at, self.name_at) = (self.at + 1, end);
        Some(field.stated)
    }

    /// Whether the next field has this name; then what it is about is what it was.
    #[inline]
    pub fn is_next(&self, name: &str) -> Option<Stated> {
        let field = self.fields.get(self.at)?;
        let known = self.names.get(self.name_at..self.name_at + usize::from(field.name_bytes))?;
        (known == name.as_bytes()).then_some(field.stated)
    }

    /// Notes what a field stated that was not as expected; what was expected behind one of another name is forgotten.
    pub fn note(&mut self, name: &str, value: &[u8], stated: Stated) {
        if self.is_next(name).is_none() {
            self.fields.truncate(self.at);
            self.names.truncate(self.name_at);
        }
        let (Ok(name_bytes), true) = (u8::try_from(name.len()), self.at < FIELDS_MAX) else {
            return self.names.truncate(self.name_at);
        };
        // A value that is too long is never what it was.
        let mut field = Field { name_bytes, value_bytes: u8::MAX, value: [0; VALUE_BYTES_MAX], stated };
        if let Some(kept) = field.value.get_mut(..value.len()) {
            kept.copy_from_slice(value);
            field.value_bytes = value.len() as u8;
        }
        match self.fields.get_mut(self.at) {
            Some(known) => *known = field,
            None => {
                self.names.extend_from_slice(name.as_bytes());
                self.fields.push(field);
            }
        }
        (self.at, self.name_at) = (self.at + 1, self.name_at + name.len());
    }

    /// Forgets everything: what fields are about has changed its place.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

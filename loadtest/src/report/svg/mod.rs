//! Plots as SVG, by functions of plain arrays: no clock, no file, no chance. The same drawing goes into the page and, with
//! its own style sheet, into the picture.
//!
//! Axes start at zero or say that they are logarithmic; every value has its unit; colour is never the only sign.

mod bars;
mod curve;
pub(super) mod look;
mod paired;
mod plot;
mod scale;
mod sheet;
mod strip;
mod timeline;
pub mod unit;

pub use bars::{Bar, bars};
pub use curve::{Curve, percentiles};
pub use look::{DARK, LIGHT, Palette};
pub use paired::{Shift, paths, shifts};
pub use plot::{Axis, Form, Hint, Layer, Look, Plot, Shade, Unit};
pub use scale::Scale;
pub use sheet::{Hold, Sheet, escape};
pub use strip::{Cell, Level, Strip};
pub use timeline::{Course, Moment};

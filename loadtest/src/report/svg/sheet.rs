//! A sheet to draw on: the few SVG elements that plots need, with every word escaped and colours left to a style sheet.

use std::fmt::Write as _;

/// What stands for itself in XML and HTML, in text and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no place for these, not even escaped.
            '\n' | '\t' | '\r' => safe.push(' '),
            _ if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            _ => safe.push(char),
        }
    }
    safe
}

/// A coordinate in the fewest characters that keep a tenth of a pixel.
pub fn at(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.into(),
        None => text,
    }
}

/// Where a text is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// At its start.
    Start,
    /// At its middle.
    Middle,
    /// At its end.
    End,
}

/// A drawing in the making.
#[derive(Debug)]
pub struct Sheet {
    width: f64,
    height: f64,
    body: String,
}

impl Sheet {
    /// An empty one, in pixels.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (at(from.0), at(from.1), at(to.0), at(to.1));
        let _ = write!(self.body, r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#);
    }

    /// A rectangle; `hint`, if any, is what a pointer over it shows.
    pub fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), hint: Option<&str>) {
        let (x, y, width, height) = (at(corner.0), at(corner.1), at(size.0.max(0.0)), at(size.1.max(0.0)));
        let _ = write!(self.body, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}""#);
        match hint {
            Some(hint) => {
                let _ = write!(self.body, "><title>{}</title></rect>", escape(hint));
            }
            None => self.body.push_str("/>"),
        }
    }

    /// A path in SVG's own words.
    pub fn path(&mut self, class: &str, path: &str) {
        let _ = write!(self.body, r#"<path class="{class}" d="{path}"/>"#);
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, centre: (f64, f64), radius: f64) {
        let (x, y, r) = (at(centre.0), at(centre.1), at(radius));
        let _ = write!(self.body, r#"<circle class="{class}" cx="{x}" cy="{y}" r="{r}"/>"#);
    }

    /// Words.
    pub fn text(&mut self, class: &str, place: (f64, f64), hold: Hold, text: &str) {
        let anchor = match hold {
            Hold::Start => "",
            Hold::Middle => r#" text-anchor="middle""#,
            Hold::End => r#" text-anchor="end""#,
        };
        let (x, y) = (at(place.0), at(place.1));
        let _ = write!(self.body, r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{}</text>"#, escape(text));
    }

    /// Another drawing on this one.
    pub fn place(&mut self, corner: (f64, f64), other: &Self) {
        let (x, y) = (at(corner.0), at(corner.1));
        let _ = write!(self.body, r#"<g transform="translate({x} {y})">{}</g>"#, other.body);
    }

    /// Begins a group that a reader can switch off as one.
    pub fn open(&mut self, number: usize) {
        let _ = write!(self.body, r#"<g data-series="{number}">"#);
    }

    /// Ends it.
    pub fn close(&mut self) {
        self.body.push_str("</g>");
    }

    /// The element, for a page that has the style sheet. `label` is what it is to those who do not see it.
    pub fn element(&self, class: &str, label: &str) -> String {
        let (width, height, label) = (at(self.width), at(self.height), escape(label));
        format!(
            r#"<svg class="{class}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{}</svg>"#,
            self.body
        )
    }

    /// A whole document with its own style sheet.
    pub fn document(&self, style: &str) -> String {
        let (width, height) = (at(self.width), at(self.height));
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"><style>{style}</style>{}</svg>"#,
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_become_marks() {
        let mut sheet = Sheet::new(10.0, 10.0);
        sheet.text("label", (1.0, 2.0), Hold::End, "</text><script>alert('x')</script>\u{1}");
        sheet.rect("hit", (0.0, 0.0), (1.0, -1.0), Some("\"a\" & <b>"));
        let element = sheet.element("plot", "\" onload=\"x");
        assert!(!element.contains("<script") && !element.contains("\" onload"), "{element}");
        assert!(element.contains("&lt;script&gt;") && !element.contains('\u{1}') && element.contains(r#"height="0""#));
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([at(1.0), at(2.25), at(-0.01), at(f64::NAN)], ["1", "2.2", "0", "0"]);
    }
}

//! A result as one HTML file: it asks the network for nothing, reads without a script, prints, and trusts no word it shows.
//!
//! A [`Document`] is a result in the order of reading: what it is, whether to believe it, the main figures, then plots and
//! tables. Every command that has a result makes one; this module alone turns it into marks.

mod account;
mod course;
mod figures;
mod overlay;

pub use account::document;
pub use overlay::overlay;

use super::svg::look;
use super::svg::{Bar, Look, Plot, bars, escape};
use crate::measure::Stamp;
use std::fmt::Write as _;

/// A result to be read.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// What it is of.
    pub title: String,
    /// Where, when and how, as pairs of a word and its value.
    pub facts: Vec<(String, String)>,
    /// Whether to believe it.
    pub stamp: Option<Stamp>,
    /// The main figures.
    pub cards: Vec<Card>,
    /// The rest.
    pub sections: Vec<Section>,
}

impl Document {
    /// All plots, in order.
    pub fn plots(&self) -> impl Iterator<Item = &Plot> {
        self.sections.iter().flat_map(|section| &section.blocks).filter_map(|block| match block {
            Block::Plot(plot) => Some(plot.as_ref()),
            _ => None,
        })
    }

    /// Whether a plot tells of the tester's health second by second, as those of a schedule do.
    pub fn has_strip(&self) -> bool {
        self.plots().any(|plot| plot.strip.is_some())
    }
}

/// One main figure.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// What it is.
    pub name: String,
    /// The figure with its unit.
    pub value: String,
    /// What it stands beside; may be empty.
    pub note: String,
}

/// Blocks under one heading.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What is under it.
    pub blocks: Vec<Block>,
}

/// One thing to look at.
#[derive(Clone, Debug)]
pub enum Block {
    /// A plot.
    Plot(Box<Plot>),
    /// Bars with their title.
    Bars(String, Vec<Bar>),
    /// A table.
    Table(Table),
    /// A paragraph.
    Words(String),
    /// Words to be copied letter by letter, under a title.
    Copy(String, String),
}

/// A table; the first cell of a row names it.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What it holds.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// The rows, as wide as the head.
    pub rows: Vec<Vec<Value>>,
    /// What must be said below; may be empty.
    pub note: String,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value {
    /// The words or the figure.
    pub text: String,
    /// How it is meant.
    pub tint: Tint,
}

/// How a cell is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tint {
    /// As it stands.
    #[default]
    Plain,
    /// Words, not a figure.
    Words,
    /// A figure that little stands behind.
    Thin,
    /// Good.
    Good,
    /// Bad.
    Bad,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self { text, tint: Tint::Plain }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Value {
    /// A cell that is meant so.
    pub fn tinted(text: impl Into<String>, tint: Tint) -> Self {
        Self { text: text.into(), tint }
    }
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The plots of a page on a wide and on a narrow screen; the page shows one of them.
const WIDE: Look = Look { width: 680.0, height: 210.0, alone: false, hints: true };
const NARROW: Look = Look { width: 350.0, height: 180.0, alone: false, hints: false };

/// The page.
pub fn page(document: &Document) -> String {
    let title = escape(&document.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
         <title>{title} · igris-load</title><style>{}{STYLE}</style></head><body>\n",
        look::page()
    );
    write_head(&mut out, document);
    out.push_str("<main>\n");
    write_cards(&mut out, &document.cards);
    for (number, section) in document.sections.iter().enumerate() {
        write_section(&mut out, number, section);
    }
    let planned = if document.has_strip() {
        " Times count from the instant at which a request was planned to leave."
    } else {
        ""
    };
    let _ = writeln!(out, "</main>\n<footer><p>Made by igris-load.{planned}</p></footer>");
    let _ = writeln!(out, "<script>{SCRIPT}</script></body></html>");
    out
}

fn write_head(out: &mut String, document: &Document) {
    let _ = write!(out, "<header><h1>{}</h1>", escape(&document.title));
    if !document.facts.is_empty() {
        out.push_str("<dl class=\"facts\">");
        for (word, value) in &document.facts {
            let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(word), escape(value));
        }
        out.push_str("</dl>");
    }
    if let Some(stamp) = &document.stamp {
        write_stamp(out, stamp);
    }
    out.push_str("</header>\n");
}

fn write_stamp(out: &mut String, stamp: &Stamp) {
    let (class, says) = match stamp {
        Stamp::Valid => ("good", "Nothing about the tester or its machine was found to disturb the figures."),
        Stamp::Degraded(_) => ("watch", "The figures stand, with an error that these reasons size:"),
        Stamp::Invalid(_) => ("bad", "Do not use these figures: they tell more of the tester than of the target."),
    };
    let word = stamp.word();
    let _ = write!(out, "<div class=\"stamp {class}\"><p><strong>{word}</strong> {says}</p>");
    if !stamp.reasons().is_empty() {
        out.push_str("<ul>");
        for reason in stamp.reasons() {
            let _ = write!(out, "<li>{} <em>{}</em></li>", escape(&reason.says), escape(&reason.remedy));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div>");
}

fn write_cards(out: &mut String, cards: &[Card]) {
    if cards.is_empty() {
        return;
    }
    // Few cards stay as small as many.
    let _ = write!(out, "<dl class=\"cards\" style=\"max-width:{}px\">", 260 * cards.len());
    for card in cards {
        let [name, value, note] = [&card.name, &card.value, &card.note].map(|text| escape(text));
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}");
        if !note.is_empty() {
            let _ = write!(out, "<small>{note}</small>");
        }
        out.push_str("</dd></div>");
    }
    out.push_str("</dl>\n");
}

fn write_section(out: &mut String, number: usize, section: &Section) {
    let title = escape(&section.title);
    let _ = write!(out, "<section aria-labelledby=\"part-{number}\"><h2 id=\"part-{number}\">{title}</h2>");
    let mut row = "";
    for block in &section.blocks {
        let wanted = match block {
            Block::Plot(_) | Block::Bars(..) => "figures",
            Block::Table(_) => "tables",
            Block::Words(_) | Block::Copy(..) => "",
        };
        if wanted != row {
            out.push_str(if row.is_empty() { "" } else { "</div>" });
            if !wanted.is_empty() {
                let _ = write!(out, "<div class=\"{wanted}\">");
            }
            row = wanted;
        }
        write_block(out, block);
    }
    out.push_str(if row.is_empty() { "</section>\n" } else { "</div></section>\n" });
}

fn write_block(out: &mut String, block: &Block) {
    match block {
        Block::Plot(plot) => write_plot(out, plot),
        Block::Bars(title, given) => {
            let each: Vec<_> = given.iter().map(|bar| format!("{} {}", bar.name, bar.count)).collect();
            let label = format!("{title}: {}", each.join(", "));
            let _ = write!(out, "<figure><figcaption><h3>{}</h3></figcaption>", escape(title));
            out.push_str(&bars(given, WIDE.width).element("wide", &label));
            out.push_str(&bars(given, NARROW.width).element("narrow", &label));
            out.push_str("</figure>");
        }
        Block::Table(table) => write_table(out, table),
        Block::Words(words) => {
            let _ = write!(out, "<p>{}</p>", escape(words));
        }
        Block::Copy(title, text) => {
            let label = escape(title);
            let text = text.lines().map(escape).collect::<Vec<_>>().join("\n");
            let _ =
                write!(out, "<h3>{label}</h3><pre tabindex=\"0\" aria-label=\"{label}\" role=\"region\">{text}</pre>");
        }
    }
}

fn write_plot(out: &mut String, plot: &Plot) {
    let _ = write!(out, "<figure><figcaption><h3>{}</h3>", escape(&plot.title));
    out.push_str(if plot.layers.is_empty() { "" } else { "<ul class=\"legend\">" });
    for (number, layer) in plot.layers.iter().enumerate() {
        let tone = layer.tone % 8;
        let mark = if layer.is_filled() {
            format!("<rect class=\"f{tone}\" y=\"2\" width=\"24\" height=\"8\"/>")
        } else {
            format!("<path class=\"s s{tone}\" d=\"M0 6H24\"/>")
        };
        let name = escape(&layer.name);
        let _ = write!(
            out,
            "<li data-series=\"{number}\"><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\">{mark}</svg>{name}</li>"
        );
    }
    out.push_str(if plot.layers.is_empty() { "</figcaption>" } else { "</ul></figcaption>" });
    out.push_str(&plot.draw(&WIDE).element("wide", &plot.about));
    out.push_str(&plot.draw(&NARROW).element("narrow", &plot.about));
    if plot.strip.is_some() {
        out.push_str(
            "<p class=\"health\">The tester itself: <span class=\"fine\">fine</span> <span class=\"watch\">watch</span> \
             <span class=\"bad\">bad</span></p>",
        );
    }
    out.push_str("</figure>");
}

fn write_table(out: &mut String, table: &Table) {
    let caption = escape(&table.caption);
    let _ = write!(
        out,
        "<div class=\"block\"><div class=\"table\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table><caption>{caption}</caption><thead><tr>"
    );
    for (column, name) in table.head.iter().enumerate() {
        let words = table.rows.iter().all(|row| row.get(column).is_some_and(|value| value.tint == Tint::Words));
        let class = if words { " class=\"words\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        out.push_str("<tr>");
        for (column, value) in row.iter().enumerate() {
            let text = escape(&value.text);
            let class = match value.tint {
                Tint::Plain => "",
                Tint::Words => " class=\"words\"",
                Tint::Thin => " class=\"thin\"",
                Tint::Good => " class=\"good\"",
                Tint::Bad => " class=\"bad\"",
            };
            let _ = match column {
                0 => write!(out, "<th scope=\"row\"{class}>{text}</th>"),
                _ => write!(out, "<td{class}>{text}</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    if !table.note.is_empty() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&table.note));
    }
    out.push_str("</div>");
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::measure::Outcome;
    use crate::report::svg::{Course, Curve, Moment, percentiles};

    /// A made-up result with everything in it.
    pub fn sample() -> Document {
        let curve = |name: &str, tone, scale: f64| Curve {
            name: name.into(),
            tone,
            count: 10_000,
            points: (0..160)
                .map(|step| 10f64.powf(f64::from(step) / 40.0))
                .map(|x| (x, scale * (8e6 + 3e6 * x.ln().powi(2))))
                .collect(),
        };
        let moment = |second: u32| {
            let wave = f64::from(second * 37 % 11);
            let mut ended = [0.0; Outcome::ALL.len()];
            ended[Outcome::Ok as usize] = 190.0 + wave;
            ended[Outcome::RateLimited as usize] = if second > 14 && second < 19 { 20.0 } else { 0.0 };
            ended[Outcome::Timeout as usize] = if second == 17 { 9.0 } else { 0.0 };
            Moment {
                from: f64::from(second),
                to: f64::from(second + 1),
                warm_up: second < 4,
                due: 200.0,
                ended,
                good: 185.0,
                tokens: 3000.0,
                ttft: [9e6 + wave * 2e5, 30e6 + wave * 3e6],
                e2e: [60e6, 110e6 + wave * 4e6],
                in_flight: 12.0 + wave,
                late: if second == 22 {
                    6e6
                } else if second == 23 {
                    1e6
                } else {
                    6e4
                },
                cpu: if second == 22 { 0.97 } else { 0.2 },
                watched: Some((0.4 + wave / 50.0, 48e6 + 1e5 * f64::from(second))),
            }
        };
        let course = Course { moments: (0..30).map(moment).collect(), typical: 10e6, ttft_bounds: vec![50e6] };
        let mut percentile = percentiles(
            "Latency by percentile",
            &[curve("TTFT", 0, 1.0), curve("E2E", 1, 6.0), curve("gap", 2, 0.1), curve("TPOT", 3, 0.12)],
        );
        percentile.strip = Some(course.strip());
        let mut blocks = vec![Block::Plot(Box::new(percentile))];
        blocks.extend(course.plots().into_iter().map(|plot| Block::Plot(Box::new(plot))));
        let bar = |name: &str, count, tone| Bar { name: name.into(), count, tone };
        blocks.push(Block::Bars(
            "Outcomes".into(),
            vec![bar("ok", 5790, 0), bar("rate_limited", 80, 1), bar("timeout", 9, 5)],
        ));
        let card =
            |name: &str, value: &str, note: &str| Card { name: name.into(), value: value.into(), note: note.into() };
        let table = Table {
            caption: "A table".into(),
            head: vec!["what".into(), "p50".into(), "p99".into()],
            rows: vec![vec!["<b>TTFT</b>".into(), "9 ms".into(), Value::tinted("33 ms", Tint::Thin)]],
            note: "~ is thin".into(),
        };
        Document {
            title: "chat at 200 requests a second".into(),
            facts: vec![
                ("target".into(), "http://127.0.0.1:8081/v1".into()),
                ("model".into(), "<script>alert(1)</script>".into()),
            ],
            stamp: Some(Stamp::Valid),
            cards: vec![
                card("TTFT p50", "9.8 ms", "p99 33 ms"),
                card("E2E p50", "61 ms", "p99 130 ms"),
                card("requests", "199 / s", "5 879 of 6 000 planned"),
                card("goodput", "98.2 %", "ttft<50ms"),
                card("output tokens", "3k / s", ""),
                card("failed", "1.5 %", "rate_limited, timeout"),
            ],
            sections: vec![
                Section { title: "Plots".into(), blocks },
                Section {
                    title: "Figures".into(),
                    blocks: vec![
                        Block::Table(table),
                        Block::Words("Words.".into()),
                        Block::Copy("The plan".into(), "[a]\nb = \"<c>\"\n".into()),
                    ],
                },
            ],
        }
    }

    #[test]
    fn a_page_asks_for_nothing_and_trusts_no_word() {
        let text = page(&sample());
        for outside in ["http-equiv=\"refresh", "<link", "<img", "<iframe", "src=", "href=", "@import", "url("] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(!text.contains("<script>alert") && !text.contains("<b>TTFT") && !text.contains("NaN"));
        assert!(text.contains("&lt;script&gt;alert(1)") && text.contains("b = &quot;&lt;c&gt;&quot;"));
        assert_eq!(text.matches("<script>").count(), 1);
    }

    #[test]
    fn marks_are_balanced() {
        let text = page(&sample());
        let body = text.split("<body>").nth(1).and_then(|rest| rest.split("<script>").next()).expect("a body");
        for name in [
            "section",
            "figure",
            "figcaption",
            "div",
            "dl",
            "table",
            "tr",
            "td",
            "th",
            "svg",
            "g",
            "ul",
            "li",
            "p",
            "pre",
            "h2",
            "h3",
        ] {
            let opened = body.matches(&format!("<{name}>")).count() + body.matches(&format!("<{name} ")).count();
            assert_eq!(opened, body.matches(&format!("</{name}>")).count(), "{name}");
        }
    }

    #[test]
    fn a_stamp_says_why() {
        let reason = crate::measure::Reason {
            check: "late".into(),
            weight: crate::measure::Weight::Invalidates,
            figure: 0.5,
            limit: 0.25,
            unit: "share".into(),
            says: "It was <late>.".into(),
            remedy: "Lower --rate.".into(),
        };
        let text = page(&Document { stamp: Some(Stamp::Invalid(vec![reason])), ..sample() });
        assert!(
            text.contains("<strong>INVALID</strong>") && text.contains("It was &lt;late&gt;. <em>Lower --rate.</em>")
        );
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let text = page(&Document::default());
        assert!(text.starts_with("<!doctype html>") && text.contains("<h1></h1>"));
    }
}

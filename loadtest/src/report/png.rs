//! A result as one picture, for a README or a chat: title, stamp, main figures and the first plots, drawn from the same SVG
//! as the page, with a font of its own. The same result gives the same bytes on every machine.

use super::html::{Card, Document};
use super::svg::look::standing;
use super::svg::{Hold, LIGHT, Look, Plot, Sheet};
use crate::measure::Stamp;
use anyhow::Context as _;
use resvg::{tiny_skia, usvg};

/// Pixels across, before scaling.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 24.0;
/// Pixels across of one of two plots in a row.
const HALF: f64 = (WIDTH - 3.0 * MARGIN) / 2.0;
/// Pixels of the picture for each of the drawing.
const SCALE: f32 = 2.0;
/// Plots that are taken, from the first on.
const PLOTS_MAX: usize = 4;
const CARDS_MAX: usize = 6;
/// The family that the font calls itself.
const FONT: &str = "Ubuntu";

/// The picture as PNG.
///
/// # Errors
/// The drawing could not be rendered, which would be a bug here.
pub fn picture(document: &Document) -> anyhow::Result<Vec<u8>> {
    render(&drawing(document).document(&standing(&LIGHT, FONT)))
}

/// The picture as a drawing.
fn drawing(document: &Document) -> Sheet {
    let rows = rows(document.plots().take(PLOTS_MAX).collect());
    let top = if document.cards.is_empty() { 92.0 } else { 172.0 };
    let heights = rows.iter().map(|row| row.iter().map(Sheet::height).fold(0.0, f64::max) + 18.0);
    let heights: Vec<f64> = heights.collect();
    let height = top + heights.iter().sum::<f64>() + 32.0;
    let mut sheet = Sheet::new(WIDTH, height);
    sheet.rect("back", (0.0, 0.0), (WIDTH, height), None);
    draw_head(&mut sheet, document);
    draw_cards(&mut sheet, &document.cards);
    let mut y = top;
    for (row, height) in rows.iter().zip(heights) {
        for (column, plot) in row.iter().enumerate() {
            sheet.place((MARGIN + column as f64 * (HALF + MARGIN), y), plot);
        }
        y += height;
    }
    draw_foot(&mut sheet, height - 16.0, document.has_strip());
    sheet
}

/// Two plots beside each other; of an odd number the first has a row of its own.
fn rows(plots: Vec<&Plot>) -> Vec<Vec<Sheet>> {
    let draw = |plot: &Plot, width: f64| plot.draw(&Look { width, height: 190.0, alone: true, hints: false });
    let (alone, paired) = plots.split_at(plots.len() % 2);
    let mut rows: Vec<Vec<Sheet>> = alone.iter().map(|plot| vec![draw(plot, WIDTH - 2.0 * MARGIN)]).collect();
    rows.extend(paired.chunks(2).map(|pair| pair.iter().map(|plot| draw(plot, HALF)).collect()));
    rows
}

fn draw_head(sheet: &mut Sheet, document: &Document) {
    sheet.text("huge", (MARGIN, 44.0), Hold::Start, &shortened(&document.title, 68));
    sheet.text("label", (MARGIN, 70.0), Hold::Start, &facts(document));
    let Some(stamp) = &document.stamp else { return };
    let class = match stamp {
        Stamp::Valid => "h-fine",
        Stamp::Degraded(_) => "h-watch",
        Stamp::Invalid(_) => "h-bad",
    };
    sheet.rect(class, (WIDTH - MARGIN - 112.0, 22.0), (112.0, 28.0), None);
    sheet.text("stamp", (WIDTH - MARGIN - 56.0, 41.0), Hold::Middle, stamp.word());
}

fn draw_cards(sheet: &mut Sheet, cards: &[Card]) {
    let many = cards.len().min(CARDS_MAX);
    let width = (WIDTH - 2.0 * MARGIN) / many.max(1) as f64;
    for (number, card) in cards.iter().take(many).enumerate() {
        let x = MARGIN + number as f64 * width;
        sheet.line("grid", (x, 92.0), (x + width - 14.0, 92.0));
        sheet.text("tick", (x, 112.0), Hold::Start, &card.name);
        sheet.text("big", (x, 138.0), Hold::Start, &card.value);
        sheet.text("tick", (x, 156.0), Hold::Start, &shortened(&card.note, (width / 5.6) as usize));
    }
}

fn draw_foot(sheet: &mut Sheet, y: f64, strips: bool) {
    if !strips {
        sheet.text("tick", (WIDTH - MARGIN, y), Hold::End, "igris-load");
        return;
    }
    let marks = [("h-fine", 5.0, "fine"), ("h-watch", 8.0, "watch"), ("h-bad", 11.0, "bad")];
    sheet.text("tick", (MARGIN, y), Hold::Start, "Strip under each plot, the tester itself:");
    for (number, (class, height, word)) in marks.into_iter().enumerate() {
        let x = MARGIN + 212.0 + 62.0 * number as f64;
        sheet.rect(class, (x, y - height), (14.0, height), None);
        sheet.text("tick", (x + 19.0, y), Hold::Start, word);
    }
    let made = "igris-load; times count from the planned instant of each request";
    sheet.text("tick", (WIDTH - MARGIN, y), Hold::End, made);
}

/// As many facts as have room, whole.
fn facts(document: &Document) -> String {
    const ROOM: usize = 160;
    let mut text = String::new();
    for (_, value) in &document.facts {
        let apart = if text.is_empty() { "" } else { "  ·  " };
        if text.chars().count() + value.chars().count() + apart.len() > ROOM {
            break;
        }
        text.push_str(apart);
        text.push_str(value);
    }
    text
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A drawing with its style sheet as PNG.
fn render(svg: &str) -> anyhow::Result<Vec<u8>> {
    let mut options = usvg::Options { font_family: FONT.into(), ..usvg::Options::default() };
    options.fontdb_mut().load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let tree = usvg::Tree::from_str(svg, &options).context("the drawing is not SVG; please report this")?;
    let size = tree.size();
    let pixels = |length: f32| (length * SCALE).ceil() as u32;
    let mut canvas = tiny_skia::Pixmap::new(pixels(size.width()), pixels(size.height()))
        .context("the picture has no size; please report this")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut canvas.as_mut());
    canvas.encode_png().context("the picture could not be encoded; please report this")
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::sample;
    use super::*;

    #[test]
    fn a_picture_decodes_is_not_blank_and_is_always_the_same() {
        let document = sample();
        let png = picture(&document).expect("a picture");
        assert_eq!(png, picture(&document).expect("a picture"));
        let canvas = tiny_skia::Pixmap::decode_png(&png).expect("PNG");
        assert_eq!(canvas.width(), 2400);
        let mut colours: Vec<_> =
            canvas.pixels().iter().map(|pixel| (pixel.red(), pixel.green(), pixel.blue())).collect();
        let white = colours.iter().filter(|colour| **colour == (255, 255, 255)).count();
        assert!(white > colours.len() / 2 && white < colours.len(), "words and lines on white");
        colours.sort_unstable();
        colours.dedup();
        assert!(colours.len() > 50, "{} colours", colours.len());
    }

    #[test]
    fn words_are_drawn_with_our_own_font() {
        let render = |word: &str| {
            let mut sheet = Sheet::new(100.0, 30.0);
            sheet.text("label", (5.0, 20.0), Hold::Start, word);
            render(&sheet.document(&standing(&LIGHT, FONT))).expect("a picture")
        };
        assert_ne!(render("p99 µs"), render("p90 µs"));
        assert_ne!(render("−"), render(" "));
    }

    #[test]
    fn hostile_names_stay_words() {
        let mut document = sample();
        document.title = "</text><image href=\"file:///etc/passwd\"/> & \u{1}".into();
        picture(&document).expect("a picture");
    }
}

//! Colours, dashes and letters of plots: once for a page, where the reader's light or dark decides, and once for pictures
//! that stand alone. Eight tones, told apart by lightness and dash as well as by hue.

use std::fmt::Write as _;

/// The colours of one light.
pub struct Palette {
    /// What everything stands on.
    pub back: &'static str,
    /// Words.
    pub ink: &'static str,
    /// Lesser words.
    pub pale: &'static str,
    /// Lines of the grid.
    pub grid: &'static str,
    /// The eight tones.
    pub tones: [&'static str; 8],
    /// Health: fine, watch, bad.
    pub health: [&'static str; 3],
    /// Behind the strip.
    pub trough: &'static str,
}

/// Dark on light; every tone has a contrast of at least 3 to the ground.
pub const LIGHT: Palette = Palette {
    back: "#ffffff",
    ink: "#1b1f24",
    pale: "#57606a",
    grid: "#e3e6ea",
    tones: ["#0062b1", "#c2410c", "#00785a", "#8a3fb5", "#946200", "#b0246e", "#4a5560", "#007a8a"],
    health: ["#4f9d76", "#b06f00", "#c62f3e"],
    trough: "#f1f3f5",
};

/// Light on dark.
pub const DARK: Palette = Palette {
    back: "#14181d",
    ink: "#e8ebee",
    pale: "#a3adb8",
    grid: "#2b323a",
    tones: ["#62b3ff", "#ff9a5c", "#3fd0a0", "#d19bff", "#f0c04a", "#ff86c0", "#b7c1cb", "#4fd3e6"],
    health: ["#3f8f69", "#f0b429", "#ff6b73"],
    trough: "#1d232a",
};

/// Dashes by tone, so that lines differ without colour.
const DASHES: [&str; 8] = ["", "7 3", "2 3", "9 3 2 3", "12 4", "1 2", "5 2 1 2 1 2", "3 2"];

/// The sheet for a picture that stands alone.
pub fn standing(palette: &Palette, font: &str) -> String {
    let mut css = rules(font);
    for (name, value) in variables(palette) {
        css = css.replace(&format!("var(--{name})"), value);
    }
    css
}

/// The sheet for a page: variables for both lights, and the rules that use them.
pub fn page() -> String {
    let list = |palette: &Palette| {
        variables(palette).into_iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, "--{name}:{value};");
            text
        })
    };
    let (light, dark) = (list(&LIGHT), list(&DARK));
    format!(
        ":root{{color-scheme:light dark;{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}@media print{{:root{{color-scheme:light;{light}}}}}{}",
        rules("system-ui,sans-serif")
    )
}

/// Longer names first, so that none is a beginning of one that is still to be replaced.
fn variables(palette: &Palette) -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> =
        palette.tones.iter().enumerate().map(|(number, tone)| (format!("tone-{number}"), *tone)).collect();
    let health = ["fine", "watch", "bad"].into_iter().zip(palette.health);
    all.extend(health.map(|(name, tone)| (name.to_owned(), tone)));
    all.extend([
        ("back".to_owned(), palette.back),
        ("ink".to_owned(), palette.ink),
        ("pale".to_owned(), palette.pale),
        ("grid".to_owned(), palette.grid),
        ("trough".to_owned(), palette.trough),
    ]);
    all
}

fn rules(font: &str) -> String {
    let mut css = format!(
        "text{{font-family:{font};font-size:12px;fill:var(--ink)}}\
         .back{{fill:var(--back)}}.huge{{font-size:27px}}.big{{font-size:24px}}.title{{font-size:15px}}.stamp{{font-size:14px;fill:var(--back)}}.tick,.note{{font-size:11px;fill:var(--pale)}}.axis-title{{font-size:11.5px;fill:var(--pale)}}\
         .axis{{stroke:var(--pale);stroke-width:1}}.grid{{stroke:var(--grid);stroke-width:1}}\
         .note{{paint-order:stroke;stroke:var(--back);stroke-width:3px;stroke-linejoin:round}}.rule{{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 3}}\
         .shade{{fill:var(--pale);fill-opacity:.12}}.hit{{fill:none;pointer-events:all}}\
         .s{{fill:none;stroke-width:2;stroke-linejoin:round}}.faint{{stroke-width:1.2;stroke-opacity:.75}}.band{{fill-opacity:.2}}\
         .h-back{{fill:var(--trough)}}.h-fine{{fill:var(--fine)}}.h-watch{{fill:var(--watch)}}.h-bad{{fill:var(--bad)}}"
    );
    for (tone, dash) in DASHES.iter().enumerate() {
        let _ = write!(css, ".s{tone}{{stroke:var(--tone-{tone})");
        if !dash.is_empty() {
            let _ = write!(css, ";stroke-dasharray:{dash}");
        }
        let _ = write!(css, "}}.f{tone}{{fill:var(--tone-{tone})}}");
    }
    css.push_str(".s.faint{stroke-dasharray:1 2}");
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of `#rrggbb` (WCAG 2.2, relative luminance).
    fn luminance(colour: &str) -> f64 {
        let part = |from: usize| {
            let value = u8::from_str_radix(&colour[from..from + 2], 16).expect(colour);
            let share = f64::from(value) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn everything_can_be_seen_in_both_lights() {
        for palette in [&LIGHT, &DARK] {
            for tone in palette.tones.iter().chain(&palette.health) {
                assert!(
                    contrast(tone, palette.back) >= 3.0,
                    "{tone} on {}: {}",
                    palette.back,
                    contrast(tone, palette.back)
                );
            }
            assert!(contrast(palette.ink, palette.back) >= 7.0 && contrast(palette.pale, palette.back) >= 4.5);
        }
    }

    #[test]
    fn a_picture_alone_needs_no_variables() {
        let css = standing(&LIGHT, "Ubuntu");
        assert!(!css.contains("var(") && css.contains(".s1{stroke:#c2410c;stroke-dasharray:7 3}"), "{css}");
        assert!(page().contains("prefers-color-scheme:dark") && page().contains("var(--tone-7)"));
    }
}

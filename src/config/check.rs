//! What `igris check FILE` prints, and the exit code it ends with.
//!
//! Pure: the text is given, nothing else is read. Whether key files and certificates exist is a matter of the machine that will serve.

use super::{Config, Known};
use std::fmt::Write;

/// Exit code of a file that may be served.
pub const EXIT_FINE: u8 = 0;
/// Exit code of a file that would be refused.
pub const EXIT_REFUSED: u8 = 2;

/// One line for each error and warning, then one line of summary. The text ends with a line end.
pub fn report(file: &str, text: &str, known: &Known<'_>) -> (String, u8) {
    match Config::parse_with_warnings(file, text, known) {
        Ok((config, warnings)) => {
            let mut report = String::new();
            if warnings.count() > 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(report, "{warnings}");
            }
            let _ = writeln!(report, "{file}: fine: {}", summary(&config));
            (report, EXIT_FINE)
        }
        Err(problems) => {
            let noun = if problems.count() == 1 { "problem" } else { "problems" };
            (format!("{problems}\n{file}: refused: {} {noun}\n", problems.count()), EXIT_REFUSED)
        }
    }
}

fn summary(config: &Config) -> String {
    let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    [
        format!("version {}", config.version),
        counted(config.providers.len(), "provider"),
        counted(config.models.len(), "model"),
        counted(config.tenants.len(), "tenant"),
        counted(config.access_keys.len(), "access key"),
    ]
    .join(", ")
}

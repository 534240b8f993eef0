//! The text of the live configuration beside the one that a reload would read, to compare them.

use super::{ConfigSource, Control, ControlError, parse_config};
use crate::config::without_passwords;
use crate::control_plane::reload::stamp;
use crate::limits::CONFIG_BYTES_MAX;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;

impl Control {
    /// `{"live": …, "offered": …}`, each `{"digest", "version", "text"}`; the offered one also `problems`, one line each, if it would be
    /// refused. `live` is null where no text is kept, `offered` where there is no file.
    ///
    /// # Errors
    /// The store refuses.
    pub fn config_texts(&mut self) -> Result<Value, ControlError> {
        let kept = self.store.admin().config_history()?.live.filter(|live| live.digest == self.stamp.digest);
        let live = kept.map(
            |live| json!({ "digest": live.digest, "version": live.version, "text": without_passwords(&live.text) }),
        );
        let offered = match &self.place.source {
            ConfigSource::File(path) => Some(offered(path)),
            ConfigSource::Environment => None,
        };
        Ok(json!({ "live": live, "offered": offered }))
    }
}

/// What lies there. The text is shown also where it would be refused: that is what is to be repaired.
fn offered(path: &Path) -> Value {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_string(&mut text));
    if let Err(cause) = read {
        let problem = format!("{}: error: cannot be read ({cause}); check its path and permissions", path.display());
        return json!({ "digest": null, "version": null, "text": null, "problems": [problem] });
    }
    let (version, problems) = match parse_config(&path.display().to_string(), &text) {
        Ok((config, ..)) => (Some(config.version), Vec::new()),
        Err(error) => (None, error.lines()),
    };
    json!({ "digest": stamp(0, &text).digest, "version": version, "text": without_passwords(&text), "problems": problems })
}

//! `igris admin store …`: an estate carried between this machine's file and a database, with the gateway stopped.

use crate::cli::DATA_DIR_DEFAULT;
use crate::config::Store as StorePlace;
use crate::control_plane::{self, Environment, VaultPlace, carriage};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `igris admin store`.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do
    #[command(subcommand)]
    verb: StoreVerb,
    /// Where this machine's state lies
    #[arg(long, global = true, value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    data_dir: PathBuf,
    /// Configuration whose [store] names the database
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum StoreVerb {
    /// Move the estate of the data directory into the database that [store] url names; with --back, out of it again
    Migrate {
        /// Make this machine's copy a store of its own
        #[arg(long)]
        back: bool,
    },
    /// Copy the estate into an empty file or an empty database; where it comes from stays as it is
    Copy {
        /// Where to: sqlite:PATH or postgres://…
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

/// Does it, and answers what came of it.
pub(super) fn run(args: &StoreArgs) -> anyhow::Result<serde_json::Value> {
    let config = match &args.config {
        Some(path) => Some(control_plane::read_config(path)?.0),
        None => None,
    };
    let path = VaultPlace::of(config.as_ref(), &args.data_dir).store;
    let env: Environment = Box::new(|name| std::env::var(name).ok());
    let carried = match &args.verb {
        StoreVerb::Migrate { back } => {
            let Some(StorePlace::Database(database)) = config.as_ref().map(|config| &config.store) else {
                bail!(
                    "no database is named; write its URL into [store] of a configuration, and name that with --config"
                );
            };
            let path = args.data_dir.join("igris.db");
            if *back {
                carriage::migrate_back(&path, database, &env)?
            } else {
                carriage::migrate(&path, database, &env)?
            }
        }
        StoreVerb::Copy { to } => {
            let text = format!("version = 1\n[store]\nurl = {}\n", serde_json::to_string(to)?);
            let to = control_plane::parse_config("--to", &text)?.0.store;
            let from = config.as_ref().map_or(StorePlace::Sqlite(None), |config| config.store.clone());
            carriage::copy(&from, &path, &to, &env)?
        }
    };
    serde_json::to_value(carried).context("the answer cannot be written as JSON")
}

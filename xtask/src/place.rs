//! Where things are: the root of the repository, its build directory and the programs built there.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository this command was started in.
pub struct Place {
    /// Folder of the workspace manifest.
    pub root: PathBuf,
    /// Build directory, shared by every step so that nothing is compiled twice.
    pub target: PathBuf,
}

impl Place {
    /// Walks up from the current folder to the one that holds `xtask/Cargo.toml`.
    pub fn find() -> Result<Place> {
        let here = env::current_dir().context("the current folder cannot be read")?;
        let root = here.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
        let root = root.context("run this inside the repository")?.to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Place { root, target })
    }

    /// A folder below `target/` for what these tasks make.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.target.join("xtask").join(name)
    }

    /// A program of this workspace, as `cargo build` leaves it.
    pub fn built(&self, profile: &str, program: &str) -> PathBuf {
        // Cargo's folder of the profile `dev` has a name of its own.
        let folder = if profile == "dev" { "debug" } else { profile };
        self.target.join(folder).join(program)
    }
}

/// Finds a program on the search path, as a shell would.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Names of the entries of a folder, sorted; empty when there is no such folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

//! How many sockets this process may have.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are needed for anything but connections.
const OTHERS: u64 = 64;

/// Allows this process as many descriptors as the system lets it, and checks that so many connections fit.
///
/// # Errors
/// They do not.
pub(super) fn make_room(connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OTHERS;
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // Without it the check below says what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < wanted => bail!(
            "{connections} connections do not fit: this process may open {most} files, so ask for at most {} with --connections, \\
             or raise the limit with `ulimit -n {wanted}`",
            most.saturating_sub(OTHERS)
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said() {
        make_room(1).expect("one connection fits");
        let said = make_room(usize::MAX / 2).expect_err("no system has so many").to_string();
        assert!(said.contains("ulimit -n"), "{said}");
    }
}

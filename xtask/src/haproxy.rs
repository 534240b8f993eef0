//! HAProxy as a second yardstick: one thread, keep-alive on both sides, connections shared by all requests, nothing logged.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::parties::Upstream;
use crate::process::Background;

/// Starts HAProxy between a loopback port and the provider.
///
/// # Errors
/// Its folder or the program itself fails.
pub(crate) fn start(
    program: &Path,
    folder: &Path,
    listen: u16,
    upstream: &Upstream,
    pin: impl Fn(Command) -> Command,
) -> Result<Background> {
    fs::create_dir_all(folder)?;
    let config = folder.join("haproxy.cfg");
    fs::write(&config, configuration(listen, upstream))?;
    let mut command = Command::new(program);
    // In the foreground: the process that is started is the one that serves.
    command.arg("-db").arg("-f").arg(&config);
    Background::start(&mut pin(command), &folder.join("output.log"))
}

/// `http-no-delay` sends the events of a stream as they come, which nginx does by itself.
fn configuration(listen: u16, upstream: &Upstream) -> String {
    let tls = upstream.certs.as_ref().map_or_else(String::new, |certs| {
        format!(" ssl verify required ca-file {} verifyhost localhost sni str(localhost)", certs.authority.display())
    });
    format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    option http-no-delay
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend clients
    bind 127.0.0.1:{listen}
    default_backend simulator
backend simulator
    http-reuse always
    server simulator 127.0.0.1:{}{tls}
",
        upstream.port
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Certs;

    #[test]
    fn the_provider_is_verified_behind_tls() {
        let plain = configuration(1, &Upstream::plain(2));
        assert!(plain.contains("bind 127.0.0.1:1\n") && plain.contains("server simulator 127.0.0.1:2\n"), "{plain}");
        let certs = Certs { authority: "/tmp/ca.pem".into(), server: "s".into(), key: "k".into() };
        let sealed = configuration(1, &Upstream { port: 2, certs: Some(certs) });
        assert!(sealed.contains("127.0.0.1:2 ssl verify required ca-file /tmp/ca.pem"), "{sealed}");
    }
}

//! nginx as the yardstick: one worker, a bare keep-alive `proxy_pass`, nothing logged, everything below `target/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::parties::Upstream;
use crate::process::Background;

/// Starts nginx between a loopback port and the provider; with `stream` it passes on what comes as it comes.
///
/// # Errors
/// Its folder or the program itself fails.
pub(crate) fn start(
    program: &Path,
    folder: &Path,
    listen: u16,
    upstream: &Upstream,
    stream: bool,
    pin: impl Fn(Command) -> Command,
) -> Result<Background> {
    fs::create_dir_all(folder)?;
    let config = folder.join("nginx.conf");
    fs::write(&config, configuration(folder, listen, upstream, stream))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&config);
    Background::start(&mut pin(command), &folder.join("output.log"))
}

/// One process (no master), so that its times are the whole cost. Keep-alive is as long as igris' own
/// (`limits::EXCHANGES_PER_CONNECTION_MAX`): neither side reconnects more often than the other. As many connections to the provider are kept
/// as there are ever clients.
fn configuration(folder: &Path, listen: u16, upstream: &Upstream, stream: bool) -> String {
    let folder = folder.display();
    let buffering = if stream { "proxy_buffering off;" } else { "" };
    let (scheme, tls) = match &upstream.certs {
        None => ("http", String::new()),
        Some(certs) => {
            let authority = certs.authority.display();
            let lines = format!(
                "proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_protocols TLSv1.3;
            proxy_ssl_name localhost; proxy_ssl_server_name on;"
            );
            ("https", lines)
        }
    };
    let port = upstream.port;
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000;
    upstream simulator {{
        server 127.0.0.1:{port};
        keepalive 1024;
        keepalive_requests 10000;
    }}
    server {{
        listen 127.0.0.1:{listen} backlog=1024;
        location / {{
            proxy_pass {scheme}://simulator;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_read_timeout 600s;
            {buffering}
            {tls}
        }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Certs;

    #[test]
    fn streams_are_not_buffered_and_tls_is_verified() {
        let folder = Path::new("/tmp/n");
        let plain = configuration(folder, 1, &Upstream::plain(2), false);
        assert!(plain.contains("proxy_pass http://simulator;") && !plain.contains("proxy_buffering"), "{plain}");
        let certs = Certs { authority: "/tmp/ca.pem".into(), server: "s".into(), key: "k".into() };
        let sealed = configuration(folder, 1, &Upstream { port: 2, certs: Some(certs) }, true);
        for line in ["proxy_pass https://simulator;", "proxy_buffering off;", "proxy_ssl_verify on;"] {
            assert!(sealed.contains(line), "{line} is missing:\n{sealed}");
        }
    }
}

//! nginx as the yardstick: one worker, a bare keep-alive `proxy_pass`, nothing logged, everything below `target/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::Background;

/// Starts nginx between two loopback ports.
///
/// # Errors
/// Its folder or the program itself fails.
pub fn start(
    program: &Path,
    folder: &Path,
    listen: u16,
    upstream: u16,
    pin: impl Fn(Command) -> Command,
) -> Result<Background> {
    fs::create_dir_all(folder)?;
    let config = folder.join("nginx.conf");
    fs::write(&config, configuration(folder, listen, upstream))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&config);
    Background::start(&mut pin(command), &folder.join("output.log"))
}

/// One process (no master), so that its times are the whole cost. Keep-alive is as long as igris' own
/// (`limits::EXCHANGES_PER_CONNECTION_MAX`): neither side reconnects more often than the other.
fn configuration(folder: &Path, listen: u16, upstream: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000;
    upstream simulator {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 10000;
    }}
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass http://simulator;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}

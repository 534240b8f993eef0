//! `bench telemetry`: processor time per request with nothing told, and with everything told: every exchange a trace of two spans and a line of
//! the access log, metrics exported each second and scraped by nobody.
//!
//! Both gateways stand between the same loader and the same provider, in interleaved rounds. The collector is a thread of this process,
//! which takes whatever comes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::Result;

use crate::parties::{ACCESS_KEY, Proxy, free_port, start_gateway};
use crate::place::Place;

/// Starts the two gateways.
pub(crate) fn start(place: &Place, folder: &Path, provider_port: u16) -> Result<Vec<Proxy>> {
    let collector = collector()?;
    let log = folder.join("access.log");
    let everything = format!(
        "[telemetry]\nmetrics_tenant_label = true\n[telemetry.otlp]\nendpoint = \"http://127.0.0.1:{collector}\"\nmetrics_interval = \"1s\"\n\
         [telemetry.access_log]\npath = \"{}\"\n",
        log.display()
    );
    let mut proxies = Vec::new();
    for (name, lines) in [("nothing told", ""), ("everything told", everything.as_str())] {
        let home = folder.join(name.replace(' ', "-"));
        fs::create_dir_all(&home)?;
        let port = free_port()?;
        let process = start_gateway(place, "release", &home, (port, provider_port), "epoll", lines, name)?;
        proxies.push(Proxy { name: name.to_owned(), port, key: ACCESS_KEY, process, rounds: Vec::new() });
    }
    Ok(proxies)
}

/// A collector that takes everything; its port. It ends with this process.
fn collector() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || listener.incoming().flatten().for_each(|connection| drop(take(connection))));
    Ok(port)
}

fn take(connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    write!(&connection, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

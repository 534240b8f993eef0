//! The command line: what may be typed, and what it means.
//!
//! [`parse`] answers a [`Cli`] or ends the process: help and version with 0, a usage error with 2 and one sentence on stderr. Nothing here
//! runs the gateway; `igris admin` alone is carried out below, in [`admin`], as a client of the admin socket.

pub mod admin;
mod client;
mod explain;
pub mod ledger;
mod print;
mod replay;
mod secret_input;
pub mod sign;
pub mod vault;

use crate::config::{Io, LogFormat};
use crate::control_plane::ControlError;
use crate::limits::{LOG_TEXT_BYTES_MAX, NAME_CHARS_MAX};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of a usage error or a refused configuration.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a failure.
pub const EXIT_FAILURE: u8 = 1;
/// Where state lives unless `--data-dir` or the configuration says otherwise.
pub const DATA_DIR_DEFAULT: &str = "igris-data";
/// The admin socket's name in the data directory.
pub const ADMIN_SOCKET_NAME: &str = "admin.sock";

/// A gateway to LLM providers: one access key in front, your provider keys sealed behind it.
#[derive(Debug, Parser)]
#[command(name = "igris", version, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to speak about it.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Logging, for every command.
#[derive(Clone, Copy, Debug, Args)]
pub struct LogArgs {
    /// Form of log lines on stderr: json | text
    #[arg(long = "log", global = true, value_name = "FORMAT", value_parser = log_format())]
    pub format: Option<LogFormat>,
    /// One log line for every attempt at a provider
    #[arg(short = 'v', global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway; without a configuration it takes provider keys from the environment
    Serve(ServeArgs),
    /// Run the gateway with simulated providers, a dashboard and a little traffic
    Demo(DemoArgs),
    /// Validate a configuration: every problem with file:line:column and a remedy
    Check(CheckArgs),
    /// Sign configurations: make keys, sign, verify
    Sign(sign::SignArgs),
    /// The key hierarchy of a data directory, with the gateway stopped
    Vault(vault::VaultArgs),
    /// Prove that the books balance, or export every attempt
    Ledger(ledger::LedgerArgs),
    /// Ask or change a running gateway over its admin socket
    Admin(admin::AdminArgs),
}

/// `igris serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Configuration in TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the public listener, instead of the configuration's; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub listen: Vec<SocketAddr>,
    /// Unix socket of the admin API, instead of the configuration's [default: admin.sock in the data directory]
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Where state lives
    #[arg(long, value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    pub data_dir: PathBuf,
    /// Threads of the data plane; 0 is one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub workers: Option<u16>,
    /// How to wait for the kernel: auto | io_uring | epoll
    #[arg(long, value_name = "DRIVER", value_parser = io())]
    pub io: Option<Io>,
    /// Start also where core dumps and other processes' looks into our memory cannot be forbidden
    #[arg(long)]
    pub insecure_dumps: bool,
    /// Go on without what follows a damaged record of the ledger journal; the file is put aside
    #[arg(long)]
    pub ledger_degraded: bool,
    /// Take only configurations that this minisign public key signed, by its text or a file; may be repeated
    #[arg(long, value_name = "KEY")]
    pub trust_key: Vec<String>,
    /// How many of the keys must have signed [default: all]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub trust_threshold: Option<u8>,
    /// What this gateway's fleet is called; a configuration that names it in `not_for` is refused
    #[arg(long, value_name = "LABEL", value_parser = name)]
    pub fleet_label: Option<String>,
}

/// `igris demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Address of the gateway; the dashboard takes the next port
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub listen: Option<SocketAddr>,
}

/// `igris check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Configuration in TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Reads the process's arguments, or ends the process.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            // A closed stdout is no reason to fail.
            let _ = error.print();
            std::process::exit(0);
        }
        eprintln!("igris: {}", usage_sentence(&error));
        std::process::exit(i32::from(EXIT_USAGE));
    })
}

/// Says why a command failed, on stderr, and answers the exit code for it: 2 for what the configuration says, 1 for all else.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("igris: {error:#}");
    let of_config = matches!(error.downcast_ref(), Some(ControlError::Config(_) | ControlError::File { .. }));
    ExitCode::from(if of_config { EXIT_USAGE } else { EXIT_FAILURE })
}

/// clap's report has several paragraphs; what is wrong is the first, what was probably meant the tip.
fn usage_sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let command = error.to_string();
        let usage =
            command.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("igris <COMMAND>").to_owned();
        return format!("a command is missing; usage: {usage}, see --help for the list");
    }
    let report = error.to_string();
    let mut lines = report.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':');
    let mut sentence = first.to_owned();
    let mut tip = None;
    for line in lines {
        if let Some(text) = line.strip_prefix("tip: ") {
            tip.get_or_insert(text);
        } else if line.starts_with("Usage:") {
            break;
        } else if tip.is_none() {
            sentence.push(' ');
            sentence.push_str(line);
        }
    }
    let remedy = tip.map_or_else(|| "see --help".to_owned(), |tip| format!("{tip}, or see --help"));
    format!("{}; {remedy}", crate::domain::text::bounded(&sentence, 4 * LOG_TEXT_BYTES_MAX))
}

/// The whole help as one text, for documentation.
pub fn help() -> String {
    Cli::command().render_long_help().to_string()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, as in 127.0.0.1:8081 or [::1]:8081".to_owned())
}

/// A tenant's or provider's name, checked before it stands in a path.
fn name(text: &str) -> Result<String, String> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.bytes().all(fit) || text.starts_with('.') {
        return Err(format!("use at most {NAME_CHARS_MAX} letters, digits, `-`, `_` and `.`"));
    }
    Ok(text.to_owned())
}

fn io() -> impl TypedValueParser<Value = Io> {
    PossibleValuesParser::new(["auto", "io_uring", "epoll"]).map(|word| match word.as_str() {
        "io_uring" => Io::IoUring,
        "epoll" => Io::Epoll,
        _ => Io::Auto,
    })
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["json", "text"]).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| usage_sentence(&error))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
        assert!(help().contains("serve"));
    }

    #[test]
    fn serve_takes_what_the_contract_names() {
        let line = "igris serve --config a.toml --listen 127.0.0.1:1 --listen [::1]:2 --admin-socket s --data-dir d \
                    --workers 3 --io io_uring --log json -vv";
        let Cli { command: Command::Serve(args), log } = read(line).expect("a command") else { panic!("not serve") };
        assert_eq!(args.listen.len(), 2);
        assert_eq!((args.workers, args.io), (Some(3), Some(Io::IoUring)));
        assert_eq!((log.format, log.verbose), (Some(LogFormat::Json), 2));
        let Cli { command: Command::Serve(args), .. } = read("igris serve").expect("a command") else {
            panic!("not serve")
        };
        assert_eq!(args.data_dir, PathBuf::from(DATA_DIR_DEFAULT));
        assert!(args.config.is_none() && args.listen.is_empty() && args.io.is_none());
    }

    #[test]
    fn a_usage_error_is_one_line_with_a_remedy() {
        for line in [
            "igris",
            "igris srve",
            "igris serve --listen nowhere",
            "igris serve --io kqueue",
            "igris serve --confg a",
            "igris check",
            "igris admin",
            "igris admin keys add openai/x",
            "igris serve --workers 9999",
        ] {
            let sentence = read(line).expect_err(line);
            assert!(!sentence.contains('\n') && sentence.contains("; "), "{line}: {sentence}");
        }
        assert!(read("igris srve").expect_err("refused").contains("'serve'"));
        assert!(read("igris serve --listen nowhere").expect_err("refused").contains("127.0.0.1:8081"));
        assert!(read("igris check").expect_err("refused").contains("FILE"));
    }
}

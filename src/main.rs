//! The `igris` binary: arguments in, exit code out.

use igris::app::{self, ServeOptions};
use igris::cli::{self, Cli, Command};
use igris::telemetry::LogFormat;
use igris::{config, control_plane, demo, rt};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { command, log } = cli::parse();
    let outcome = match command {
        Command::Serve(args) => app::serve(ServeOptions {
            config: args.config,
            listen: args.listen,
            admin_socket: args.admin_socket,
            data_dir: args.data_dir,
            workers: args.workers.map(usize::from),
            io: args.io.map(driver),
            log: log.format.map(format),
            verbose: log.verbose > 0,
            insecure_dumps: args.insecure_dumps,
            dashboard: None,
            trust_keys: args.trust_key,
            trust_threshold: args.trust_threshold.map(usize::from),
            fleet_label: args.fleet_label,
            ledger_degraded: args.ledger_degraded,
            invocation: app::Invocation::of_process().ok(),
            ledger_disk: None,
        }),
        Command::Demo(args) => demo::run(args.listen),
        Command::Check(args) => return check(&args.file),
        Command::Sign(args) => return cli::sign::run(&args),
        Command::Vault(args) => return cli::vault::run(&args),
        Command::Ledger(args) => return cli::ledger::run(&args),
        Command::Admin(args) => return cli::admin::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::failed(&error),
    }
}

fn driver(io: config::Io) -> rt::DriverChoice {
    match io {
        config::Io::Auto => rt::DriverChoice::Auto,
        config::Io::IoUring => rt::DriverChoice::IoUring,
        config::Io::Epoll => rt::DriverChoice::Epoll,
    }
}

fn format(format: config::LogFormat) -> LogFormat {
    match format {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Text => LogFormat::Text,
    }
}

/// `igris check`: every problem on stderr, and what the exit code of a shell script needs.
fn check(file: &std::path::Path) -> ExitCode {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let name = file.display().to_string();
            let (report, code) = config::check::report(&name, &text, &control_plane::known());
            eprint!("{report}");
            // What the file may say and this version cannot keep.
            let warnings = control_plane::parse_config(&name, &text).map(|(_, _, warnings)| warnings);
            let further = warnings.unwrap_or_default();
            further.iter().filter(|warning| !report.contains(*warning)).for_each(|warning| eprintln!("{warning}"));
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("igris: cannot read {}: {error}; give the path of a configuration", file.display());
            ExitCode::from(2)
        }
    }
}

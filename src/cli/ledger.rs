//! `igris ledger`: proves that the books balance, and writes one row for each attempt. Beside a running gateway, which does not notice, or
//! with it stopped; nothing is changed either way.

use super::vault::read_config;
use super::{DATA_DIR_DEFAULT, EXIT_FAILURE, failed, name, print};
use crate::config::unit;
use crate::control_plane::{LedgerProof, LedgerView, Wanted};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::domain::text::bounded;
use crate::export::{Export, Format, Row};
use crate::limits::LOG_TEXT_BYTES_MAX;
use crate::vault::harden_process;
use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `igris ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
    /// Where state lies
    #[arg(long, global = true, value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    pub data_dir: PathBuf,
    /// Configuration that names journal, store and root key, if they lie elsewhere
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Go on where core dumps and other processes' looks into our memory cannot be forbidden
    #[arg(long, global = true)]
    pub insecure_dumps: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Verify checksums and chain, one close for each attempt, and that sums and journal balance; exit code 1 on any problem
    Verify,
    /// One row for each attempt
    Export(ExportArgs),
}

/// `igris ledger export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// csv | jsonl | parquet
    // `format` is the name of what `--log` is read into.
    #[arg(long = "format", value_name = "FORMAT", value_parser = format())]
    pub file_format: Format,
    /// Attempts that began at this instant or later: 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub from: Option<UnixMillis>,
    /// Attempts that began before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub to: Option<UnixMillis>,
    /// Attempts of this tenant
    #[arg(long, value_name = "ID", value_parser = name)]
    pub tenant: Option<String>,
    /// A new file, mode 0600; `-` is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// Carries out a command and answers the exit code.
pub fn run(args: &LedgerArgs) -> ExitCode {
    match carry_out(args) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<io::Error>() {
            // `igris ledger export --format csv | head` ends like any other filter.
            Some(broken) if broken.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => failed(&error),
        },
    }
}

fn carry_out(args: &LedgerArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(read_config).transpose()?;
    // The root key is read, to verify the chain.
    if let Err(error) = harden_process()
        && !args.insecure_dumps
    {
        return Err(error.into());
    }
    let view = LedgerView::open(config.as_ref(), &args.data_dir)?;
    view.notes().iter().for_each(|note| eprintln!("igris: {}", print::safe(note)));
    match &args.verb {
        Verb::Verify => verify(view, args.json),
        Verb::Export(export) => write_export(&view, export),
    }
}

fn verify(view: LedgerView, json: bool) -> anyhow::Result<ExitCode> {
    let proof = view.verify()?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&proof)?)?;
    } else {
        out.write_all(told(&proof).as_bytes())?;
    }
    Ok(if proof.whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// For people: each problem on a line, then what was looked at.
fn told(proof: &LedgerProof) -> String {
    let mut text = String::new();
    for problem in &proof.problems {
        let at = problem.offset.map_or(String::new(), |offset| format!(":{offset}"));
        let line = format!("{}{at}: {}; {}", problem.path, problem.what, problem.remedy);
        text.push_str(&format!("problem: {}\n", bounded(&line, 8 * LOG_TEXT_BYTES_MAX)));
    }
    let checked = if proof.chain { "checksums and chain" } else { "checksums" };
    let LedgerProof { lanes, records, attempts, repeats, open, not_yet_booked, compared, .. } = proof;
    text.push_str(&format!("journal: {lanes} lanes, {records} records, {checked} verified\n"));
    text.push_str(&format!("attempts: {attempts} closed, {open} open, {repeats} closes written again\n"));
    if proof.has_books {
        let from = proof.compared_from.as_deref().unwrap_or("the beginning");
        text.push_str(&format!(
            "books: {compared} attempts compared from {from}, {} tenants; {not_yet_booked} attempts not taken in yet\n",
            proof.tenants.len()
        ));
    }
    text.push_str(match (proof.whole, proof.has_books) {
        (true, true) => "balanced to the last unit\n",
        (true, false) => "the journal is whole\n",
        (false, _) => "not whole\n",
    });
    text
}

fn write_export(view: &LedgerView, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let to: Box<dyn Write + Send> = match args.out.as_path() {
        path if path == Path::new("-") => Box::new(io::stdout()),
        path => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Box::new(made.with_context(|| format!("cannot make {}; choose another name with --out", path.display()))?)
        }
    };
    let ExportArgs { file_format, from, to: until, tenant, .. } = args;
    let wanted = Wanted { from: *from, to: *until, tenant: tenant.as_deref().map(TenantId::new) };
    let mut export = Export::begin(*file_format, BufWriter::new(to))?;
    let scanned = view.each_close(&wanted, &mut |lane, record, report| export.row(&Row { report, lane, record }))?;
    export.finish()?;
    for fault in &scanned.faults {
        eprintln!("igris: {fault}");
    }
    Ok(if scanned.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// An instant, or a day, which begins at midnight UTC.
pub(super) fn instant(text: &str) -> Result<UnixMillis, String> {
    let whole = if text.len() == "2026-11-01".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    unit::instant(&whole).map_err(|_| "write a day or an instant, as in 2026-11-01 or 2026-11-01T08:00:00Z".to_owned())
}

/// A format's name.
pub(super) fn format() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.map(Format::name);
    PossibleValuesParser::new(names).map(|word| Format::parse(&word).unwrap_or(Format::Csv))
}

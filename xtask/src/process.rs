//! Running a program: its output is shown as it comes and kept for the count of tests.
//!
//! On a build machine (no terminal) a program also has a time limit: it runs in a process group of its own, which is
//! ended as a whole. At a terminal there is none, so that Ctrl-C reaches everything.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What a program did.
pub struct Ran {
    /// True when it exited with 0.
    pub ok: bool,
    /// Everything it wrote to stdout and stderr, lines in the order they came.
    pub output: String,
}

/// Runs a command to its end within `limit`; its output goes to our stdout too.
///
/// # Errors
/// The program cannot be started, or it did not end in time.
pub fn run(command: &mut Command, limit: Duration) -> Result<Ran> {
    println!("    $ {}", words(command));
    finish(command, limit, true)
}

/// The same for what is run again and again: nothing is shown.
///
/// # Errors
/// As for [`run`].
pub fn run_still(command: &mut Command, limit: Duration) -> Result<Ran> {
    finish(command, limit, false)
}

fn finish(command: &mut Command, limit: Duration, shown: bool) -> Result<Ran> {
    let limited = !std::io::stdin().is_terminal();
    if limited {
        command.process_group(0);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
    let output = Arc::new(Mutex::new(String::new()));
    let stdout = echo(child.stdout.take(), &output, shown);
    let stderr = echo(child.stderr.take(), &output, shown);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("`{name}` cannot be waited for"))? {
            break status;
        }
        if limited && started.elapsed() > limit {
            end_group(child.id());
            child.wait().ok();
            bail!("`{name}` did not end within {} s and was stopped", limit.as_secs());
        }
        thread::sleep(POLL);
    };
    if limited {
        // Whatever it left behind holds our pipes open, and reading them would never end.
        end_group(child.id());
    }
    for reader in [stdout, stderr].into_iter().flatten() {
        reader.join().ok();
    }
    let output = std::mem::take(&mut *output.lock().expect("no reader panics while it holds the text"));
    Ok(Ran { ok: status.success(), output })
}

/// Runs a command for its answer alone: nothing is shown.
///
/// # Errors
/// The program cannot be started.
pub fn ask(command: &mut Command) -> Result<Ran> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("`{name}` cannot be started"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Ran { ok: output.status.success(), output: String::from_utf8_lossy(&text).into_owned() })
}

/// A background program that is ended when this value is dropped.
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts a program that serves until it is dropped; its output goes to `log`.
    ///
    /// # Errors
    /// The program or the log file cannot be opened.
    pub fn start(command: &mut Command, log: &Path) -> Result<Background> {
        println!("    $ {} &", words(command));
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
        Ok(Background { child, log: log.to_path_buf() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks the program to end in order (SIGTERM), and waits for it so long at most.
    ///
    /// # Errors
    /// It did not end in time; it is killed when this value is dropped.
    pub fn end(mut self, limit: Duration) -> Result<()> {
        ask(Command::new("kill").args(["-TERM", &self.id().to_string()]))?;
        let started = Instant::now();
        while self.alive() {
            if started.elapsed() > limit {
                bail!("the program did not end within {} s of SIGTERM:\n{}", limit.as_secs(), self.output());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// True while the program has not ended.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Ends a whole process group; one that is empty already is no matter.
fn end_group(leader: u32) {
    let group = format!("-{leader}");
    ask(Command::new("kill").args(["-KILL", "--", &group])).ok();
}

fn echo<R: Read + Send + 'static>(
    source: Option<R>,
    output: &Arc<Mutex<String>>,
    shown: bool,
) -> Option<thread::JoinHandle<()>> {
    let output = Arc::clone(output);
    source.map(|source| {
        thread::spawn(move || {
            let mut lines = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if shown {
                    print!("    {text}");
                    std::io::stdout().flush().ok();
                }
                output.lock().expect("no reader panics while it holds the text").push_str(&text);
                line.clear();
            }
        })
    })
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

//! A server that we started: its output goes to a file, it is ready when it says so, and it ends with us.
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::shell::line;

pub(crate) struct Process {
    name: String,
    child: Child,
    guard: Guard,
    pub(crate) output: PathBuf,
    reader: Option<JoinHandle<()>>,
    ready: Receiver<Duration>,
}

impl Process {
    /// Starts it; its standard output and error go to `output`. It counts as ready when a line has `ready` in it.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        output: &Path,
        ready: &'static str,
    ) -> Result<Process> {
        let (mut writer, errors) = (create(output)?, create(output)?);
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("can't start {name}: `{}`", line(command)))?;
        let guard = Guard::over(child.id())?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let (announce, heard) = channel();
        let reader = std::thread::spawn(move || {
            let mut announce = Some(announce);
            for bytes in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&bytes);
                let _ = writeln!(writer, "{text}");
                if text.contains(ready)
                    && let Some(announce) = announce.take()
                {
                    let _ = announce.send(started.elapsed());
                }
            }
        });
        Ok(Process {
            name: name.to_owned(),
            child,
            guard,
            output: output.to_owned(),
            reader: Some(reader),
            ready: heard,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said that it's ready; returns how long that took from its start.
    pub(crate) fn wait_ready(&mut self, limit: Duration) -> Result<Duration> {
        match self.ready.recv_timeout(limit) {
            Ok(took) => Ok(took),
            Err(RecvTimeoutError::Timeout) => bail!(
                "{} is not ready after {limit:?}:\n{}",
                self.name,
                self.tail(30)
            ),
            Err(RecvTimeoutError::Disconnected) => bail!(
                "{} ended before it was ready:\n{}",
                self.name,
                self.tail(30)
            ),
        }
    }

    /// The last lines that it wrote.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Asks it to end (SIGTERM) and waits.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(pid) = Pid::from_raw(self.id().try_into()?) {
            kill_process(pid, Signal::TERM).with_context(|| format!("can't stop {}", self.name))?;
        }
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if asked.elapsed() > limit {
                bail!(
                    "{} still runs {limit:?} after SIGTERM:\n{}",
                    self.name,
                    self.tail(30)
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it at once (SIGKILL).
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("can't kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.guard.release();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn create(path: &Path) -> Result<fs::File> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| path.display().to_string())
}

/// A shell that kills the process when our end of its input closes: even when we are killed ourselves.
struct Guard {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Guard {
    fn over(pid: u32) -> Result<Guard> {
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "read released || kill -9 $0 2>/dev/null",
                &pid.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't start sh")?;
        let input = shell.stdin.take();
        Ok(Guard { shell, input })
    }

    fn release(&mut self) {
        if let Some(mut input) = self.input.take() {
            let _ = input.write_all(b"released\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::start(
            "it",
            &mut command,
            &directory.path().join("output"),
            "boot success",
        )
        .unwrap();
        (directory, process)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn ready_when_it_says_so_and_stopped_when_asked() {
        let (_directory, mut process) = shell("echo starting; echo boot success; exec sleep 60");
        process.wait_ready(LONG).unwrap();
        assert_eq!(process.tail(1), "boot success");
        assert!(!process.stop(LONG).unwrap().success());
    }

    #[test]
    fn one_that_ends_early_is_told_with_what_it_wrote() {
        let (_directory, mut process) = shell("echo port in use >&2; exit 1");
        let error = process.wait_ready(LONG).unwrap_err().to_string();
        assert!(
            error.contains("ended before it was ready") && error.contains("port in use"),
            "{error}"
        );
    }

    #[test]
    fn one_that_ignores_sigterm_is_an_error_and_still_ends() {
        let (_directory, mut process) =
            shell("trap '' TERM; echo boot success; while :; do sleep 1; done");
        process.wait_ready(LONG).unwrap();
        let id = process.id();
        assert!(process.stop(Duration::from_millis(50)).is_err());
        assert!(!Path::new(&format!("/proc/{id}/cmdline")).exists());
    }
}

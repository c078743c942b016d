//! Runs the binary and reads what it says.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The binary without what the test's own environment would tell it.
pub(crate) fn skylark() -> Command {
    called(Path::new(env!("CARGO_BIN_EXE_skylark")))
}

/// The same under another name.
pub(crate) fn called(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("NAMESRV_ADDR").env_remove("SKYLARK_LOG");
    command
}

/// Runs to the end; status, standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A server that has said it is ready. Killed if a test forgets it.
pub(crate) struct Server {
    child: Child,
    /// What it said until then.
    pub(crate) screen: String,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Server {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut screen = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !screen.contains("ready in") {
            if lines.read_line(&mut screen).unwrap() == 0 {
                let mut said = String::new();
                child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut said)
                    .unwrap();
                panic!(
                    "it ended before it was ready: {:?}\n{screen}{said}",
                    child.wait()
                );
            }
        }
        child.stdout = Some(lines.into_inner());
        Server { child, screen }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The words behind one that only occurs once.
    pub(crate) fn word_after(&self, word: &str) -> &str {
        let (_, rest) = self.screen.split_once(word).unwrap();
        rest.split_whitespace().next().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; status and standard error.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    /// Ends it as an operator does and returns its log, in which nothing may be worse than a notice.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (code, said) = self.ended();
        assert_eq!(code, Some(0), "{said}");
        assert!(
            !said.contains(" WARN ") && !said.contains(" ERROR "),
            "{said}"
        );
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

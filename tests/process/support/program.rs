//! Runs a program as a child process, without the settings of the surrounding environment.
//!
//! Its output is collected as it arrives, so that a test waits for a text and never for a time.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that is about to start.
pub(crate) struct Program(Command);

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running program; it is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Program {
    /// Returns the program under test.
    pub(crate) fn keyward<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::other(env!("CARGO_BIN_EXE_keyward"), arguments)
    }

    /// Returns a shell that stops at the first error.
    pub(crate) fn bash(script: &str) -> Self {
        Self::other("bash", ["-euo", "pipefail", "-c", script])
    }

    /// Returns any other program.
    pub(crate) fn other<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_ascii_uppercase();
            let ours = ["KEYWARD_", "OTEL_"]
                .iter()
                .any(|prefix| upper.starts_with(prefix));
            if ours || upper.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        Self(command)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn current_dir(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stdout = Output::collect(child.stdout.take().unwrap());
        let stderr = Output::collect(child.stderr.take().unwrap());
        Running {
            child,
            stdout,
            stderr,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Finished {
        self.start().wait()
    }
}

impl Finished {
    /// Returns the exit code; `None` after a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Expects an exit code, and returns everything that was printed.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> String {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program ends.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Finished {
        // Both streams end with the program.
        let stdout = self.stdout.all();
        let stderr = self.stderr.all();
        Finished {
            status: self.child.wait().unwrap(),
            stdout,
            stderr,
        }
    }

    /// Sends SIGTERM to the program, and waits.
    #[track_caller]
    pub(crate) fn terminate(self) -> Finished {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Kills the program as the system does when it runs out of memory.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        assert!(
            killed,
            "it ended before it was killed: {status}\n{}",
            self.stderr.all()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Output of a program on one of its streams so far.
#[derive(Clone)]
pub(crate) struct Output(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    fn collect(mut stream: impl Read + Send + 'static) -> Self {
        let output = Self(Arc::default());
        let copy = output.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let count = stream.read(&mut buffer).unwrap_or(0);
                let (printed, changed) = &*copy.0;
                let mut printed = printed.lock().unwrap();
                printed.bytes.extend_from_slice(&buffer[..count]);
                printed.ended = count == 0;
                changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        output
    }

    /// Waits until `find` matches the output, or the stream ends.
    #[track_caller]
    pub(crate) fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = |printed: &Printed| String::from_utf8_lossy(&printed.bytes).into_owned();
        find(&self.wait_until(|printed| printed.ended || find(&text(printed)).is_some()))
    }

    /// Waits until a text was printed.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: &str) {
        let found = self.find(|printed| printed.contains(wanted).then_some(()));
        assert!(found.is_some(), "`{wanted}` is not in:\n{}", self.all());
    }

    /// Returns the output so far.
    pub(crate) fn so_far(&self) -> String {
        self.wait_until(|_| true)
    }

    /// Waits until the stream ends, and returns all of it.
    #[track_caller]
    pub(crate) fn all(&self) -> String {
        self.wait_until(|printed| printed.ended)
    }

    #[track_caller]
    fn wait_until(&self, done: impl Fn(&Printed) -> bool) -> String {
        let (printed, changed) = &*self.0;
        let deadline = Instant::now() + PATIENCE;
        let mut printed = printed.lock().unwrap();
        while !done(&printed) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                panic!(
                    "waited in vain:\n{}",
                    String::from_utf8_lossy(&printed.bytes)
                );
            }
            printed = changed.wait_timeout(printed, left).unwrap().0;
        }
        String::from_utf8_lossy(&printed.bytes).into_owned()
    }
}

//! A child process that serves, and its CPU time.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::Outcome;

/// Clock ticks per second in `/proc`, on every Linux of the last decades.
const TICKS: f64 = 100.0;

/// A child process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a program, and waits for a line of its output from which `address` reads where it listens.
    pub(crate) async fn start(
        mut command: Command,
        address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("the program has no output")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let line = lines
                .next_line()
                .await?
                .ok_or("the program did not start")?;
            if let Some(address) = address(&line) {
                return Ok(Self {
                    child,
                    lines,
                    address,
                });
            }
        }
    }

    /// Returns the next line of its output.
    pub(crate) async fn line(&mut self) -> Outcome<Option<String>> {
        Ok(self.lines.next_line().await?)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Kills the process and waits for its end.
    pub(crate) async fn end(mut self) -> Outcome<()> {
        Ok(self.child.kill().await?)
    }
}

/// Returns the CPU time of a process, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').ok_or("unknown format")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || {
        fields
            .next()
            .ok_or("unknown format")?
            .parse::<f64>()
            .map_err(|_| "unknown format")
    };
    Ok((next()? + next()?) / TICKS)
}

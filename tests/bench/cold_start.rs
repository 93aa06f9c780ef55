//! Startup time of the program on an existing SQLite file, and its memory when idle.
//!
//! ```sh
//! cargo bench --bench cold_start
//! ```
//!
//! A start lasts from the spawning of `keyward serve` to the last byte of the response to the first request,
//! which lists a workspace's keys. Its baseline, measured in the same run, is a process that does nothing:
//! `keyward --version`. The exit code is 0 if both limits hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const RUNS: usize = 30;
const START_LIMIT: Duration = Duration::from_millis(150);
const MEMORY_LIMIT_KIB: u64 = 40 * 1024;

fn main() -> ExitCode {
    let directory = tempfile::TempDir::new().unwrap();
    let token = prepare(directory.path());
    let mut nothing = Vec::new();
    let mut starts = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..RUNS {
        nothing.push(time_nothing());
        let (start, kib) = measure(directory.path(), &token);
        starts.push(start);
        memory.push(kib);
    }
    let (nothing, nothing_max) = median_and_max(nothing);
    let (start, start_max) = median_and_max(starts);
    let (kib, kib_max) = median_and_max(memory);

    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let times = |time: Duration| time.as_secs_f64() / nothing.as_secs_f64();
    let verdict = |holds: bool| {
        if holds {
            "below the limit"
        } else {
            "ABOVE THE LIMIT"
        }
    };
    let (fast, small) = (start < START_LIMIT, kib_max < MEMORY_LIMIT_KIB);
    println!("{RUNS} runs of each                  median        max");
    println!(
        "yardstick (`--version`)      {:7.1} ms {:7.1} ms",
        millis(nothing),
        millis(nothing_max)
    );
    println!(
        "start to the first answer    {:7.1} ms {:7.1} ms",
        millis(start),
        millis(start_max)
    );
    println!(
        "  in yardsticks              {:7.1} x  {:7.1} x",
        times(start),
        times(start_max)
    );
    println!("  limit {:.0} ms: {}", millis(START_LIMIT), verdict(fast));
    println!(
        "idle memory (VmRSS)          {:6.1} MiB {:6.1} MiB",
        mib(kib),
        mib(kib_max)
    );
    println!(
        "  limit {:.0} MiB: {}",
        mib(MEMORY_LIMIT_KIB),
        verdict(small)
    );
    if fast && small {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns the program, without the settings of the surrounding environment.
fn keyward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    for (name, _) in std::env::vars_os() {
        let ours = ["KEYWARD_", "OTEL_"];
        if ours
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `keyward dev` to make a database, keys and tokens, writes a configuration for `keyward serve` on
/// them, and returns a token.
fn prepare(directory: &Path) -> String {
    let mut command = keyward();
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory);
    let mut child = Guard(command.stdout(Stdio::piped()).spawn().unwrap());
    // A reader that stops would end a process that still writes.
    let mut printed = BufReader::new(child.0.stdout.take().unwrap());
    line(&mut printed, "Keyward listens on");
    child.end();
    drop(printed);

    let path = directory.display();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\
         [database]\nurl = \"sqlite://{path}/keyward.db\"\n\
         [vault]\nkeyring_file = \"{path}/keyring.json\"\n\
         [auth.session]\nissuer = \"keyward-dev\"\naudience = \"keyward\"\njwks = \"{path}/jwks.json\"\n"
    );
    fs::write(directory.join("keyward.toml"), text).unwrap();
    let variables = fs::read_to_string(directory.join("dev.env")).unwrap();
    let token = variables
        .lines()
        .find_map(|line| line.strip_prefix("ADMIN_TOKEN="));
    token.unwrap().to_owned()
}

fn time_nothing() -> Duration {
    let began = Instant::now();
    let status = keyward()
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    began.elapsed()
}

/// Measures one start, and the memory used once the process is idle, in KiB.
fn measure(directory: &Path, token: &str) -> (Duration, u64) {
    let began = Instant::now();
    let mut command = keyward();
    command
        .arg("serve")
        .arg("--config")
        .arg(directory.join("keyward.toml"));
    let mut child = Guard(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut printed = BufReader::new(child.0.stderr.take().unwrap());
    let listening = line(&mut printed, "address=");
    let (_, address) = listening.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap();

    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /apikeys HTTP/1.1\r\nHost: keyward\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let took = began.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    wait_until_idle(child.0.id());
    let kib = resident_kib(child.0.id());
    child.end();
    (took, kib)
}

/// Reads lines up to the first with this text.
fn line(printed: &mut impl BufRead, wanted: &str) -> String {
    let mut lines = printed.lines().map(Result::unwrap);
    lines
        .find(|line| line.contains(wanted))
        .expect("the program ended early")
}

/// Waits until every thread sleeps and stays asleep over many samples.
fn wait_until_idle(process: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut looks = 0;
    while looks < 1000 {
        assert!(
            Instant::now() < deadline,
            "the program does not come to rest"
        );
        looks = if sleeps(process) { looks + 1 } else { 0 };
    }
}

fn sleeps(process: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.map(Result::unwrap).all(|task| {
        // The state follows the name, which is in parentheses. A thread may end meanwhile.
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
    })
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn median_and_max<T: Ord + Copy>(mut values: Vec<T>) -> (T, T) {
    values.sort_unstable();
    (values[values.len() / 2], values[values.len() - 1])
}

/// A child that does not outlive the measurement.
struct Guard(Child);

impl Guard {
    /// Sends SIGTERM to the child, and waits.
    fn end(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

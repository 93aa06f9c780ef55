//! Measures Keyward's frequent calls against bare servers that answer with the same bytes.
//!
//!     cargo build --release --bin keyward
//!     cargo run --release -p keyward-bench -- run --server target/release/keyward
//!
//! `run` starts `keyward dev` on SQLite, and a yardstick: this program with a bare tonic server for gRPC and a bare axum
//! server for REST. For each call and number of callers, the rounds alternate between the two. Every response is
//! checked. The table has the medians of the rounds: requests per second, p50 and p99 of the latency, CPU time of the
//! server per request, and the ratio of Keyward's rate to the yardstick's.
//!
//! Servers and load share the machine, so a ratio says more than a rate. All addresses are of 127.0.0.1.

mod call;
mod keyward;
mod load;
mod process;
mod yardstick;

/// Public API, generated as for a client.
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    rustdoc::all,
    reason = "generated code is not used in full"
)]
mod proto {
    tonic::include_proto!("keyward.v1");
}

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::call::Call;
use crate::keyward::Keyward;
use crate::load::Figures;
use crate::yardstick::Yardstick;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Benchmarks of Keyward's frequent calls against bare servers.
#[derive(Parser)]
#[command(name = "keyward-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and print a table.
    Run(RunArgs),
    /// Answer every call with the bytes of a file, until the standard input ends.
    Yardstick(yardstick::YardstickArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Program to measure.
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Number of rounds of each measurement.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
    /// Duration of a round, in seconds; a third of it more is the warm-up.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// Numbers of callers that each wait for their response.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 8, 64, 256])]
    callers: Vec<usize>,
    /// Calls to measure; all without it.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    calls: Vec<String>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    match Cli::parse().command {
        Command::Run(args) => run(&args).await,
        Command::Yardstick(args) => yardstick::serve(args).await,
    }
}

async fn run(args: &RunArgs) -> Outcome<()> {
    let keyward = Keyward::start(&args.server).await?;
    let names: Vec<_> = keyward.calls().iter().map(|call| call.name).collect();
    if let Some(unknown) = args
        .calls
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        return Err(format!(
            "no call is named {unknown}; the names are {}",
            names.join(", ")
        )
        .into());
    }
    println!(
        "{:<18} {:>7} {:>9} {:>8} {:>8} {:>8} {:>10} {:>6}",
        "call", "callers", "per s", "p50 us", "p99 us", "CPU us", "bare per s", "ratio"
    );
    let mut has_failed = false;
    for call in keyward.calls() {
        if !args.calls.is_empty() && !args.calls.iter().any(|name| name == call.name) {
            continue;
        }
        for &callers in &args.callers {
            // The other measurements are still of use.
            if let Err(error) = measure(args, &keyward, call, callers).await {
                println!("{:<18} {callers:>7} failed: {error}", call.name);
                has_failed = true;
            }
        }
    }
    keyward.end().await?;
    match has_failed {
        true => Err("a measurement failed".into()),
        false => Ok(()),
    }
}

/// Measures one call with a number of callers, and prints a line.
async fn measure(args: &RunArgs, keyward: &Keyward, call: &Call, callers: usize) -> Outcome<()> {
    let time = Duration::from_secs_f64(args.seconds);
    let yardstick = match call.answer() {
        Some(answer) => Some(Yardstick::start(call.protocol, answer).await?),
        None => None,
    };
    let (mut measured, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let address = keyward.address();
        measured.push(load::run(call, address, keyward.process(), callers, time).await?);
        if let Some(yardstick) = &yardstick {
            let (address, process) = (yardstick.address(), yardstick.process());
            bare.push(load::run(call, address, process, callers, time).await?);
        }
    }
    let median = |figure: fn(&Figures) -> f64, all: &[Figures]| {
        let mut all: Vec<f64> = all.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let of = |figure| median(figure, &measured).unwrap_or_default();
    let ratios = measured.iter().zip(&bare);
    let mut ratios: Vec<f64> = ratios.map(|(one, other)| one.rate / other.rate).collect();
    ratios.sort_by(f64::total_cmp);
    let shown = |number: Option<f64>, digits: usize| {
        number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
    };
    println!(
        "{:<18} {callers:>7} {:>9.0} {:>8.0} {:>8.0} {:>8.0} {:>10} {:>6}",
        call.name,
        of(|figures| figures.rate),
        of(|figures| figures.p50_micros),
        of(|figures| figures.p99_micros),
        of(|figures| figures.cpu_micros),
        shown(median(|figures| figures.rate, &bare), 0),
        shown(ratios.get(ratios.len() / 2).copied(), 2),
    );
    if let Some(yardstick) = yardstick {
        yardstick.end().await?;
    }
    Ok(())
}

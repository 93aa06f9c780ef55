//! Load generator and attacks for a Keyward instance under test. The scripts in `attacks`, `rolling`
//! and `soak` beside it start it.
//!
//! It sends to addresses of 127.0.0.0/8 only (`target`), and every loop in it ends after a count or
//! a time. It prints its results on standard output, one JSON object per line.

mod attack;
mod clients;
mod environment;
mod load;
mod prepare;
mod recorder;
mod target;
mod work;

/// Public API, generated as for a gRPC client.
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
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Result of any part of the program.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Load generator and attacks for a Keyward server on a loopback address.
#[derive(Parser)]
#[command(name = "keyward-loadtest", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Call as well-behaved clients over REST and gRPC, check every response, and measure.
    Load(load::LoadArgs),
    /// Create the organization that a `dev.env` names, over DirectoryService.
    Prepare(environment::EnvironmentArgs),
    /// Hold connections: send headers or bodies slowly, or read slowly.
    SlowLoris(attack::slow_loris::SlowLorisArgs),
    /// Send endless headers, over HTTP/1.1 and HTTP/2.
    HeaderFlood(attack::AttackArgs),
    /// Present unknown issued keys, most of them well-formed.
    UnknownKeyFlood(attack::unknown_key_flood::UnknownKeyFloodArgs),
    /// Begin HTTP/2 requests and reset each at once.
    RapidReset(attack::AttackArgs),
    /// Send readiness probes continuously.
    ProbeFlood(attack::AttackArgs),
    /// Begin messages that need no token, and finish none of them.
    IncompleteMessage(attack::AttackArgs),
    /// Make calls and never read their responses.
    Unread(attack::unread::UnreadArgs),
    /// Make calls with a token and never end their bodies.
    Withheld(attack::withheld::WithheldArgs),
    /// Open gRPC health watches and leave them idle.
    Watches(attack::watches::WatchesArgs),
    /// Charge a few keys with as many calls in flight as possible.
    Charges(attack::charges::ChargesArgs),
    /// Present tokens whose signing keys the issuer does not publish.
    UnknownSigners(attack::unknown_signers::UnknownSignersArgs),
    /// Send small bodies that decompress to gigabytes.
    ZipBomb(attack::zip_bomb::ZipBombArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keyward-loadtest: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome<ExitCode> {
    // Each connection needs a file descriptor.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let attacked = |tally: serde_json::Value| {
        println!("{tally}");
        ExitCode::SUCCESS
    };
    runtime.block_on(async {
        match command {
            Command::Load(args) => load::run(args).await,
            Command::Prepare(args) => prepare::run(&args).await.map(|()| ExitCode::SUCCESS),
            Command::SlowLoris(args) => attack::slow_loris::run(args).await.map(attacked),
            Command::HeaderFlood(args) => attack::header_flood::run(args).await.map(attacked),
            Command::UnknownKeyFlood(args) => {
                attack::unknown_key_flood::run(args).await.map(attacked)
            }
            Command::RapidReset(args) => attack::rapid_reset::run(args).await.map(attacked),
            Command::ProbeFlood(args) => attack::probe_flood::run(args).await.map(attacked),
            Command::IncompleteMessage(args) => {
                attack::incomplete_message::run(args).await.map(attacked)
            }
            Command::Unread(args) => attack::unread::run(args).await.map(attacked),
            Command::Withheld(args) => attack::withheld::run(args).await.map(attacked),
            Command::Watches(args) => attack::watches::run(args).await.map(attacked),
            Command::Charges(args) => attack::charges::run(args).await.map(attacked),
            Command::UnknownSigners(args) => attack::unknown_signers::run(args).await.map(attacked),
            Command::ZipBomb(args) => attack::zip_bomb::run(args).await.map(attacked),
        }
    })
}

/// Returns an error and its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

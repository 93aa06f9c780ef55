//! The commands. Exit codes follow sysexits(3).

mod admin;
mod dev;
mod harden;
mod healthcheck;
mod keyring;
mod migrate;
mod serve;
mod token;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps provider API keys, repo AI keys and spend-limited issued keys.
#[derive(Parser)]
#[command(name = "keyward", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API as a configuration file says.
    ///
    /// The schema must be current (see `keyward migrate`). On SIGTERM or Ctrl-C, calls under way
    /// are finished, then the exit code is 0.
    Serve(ConfigArgs),
    /// Serve the API on embedded defaults, for trying it out and for development.
    ///
    /// Creates what is missing in the data directory: a SQLite database, a keyring, a signing key, a
    /// demo organization with two workspaces and a repo. Writes tokens and addresses to `dev.env`
    /// there.
    Dev(dev::DevArgs),
    /// Bring the database's schema up to date.
    Migrate(ConfigArgs),
    /// Mint a session token with a local signing key, for development.
    Token(token::TokenArgs),
    /// Make a keyring.
    Keyring {
        #[command(subcommand)]
        command: keyring::KeyringCommand,
    },
    /// Do what needs no token, for whoever has the database and the keyring.
    Admin {
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
    /// Ask a running Keyward whether it is ready, for containers; the exit code tells.
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// Where the configuration is.
#[derive(clap::Args)]
struct ConfigArgs {
    /// The configuration file, in TOML; without one, defaults and `KEYWARD_…` variables alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// EX_USAGE: the command was used incorrectly.
    const USAGE: u8 = 64;
    /// EX_UNAVAILABLE: something that is needed does not answer.
    const UNAVAILABLE: u8 = 69;
    /// EX_SOFTWARE: an internal error.
    const SOFTWARE: u8 = 70;
    /// EX_OSERR: the system refused something, such as an address.
    const OS: u8 = 71;
    /// EX_CANTCREAT: a file cannot be created.
    const CANNOT_CREATE: u8 = 73;
    /// EX_IOERR: reading or writing failed.
    const IO: u8 = 74;
    /// EX_CONFIG: something is configured wrongly.
    const CONFIG: u8 = 78;

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// An error with its causes, which name no secret.
    fn caused(code: u8, what: &str, error: &dyn std::error::Error) -> Self {
        let causes = crate::error::chain(error);
        let tail = if causes.is_empty() {
            String::new()
        } else {
            format!(": {causes}")
        };
        Self {
            code,
            message: format!("{what}: {error}{tail}"),
        }
    }
}

/// Runs the program: parses the arguments, runs the command, and turns its end into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    // First, before anything that a core dump could hold is read.
    if let Err(failure) = harden::harden() {
        return end(failure);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() {
                Failure::USAGE
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(failure),
    }
}

fn end(failure: Failure) -> ExitCode {
    // Where nobody listens any more, the exit code still tells.
    let _ = writeln!(io::stderr(), "keyward: {}", failure.message);
    ExitCode::from(failure.code)
}

/// Says something on standard output, which `println!` would panic without.
fn say(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::caused(Failure::IO, "standard output cannot be written", &error))
}

fn run(command: Command) -> Result<(), Failure> {
    // aws-lc is linked for tokens in any case; TLS uses it too.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let Command::Keyring { command } = command {
        return keyring::run(&command);
    }
    if let Command::Token(args) = command {
        return token::run(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused(Failure::OS, "cannot start", &error))?;
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args.config.as_deref()).await,
            Command::Dev(args) => dev::run(&args).await,
            Command::Migrate(args) => migrate::run(args.config.as_deref()).await,
            Command::Admin { command } => admin::run(&command).await,
            Command::Healthcheck(args) => healthcheck::run(&args).await,
            Command::Token(_) | Command::Keyring { .. } => Ok(()),
        }
    })
}

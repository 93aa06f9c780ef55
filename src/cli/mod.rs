//! Command line. Exit codes follow sysexits(3).

mod admin;
mod dev;
mod harden;
mod healthcheck;
mod keyring;
mod migrate;
mod serve;
mod startup;
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
    /// Serve the API with the settings of a configuration file.
    ///
    /// The schema must be current (see `keyward migrate`). On SIGTERM or Ctrl-C, the server finishes the
    /// calls in flight, then exits with code 0.
    Serve(ConfigArgs),
    /// Serve the API with embedded defaults, for evaluation and development.
    ///
    /// Creates the missing parts of the data directory: a SQLite database, a keyring, a signing key, a demo
    /// organization with two workspaces and a repo. Writes tokens and addresses to `dev.env` there.
    Dev(dev::DevArgs),
    /// Migrate the database schema to the current version.
    Migrate(ConfigArgs),
    /// Mint a session token with a local signing key, for development.
    Token(token::TokenArgs),
    /// Create a keyring.
    Keyring {
        #[command(subcommand)]
        command: keyring::KeyringCommand,
    },
    /// Administer without a token, with access to the database and the keyring.
    Admin {
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
    /// Check that a running server is ready, for container health checks; the exit code is 0 if it is.
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// Location of the configuration.
#[derive(clap::Args)]
struct ConfigArgs {
    /// Configuration file, in TOML; without one, only defaults and `KEYWARD_…` variables apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Error of a command, with its exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// EX_USAGE: the command was used incorrectly.
    const USAGE: u8 = 64;
    /// EX_UNAVAILABLE: a required service does not respond.
    const UNAVAILABLE: u8 = 69;
    /// EX_SOFTWARE: an internal error.
    const SOFTWARE: u8 = 70;
    /// EX_OSERR: the operating system rejected an operation, such as listening on an address.
    const OS: u8 = 71;
    /// EX_CANTCREAT: a file cannot be created.
    const CANNOT_CREATE: u8 = 73;
    /// EX_IOERR: reading or writing failed.
    const IO: u8 = 74;
    /// EX_CONFIG: the configuration is invalid.
    const CONFIG: u8 = 78;

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// Creates a failure from an error and its causes, which contain no secret.
    fn caused(code: u8, what: &str, error: &dyn std::error::Error) -> Self {
        let causes = crate::telemetry::causes(error);
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

/// Parses the arguments, runs the command, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // First, before the process reads anything that a core dump could contain.
    if let Err(failure) = harden::harden() {
        return end(failure);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors.
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
    // If standard error is closed, the exit code still reports the failure.
    let _ = writeln!(io::stderr(), "keyward: {}", failure.message);
    ExitCode::from(failure.code)
}

/// Writes a line to standard output. `println!` would panic if it is closed.
fn print_line(text: impl fmt::Display) -> Result<(), Failure> {
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

//! `keyward admin`: commands that need no token, only access to the database and the keyring.

use std::path::PathBuf;

use keyward_core::Error;
use keyward_core::id::OrganizationId;
use keyward_core::principal::{Caller, Principal, ServiceName};
use keyward_core::services::SecretsBound;

use super::{ConfigArgs, Failure, print_line, startup};
use crate::config::{BindSecrets, Config};

/// Actor in the audit trail.
const ACTOR: &str = "keyward-admin";

#[derive(clap::Subcommand)]
pub(super) enum AdminCommand {
    /// Create a management key for an organization and print its plaintext, which cannot be shown again.
    CreateManagementKey(CreateManagementKeyArgs),
    /// Bind the stored secrets of provider keys to provider, key and endpoint.
    ///
    /// Secrets stored by earlier versions are unbound. Run this once every replica has a version that opens
    /// bound secrets. It is safe to interrupt, to repeat, and to run beside running replicas.
    BindSecrets(ConfigArgs),
}

#[derive(clap::Args)]
pub(super) struct CreateManagementKeyArgs {
    /// Organization whose issued keys the management key administers.
    #[arg(long, value_name = "ID")]
    organization: String,
    /// Human-readable name of the management key.
    #[arg(long, value_name = "TEXT", default_value = "created by keyward admin")]
    name: String,
    /// Configuration file, in TOML; without one, only defaults and `KEYWARD_…` variables apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(command: &AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::CreateManagementKey(args) => create_management_key(args).await,
        AdminCommand::BindSecrets(args) => bind_secrets(args).await,
    }
}

async fn bind_secrets(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(args.config.as_deref()).map_err(startup::misconfigured)?;
    if config.vault.bind_secrets == BindSecrets::Off {
        let message = "configuration: `vault.bind_secrets` is off";
        return Err(Failure::new(Failure::CONFIG, message));
    }
    let store = startup::open_current_store(&config).await?;
    let app = startup::build(&config, store.clone(), None).await?;
    let result = app
        .use_cases
        .provider_keys
        .bind_secrets(&caller(ACTOR))
        .await;
    let SecretsBound {
        bound,
        failed,
        examples,
    } = result.map_err(|error| startup::unavailable(&error))?;
    let printed = print_line(format_args!("bound {bound} secrets"));
    startup::close(&store).await;
    printed?;
    if failed == 0 {
        return Ok(());
    }
    let examples: Vec<_> = examples.iter().map(ToString::to_string).collect();
    let message = format!(
        "{failed} secrets do not open, such as those of {}",
        examples.join(", ")
    );
    Err(Failure::new(Failure::SOFTWARE, message))
}

async fn create_management_key(args: &CreateManagementKeyArgs) -> Result<(), Failure> {
    let reject = |error: &dyn std::fmt::Display| {
        Failure::new(Failure::USAGE, format!("no management key: {error}"))
    };
    let organization = OrganizationId::parse(args.organization.as_str())
        .map_err(|error| reject(&format!("the organization's id {error}")))?;
    let config = Config::load(args.config.as_deref()).map_err(startup::misconfigured)?;
    let store = startup::open_current_store(&config).await?;
    let app = startup::build(&config, store.clone(), None).await?;
    let minted = app
        .use_cases
        .management_keys
        .create(&caller(ACTOR), &organization, args.name.clone())
        .await
        .map_err(|error| match error {
            Error::DeadlineExceeded | Error::Unavailable(_) | Error::Internal(_) => {
                startup::unavailable(&error)
            }
            error => reject(&error),
        })?;
    // Before anything else, since the plaintext cannot be read again.
    let printed = print_line(minted.token.expose()).map_err(|failure| {
        let hash = minted.key.hash;
        Failure::new(
            failure.code,
            format!("{}; the key's hash is {hash}", failure.message),
        )
    });
    startup::close(&store).await;
    printed
}

/// Returns the caller for commands on this machine, for the audit trail.
pub(super) fn caller(name: &str) -> Caller {
    Caller {
        principal: Principal::Service(ServiceName(name.to_owned())),
        request_id: name.to_owned(),
        source: None,
    }
}

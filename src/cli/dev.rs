//! `keyward dev`: the same server as `serve`, with its own files and a demo organization.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keyward_core::Error;
use keyward_core::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use keyward_core::principal::Principal;
use keyward_core::services::Directory;
use keyward_core::tenancy::{Access, Member, Organization, OrganizationRole, Repo, Workspace};
use keyward_crypto::{Keyring, Secret, Token, TokenKind};
use keyward_listener::Server;

use super::admin::caller;
use super::token::{DEV_AUDIENCE, DEV_ISSUER, Mint, SIGNING_KEY_FILE, SigningKey};
use super::{Failure, print_line, startup};
use crate::app::UseCases;
use crate::config::Config;

/// Actor in the audit trail.
const ACTOR: &str = "keyward-dev";
const SERVICE_AUDIENCE: &str = "keyward-internal";
const SERVICE: &str = "demo-service";
const ORGANIZATION: &str = "demo";
const WORKSPACES: [&str; 2] = ["demo-a", "demo-b"];
const REPO: &str = "demo-repo";
const ADMIN: &str = "demo-admin";
const READER: &str = "demo-reader";
const OTHER_ORGANIZATION: &str = "other";
const OTHER_WORKSPACE: &str = "other-a";
const OUTSIDER: &str = "other-admin";
/// Name of the variable in `dev.env` that holds the management key.
const MANAGEMENT_KEY: &str = "MANAGEMENT_KEY";
/// Lifetime of the tokens in `dev.env`, in seconds: the maximum that `serve` accepts by default. Every start
/// mints new ones.
const TOKEN_TTL_SECONDS: u32 = 24 * 3600;

#[derive(clap::Args)]
pub(super) struct DevArgs {
    /// Loopback address to listen on. Port 0 selects a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Directory for the database, the keyring and all other files.
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    data_dir: PathBuf,
}

pub(super) async fn run(args: &DevArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        let message = "`keyward dev` listens on loopback addresses alone; use `keyward serve`";
        return Err(Failure::new(Failure::USAGE, message));
    }
    let directory = prepare(&args.data_dir)?;
    let preparing = lock(&directory)?;
    let signing_key = signing_key(&directory)?;
    let config = config(&directory, args.listen)?;
    let telemetry = startup::telemetry(&config)?;
    let store = startup::open_store(&config).await?;
    startup::claim(&store)?;
    startup::migrate(&store).await?;
    let app = startup::build(&config, store.clone(), Some(telemetry.exposition())).await?;
    seed(&app.use_cases.directory).await.map_err(|error| {
        Failure::caused(
            Failure::SOFTWARE,
            "the demo organization cannot be made",
            &error,
        )
    })?;
    let (listener, address) = startup::listen(args.listen).await?;
    let env_file = directory.join("dev.env");
    let management_key = management_key(&app.use_cases, &env_file).await?;
    let variables = dev_env(&signing_key, address, &management_key)?;
    write_private(&env_file, &variables)?;
    drop(preparing);
    let signals = startup::Signals::listen()?;
    print_tour(address, &env_file);
    let server = Server::new(config.listener);
    startup::serve_until_signal(server, listener, app, store, telemetry, signals).await
}

/// Creates the data directory and returns its absolute path.
fn prepare(data_dir: &Path) -> Result<PathBuf, Failure> {
    let what = format!("the data directory {} cannot be made", data_dir.display());
    let failure = |error: std::io::Error| Failure::caused(Failure::CANNOT_CREATE, &what, &error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(failure)?;
    data_dir.canonicalize().map_err(failure)
}

/// Waits for another start in the same directory, since two at once would create the same files.
fn lock(directory: &Path) -> Result<File, Failure> {
    let lock = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(directory.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|error: std::io::Error| {
        Failure::caused(
            Failure::CANNOT_CREATE,
            "the data directory cannot be locked",
            &error,
        )
    })
}

fn signing_key(directory: &Path) -> Result<SigningKey, Failure> {
    let path = directory.join(SIGNING_KEY_FILE);
    if !path.exists() {
        SigningKey::create(&path)?;
    }
    let key = SigningKey::load(&path)?;
    write_private(&directory.join("jwks.json"), &key.jwks()?)?;
    Ok(key)
}

fn config(directory: &Path, listen: SocketAddr) -> Result<Config, Failure> {
    let keyring = directory.join("keyring.json");
    let database = directory.join("keyward.db");
    if !keyring.exists() {
        if database.exists() {
            let message = format!(
                "{} is gone, and nothing else opens what {} holds; put it back, or start in \
                 another data directory",
                keyring.display(),
                database.display()
            );
            return Err(Failure::new(Failure::CONFIG, message));
        }
        Keyring::generate()
            .and_then(|ring| ring.create_file(&keyring))
            .map_err(|error| Failure::caused(Failure::CANNOT_CREATE, "no keyring", &error))?;
    }
    let jwks = directory.join("jwks.json");
    let (Some(database), Some(keyring), Some(jwks)) =
        (database.to_str(), keyring.to_str(), jwks.to_str())
    else {
        let message = "the data directory's path is not UTF-8";
        return Err(Failure::new(Failure::USAGE, message));
    };
    let url = format!("sqlite://{}", percent_encoded(database));
    // A developer may fail to authenticate any number of times.
    let text = format!(
        "[server]\nlisten = \"{listen}\"\nshutdown_delay_ms = 0\n\
         [database]\nurl = {}\n\
         [vault]\nkeyring_file = {}\n\
         [auth.session]\nissuer = \"{DEV_ISSUER}\"\naudience = \"{DEV_AUDIENCE}\"\njwks = {jwks}\n\
         [auth.service]\nissuer = \"{DEV_ISSUER}\"\naudience = \"{SERVICE_AUDIENCE}\"\njwks = {jwks}\n\
         [auth.service.subjects]\n\"{SERVICE}\" = \"{SERVICE}\"\n\
         [limits]\nfailed_authentications_per_minute = 0\n\
         [log]\nfilter = \"warn\"\n",
        quoted(&url),
        quoted(keyring),
        jwks = quoted(jwks),
    );
    Config::for_dev(&text).map_err(startup::misconfigured)
}

/// Returns a TOML basic string. Its escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Quotes a path as one word of a shell command.
fn shell_word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Percent-encodes the path of a URL.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Creates the missing parts of the demo, and leaves existing ones unchanged.
async fn seed(directory: &Directory) -> Result<(), Error> {
    let caller = caller(ACTOR);
    let organizations = [
        (ORGANIZATION, "Demo organization", &WORKSPACES[..]),
        (
            OTHER_ORGANIZATION,
            "Another organization",
            &[OTHER_WORKSPACE][..],
        ),
    ];
    for (id, name, workspaces) in organizations {
        let organization = Organization {
            id: organization_id(id)?,
            name: name.to_owned(),
            default_workspace: None,
        };
        if is_missing(directory.organization(&caller, &organization.id).await)? {
            directory.upsert_organization(&caller, organization).await?;
        }
        for &workspace in workspaces {
            let workspace = Workspace {
                id: workspace_id(workspace)?,
                organization: organization_id(id)?,
                name: workspace.to_owned(),
                is_default: false,
            };
            if is_missing(directory.workspace(&caller, &workspace.id).await)? {
                directory.upsert_workspace(&caller, workspace).await?;
            }
        }
    }
    let repo = Repo {
        id: RepoId::parse(REPO).map_err(Error::internal)?,
        workspace: workspace_id(WORKSPACES[0])?,
        name: "Demo repo".to_owned(),
    };
    if is_missing(directory.repo(&caller, &repo.id).await)? {
        directory.upsert_repo(&caller, repo).await?;
    }
    let members = [
        member(ORGANIZATION, ADMIN, &WORKSPACES, Access::Admin)?,
        member(ORGANIZATION, READER, &WORKSPACES[..1], Access::Read)?,
        member(
            OTHER_ORGANIZATION,
            OUTSIDER,
            &[OTHER_WORKSPACE],
            Access::Admin,
        )?,
    ];
    for member in members {
        if is_missing(
            directory
                .member(&caller, &member.organization, &member.user)
                .await,
        )? {
            directory.upsert_member(&caller, member).await?;
        }
    }
    Ok(())
}

fn is_missing<T>(found: Result<T, Error>) -> Result<bool, Error> {
    match found {
        Ok(_) => Ok(false),
        Err(Error::NotFound(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn organization_id(id: &str) -> Result<OrganizationId, Error> {
    OrganizationId::parse(id).map_err(Error::internal)
}

fn workspace_id(id: &str) -> Result<WorkspaceId, Error> {
    WorkspaceId::parse(id).map_err(Error::internal)
}

fn member(
    organization: &str,
    user: &str,
    workspaces: &[&str],
    access: Access,
) -> Result<Member, Error> {
    let with_access = |id: &&str| Ok((workspace_id(id)?, access));
    Ok(Member {
        organization: organization_id(organization)?,
        user: UserId::parse(user).map_err(Error::internal)?,
        role: OrganizationRole::User,
        validated: true,
        access: workspaces
            .iter()
            .map(with_access)
            .collect::<Result<_, Error>>()?,
    })
}

/// Returns the demo organization's management key: that of the previous start if it still works, else a new
/// one.
async fn management_key(use_cases: &UseCases, env_file: &Path) -> Result<Secret<String>, Failure> {
    let failure = |error: Error| {
        let what = "the demo's management key cannot be made";
        Failure::caused(Failure::SOFTWARE, what, &error)
    };
    let text = Secret::new(std::fs::read_to_string(env_file).unwrap_or_default());
    let mut lines = text.expose().lines();
    if let Some(key) = lines.find_map(|line| line.strip_prefix(MANAGEMENT_KEY)?.strip_prefix('=')) {
        let found = match Token::parse(TokenKind::ISSUED_KEY, key) {
            Some(token) => use_cases.issued_keys.authenticate(token.hash()).await,
            None => Ok(None),
        };
        let found = found.map_err(failure)?.map(|found| found.principal);
        if let Some(Principal::ManagementKey { .. }) = found {
            return Ok(Secret::new(key.to_owned()));
        }
    }
    let organization = organization_id(ORGANIZATION).map_err(failure)?;
    let created = use_cases
        .management_keys
        .create(&caller(ACTOR), &organization, "dev.env".to_owned())
        .await;
    Ok(created.map_err(failure)?.token.secret().clone())
}

/// Returns the content of `dev.env`, for `source` in a shell. No value needs quoting.
fn dev_env(
    key: &SigningKey,
    address: SocketAddr,
    management_key: &Secret<String>,
) -> Result<String, Failure> {
    let session = |user: &str, organization: &str| {
        key.mint(&Mint {
            issuer: DEV_ISSUER,
            audience: DEV_AUDIENCE,
            subject: user,
            organization: Some(organization),
            ttl_seconds: TOKEN_TTL_SECONDS,
        })
    };
    let service = key.mint(&Mint {
        issuer: DEV_ISSUER,
        audience: SERVICE_AUDIENCE,
        subject: SERVICE,
        organization: None,
        ttl_seconds: TOKEN_TTL_SECONDS,
    })?;
    let variables = [
        ("KEYWARD_URL", format!("http://{address}")),
        ("ADMIN_TOKEN", session(ADMIN, ORGANIZATION)?),
        ("READ_TOKEN", session(READER, ORGANIZATION)?),
        ("OUTSIDER_TOKEN", session(OUTSIDER, OTHER_ORGANIZATION)?),
        ("SERVICE_TOKEN", service),
        (MANAGEMENT_KEY, management_key.expose().clone()),
        ("ORGANIZATION_ID", ORGANIZATION.to_owned()),
        ("WORKSPACE_A", WORKSPACES[0].to_owned()),
        ("WORKSPACE_B", WORKSPACES[1].to_owned()),
        ("REPO_A", REPO.to_owned()),
    ];
    Ok(variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect())
}

/// Writes a file atomically, readable by its owner only.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let draft = path.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().map_err(|error| {
        let what = format!("{} cannot be written", path.display());
        Failure::caused(Failure::CANNOT_CREATE, &what, &error)
    })
}

fn print_tour(address: SocketAddr, env_file: &Path) {
    let tour = format!(
        r#"Keyward listens on http://{address}

In another terminal:

  source {env_file}

  # keep a credential
  curl -sS -X POST "$KEYWARD_URL/apikeys" -H "Authorization: Bearer $ADMIN_TOKEN" \
    -H 'Content-Type: application/json' \
    -d '{{"workspaceId":"'"$WORKSPACE_A"'","provider":"AWS","key":"AKIAIOSFODNN7EXAMPLE","secret":"a-secret"}}'

  # list the provider keys
  curl -sS "$KEYWARD_URL/apikeys?workspaceId=$WORKSPACE_A" -H "Authorization: Bearer $ADMIN_TOKEN"

Ctrl-C stops it; everything stays for the next start."#,
        env_file = shell_word(env_file),
    );
    // The server runs even if standard output is closed.
    let _ = print_line(tour);
}

//! Test environments: `keyward dev` in a separate directory, or `keyward serve` on a separate database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keyward::proto::v1::directory_service_client::DirectoryServiceClient;
use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{
    AccessType, CreateManagementKeyRequest, Member, Organization, OrganizationRole, Repo,
    UpsertMemberRequest, UpsertOrganizationRequest, UpsertRepoRequest, UpsertWorkspaceRequest,
    Workspace, WorkspaceAccess,
};
use keyward_testkit::TestDatabase;
use tempfile::TempDir;

use crate::support::client::{called_by, channel};
use crate::support::program::{Program, Running};

/// Variables of `dev.env`, in order.
pub(crate) const DEV_VARIABLES: [&str; 10] = [
    "KEYWARD_URL",
    "ADMIN_TOKEN",
    "READ_TOKEN",
    "OUTSIDER_TOKEN",
    "SERVICE_TOKEN",
    "MANAGEMENT_KEY",
    "ORGANIZATION_ID",
    "WORKSPACE_A",
    "WORKSPACE_B",
    "REPO_A",
];

/// Content of `dev.env`.
#[derive(Clone)]
pub(crate) struct DevEnv(pub(crate) BTreeMap<String, String>);

impl DevEnv {
    pub(crate) fn read(directory: &Path) -> Self {
        let text = std::fs::read_to_string(directory.join("dev.env")).unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        Self(text.lines().map(pair).collect())
    }
}

impl std::ops::Index<&str> for DevEnv {
    type Output = str;

    fn index(&self, name: &str) -> &str {
        &self.0[name]
    }
}

/// A running `keyward dev`.
pub(crate) struct Dev {
    pub(crate) running: Running,
    /// URL at which the program reports that it listens.
    pub(crate) url: String,
    pub(crate) env: DevEnv,
}

pub(crate) fn dev_program(directory: &Path) -> Program {
    Program::keyward([
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        directory.to_str().unwrap(),
    ])
}

impl Dev {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::of(dev_program(directory), directory)
    }

    /// Waits until the program reports the address at which it listens.
    pub(crate) fn of(program: Program, directory: &Path) -> Self {
        let running = program.start();
        let url = running.stdout.find(|printed| {
            let line = printed
                .lines()
                .find(|line| line.starts_with("Keyward listens on "))?;
            printed
                .contains("Ctrl-C")
                .then(|| line["Keyward listens on ".len()..].to_owned())
        });
        let url = url.unwrap_or_else(|| panic!("it did not start:\n{}", running.stderr.all()));
        assert!(
            url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"),
            "{url}"
        );
        Self {
            running,
            url,
            env: DevEnv::read(directory),
        }
    }
}

/// A database, keys and tokens for `keyward serve`.
pub(crate) struct Deployment {
    pub(crate) directory: TempDir,
    pub(crate) database: TestDatabase,
    pub(crate) env: DevEnv,
}

/// A running `keyward serve`.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) url: String,
}

impl Deployment {
    pub(crate) async fn sqlite() -> Self {
        Self::new(TestDatabase::sqlite()).await
    }

    /// Returns `None`, and prints a notice, if PostgreSQL is missing.
    pub(crate) async fn postgres() -> Option<Self> {
        Some(Self::new(TestDatabase::postgres().await?).await)
    }

    /// Takes the keyring, signing key and tokens from `keyward dev`, and makes the same organization with a
    /// separate management key.
    pub(crate) async fn new(database: TestDatabase) -> Self {
        let directory = TempDir::new().unwrap();
        let dev = Dev::start(directory.path());
        let env = dev.env.clone();
        dev.running.terminate().expect(0);
        let mut deployment = Self {
            directory,
            database,
            env,
        };
        std::fs::write(deployment.config(), deployment.configuration()).unwrap();
        deployment.command("migrate").run().expect(0);
        let served = deployment.start();
        let management_key = deployment.settle(&served.url).await;
        deployment
            .env
            .0
            .insert("MANAGEMENT_KEY".to_owned(), management_key);
        served.running.terminate().expect(0);
        deployment
    }

    /// Returns an empty database of the same engine.
    pub(crate) async fn another_database(&self) -> TestDatabase {
        if self.database.url().starts_with("sqlite") {
            TestDatabase::sqlite()
        } else {
            TestDatabase::postgres().await.unwrap()
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("keyward.toml")
    }

    /// Returns `keyward COMMAND` with this configuration.
    pub(crate) fn command(&self, command: &str) -> Program {
        Program::keyward([command, "--config", self.config().to_str().unwrap()])
    }

    pub(crate) fn start(&self) -> Served {
        Served::of(self.command("serve"))
    }

    fn configuration(&self) -> String {
        configuration(self.directory.path(), self.database.url())
    }

    /// Makes the organization, and returns its management key.
    async fn settle(&self, url: &str) -> String {
        let channel = channel(url).await;
        let mut client = DirectoryServiceClient::new(channel.clone());
        let token = &self.env["SERVICE_TOKEN"];
        let id = self.env["ORGANIZATION_ID"].to_owned();
        let organization = Organization {
            id: id.clone(),
            name: id.clone(),
            ..Default::default()
        };
        let request = UpsertOrganizationRequest {
            organization: Some(organization),
        };
        client
            .upsert_organization(called_by(token, request))
            .await
            .unwrap();
        for name in ["WORKSPACE_A", "WORKSPACE_B"] {
            let workspace = Workspace {
                id: self.env[name].to_owned(),
                organization_id: id.clone(),
                name: name.to_owned(),
                is_default: false,
            };
            let request = UpsertWorkspaceRequest {
                workspace: Some(workspace),
            };
            client
                .upsert_workspace(called_by(token, request))
                .await
                .unwrap();
        }
        let repo = Repo {
            id: self.env["REPO_A"].to_owned(),
            workspace_id: self.env["WORKSPACE_A"].to_owned(),
            name: "REPO_A".to_owned(),
        };
        let request = UpsertRepoRequest { repo: Some(repo) };
        client.upsert_repo(called_by(token, request)).await.unwrap();
        let member = Member {
            organization_id: id.clone(),
            user_id: "demo-admin".to_owned(),
            role: OrganizationRole::User.into(),
            validated: true,
            workspaces: vec![WorkspaceAccess {
                workspace_id: self.env["WORKSPACE_A"].to_owned(),
                access: AccessType::Admin.into(),
            }],
        };
        let request = UpsertMemberRequest {
            member: Some(member),
        };
        client
            .upsert_member(called_by(token, request))
            .await
            .unwrap();
        let request = CreateManagementKeyRequest {
            organization_id: id,
            name: "a management key".to_owned(),
        };
        let created = ManagementKeyServiceClient::new(channel)
            .create_management_key(called_by(token, request))
            .await;
        created.unwrap().into_inner().key
    }
}

/// Returns a configuration on the files that `keyward dev` made.
pub(crate) fn configuration(directory: &Path, database_url: &str) -> String {
    let directory = directory.to_str().unwrap();
    format!(
        r#"[server]
listen = "127.0.0.1:0"
shutdown_delay_ms = 0
[database]
url = "{database_url}"
[vault]
keyring_file = "{directory}/keyring.json"
[auth.session]
issuer = "keyward-dev"
audience = "keyward"
jwks = "{directory}/jwks.json"
[auth.service]
issuer = "keyward-dev"
audience = "keyward-internal"
jwks = "{directory}/jwks.json"
[auth.service.subjects]
demo-service = "demo-service"
"#
    )
}

impl Served {
    /// Waits until the log reports the address at which the program listens.
    pub(crate) fn of(program: Program) -> Self {
        let running = program.start();
        let address = running.stderr.find(|printed| {
            let line = printed.lines().find(|line| line.contains("listening"))?;
            let (_, address) = line.split_once("address=")?;
            // Only a complete line has the complete address.
            printed.contains(&format!("{line}\n")).then_some(())?;
            Some(address.split_whitespace().next()?.to_owned())
        });
        let address =
            address.unwrap_or_else(|| panic!("it did not start:\n{}", running.stderr.all()));
        Self {
            running,
            url: format!("http://{address}"),
        }
    }

    /// Returns the listen address, without a scheme.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }
}

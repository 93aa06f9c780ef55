//! Users of the directory and their tokens.

use keyward::app::UseCases;
use keyward_core::tenancy::{Access, Member, OrganizationRole};
use keyward_testkit::fixtures;
use serde_json::{Value, json};

use super::TestServer;

pub const ORGANIZATION: &str = "org-1";
pub const OTHER_ORGANIZATION: &str = "org-2";
/// The organization's default workspace.
pub const WORKSPACE_A: &str = "workspace-a";
/// The organization's other workspace.
pub const WORKSPACE_B: &str = "workspace-b";
/// The other organization's workspace.
pub const WORKSPACE_X: &str = "workspace-x";

pub const ISSUER: &str = "https://id.test";
pub const AUDIENCE: &str = "keyward";
pub const SERVICE_ISSUER: &str = "https://cluster.test";
pub const SERVICE_AUDIENCE: &str = "keyward-internal";
/// The subject that the configuration maps to the service `ai-gateway`.
pub const SERVICE_SUBJECT: &str = "system:serviceaccount:ai:gateway";

/// Lifetime of the tests' tokens, in seconds.
const TTL_SECONDS: i64 = 3600;

/// A user, in the directory or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// OWNER of the organization.
    Owner,
    /// ADMINISTRATORS of the organization.
    Administrator,
    /// ADMIN in workspace A.
    AdminInA,
    /// WRITE in workspace A.
    WriterInA,
    /// READ in workspace A.
    ReaderInA,
    /// READ in workspace A, WRITE in workspace B.
    ReaderInAWriterInB,
    /// WORKSPACES of the organization, without access to any of them.
    NoAccess,
    /// A member that the platform has not validated, with ADMIN in workspace A.
    Unvalidated,
    /// ADMINISTRATORS of the other organization.
    Outsider,
    /// A user that is not in the directory.
    Unlisted,
}

impl User {
    /// All users that are in the directory and validated by the platform.
    pub const MEMBERS: [Self; 8] = [
        Self::Owner,
        Self::Administrator,
        Self::AdminInA,
        Self::WriterInA,
        Self::ReaderInA,
        Self::ReaderInAWriterInB,
        Self::NoAccess,
        Self::Outsider,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Administrator => "administrator",
            Self::AdminInA => "admin-in-a",
            Self::WriterInA => "writer-in-a",
            Self::ReaderInA => "reader-in-a",
            Self::ReaderInAWriterInB => "reader-in-a-writer-in-b",
            Self::NoAccess => "no-access",
            Self::Unvalidated => "unvalidated",
            Self::Outsider => "outsider",
            Self::Unlisted => "unlisted",
        }
    }

    pub fn organization(self) -> &'static str {
        if self == Self::Outsider {
            OTHER_ORGANIZATION
        } else {
            ORGANIZATION
        }
    }

    pub fn reads_a(self) -> bool {
        !matches!(
            self,
            Self::NoAccess | Self::Unvalidated | Self::Outsider | Self::Unlisted
        )
    }

    pub fn writes_a(self) -> bool {
        use User::{AdminInA, Administrator, Owner, WriterInA};
        matches!(self, Owner | Administrator | AdminInA | WriterInA)
    }

    pub fn member(self) -> Member {
        let access: &[(&str, Access)] = match self {
            Self::AdminInA | Self::Unvalidated => &[(WORKSPACE_A, Access::Admin)],
            Self::WriterInA => &[(WORKSPACE_A, Access::Write)],
            Self::ReaderInA => &[(WORKSPACE_A, Access::Read)],
            Self::ReaderInAWriterInB => {
                &[(WORKSPACE_A, Access::Read), (WORKSPACE_B, Access::Write)]
            }
            _ => &[],
        };
        let mut member = fixtures::member(self.organization(), self.id(), access);
        member.validated = self != Self::Unvalidated;
        member.role = match self {
            Self::Owner => OrganizationRole::Owner,
            Self::Administrator | Self::Outsider => OrganizationRole::Administrators,
            Self::NoAccess => OrganizationRole::Workspaces,
            _ => OrganizationRole::User,
        };
        member
    }
}

/// Fills the directory: two organizations, three workspaces, a repo and the users.
pub(super) async fn seed(use_cases: &UseCases) {
    let platform = fixtures::caller(fixtures::service());
    let directory = &use_cases.directory;
    for id in [ORGANIZATION, OTHER_ORGANIZATION] {
        directory
            .upsert_organization(&platform, fixtures::organization(id))
            .await
            .unwrap();
    }
    for (organization, id) in [
        (ORGANIZATION, WORKSPACE_A),
        (ORGANIZATION, WORKSPACE_B),
        (OTHER_ORGANIZATION, WORKSPACE_X),
    ] {
        let workspace = fixtures::workspace(organization, id);
        directory
            .upsert_workspace(&platform, workspace)
            .await
            .unwrap();
    }
    directory
        .upsert_repo(&platform, fixtures::repo(WORKSPACE_A, "repo-a"))
        .await
        .unwrap();
    for user in User::MEMBERS.into_iter().chain([User::Unvalidated]) {
        directory
            .upsert_member(&platform, user.member())
            .await
            .unwrap();
    }
}

impl TestServer {
    /// Returns the claims of that user's session token.
    pub fn claims(&self, user: User) -> Value {
        let now = self.now_seconds();
        json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.id(),
            "org": user.organization(),
            "iat": now,
            "exp": now + TTL_SECONDS,
        })
    }

    /// Returns a session token.
    pub fn token(&self, user: User) -> String {
        self.issuer.key.sign(&self.claims(user))
    }

    /// Returns a session token with some claims changed; null removes a claim.
    pub fn token_with(&self, user: User, changes: Value) -> String {
        self.issuer.key.sign(&changed(self.claims(user), changes))
    }

    /// Returns the claims of a service token.
    pub fn service_claims(&self) -> Value {
        let now = self.now_seconds();
        json!({
            "iss": SERVICE_ISSUER,
            "aud": [SERVICE_AUDIENCE],
            "sub": SERVICE_SUBJECT,
            "iat": now,
            "exp": now + TTL_SECONDS,
        })
    }

    /// Returns the token of an internal service.
    pub fn service_token(&self) -> String {
        self.cluster.key.sign(&self.service_claims())
    }
}

/// Returns changed claims; null removes a claim.
pub(super) fn changed(mut claims: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
            value => claims[name] = value,
        }
    }
    claims
}

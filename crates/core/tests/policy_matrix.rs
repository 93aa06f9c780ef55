//! The policy, evaluated for every principal, action and resource, is the table in
//! `docs/policy.md`. When the policy is changed on purpose, write the table anew with
//! `UPDATE_GOLDEN=1 cargo test -p keyward-core --test policy_matrix`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use keyward_core::directory::{Access, Member, OrganizationRole, Workspace};
use keyward_core::id::{OrganizationId, UserId, WorkspaceId};
use keyward_core::policy::{self, ACTIONS};
use keyward_core::principal::{Principal, ServiceName};

const HEAD: &str = "\
# Who may do what

This table is made from the policy itself (`crates/core/src/policy.rs`) by the test
`crates/core/tests/policy_matrix.rs`, which fails when the two differ.

The columns are where the resource lies: in a workspace to which the principal has the access that
the row names, in another workspace of the principal's organization, or in a workspace of another
organization. A workspace that does not exist answers as one of another organization.
";

fn workspace(id: &str, organization: &str) -> Workspace {
    Workspace {
        id: WorkspaceId::parse(id).unwrap(),
        organization: OrganizationId::parse(organization).unwrap(),
        name: String::new(),
        is_default: false,
    }
}

fn member(role: OrganizationRole, access: Option<Access>, validated: bool) -> Principal {
    let here = WorkspaceId::parse("here").unwrap();
    Principal::User(Member {
        organization: OrganizationId::parse("own").unwrap(),
        user: UserId::parse("user").unwrap(),
        role,
        validated,
        access: access
            .map(|access| BTreeMap::from([(here, access)]))
            .unwrap_or_default(),
    })
}

/// Every kind of principal, by the name that the table gives it.
fn principals() -> Vec<(String, Principal)> {
    let mut principals = Vec::new();
    for role in OrganizationRole::ALL {
        let accesses = [None].into_iter().chain(Access::ALL.map(Some));
        for access in accesses {
            let name = access.map_or("no access", Access::name);
            principals.push((
                format!("{}, {name}", role.name()),
                member(role, access, true),
            ));
        }
    }
    let unvalidated = member(OrganizationRole::Owner, Some(Access::Admin), false);
    principals.push(("OWNER, not validated".to_owned(), unvalidated));
    principals.push((
        "service".to_owned(),
        Principal::Service(ServiceName("any".to_owned())),
    ));
    principals
}

fn table() -> String {
    let places = [
        ("here", workspace("here", "own")),
        ("elsewhere in the organization", workspace("there", "own")),
        ("another organization", workspace("here", "other")),
    ];
    let mut text = HEAD.to_owned();
    for action in ACTIONS {
        write!(text, "\n## {}\n\n| principal |", action.name).unwrap();
        for (place, _) in &places {
            write!(text, " {place} |").unwrap();
        }
        writeln!(text, "\n| --- | --- | --- | --- |").unwrap();
        for (name, principal) in principals() {
            write!(text, "| {name} |").unwrap();
            for (_, workspace) in &places {
                let allowed = (action.allows)(&principal, workspace);
                write!(text, " {} |", if allowed { "yes" } else { "-" }).unwrap();
            }
            text.push('\n');
        }
    }
    text.push_str("\n## directory (organizations, workspaces, members, repos)\n\n");
    text.push_str("| principal | anywhere |\n| --- | --- |\n");
    for (name, principal) in principals() {
        let allowed = policy::authorize_directory(&principal).is_ok();
        writeln!(text, "| {name} | {} |", if allowed { "yes" } else { "-" }).unwrap();
    }
    text
}

#[test]
fn the_documented_table_is_the_policy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.md");
    let actual = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(
        golden == actual,
        "docs/policy.md is not the policy; see the top of this file"
    );
}

#[test]
fn a_workspace_that_does_not_exist_is_refused_like_one_that_may_not_be_seen() {
    for (name, principal) in principals() {
        let absent = policy::authorize(&principal, policy::LIST_API_KEYS, None);
        let foreign = workspace("here", "other");
        let foreign = policy::authorize(&principal, policy::LIST_API_KEYS, Some(&foreign));
        let (absent, foreign) = (absent.unwrap_err(), foreign.unwrap_err());
        assert_eq!(absent.to_string(), foreign.to_string(), "{name}");
    }
}

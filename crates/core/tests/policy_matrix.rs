//! Compares the policy, evaluated for every principal, action and resource, with the table in
//! `docs/policy.md`. After an intended change of the policy, write the table again with
//! `UPDATE_GOLDEN=1 cargo test -p keyward-core --test policy_matrix`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use keyward_core::Error;
use keyward_core::id::{OrganizationId, UserId, WorkspaceId};
use keyward_core::policy::{self, ACTIONS, CallingKey, ORGANIZATION_ACTIONS};
use keyward_core::principal::{Principal, ServiceName};
use keyward_core::tenancy::{Access, Member, OrganizationRole, Workspace};
use keyward_crypto::KeyHash;

const HEAD: &str = "\
# Permissions

This table is made from the policy itself (`crates/core/src/policy.rs`) by the test
`crates/core/tests/policy_matrix.rs`, which fails when the two differ.

The columns are where the resource lies: in a workspace to which the principal has the access that
the row names, in another workspace of the principal's organization, or in a workspace of another
organization. A workspace that does not exist answers as one of another organization. The issued key
lies in the first of these workspaces, and the management key belongs to its organization.
";
const ISSUED_HASH: KeyHash = KeyHash::from_bytes([1; 32]);
const MANAGEMENT_HASH: KeyHash = KeyHash::from_bytes([2; 32]);

fn organization(id: &str) -> OrganizationId {
    OrganizationId::parse(id).unwrap()
}

fn workspace(id: &str, organization: &str) -> Workspace {
    Workspace {
        id: WorkspaceId::parse(id).unwrap(),
        organization: self::organization(organization),
        name: String::new(),
        is_default: false,
    }
}

fn member(role: OrganizationRole, access: Option<Access>, validated: bool) -> Principal {
    let here = WorkspaceId::parse("here").unwrap();
    Principal::User(Member {
        organization: organization("own"),
        user: UserId::parse("user").unwrap(),
        role,
        validated,
        access: access
            .map(|access| BTreeMap::from([(here, access)]))
            .unwrap_or_default(),
    })
}

/// Returns every kind of principal with its name in the table.
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
    principals.push((
        "issued key".to_owned(),
        Principal::IssuedKey {
            hash: ISSUED_HASH,
            organization: organization("own"),
            workspace: WorkspaceId::parse("here").unwrap(),
        },
    ));
    principals.push((
        "management key".to_owned(),
        Principal::ManagementKey {
            hash: MANAGEMENT_HASH,
            organization: organization("own"),
        },
    ));
    principals
}

/// Adds a table with a row for each principal and a column for each resource.
fn section<T>(
    text: &mut String,
    title: &str,
    places: &[(&str, T)],
    allows: impl Fn(&Principal, &T) -> bool,
) {
    let head: String = places
        .iter()
        .map(|(place, _)| format!(" {place} |"))
        .collect();
    let line = " --- |".repeat(places.len());
    write!(text, "\n## {title}\n\n| principal |{head}\n| --- |{line}\n").unwrap();
    for (name, principal) in principals() {
        write!(text, "| {name} |").unwrap();
        for (_, place) in places {
            let allowed = allows(&principal, place);
            write!(text, " {} |", if allowed { "yes" } else { "-" }).unwrap();
        }
        text.push('\n');
    }
}

fn table() -> String {
    let mut text = HEAD.to_owned();
    let places = [
        ("here", workspace("here", "own")),
        ("elsewhere in the organization", workspace("there", "own")),
        ("another organization", workspace("here", "other")),
    ];
    for action in ACTIONS {
        section(&mut text, action.name, &places, action.allows);
    }
    let places = [
        ("own organization", organization("own")),
        ("another organization", organization("other")),
    ];
    for action in ORGANIZATION_ACTIONS {
        section(&mut text, action.name, &places, |principal, place| {
            policy::authorize_organization(principal, *action, place).is_ok()
        });
    }
    let title = "issued keys of the default workspace (no workspace named)";
    section(&mut text, title, &places, |principal, place| {
        policy::managed_organization(principal).is_ok_and(|managed| managed == place)
    });
    let title = "describe the calling key (GET /key)";
    section(&mut text, title, &[("itself", ())], |principal, ()| {
        policy::calling_key(principal).is_ok()
    });
    let title = "directory (organizations, workspaces, members, repos)";
    section(&mut text, title, &[("anywhere", ())], |principal, ()| {
        policy::authorize_directory(principal).is_ok()
    });
    let title = "audit trail (list its events)";
    section(&mut text, title, &[("anywhere", ())], |principal, ()| {
        policy::authorize_audit(principal).is_ok()
    });
    text
}

#[test]
fn documented_table_is_the_policy() {
    // Cargo runs a test in its package's directory; a path fixed at build time would break if the checkout
    // moved.
    let path = Path::new("../../docs/policy.md");
    let actual = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &actual).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == actual,
        "docs/policy.md is not the policy; see the top of this file"
    );
}

#[test]
fn missing_workspace_is_rejected_like_a_hidden_one() {
    for (name, principal) in principals() {
        let absent = policy::authorize(&principal, policy::LIST_API_KEYS, None);
        let foreign = workspace("here", "other");
        let foreign = policy::authorize(&principal, policy::LIST_API_KEYS, Some(&foreign));
        let (absent, foreign) = (absent.unwrap_err(), foreign.unwrap_err());
        assert_eq!(absent.to_string(), foreign.to_string(), "{name}");
    }
}

/// Grants contain the values that the policy decided on, not the values that the caller claims.
#[test]
fn grant_is_for_what_was_asked() {
    let mut granted = 0;
    for (name, principal) in principals() {
        for place in ["own", "other"] {
            let id = organization(place);
            for action in ORGANIZATION_ACTIONS {
                match policy::authorize_organization(&principal, *action, &id) {
                    Ok(grant) => {
                        granted += 1;
                        assert_eq!(grant.organization(), &id, "{name}");
                        assert_eq!(grant.action(), action.name, "{name}");
                        policy::precheck_organization(&principal).unwrap();
                    }
                    Err(error) => assert!(matches!(error, Error::Denied), "{name}: {error:?}"),
                }
            }
        }
    }
    assert!(granted > 0);
}

#[test]
fn key_describes_itself_alone() {
    for (name, principal) in principals() {
        let calling = policy::calling_key(&principal);
        match principal {
            Principal::IssuedKey { .. } => assert!(
                matches!(calling, Ok(CallingKey::Issued(hash)) if *hash == ISSUED_HASH),
                "{name}"
            ),
            Principal::ManagementKey { .. } => assert!(
                matches!(calling, Ok(CallingKey::Management(hash)) if *hash == MANAGEMENT_HASH),
                "{name}"
            ),
            Principal::User(_) | Principal::Service(_) => {
                assert!(matches!(calling, Err(Error::Denied)), "{name}");
            }
        }
    }
}

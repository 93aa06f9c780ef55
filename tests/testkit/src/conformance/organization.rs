//! Organizations.

use keyward_core::id::MAX_ID_BYTES;
use keyward_core::page::PageRequest;
use keyward_core::tenancy::Organization;
use keyward_core::{Error, MAX_NAME_BYTES, Noun};

use super::workspace::{delete_workspace, put_workspace};
use super::{Fixture, Stores, assert_rejected, management_key};
use crate::fixtures::{
    self, directory_grant, event, member, organization, organization_id, user_id, workspace,
    workspace_id,
};

/// Identifiers whose order in most languages differs from the order of their bytes.
pub(super) const ODD_IDS: [&str; 11] =
    ["Z", "a", "B", "é", "É", "z", "a b", "a-b", "aa", "😀", "１"];

/// Returns [`ODD_IDS`] in UTF-8 order.
pub(super) fn odd_ids_by_bytes() -> Vec<String> {
    let mut ids = ODD_IDS.map(str::to_owned).to_vec();
    ids.sort();
    ids
}

pub(super) async fn put_organization<S: Stores>(fixture: &Fixture<S>, organization: &Organization) {
    let event = event(
        "organization.upsert",
        Noun::Organization,
        organization.id.as_str(),
    );
    let stored = fixture
        .store
        .upsert_organization(&directory_grant(), organization, &event)
        .await
        .unwrap();
    assert_eq!(
        (stored.id, stored.name),
        (organization.id.clone(), organization.name.clone())
    );
}

pub(super) async fn delete_organization<S: Stores>(
    fixture: &Fixture<S>,
    id: &str,
) -> Result<(), Error> {
    let event = event("organization.delete", Noun::Organization, id);
    fixture
        .store
        .delete_organization(&directory_grant(), &organization_id(id), &event)
        .await
}

pub(super) async fn get_organization<S: Stores>(
    fixture: &Fixture<S>,
    id: &str,
) -> Option<Organization> {
    fixture
        .store
        .organization(&directory_grant(), &organization_id(id))
        .await
        .unwrap()
}

/// An organization equals the last upsert, except for its default workspace.
pub async fn organization_is_created_and_renamed<S: Stores>(fixture: &Fixture<S>) {
    assert_eq!(get_organization(fixture, "org").await, None);
    let mut wanted = organization("org");
    wanted.default_workspace = Some(workspace_id("made up"));
    put_organization(fixture, &wanted).await;
    wanted.default_workspace = None;
    assert_eq!(get_organization(fixture, "org").await, Some(wanted.clone()));

    let first = put_workspace(fixture, &workspace("org", "a"))
        .await
        .unwrap();
    wanted.name = "Another name".to_owned();
    put_organization(fixture, &wanted).await;
    wanted.default_workspace = Some(first.id);
    assert_eq!(get_organization(fixture, "org").await, Some(wanted));
}

/// Pages contain every organization once, ordered by the bytes of the id.
pub async fn organizations_page_in_byte_order<S: Stores>(fixture: &Fixture<S>) {
    for id in ODD_IDS {
        put_organization(fixture, &organization(id)).await;
    }
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 3,
        after: None,
    };
    loop {
        let page = fixture
            .store
            .organizations(&directory_grant(), &request)
            .await
            .unwrap();
        assert!(page.items.len() <= 3);
        found.extend(
            page.items
                .into_iter()
                .map(|organization| organization.id.to_string()),
        );
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    assert_eq!(found, odd_ids_by_bytes());
}

/// An organization is deleted only if it has no workspaces, members or live management keys.
pub async fn organization_with_content_is_not_deleted<S: Stores>(fixture: &Fixture<S>) {
    assert_rejected!(
        delete_organization(fixture, "org").await,
        Error::NotFound(Noun::Organization)
    );
    put_organization(fixture, &organization("org")).await;
    put_workspace(fixture, &workspace("org", "a"))
        .await
        .unwrap();
    let joined = event("member.upsert", Noun::Member, "user");
    let user = member("org", "user", &[]);
    fixture
        .store
        .upsert_member(&directory_grant(), &user, &joined)
        .await
        .unwrap();
    let key = fixtures::management_key("org");
    management_key::insert(fixture, &key.organization, &key)
        .await
        .unwrap();

    assert_rejected!(
        delete_organization(fixture, "org").await,
        Error::NotEmpty {
            noun: Noun::Organization,
            held: "workspaces"
        }
    );
    delete_workspace(fixture, "a").await.unwrap();
    assert_rejected!(
        delete_organization(fixture, "org").await,
        Error::NotEmpty {
            noun: Noun::Organization,
            held: "members"
        }
    );
    let left = event("member.delete", Noun::Member, "user");
    let (organization, user) = (organization_id("org"), user_id("user"));
    fixture
        .store
        .delete_member(&directory_grant(), &organization, &user, &left)
        .await
        .unwrap();
    assert_rejected!(
        delete_organization(fixture, "org").await,
        Error::NotEmpty {
            noun: Noun::Organization,
            held: "management keys"
        }
    );
    management_key::revoke(fixture, &key.organization, &key.hash)
        .await
        .unwrap();
    delete_organization(fixture, "org").await.unwrap();
    assert_eq!(get_organization(fixture, "org").await, None);
}

/// Texts are stored unchanged, and ids that look alike are different.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    // Composed and decomposed, case, width, a trailing space, and SQL special characters.
    let ids = [
        "é",
        "e\u{301}",
        "Ä",
        "ä",
        "ｄ",
        "d",
        "d ",
        "'; DROP TABLE repos; --",
        "%_\\",
        "\u{10ffff}",
    ];
    for id in ids {
        let mut organization = organization(id);
        organization.name = format!("{id}\u{202e}\u{feff}\u{1f468}\u{200d}\u{1f469}");
        put_organization(fixture, &organization).await;
        assert_eq!(get_organization(fixture, id).await, Some(organization));
    }
    let wide = "\u{1f600}";
    let longest = wide.repeat(MAX_ID_BYTES / 4) + &"a".repeat(MAX_ID_BYTES % 4);
    let named = Organization {
        name: wide.repeat(MAX_NAME_BYTES),
        ..organization(&longest)
    };
    put_organization(fixture, &named).await;
    assert!(get_organization(fixture, &longest).await.is_some());
}

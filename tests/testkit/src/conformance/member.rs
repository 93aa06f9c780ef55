//! Members and their access.

use keyward_core::page::PageRequest;
use keyward_core::tenancy::{Access, Member, OrganizationRole};
use keyward_core::{Error, Noun};

use super::organization::{ODD_IDS, odd_ids_by_bytes};
use super::{Fixture, Stores, assert_rejected};
use crate::fixtures::{World, directory_grant, event, member, organization_id, user_id, workspace};

pub(super) async fn put<S: Stores>(fixture: &Fixture<S>, member: &Member) -> Result<(), Error> {
    let event = event("member.upsert", Noun::Member, member.user.as_str());
    fixture
        .store
        .upsert_member(&directory_grant(), member, &event)
        .await
}

async fn get<S: Stores>(fixture: &Fixture<S>, member: &Member) -> Option<Member> {
    fixture
        .store
        .member(&member.organization, &member.user)
        .await
        .unwrap()
}

/// A member equals the last upsert, including access.
pub async fn member_is_created_and_replaced<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let first = member("org", "user", &[("a", Access::Read), ("b", Access::Admin)]);
    assert_eq!(get(fixture, &first).await, None);
    put(fixture, &first).await.unwrap();
    assert_eq!(get(fixture, &first).await, Some(first.clone()));
    // The same user in another organization is another member.
    let elsewhere = member("other", "user", &[("x", Access::Write)]);
    put(fixture, &elsewhere).await.unwrap();

    for role in OrganizationRole::ALL {
        let mut next = member("org", "user", &[("a", Access::Write)]);
        (next.role, next.validated) = (role, role == OrganizationRole::Owner);
        put(fixture, &next).await.unwrap();
        assert_eq!(get(fixture, &next).await, Some(next));
    }
    let bare = member("org", "user", &[]);
    put(fixture, &bare).await.unwrap();
    assert_eq!(get(fixture, &bare).await, Some(bare));
    assert_eq!(get(fixture, &elsewhere).await, Some(elsewhere));
}

/// A member's organization must exist and contain every workspace; otherwise nothing changes.
pub async fn member_needs_organization_and_workspaces<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    assert_rejected!(
        put(fixture, &member("unknown", "user", &[])).await,
        Error::NotFound(Noun::Organization)
    );
    let stored = member("org", "user", &[("a", Access::Read)]);
    put(fixture, &stored).await.unwrap();
    for workspace in ["x", "unknown"] {
        let mut wrong = member(
            "org",
            "user",
            &[("b", Access::Admin), (workspace, Access::Read)],
        );
        wrong.role = OrganizationRole::Owner;
        assert_rejected!(put(fixture, &wrong).await, Error::NotFound(Noun::Workspace));
        assert_eq!(get(fixture, &stored).await, Some(stored.clone()));
    }
}

/// Pages contain every member of one organization once, ordered by the bytes of the user id.
pub async fn members_page_in_byte_order<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    put(fixture, &member("other", "elsewhere", &[]))
        .await
        .unwrap();
    for id in ODD_IDS {
        let access = [("b", Access::Write), ("a", Access::Read)];
        put(fixture, &member("org", id, &access)).await.unwrap();
    }
    let organization = organization_id("org");
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 2,
        after: None,
    };
    loop {
        let page = fixture
            .store
            .members(&directory_grant(), &organization, &request)
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items);
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    let users: Vec<_> = found.iter().map(|member| member.user.to_string()).collect();
    assert_eq!(users, odd_ids_by_bytes());
    assert!(found.iter().all(|member| member.access.len() == 2));
}

/// Pages are bounded in bytes, since a member may have access to any number of workspaces; every member is on a page.
pub async fn member_pages_are_bounded_in_bytes<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let (grant, organization) = (directory_grant(), organization_id("org"));
    let ids: Vec<_> = (0..600).map(|number| format!("{number:0>240}")).collect();
    for id in &ids {
        let event = event("workspace.upsert", Noun::Workspace, id.as_str());
        let workspace = workspace("org", id);
        let stored = fixture.store.upsert_workspace(&grant, &workspace, &event);
        stored.await.unwrap();
    }
    let access: Vec<_> = ids.iter().map(|id| (id.as_str(), Access::Read)).collect();
    let users = ["1", "2", "3", "4", "5"];
    for user in users {
        // The first members have little access, and each of the last ones has more than half of a page.
        let access = if user < "3" {
            &access[..1]
        } else {
            &access[..]
        };
        put(fixture, &member("org", user, access)).await.unwrap();
    }
    let (mut found, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = PageRequest { limit: 1000, after };
        let page = fixture.store.members(&grant, &organization, &page);
        let page = page.await.unwrap();
        sizes.push(page.items.len());
        found.extend(page.items.into_iter().map(|member| member.user.to_string()));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(
        (found, sizes),
        (users.map(str::to_owned).to_vec(), vec![3, 1, 1])
    );
}

/// Deleting a member deletes all its access.
pub async fn member_is_deleted<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let stored = member("org", "user", &[("a", Access::Read)]);
    put(fixture, &stored).await.unwrap();
    for expected in [true, false] {
        let event = event("member.delete", Noun::Member, "user");
        let (organization, user) = (organization_id("org"), user_id("user"));
        let grant = directory_grant();
        let deleted = fixture
            .store
            .delete_member(&grant, &organization, &user, &event)
            .await;
        match expected {
            true => deleted.unwrap(),
            false => assert_rejected!(deleted, Error::NotFound(Noun::Member)),
        }
        assert_eq!(get(fixture, &stored).await, None);
    }
    assert_eq!(fixture.database.count("workspace_access").await, 0);
}

//! The trail is read as it was written, in pages, and its oldest events are deleted on request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyward_core::Noun;
use keyward_core::audit::{AuditCursor, AuditEvent, RecordedEvent};
use keyward_core::audit_filter::AuditFilter;
use keyward_core::clock::Timestamp;
use keyward_core::page::{Page, PageRequest};
use keyward_core::principal::Actor;
use keyward_core::retention::Retention;

use super::{Fixture, Stores, at_once};
use crate::fixtures::{
    NOON, after_noon, audit_grant, directory_grant, event, organization, workspace,
};

/// Organizations and workspaces of the events.
const PLACES: [(&str, Option<&str>); 5] = [
    ("org", None),
    ("other", None),
    ("org", Some("a")),
    ("other", Some("b")),
    ("org", Some("A")),
];

/// Creates the scopes, and starts the trail after that.
async fn begin<S: Stores>(fixture: &Fixture<S>) {
    for place in PLACES {
        let event = event("placeholder", Noun::Organization, "placeholder");
        tell_in(fixture, place, &event).await;
    }
    fixture.database.execute("DELETE FROM audit_events").await;
}

/// Stores an event of a scope, with a change that is repeatable.
async fn tell_in<S: Stores>(
    fixture: &Fixture<S>,
    (organization_name, workspace_name): (&str, Option<&str>),
    event: &AuditEvent,
) {
    let (store, grant) = (&fixture.store, directory_grant());
    match workspace_name {
        None => {
            let organization = organization(organization_name);
            let stored = store.upsert_organization(&grant, &organization, event);
            stored.await.map(|_| ()).unwrap();
        }
        Some(name) => {
            let workspace = workspace(organization_name, name);
            let stored = store.upsert_workspace(&grant, &workspace, event);
            stored.await.map(|_| ()).unwrap();
        }
    }
}

/// Stores an event of one of the scopes, in turn.
async fn tell<S: Stores>(fixture: &Fixture<S>, number: usize, millis: i64) {
    let place = PLACES[number % PLACES.len()];
    tell_in(fixture, place, &numbered_event(number, millis)).await;
}

/// Returns an event at this number of milliseconds after noon. Its other fields rotate with different periods.
fn numbered_event(number: usize, millis: i64) -> AuditEvent {
    let mut event = event("placeholder", Noun::Repo, format!("thing-{}", number % 11));
    event.occurred_at = after_noon(millis);
    event.action = ["api_key.create", "api_key.resolve", "repo.upsert"][number % 3];
    event.resource_kind = ["api_key", "repo"][number % 2];
    event.actor = Actor {
        kind: ["user", "service", "issued_key"][number % 3],
        id: format!("actor-{}", number % 5),
    };
    event.request_id = format!("request-{}", number % 7);
    event
}

async fn page<S: Stores>(
    fixture: &Fixture<S>,
    filter: &AuditFilter,
    limit: u32,
    after: Option<AuditCursor>,
) -> Page<RecordedEvent> {
    let page = PageRequest { limit, after };
    let listed = fixture.store.events(&audit_grant(), filter, &page).await;
    listed.unwrap()
}

/// Reads all pages.
async fn walk<S: Stores>(
    fixture: &Fixture<S>,
    filter: &AuditFilter,
    limit: u32,
) -> Vec<RecordedEvent> {
    let (mut events, mut after) = (Vec::new(), None);
    loop {
        let page = page(fixture, filter, limit, after).await;
        assert!(page.items.len() <= limit as usize);
        events.extend(page.items);
        match page.next {
            Some(next) => after = Some(filter.read_cursor(&next).unwrap()),
            None => return events,
        }
    }
}

/// An event is read with all its fields.
pub async fn event_is_read_whole<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    let whole = event("api_key.create", Noun::ProviderKey, "key-\u{1f511}")
        .with_detail("fields", "key,\"secret\"\u{1f511}")
        .with_detail("more", "");
    let mut bare = event("organization.upsert", Noun::Organization, "bare");
    bare.source = None;
    tell_in(fixture, ("org", Some("a")), &whole).await;
    tell_in(fixture, ("other", None), &bare).await;

    let listed = walk(fixture, &AuditFilter::default(), 10).await;
    let cursor = |event: &AuditEvent| AuditCursor {
        occurred_at: event.occurred_at,
        id: event.id,
    };
    let read = RecordedEvent {
        cursor: cursor(&whole),
        actor_kind: "service".to_owned(),
        actor_id: "platform".to_owned(),
        action: "api_key.create".to_owned(),
        organization: Some("org".to_owned()),
        workspace: Some("a".to_owned()),
        resource_kind: "api_key".to_owned(),
        resource_id: "key-\u{1f511}".to_owned(),
        request_id: "request-1".to_owned(),
        source: Some("192.0.2.7".to_owned()),
        details: BTreeMap::from([
            ("fields".to_owned(), "key,\"secret\"\u{1f511}".to_owned()),
            ("more".to_owned(), String::new()),
        ]),
    };
    let read_bare = RecordedEvent {
        cursor: cursor(&bare),
        action: "organization.upsert".to_owned(),
        organization: Some("other".to_owned()),
        workspace: None,
        resource_kind: "organization".to_owned(),
        resource_id: "bare".to_owned(),
        source: None,
        details: BTreeMap::new(),
        ..read.clone()
    };
    assert_eq!(listed, [read_bare, read]);
}

/// Events are listed newest first, also within one millisecond and for any page size.
pub async fn events_page_newest_first<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    // Seven events per millisecond, stored out of order.
    for number in 0..70 {
        let millis = i64::try_from(number * 37 % 70 / 7).unwrap();
        tell(fixture, number, millis).await;
    }
    let all = walk(fixture, &AuditFilter::default(), 1000).await;
    assert_eq!(all.len(), 70);
    let cursors: BTreeSet<_> = all.iter().map(|event| event.cursor).collect();
    let newest_first: Vec<_> = cursors.into_iter().rev().collect();
    let listed: Vec<_> = all.iter().map(|event| event.cursor).collect();
    assert_eq!(listed, newest_first);
    for limit in [1, 2, 7, 10, 69, 70, 71] {
        let filter = AuditFilter::default();
        assert_eq!(walk(fixture, &filter, limit).await, all, "pages of {limit}");
    }
}

/// Filters apply alone and together, on every page.
pub async fn filters_hold_together<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    for number in 0..120 {
        tell(fixture, number, i64::try_from(number / 2).unwrap()).await;
    }
    let all = walk(fixture, &AuditFilter::default(), 1000).await;
    let text = |text: &str| Some(text.to_owned());
    let at = |millis| Some(after_noon(millis));
    let none = AuditFilter::default;
    let mut filters = vec![none()];
    type Change = fn(&mut AuditFilter, Option<String>);
    let changes: [(Change, &str); 9] = [
        (|filter, text| filter.organization = text, "org"),
        (|filter, text| filter.workspace = text, "a"),
        (|filter, text| filter.resource_kind = text, "api_key"),
        (|filter, text| filter.resource_id = text, "thing-4"),
        (|filter, text| filter.action = text, "api_key.resolve"),
        (|filter, text| filter.actor_kind = text, "service"),
        (|filter, text| filter.actor_id = text, "actor-4"),
        (|filter, text| filter.request_id = text, "request-4"),
        (|filter, text| filter.organization = text, "unknown"),
    ];
    for (first, value) in changes {
        for (second, other) in changes {
            let mut filter = none();
            first(&mut filter, text(value));
            second(&mut filter, text(other));
            filters.push(filter.clone());
            (filter.start, filter.end) = (at(10), at(50));
            filters.push(filter);
        }
    }
    for (start, end) in [
        (at(20), None),
        (None, at(20)),
        (at(20), at(21)),
        (at(20), at(20)),
        (at(21), at(20)),
        (
            Some(Timestamp::from_unix_millis(i64::MIN)),
            Some(Timestamp::from_unix_millis(i64::MAX)),
        ),
    ] {
        filters.push(AuditFilter {
            start,
            end,
            ..none()
        });
    }
    let mut listed = 0;
    for filter in filters {
        let wanted: Vec<_> = all
            .iter()
            .filter(|event| filter.lets_through(event))
            .cloned()
            .collect();
        listed += wanted.len();
        assert_eq!(walk(fixture, &filter, 3).await, wanted, "{filter:?}");
    }
    assert!(listed > 1000, "the filters let next to nothing through");
}

/// Events that are stored between page reads do not move the pages; each earlier event is listed once.
pub async fn pages_do_not_move<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    for number in 0..30 {
        tell(fixture, number, i64::try_from(number).unwrap()).await;
    }
    let filter = AuditFilter::default();
    let before = walk(fixture, &filter, 1000).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = page(fixture, &filter, 4, after).await;
        seen.extend(page.items);
        // Newer events, and one in the part of the trail that is not yet read.
        for (number, millis) in [(1, 100), (2, 100), (3, 15)] {
            tell(fixture, number, millis).await;
        }
        match page.next {
            Some(next) => after = Some(filter.read_cursor(&next).unwrap()),
            None => break,
        }
    }
    let distinct: BTreeSet<_> = seen.iter().map(|event| event.cursor).collect();
    assert_eq!(distinct.len(), seen.len(), "an event was listed twice");
    let of_before = before
        .iter()
        .filter(|event| distinct.contains(&event.cursor));
    assert_eq!(of_before.count(), before.len(), "an event was left out");
    assert!(
        seen.iter()
            .all(|event| event.cursor.occurred_at < after_noon(100))
    );
}

/// The oldest events are deleted first, up to the limit, and no newer ones.
pub async fn old_events_expire<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    for number in 0..10 {
        tell(fixture, number, i64::try_from(number).unwrap()).await;
    }
    let store = &fixture.store;
    let left = async || -> Vec<i64> {
        let events = walk(fixture, &AuditFilter::default(), 100).await;
        let millis =
            |event: &RecordedEvent| event.cursor.occurred_at.unix_millis() - NOON.unix_millis();
        events.iter().rev().map(millis).collect()
    };
    assert_eq!(store.expire(NOON, 100).await.unwrap(), 0);
    assert_eq!(store.expire(after_noon(5), 2).await.unwrap(), 2);
    assert_eq!(left().await, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(store.expire(after_noon(5), 100).await.unwrap(), 3);
    assert_eq!(left().await, [5, 6, 7, 8, 9]);
    assert_eq!(store.expire(after_noon(5), 100).await.unwrap(), 0);
}

/// Replicas that delete old events concurrently all succeed, and together delete each event once.
pub async fn old_events_expire_once<S: Stores>(fixture: &Fixture<S>) {
    begin(fixture).await;
    for number in 0..40 {
        tell(fixture, number, 0).await;
    }
    let calls = (0..8).map(|_| {
        let store = fixture.store.clone();
        async move {
            let mut dropped = 0;
            loop {
                let batch = store.expire(after_noon(1), 3).await.unwrap();
                dropped += batch;
                if batch == 0 {
                    return dropped;
                }
            }
        }
    });
    let dropped: u64 = at_once(calls).await.into_iter().sum();
    assert_eq!(dropped, 40);
    assert_eq!(fixture.database.count("audit_events").await, 0);
}

/// Replicas that advance the cutoff of retention concurrently advance it once. The first run only stores it.
pub async fn replicas_advance_one_cutoff<S: Stores>(fixture: &Fixture<S>) {
    const HOUR: Duration = Duration::from_secs(3600);
    let retention = Retention {
        kept_for: 240 * HOUR,
        passed: HOUR,
    };
    let store = &fixture.store;
    let advanced = store.advance_audit_cutoff(retention).await.unwrap();
    assert_eq!(advanced, None, "there are no events");
    begin(fixture).await;
    tell(fixture, 0, 0).await;
    fixture.clock.advance(1000 * HOUR);
    tell(fixture, 1, 1000 * 3_600_000).await;
    for hours in 0..3 {
        let calls = (0..8).map(|_| {
            let store = fixture.store.clone();
            async move { store.advance_audit_cutoff(retention).await }
        });
        let (day, mut advances) = (NOON.plus(24 * HOUR), 0);
        for before in at_once(calls).await {
            let before = before.unwrap().unwrap();
            assert!(
                [NOON, day].contains(&before),
                "after {hours} hours: {before}"
            );
            advances += u32::from(before == day);
        }
        assert_eq!(advances, hours.min(1), "after {hours} hours");
        fixture.clock.advance(HOUR);
    }
}

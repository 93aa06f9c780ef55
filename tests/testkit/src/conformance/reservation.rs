//! Reservations, and the limit that they enforce.

use std::time::Duration;

use keyward_core::account::{self, MeteredKey};
use keyward_core::clock::Timestamp;
use keyward_core::id::ReservationId;
use keyward_core::issued_key::IssuedKey;
use keyward_core::ledger::{Charge, Recorded, Reservation, Reserved};
use keyward_core::policy::{Grant, Serve};
use keyward_core::ports::LedgerStore;
use keyward_core::tenancy::Workspace;
use keyward_core::{Ending, Error, Noun};

use keyward_crypto::KeyHash;

use super::issued_key::{delete, insert, put};
use super::ledger::{account, record};
use super::{Fixture, Stores, assert_rejected, is_not_found};
use crate::fixtures::{
    NOON, World, after_noon, charge, issued_key, nanos, reservation, serve_grant,
};

/// Limit of the keys in these tests.
pub(super) const LIMIT: i64 = 1000;

/// Reserves in the same way as the use case.
pub(super) async fn reserve<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
    reservation: &Reservation,
) -> Result<Reserved, Error> {
    let (ledger, grant) = (fixture.ledger(), serve_grant(workspace));
    let reservation = reservation.clone();
    let hold = Box::new(move |_| reservation.clone());
    ledger
        .reserve(&grant, &key.hash, hold, Box::new(admit))
        .await
}

/// Decides in the same way as the use case.
pub(super) fn admit(metered: &MeteredKey, hold: &Reservation) -> Result<(), Error> {
    account::check_hold(metered, hold.amount, hold.byok, hold.created_at)
}

/// Returns the hash of a reservation's key, or an arbitrary one if the reservation is not found.
pub(super) async fn hash_of(ledger: &dyn LedgerStore, id: ReservationId) -> KeyHash {
    let found = ledger.locate_reservation(id).await.unwrap();
    found.map_or(KeyHash::from_bytes([0; 32]), |(_, hash)| hash)
}

async fn settle_at<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    reservation: &Reservation,
    cost: i64,
    now: Timestamp,
) -> Result<Recorded, Error> {
    let (ledger, grant) = (fixture.ledger(), serve_grant(workspace));
    settle_through(&*ledger, &grant, reservation.id, cost, now).await
}

/// Settles in the same way as the use case.
pub(super) async fn settle_through(
    ledger: &dyn LedgerStore,
    grant: &Grant<Serve>,
    id: ReservationId,
    cost: i64,
    now: Timestamp,
) -> Result<Recorded, Error> {
    let settlement = move |reservation: &Reservation, _| Charge {
        byok: reservation.byok,
        occurred_at: now,
        recorded_at: now,
        ..charge(reservation.request_id.as_str(), cost)
    };
    let hash = hash_of(ledger, id).await;
    ledger.settle(grant, &hash, id, Box::new(settlement)).await
}

pub(super) async fn settle<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    reservation: &Reservation,
    cost: i64,
) -> Result<Recorded, Error> {
    settle_at(fixture, workspace, reservation, cost, NOON).await
}

pub(super) async fn release<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    reservation: &Reservation,
) -> Result<(), Error> {
    let (ledger, grant) = (fixture.ledger(), serve_grant(workspace));
    let hash = hash_of(&*ledger, reservation.id).await;
    ledger
        .release(&grant, &hash, reservation.id, "platform")
        .await
}

/// Stores a key with a limit that includes BYOK.
pub(super) async fn put_limited<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
) -> IssuedKey {
    let key = IssuedKey {
        limit: Some(nanos(LIMIT)),
        include_byok_in_limit: true,
        ..issued_key(workspace)
    };
    insert(fixture, workspace, &key).await.unwrap();
    key
}

fn byok(reservation: Reservation) -> Reservation {
    Reservation {
        byok: true,
        ..reservation
    }
}

/// Returns the reserved amounts, own and BYOK.
pub(super) async fn held<S: Stores>(
    fixture: &Fixture<S>,
    key: &IssuedKey,
    now: Timestamp,
) -> (i64, i64) {
    let account = account(fixture, key, now).await;
    (account.held.get(), account.byok_held.get())
}

/// A reservation counts, own and BYOK separately, from its creation until its expiry, exclusive.
pub async fn hold_counts_until_it_expires<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let other = put_limited(fixture, &world.a).await;
    let long = byok(Reservation {
        expires_at: after_noon(90_000),
        ..reservation("long", 20)
    });
    let first = reserve(fixture, &world.a, &key, &reservation("short", 300)).await;
    assert_eq!(first.unwrap().metered.account.held, nanos(300));
    let second = reserve(fixture, &world.a, &key, &long).await.unwrap();
    assert_eq!(second.reservation, long);
    assert_eq!(account::available(&second.metered), Some(nanos(680)));
    for (now, wanted) in [
        (0, (300, 20)),
        (59_999, (300, 20)),
        (60_000, (0, 20)),
        (89_999, (0, 20)),
        (90_000, (0, 0)),
    ] {
        let found = held(fixture, &key, after_noon(now)).await;
        assert_eq!(found, wanted, "at {now}");
    }
    assert_eq!(held(fixture, &other, NOON).await, (0, 0));
    // The expired reservation no longer counts.
    let mut again = reservation("again", LIMIT);
    assert_rejected!(
        reserve(fixture, &world.a, &key, &again).await,
        Error::LimitExceeded { .. }
    );
    (again.created_at, again.expires_at) = (after_noon(90_000), after_noon(90_001));
    reserve(fixture, &world.a, &key, &again).await.unwrap();
}

/// A reservation counts until it is released or settled. A repeated release, or one after the expiry, changes nothing.
pub async fn hold_counts_until_it_ends<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let holds = [
        reservation("settled", 100),
        reservation("released", 200),
        reservation("expired", 400),
    ];
    for hold in &holds {
        reserve(fixture, &world.a, &key, hold).await.unwrap();
    }
    assert_eq!(held(fixture, &key, NOON).await, (700, 0));
    let settled = settle(fixture, &world.a, &holds[0], 1).await.unwrap();
    assert_eq!(settled.metered.account.held, nanos(600));
    for _ in 0..2 {
        release(fixture, &world.a, &holds[1]).await.unwrap();
        assert_eq!(held(fixture, &key, NOON).await, (400, 0));
    }
    fixture.clock.set(after_noon(60_001));
    for _ in 0..2 {
        release(fixture, &world.a, &holds[2]).await.unwrap();
        assert_eq!(held(fixture, &key, NOON).await, (0, 0));
        // The time of the end is that of the first release, by the store's clock.
        for (hold, end) in [(&holds[1], NOON), (&holds[2], after_noon(60_001))] {
            let ended = format!(
                "reservations WHERE request_id = '{}' AND ended_at = {}",
                hold.request_id,
                end.unix_millis()
            );
            assert_eq!(fixture.database.count(&ended).await, 1, "{ended}");
        }
        fixture.clock.advance(Duration::from_secs(1));
    }
    let missing = release(fixture, &world.a, &reservation("missing", 1)).await;
    assert_rejected!(missing, Error::NotFound(Noun::Reservation));
    let missing = settle(fixture, &world.a, &reservation("missing", 1), 1).await;
    assert_rejected!(missing, Error::NotFound(Noun::Reservation));
}

/// The same reservation under the same request id returns the first one without a new decision. A different one under
/// it is rejected, and so is one under a charge's request id. Request ids are separate for each key.
pub async fn same_reservation_is_the_first<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let other = put_limited(fixture, &world.a).await;
    let (own, theirs) = (reservation("own", 600), byok(reservation("byok", 300)));
    for hold in [&own, &theirs] {
        reserve(fixture, &world.a, &key, hold).await.unwrap();
    }
    // A second one would exceed the limit.
    let again = Reservation {
        created_at: after_noon(59_999),
        expires_at: after_noon(99_999),
        ..reservation("own", 600)
    };
    let found = reserve(fixture, &world.a, &key, &again).await.unwrap();
    assert_eq!(found.reservation, own);
    assert_eq!(account::available(&found.metered), Some(nanos(100)));
    for (hold, said) in [
        (reservation("own", 599), "a reservation of another amount"),
        (
            byok(reservation("own", 600)),
            "a reservation that was not BYOK",
        ),
        (reservation("byok", 300), "a BYOK reservation"),
    ] {
        let rejected = reserve(fixture, &world.a, &key, &hold).await;
        assert_rejected!(rejected, Error::RequestIdConflict { earlier } if earlier == said);
    }
    let elsewhere = reserve(fixture, &world.a, &other, &reservation("own", 1)).await;
    assert_eq!(elsewhere.unwrap().metered.account.held, nanos(1));
    record(fixture, &world.a, &key, &charge("charge", 1))
        .await
        .unwrap();
    let rejected = reserve(fixture, &world.a, &key, &reservation("charge", 1)).await;
    assert_rejected!(
        rejected,
        Error::RequestIdConflict {
            earlier: "a charge"
        }
    );
    assert_eq!(held(fixture, &key, NOON).await, (600, 300));
}

/// Under the request id of an ended reservation no new one is created, and the error says how it ended.
pub async fn ended_reservation_is_not_made_again<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let holds = ["settled", "released", "expired"].map(|name| reservation(name, 100));
    for hold in &holds {
        reserve(fixture, &world.a, &key, hold).await.unwrap();
    }
    settle(fixture, &world.a, &holds[0], 100).await.unwrap();
    release(fixture, &world.a, &holds[1]).await.unwrap();
    let endings = [Ending::Settled, Ending::Released, Ending::Expired];
    for (hold, ending) in holds.iter().zip(endings) {
        let again = Reservation {
            created_at: after_noon(60_000),
            expires_at: after_noon(120_000),
            ..reservation(hold.request_id.as_str(), 100)
        };
        let rejected = reserve(fixture, &world.a, &key, &again).await;
        assert_rejected!(rejected, Error::ReservationEnded(ended) if ended == ending);
    }
    assert_eq!(fixture.database.count("reservations").await, 3);
}

/// A reservation is settled with the true cost, which may differ from its amount, also above the limit and after the
/// expiry; once, and not after its release.
pub async fn reservation_is_settled_in_full<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let less = reservation("less", 300);
    let more = byok(reservation("more", 300));
    let released = reservation("released", 300);
    for hold in [&less, &more, &released] {
        reserve(fixture, &world.a, &key, hold).await.unwrap();
    }
    let settled = settle(fixture, &world.a, &less, 10).await.unwrap();
    assert!(!settled.duplicate);
    assert_eq!(account::available(&settled.metered), Some(nanos(390)));
    let late = after_noon(3 * 60_000);
    let settled = settle_at(fixture, &world.a, &more, 5000, late)
        .await
        .unwrap();
    assert!(!settled.duplicate);
    assert_eq!(account::available(&settled.metered), Some(nanos(0)));
    for (hold, cost) in [(&less, 10), (&more, 5000)] {
        let repeated = settle_at(fixture, &world.a, hold, cost, late).await;
        assert!(repeated.unwrap().duplicate);
        let other = settle(fixture, &world.a, hold, cost + 1).await;
        assert_rejected!(
            other,
            Error::RequestIdConflict {
                earlier: "a charge of another cost"
            }
        );
        let recorded = charge(hold.request_id.as_str(), cost);
        let recorded = Charge {
            byok: hold.byok,
            ..recorded
        };
        let recorded = record(fixture, &world.a, &key, &recorded).await;
        assert!(recorded.unwrap().duplicate);
        assert_rejected!(
            release(fixture, &world.a, hold).await,
            Error::ReservationEnded(Ending::Settled)
        );
    }
    release(fixture, &world.a, &released).await.unwrap();
    assert_rejected!(
        settle(fixture, &world.a, &released, 1).await,
        Error::ReservationEnded(Ending::Released)
    );
    // The charge may have been rolled up by now: the reservation has its amount.
    fixture.database.execute("DELETE FROM charges").await;
    let repeated = settle(fixture, &world.a, &less, 10).await.unwrap();
    assert!(repeated.duplicate);
    let account = repeated.metered.account;
    assert_eq!(account.usage.total, nanos(10));
    assert_eq!(account.byok_usage.total, nanos(5000));
    assert_eq!(held(fixture, &key, NOON).await, (0, 0));
}

/// A charge that is recorded under the request id of an open reservation leaves it open. Settling with the same cost
/// finds the charge, and settling with another cost is rejected.
pub async fn settlement_finds_the_charge_that_was_recorded<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let hold = reservation("r", 300);
    reserve(fixture, &world.a, &key, &hold).await.unwrap();
    let recorded = record(fixture, &world.a, &key, &charge("r", 200)).await;
    let recorded = recorded.unwrap().metered;
    assert_eq!(account::available(&recorded), Some(nanos(500)));
    assert_rejected!(
        settle(fixture, &world.a, &hold, 300).await,
        Error::RequestIdConflict {
            earlier: "a charge of another cost"
        }
    );
    assert_eq!(held(fixture, &key, NOON).await, (300, 0));
    let settled = settle(fixture, &world.a, &hold, 200).await.unwrap();
    assert!(settled.duplicate);
    assert_eq!(account::available(&settled.metered), Some(nanos(800)));
}

/// A reservation that would overflow the sum is rejected; own and BYOK have separate sums.
pub async fn holds_do_not_overflow<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let almost = reservation("almost", i64::MAX - 1);
    reserve(fixture, &world.a, &key, &almost).await.unwrap();
    let above = reserve(fixture, &world.a, &key, &reservation("above", 2)).await;
    assert_rejected!(
        above,
        Error::Invalid {
            field: "amountNanos",
            ..
        }
    );
    let theirs = byok(reservation("byok", i64::MAX));
    reserve(fixture, &world.a, &key, &theirs).await.unwrap();
    reserve(fixture, &world.a, &key, &reservation("just", 1))
        .await
        .unwrap();
    assert_eq!(held(fixture, &key, NOON).await, (i64::MAX, i64::MAX));
}

/// A deleted key rejects new reservations, and its earlier ones may still be settled or released.
pub async fn only_live_keys_are_reserved<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let holds = ["settled", "released"].map(|name| reservation(name, 100));
    for hold in &holds {
        reserve(fixture, &world.a, &key, hold).await.unwrap();
    }
    delete(fixture, &world.a, &key).await.unwrap();
    let new = reserve(fixture, &world.a, &key, &reservation("new", 1)).await;
    assert!(is_not_found(&new));
    // Not even an identical one is found.
    let again = reserve(fixture, &world.a, &key, &reservation("settled", 100)).await;
    assert!(is_not_found(&again));
    settle(fixture, &world.a, &holds[0], 100).await.unwrap();
    release(fixture, &world.a, &holds[1]).await.unwrap();
    let held = "reservations WHERE state = 'held'";
    assert_eq!(fixture.database.count(held).await, 0);
    let rejected = reserve(fixture, &world.a, &issued_key(&world.a), &holds[0]).await;
    assert_rejected!(rejected, Error::NotFound(Noun::IssuedKey));
}

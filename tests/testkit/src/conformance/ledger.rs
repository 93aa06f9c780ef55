//! Charges and their sums.

use keyward_core::account::{Account, Usage};
use keyward_core::clock::Timestamp;
use keyward_core::issued_key::IssuedKey;
use keyward_core::ledger::{Charge, Recorded};
use keyward_core::money::MAX_AMOUNT;
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, Noun};

use super::issued_key::{delete, put};
use super::reservation::{release, reserve, settle};
use super::{Fixture, Stores, assert_rejected, is_not_found};
use crate::fixtures::{
    NOON, World, after_noon, charge, directory_grant, event, issued_key, nanos, reservation,
    serve_grant, workspace,
};

pub(super) const HOUR: i64 = 60 * 60 * 1000;
pub(super) const DAY: i64 = 24 * HOUR;

pub(super) async fn record<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
    charge: &Charge,
) -> Result<Recorded, Error> {
    let charge = charge.clone();
    let made = Box::new(move |_| Ok(charge.clone()));
    let (ledger, grant) = (fixture.ledger(), serve_grant(workspace));
    ledger.record(&grant, &key.hash, made).await
}

/// Returns the account of a live key.
pub(super) async fn account<S: Stores>(
    fixture: &Fixture<S>,
    key: &IssuedKey,
    now: Timestamp,
) -> Account {
    let found = fixture.issued_keys().find_metered(&key.hash, now).await;
    found.unwrap().unwrap().account
}

pub(super) fn usage(total: i64, daily: i64, weekly: i64, monthly: i64) -> Usage {
    Usage {
        total: nanos(total),
        daily: nanos(daily),
        weekly: nanos(weekly),
        monthly: nanos(monthly),
    }
}

/// Returns the sums of a key's charges, by BYOK, read without the store.
pub(super) async fn charged<S: Stores>(fixture: &Fixture<S>) -> [i64; 2] {
    let mut sums = [0; 2];
    let rows = fixture
        .database
        .query("SELECT amount_nanos, byok FROM charges");
    for row in rows.await {
        let byok: bool = row.try_get("", "byok").unwrap();
        sums[usize::from(byok)] += row.try_get::<i64>("", "amount_nanos").unwrap();
    }
    sums
}

/// Returns the sums over all days, by BYOK, read without the store.
pub(super) async fn summed_by_day<S: Stores>(fixture: &Fixture<S>) -> [i64; 2] {
    let mut sums = [0; 2];
    let rows = fixture.database.query("SELECT * FROM daily_usage");
    for row in rows.await {
        for (sum, column) in sums.iter_mut().zip(["usage_nanos", "byok_usage_nanos"]) {
            *sum += row.try_get::<i64>("", column).unwrap();
        }
    }
    sums
}

/// A charge is stored as it was recorded.
pub async fn charge_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let sent = Charge {
        amount: MAX_AMOUNT,
        byok: true,
        occurred_at: after_noon(-5),
        recorded_at: after_noon(7),
        recorded_by: "'\u{1f511} ".repeat(100),
        ..charge("\u{10ffff}'\";--%_\\ ", 0)
    };
    record(fixture, &world.a, &key, &sent).await.unwrap();
    let rows = fixture.database.query("SELECT * FROM charges").await;
    let text = |column: &str| rows[0].try_get::<String>("", column).unwrap();
    let number = |column: &str| rows[0].try_get::<i64>("", column).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(text("request_id"), sent.request_id.as_str());
    assert_eq!(text("recorded_by"), sent.recorded_by);
    assert_eq!(number("amount_nanos"), sent.amount.get());
    assert_eq!(number("occurred_at"), sent.occurred_at.unix_millis());
    assert_eq!(number("recorded_at"), sent.recorded_at.unix_millis());
    assert!(rows[0].try_get::<bool>("", "byok").unwrap());
}

/// A charge counts on the day of spending, in the week from Monday and in the month, also if it arrives late or the
/// clock is behind it. BYOK counts separately.
pub async fn charges_count_in_the_windows_of_their_day<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    // Noon is on Saturday, 2026-08-01.
    let spent_at = [
        ("last midnight", -12 * HOUR, 1),
        ("Friday, in July", -12 * HOUR - 1, 2),
        ("Monday, in July", -5 * DAY - 12 * HOUR, 4),
        ("Sunday before", -5 * DAY - 12 * HOUR - 1, 8),
        ("Sunday", DAY, 16),
        ("next Monday", DAY + 12 * HOUR, 32),
        ("the last of August", 30 * DAY, 64),
        ("the first of September", 30 * DAY + 12 * HOUR, 128),
        ("long ago", -400 * DAY, 256),
        ("before 1970", -NOON.unix_millis() - 1, 512),
    ];
    for (name, at, amount) in spent_at {
        for byok in [false, true] {
            let late = Charge {
                byok,
                occurred_at: after_noon(at),
                ..charge(
                    &format!("{name} {byok}"),
                    if byok { 1000 } else { 1 } * amount,
                )
            };
            record(fixture, &world.a, &key, &late).await.unwrap();
        }
    }
    let total = 1023;
    for (name, now, daily, weekly, monthly) in [
        ("Saturday", 0, 1, 1 + 2 + 4 + 16, 1 + 16 + 32 + 64),
        ("its first millisecond", -12 * HOUR, 1, 23, 113),
        ("its last millisecond", 12 * HOUR - 1, 1, 23, 113),
        ("Friday", -12 * HOUR - 1, 2, 23, 2 + 4 + 8),
        ("Monday", -5 * DAY, 4, 23, 14),
        ("Sunday before", -6 * DAY, 8, 8, 14),
        ("Sunday", DAY, 16, 23, 113),
        ("next Monday", DAY + 12 * HOUR, 32, 32, 113),
        ("the last of August", 30 * DAY, 64, 64 + 128, 113),
        ("the first of September", 31 * DAY, 128, 192, 128),
        ("before 1970", -NOON.unix_millis() - 1, 512, 512, 512),
        ("next year", 365 * DAY, 0, 0, 0),
    ] {
        let account = account(fixture, &key, after_noon(now)).await;
        let wanted = usage(total, daily, weekly, monthly);
        assert_eq!(account.usage, wanted, "{name}");
        let [total, daily, weekly, monthly] =
            [total, daily, weekly, monthly].map(|amount| 1000 * amount);
        let wanted = usage(total, daily, weekly, monthly);
        assert_eq!(account.byok_usage, wanted, "{name}, BYOK");
    }
}

/// The same charge under the same request id counts once; another charge under it is rejected. Request ids are separate
/// for each key.
pub async fn charge_counts_once<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (key, other) = (put(fixture, &world.a).await, put(fixture, &world.a).await);
    let first = charge("r", 5);
    let byok = Charge {
        byok: true,
        ..charge("byok", 5)
    };
    for charge in [&first, &byok] {
        let recorded = record(fixture, &world.a, &key, charge).await.unwrap();
        assert!(!recorded.duplicate);
    }
    // A client that retries may omit the time.
    let again = Charge {
        occurred_at: after_noon(DAY),
        recorded_at: after_noon(DAY),
        recorded_by: "another".to_owned(),
        ..first.clone()
    };
    let repeated = record(fixture, &world.a, &key, &again).await.unwrap();
    assert!(repeated.duplicate);
    assert_eq!(repeated.metered.account.usage, usage(5, 0, 5, 5));
    for (charge, said) in [
        (charge("r", 6), "a charge of another cost"),
        (charge("r", 0), "a charge of another cost"),
        (
            Charge {
                byok: true,
                ..first.clone()
            },
            "a charge that was not BYOK",
        ),
        (charge("byok", 5), "a BYOK charge"),
    ] {
        let rejected = record(fixture, &world.a, &key, &charge).await;
        assert_rejected!(rejected, Error::RequestIdConflict { earlier } if earlier == said);
    }
    let elsewhere = record(fixture, &world.a, &other, &charge("r", 6)).await;
    assert!(!elsewhere.unwrap().duplicate);
    let found = account(fixture, &key, NOON).await;
    assert_eq!(found.usage, usage(5, 5, 5, 5));
    assert_eq!(found.byok_usage, usage(5, 5, 5, 5));
    assert_eq!(fixture.database.count("charges").await, 3);
}

/// A grant for one workspace cannot charge another workspace's key.
pub async fn grant_reaches_no_other_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let held = reservation("held", 1);
    reserve(fixture, &world.a, &key, &held).await.unwrap();
    for wrong in [&world.b, &world.x] {
        let recorded = record(fixture, wrong, &key, &charge("r", 1)).await;
        assert!(is_not_found(&recorded));
        let reserved = reserve(fixture, wrong, &key, &reservation("r", 1)).await;
        assert!(is_not_found(&reserved));
        assert!(is_not_found(&settle(fixture, wrong, &held, 1).await));
        assert!(is_not_found(&release(fixture, wrong, &held).await));
    }
    let unknown = record(fixture, &world.a, &issued_key(&world.a), &charge("r", 1)).await;
    assert!(is_not_found(&unknown));
    assert_eq!(fixture.database.count("charges").await, 0);
    assert_eq!(account(fixture, &key, NOON).await.held, nanos(1));
}

/// A deleted key is located and charged, and its reservations are settled, also if its workspace was deleted, and if
/// another organization has reused the workspace's id.
pub async fn deleted_key_is_charged<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.b).await;
    let holds = [1, 2].map(|number| reservation(&number.to_string(), 100));
    for hold in &holds {
        reserve(fixture, &world.b, &key, hold).await.unwrap();
    }
    delete(fixture, &world.b, &key).await.unwrap();
    let ledger = fixture.ledger();
    let located = ledger.locate_key(&key.hash).await.unwrap();
    assert_eq!(located.as_ref(), Some(&world.b));
    let located = ledger.locate_reservation(holds[0].id).await.unwrap();
    assert_eq!(located, Some((world.b.clone(), key.hash)));
    record(fixture, &world.b, &key, &charge("late", 1))
        .await
        .unwrap();
    settle(fixture, &world.b, &holds[0], 10).await.unwrap();

    let deletion = event("workspace.delete", Noun::Workspace, "b");
    fixture
        .store
        .delete_workspace(&directory_grant(), &world.b.id, &deletion)
        .await
        .unwrap();
    let creation = event("workspace.upsert", Noun::Workspace, "b");
    let namesake = workspace("other", "b");
    for located in [
        ledger.locate_key(&key.hash).await.unwrap().unwrap(),
        ledger
            .locate_reservation(holds[1].id)
            .await
            .unwrap()
            .unwrap()
            .0,
    ] {
        assert_eq!(located.id, world.b.id);
        assert_eq!(located.organization, world.b.organization);
    }
    record(fixture, &world.b, &key, &charge("later", 2))
        .await
        .unwrap();
    fixture
        .store
        .upsert_workspace(&directory_grant(), &namesake, &creation)
        .await
        .unwrap();
    let located = ledger.locate_key(&key.hash).await.unwrap().unwrap();
    assert_eq!(located.organization, world.b.organization);
    let strange = record(fixture, &namesake, &key, &charge("strange", 4)).await;
    assert!(is_not_found(&strange));
    let settled = settle(fixture, &world.b, &holds[1], 20).await.unwrap();
    assert_eq!(settled.metered.account.usage, usage(33, 33, 33, 33));
    assert_eq!(settled.metered.account.held, nanos(0));
    assert_eq!(
        ledger.locate_key(&issued_key(&world.a).hash).await.unwrap(),
        None
    );
    let unknown = reservation("unknown", 1).id;
    assert_eq!(ledger.locate_reservation(unknown).await.unwrap(), None);
}

/// A charge counts as a use of its key at the time of spending, recorded no more often than other uses; a late charge
/// does not overwrite a later use.
pub async fn charge_is_a_use<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    for (number, (spent, recorded, wanted)) in [
        (-DAY, 0, -DAY),
        (0, 0, 0),
        (59_999, 59_999, 0),
        (60_000, 60_000, 60_000),
        (0, 60_001, 60_000),
        (-DAY, 60_002, 60_000),
        // Ahead of the store's clock: a use is never later than its record.
        (400_000, 130_000, 130_000),
    ]
    .into_iter()
    .enumerate()
    {
        let charge = Charge {
            occurred_at: after_noon(spent),
            recorded_at: after_noon(recorded),
            ..charge(&number.to_string(), 1)
        };
        let recorded = record(fixture, &world.a, &key, &charge).await.unwrap();
        let last_used_at = recorded.metered.key.last_used_at;
        assert_eq!(last_used_at, Some(after_noon(wanted)), "spent at {spent}");
    }
}

/// A charge that would overflow the sum is rejected, and changes nothing.
pub async fn sum_does_not_overflow<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let almost = charge("almost", i64::MAX - 5);
    record(fixture, &world.a, &key, &almost).await.unwrap();
    let rejected = record(fixture, &world.a, &key, &charge("above", 6)).await;
    assert_rejected!(
        rejected,
        Error::Invalid {
            field: "costNanos",
            ..
        }
    );
    let byok = Charge {
        byok: true,
        ..charge("byok", 6)
    };
    record(fixture, &world.a, &key, &byok).await.unwrap();
    record(fixture, &world.a, &key, &charge("just", 5))
        .await
        .unwrap();
    let most = usage(i64::MAX, i64::MAX, i64::MAX, i64::MAX);
    assert_eq!(account(fixture, &key, NOON).await.usage, most);
    assert_eq!(fixture.database.count("charges").await, 3);
}

/// A roll-up deletes old charges and reservations, up to the limit, and keeps every sum.
pub async fn roll_up_leaves_the_sums<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    for number in 0..10 {
        let charge = Charge {
            byok: number % 2 == 0,
            occurred_at: after_noon(-number * DAY),
            recorded_at: after_noon(number),
            ..charge(&format!("c{number}"), 1 << number)
        };
        record(fixture, &world.a, &key, &charge).await.unwrap();
    }
    for (number, expires_at) in [1, 2, 3, 4, 5, 5, 5, 5, 5].into_iter().enumerate() {
        let mut hold = reservation(&format!("r{number}"), 1 << number);
        hold.expires_at = after_noon(expires_at);
        reserve(fixture, &world.a, &key, &hold).await.unwrap();
        if number == 1 {
            release(fixture, &world.a, &hold).await.unwrap();
        }
    }
    let (early, late) = (after_noon(3), after_noon(5));
    let held = account(fixture, &key, early).await;
    assert_eq!(held.held, nanos(8 + 16 + 32 + 64 + 128 + 256));
    let usage = account(fixture, &key, late).await;
    let left = async |table| fixture.database.count(table).await;
    for (before, dropped, charges, reservations) in [
        (0, 0, 10, 9),
        (3, 3, 7, 7),
        (3, 0, 7, 7),
        (4, 1, 6, 6),
        (6, 3, 4, 3),
        (6, 3, 4, 0),
        (6, 0, 4, 0),
        (10, 3, 1, 0),
        (10, 1, 0, 0),
    ] {
        let rolled_up = fixture.ledger().roll_up(after_noon(before), 3).await;
        let rolled_up = rolled_up.unwrap();
        let most = rolled_up.charges.max(rolled_up.reservations);
        assert_eq!(most, dropped, "before {before}");
        assert_eq!(left("charges").await, charges, "before {before}");
        assert_eq!(left("reservations").await, reservations, "before {before}");
        assert_eq!(account(fixture, &key, late).await, usage);
        if before <= 4 {
            assert_eq!(account(fixture, &key, early).await, held);
        }
    }
    assert_eq!(charged(fixture).await, [0, 0]);
    assert_eq!(summed_by_day(fixture).await, [0x2aa, 0x155]);
}

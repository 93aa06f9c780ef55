//! Unit tests of accounts.
#![allow(clippy::unwrap_used, reason = "tests may")]

use keyward_crypto::KeyHash;
use uuid::Uuid;

use super::*;
use crate::model::id::{IssuedKeyId, OrganizationId, WorkspaceId};

/// 2026-08-01T12:00:00.000Z, a Saturday.
const NOON: Timestamp = Timestamp::from_unix_millis(1_785_585_600_000);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn nanos(nanos: i64) -> Nanos {
    Nanos::new(nanos).unwrap()
}

fn before_noon(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOON.unix_millis() - millis)
}

/// Returns a usage with the same amount in every window.
fn usage(amount: i64) -> Usage {
    let amount = nanos(amount);
    Usage {
        total: amount,
        daily: amount,
        weekly: amount,
        monthly: amount,
    }
}

/// Returns a key with this limit that may spend and has neither spending nor reservations.
fn unspent(limit: Option<i64>) -> MeteredKey {
    let key = IssuedKey {
        id: IssuedKeyId::from_uuid(Uuid::nil()),
        hash: KeyHash::from_bytes([0; 32]),
        label: String::new(),
        organization: OrganizationId::parse("org").unwrap(),
        workspace: WorkspaceId::parse("a").unwrap(),
        name: String::new(),
        disabled: false,
        limit: limit.map(nanos),
        limit_reset: None,
        include_byok_in_limit: false,
        expires_at: None,
        creator_user_id: None,
        external_user: None,
        created_at: NOON,
        created_by: None,
        updated_at: None,
        last_used_at: None,
    };
    let account = Account::default();
    MeteredKey { key, account }
}

/// Returns a key with this spending and these reservations.
fn spending(limit: i64, spent: i64, held: i64) -> MeteredKey {
    let mut metered = unspent(Some(limit));
    metered.account.usage = usage(spent);
    metered.account.held = nanos(held);
    metered
}

/// Returns the remaining and the available amount.
fn left(metered: &MeteredKey) -> (Option<i64>, Option<i64>) {
    let get = |amount: Option<Nanos>| amount.map(Nanos::get);
    (get(remaining(metered)), get(available(metered)))
}

#[test]
fn remaining_excludes_spent_and_available_excludes_held() {
    for (limit, spent, held, remaining, available) in [
        (100, 0, 0, 100, 100),
        (100, 30, 0, 70, 70),
        (100, 0, 30, 100, 70),
        (100, 30, 30, 70, 40),
        (100, 60, 40, 40, 0),
        (0, 0, 0, 0, 0),
        // A settlement or a lower limit may exceed the limit.
        (100, 101, 0, 0, 0),
        (100, 101, 50, 0, 0),
        (100, 90, 50, 10, 0),
        (100, i64::MAX, i64::MAX, 0, 0),
        (i64::MAX, 1, 0, i64::MAX - 1, i64::MAX - 1),
    ] {
        let metered = spending(limit, spent, held);
        let wanted = (Some(remaining), Some(available));
        assert_eq!(left(&metered), wanted, "{limit} {spent} {held}");
    }
}

#[test]
fn reservation_does_not_change_the_verdict() {
    let metered = spending(100, 40, 60);
    assert_eq!(verdict(&metered, false, NOON), Verdict::Valid);
    assert!(check_hold(&metered, nanos(1), false, NOON).is_err());
}

#[test]
fn without_a_limit_nothing_runs_out() {
    let mut metered = spending(0, i64::MAX, 0);
    metered.key.limit = None;
    assert_eq!(left(&metered), (None, None));
    assert_eq!(verdict(&metered, false, NOON), Verdict::Valid);
    check_hold(&metered, nanos(i64::MAX), false, NOON).unwrap();
    check_hold(&metered, nanos(i64::MAX), true, NOON).unwrap();
}

#[test]
fn held_sum_that_overflows_is_rejected() {
    let mut metered = unspent(None);
    metered.account.held = nanos(i64::MAX);
    check_hold(&metered, Nanos::ZERO, false, NOON).unwrap();
    check_hold(&metered, nanos(1), true, NOON).unwrap();
    let rejected = check_hold(&metered, nanos(1), false, NOON);
    let is_invalid = matches!(rejected, Err(Error::Invalid { .. }));
    assert!(is_invalid, "{rejected:?}");
}

#[test]
fn byok_counts_where_the_key_says_so() {
    let mut metered = spending(100, 10, 20);
    metered.account.byok_usage = usage(30);
    metered.account.byok_held = nanos(15);
    assert_eq!(left(&metered), (Some(90), Some(70)));
    metered.key.include_byok_in_limit = true;
    assert_eq!(left(&metered), (Some(60), Some(25)));
    metered.account.byok_usage = usage(i64::MAX);
    assert_eq!(left(&metered), (Some(0), Some(0)));
    for byok in [false, true] {
        assert_eq!(verdict(&metered, byok, NOON), Verdict::LimitExceeded);
    }
    metered.key.include_byok_in_limit = false;
    assert_eq!(left(&metered), (Some(90), Some(70)));
}

#[test]
fn a_limit_that_is_used_up_bars_what_counts_against_it() {
    let mut metered = spending(100, 100, 0);
    for (include, byok, wanted) in [
        (false, false, Verdict::LimitExceeded),
        (false, true, Verdict::Valid),
        (true, false, Verdict::LimitExceeded),
        (true, true, Verdict::LimitExceeded),
    ] {
        metered.key.include_byok_in_limit = include;
        assert_eq!(verdict(&metered, byok, NOON), wanted, "{include} {byok}");
        let admitted = check_hold(&metered, nanos(1), byok, NOON).is_ok();
        assert_eq!(admitted, wanted == Verdict::Valid, "{include} {byok}");
    }
}

#[test]
fn a_limit_counts_since_its_reset() {
    let mut metered = unspent(Some(100));
    metered.key.include_byok_in_limit = true;
    metered.account.usage = Usage {
        total: nanos(40),
        daily: nanos(1),
        weekly: nanos(2),
        monthly: nanos(3),
    };
    metered.account.byok_usage = Usage {
        total: nanos(20),
        daily: nanos(10),
        weekly: nanos(11),
        monthly: nanos(12),
    };
    // Reservations do not belong to a window.
    metered.account.held = nanos(5);
    for (reset, wanted) in [
        (None, 40),
        (Some(LimitReset::Daily), 89),
        (Some(LimitReset::Weekly), 87),
        (Some(LimitReset::Monthly), 85),
    ] {
        metered.key.limit_reset = reset;
        let wanted = (Some(wanted), Some(wanted - 5));
        assert_eq!(left(&metered), wanted, "{reset:?}");
    }
}

#[test]
fn first_of_several_reasons_is_reported() {
    let mut metered = unspent(Some(0));
    metered.key.expires_at = Some(NOON);
    metered.key.disabled = true;
    assert_eq!(verdict(&metered, false, NOON), Verdict::Disabled);
    let rejected = check_hold(&metered, nanos(1), false, NOON);
    assert!(matches!(rejected, Err(Error::KeyDisabled)), "{rejected:?}");

    metered.key.disabled = false;
    assert_eq!(verdict(&metered, false, NOON), Verdict::Expired);
    let rejected = check_hold(&metered, nanos(1), false, NOON);
    assert!(matches!(rejected, Err(Error::KeyExpired)), "{rejected:?}");

    metered.key.expires_at = None;
    assert_eq!(verdict(&metered, false, NOON), Verdict::LimitExceeded);
    let rejected = check_hold(&metered, nanos(1), false, NOON);
    let is_exceeded = matches!(rejected, Err(Error::LimitExceeded { .. }));
    assert!(is_exceeded, "{rejected:?}");

    metered.key.limit = Some(nanos(1));
    assert_eq!(verdict(&metered, false, NOON), Verdict::Valid);
    check_hold(&metered, nanos(1), false, NOON).unwrap();
}

#[test]
fn a_key_expires_at_the_very_moment() {
    let mut metered = unspent(None);
    metered.key.expires_at = Some(NOON);
    for (now, wanted) in [
        (before_noon(1), Verdict::Valid),
        (NOON, Verdict::Expired),
        (before_noon(-1), Verdict::Expired),
    ] {
        assert_eq!(verdict(&metered, false, now), wanted, "{now:?}");
        let admitted = check_hold(&metered, nanos(1), false, now).is_ok();
        assert_eq!(admitted, wanted == Verdict::Valid, "{now:?}");
    }
}

#[test]
fn reservation_fits_into_available_amount() {
    let metered = spending(100, 50, 20);
    for (amount, fits) in [(0, true), (29, true), (30, true), (31, false)] {
        let admitted = check_hold(&metered, nanos(amount), false, NOON);
        assert_eq!(admitted.is_ok(), fits, "{amount}");
    }
    // With nothing left, even the smallest amount does not fit.
    let empty = spending(100, 100, 0);
    check_hold(&empty, Nanos::ZERO, false, NOON).unwrap();
    assert!(check_hold(&empty, nanos(1), false, NOON).is_err());
}

#[test]
fn byok_reservation_is_limited_where_byok_counts() {
    let mut metered = spending(100, 100, 0);
    check_hold(&metered, nanos(1), true, NOON).unwrap();
    metered.key.include_byok_in_limit = true;
    assert!(check_hold(&metered, nanos(1), true, NOON).is_err());
    // Spending that does not count is still rejected for a key that may not spend.
    metered.key.include_byok_in_limit = false;
    metered.key.expires_at = Some(NOON);
    assert!(check_hold(&metered, nanos(1), true, NOON).is_err());
}

/// Returns the time after which a reservation of this amount may fit.
fn retry(metered: &MeteredKey, amount: i64) -> Option<Duration> {
    match check_hold(metered, nanos(amount), false, NOON) {
        Err(Error::LimitExceeded { retry_after }) => retry_after,
        _ => Some(Duration::ZERO),
    }
}

#[test]
fn retry_delay_ends_with_the_next_possible_success() {
    use LimitReset::{Daily, Monthly, Weekly};
    let resets = [None, Some(Daily), Some(Weekly), Some(Monthly)];
    for reset in resets {
        let retry = |spent, held, amount| {
            let mut metered = spending(100, spent, held);
            metered.key.limit_reset = reset;
            retry(&metered, amount)
        };
        // Only reservations are in the way, which may end at any moment.
        for (spent, held, amount) in [(0, 100, 100), (50, 20, 50), (50, 50, 1)] {
            assert_eq!(retry(spent, held, amount), Some(HELD_RETRY), "{reset:?}");
        }
        // Spending is in the way until the limit resets, if it does.
        let until = reset.map(|reset| match reset {
            Daily => 12 * HOUR,
            Weekly => 36 * HOUR,
            Monthly => (30 * 24 + 12) * HOUR,
        });
        for (spent, held, amount) in [(100, 0, 1), (51, 20, 50), (1, 0, 100), (300, 0, 1)] {
            assert_eq!(retry(spent, held, amount), until, "{reset:?}");
        }
        // An amount above the whole limit never fits.
        for (spent, held, amount) in [(0, 0, 101), (0, 100, 101), (100, 0, i64::MAX)] {
            assert_eq!(retry(spent, held, amount), None, "{reset:?}");
        }
    }
    // With a limit of zero, waiting does not help.
    let mut metered = unspent(Some(0));
    metered.key.limit_reset = Some(LimitReset::Daily);
    assert_eq!(retry(&metered, 1), None);
}

//! Random sequences of operations on the keys.

use keyward_core::window::LimitReset;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::calendar::Midnight;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Number of keys in a case. Request ids and counters are separate for each key.
pub(crate) const KEYS: usize = 2;
/// Default lifetime of a reservation.
pub(crate) const DEFAULT_TTL: i64 = 10 * MINUTE;
/// Maximum lifetime of a reservation.
pub(crate) const MAX_TTL: i64 = DAY;
/// Maximum time by which a charge may be in the future.
pub(crate) const MAX_AHEAD: i64 = 5 * MINUTE;
/// Maximum amount of a charge or reservation.
const MAX_AMOUNT: i64 = 1_000_000_000_000_000;

/// Settings of a new key.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) limit: Option<i64>,
    pub(crate) reset: Option<LimitReset>,
    pub(crate) include_byok: bool,
    /// Time from creation to expiry, in milliseconds.
    pub(crate) lives: Option<i64>,
}

/// Two keys and the operations on them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Time of the beginning, in milliseconds since 1970.
    pub(crate) start: i64,
    pub(crate) keys: [NewKey; KEYS],
    pub(crate) steps: Vec<Step>,
}

/// Times are in milliseconds, amounts in nano-dollars.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Record {
        key: usize,
        id: usize,
        amount: i64,
        byok: bool,
        /// Time of spending relative to now; `None` if the caller omits it.
        after: Option<i64>,
    },
    Reserve {
        key: usize,
        id: usize,
        amount: i64,
        byok: bool,
        ttl: Option<i64>,
    },
    /// Settles the reservation that many before the latest, with a cost in thousandths of its amount.
    Settle {
        back: usize,
        thousandths: i64,
    },
    /// Releases the reservation that many before the latest.
    Release {
        back: usize,
    },
    Change {
        key: usize,
        change: Change,
    },
    Delete {
        key: usize,
    },
    RollUp {
        retention: i64,
    },
    Move(Move),
}

/// Fields of a key that change; several may change at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) limit: Option<Option<i64>>,
    pub(crate) reset: Option<Option<LimitReset>>,
    pub(crate) include_byok: Option<bool>,
    pub(crate) disabled: Option<bool>,
}

#[derive(Debug, Clone)]
pub(crate) enum Move {
    By(i64),
    /// To the next midnight of a kind, plus some milliseconds.
    To(Midnight, i64),
    /// To the expiry of the reservation that many before the latest, plus some milliseconds.
    ToHoldsEnd(usize, i64),
    /// To the expiry of a key, plus some milliseconds.
    ToKeysEnd(usize, i64),
}

/// Generates a case with a number of steps in this range.
pub(crate) fn case(steps: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    (start(), [new_key(), new_key()], vec(step(), steps)).prop_map(|(start, keys, steps)| Case {
        start,
        keys,
        steps,
    })
}

fn millis(at: &str) -> i64 {
    let nanos = OffsetDateTime::parse(at, &Rfc3339)
        .unwrap()
        .unix_timestamp_nanos();
    i64::try_from(nanos / 1_000_000).unwrap()
}

fn start() -> impl Strategy<Value = i64> {
    let edges = [
        // A Saturday noon, and the last moments of a Sunday, of Februaries, of leap days, of years.
        "2026-08-01T12:00:00Z",
        "2026-11-22T23:59:59.995Z",
        "2027-02-28T23:59:59.990Z",
        "2028-02-28T23:59:00Z",
        "2028-02-29T23:59:00Z",
        "2026-12-31T23:30:00Z",
        "2027-12-31T23:59:59.999Z",
    ];
    let anywhere = millis("2026-01-01T00:00:00Z")..millis("2033-01-01T00:00:00Z");
    prop_oneof![select(edges.map(millis).to_vec()), anywhere]
}

fn new_key() -> impl Strategy<Value = NewKey> {
    let lives = prop_oneof![3 => Just(None), 1 => (0..800 * DAY).prop_map(Some)];
    (limit(), reset(), any::<bool>(), lives).prop_map(|(limit, reset, include_byok, lives)| {
        NewKey {
            limit,
            reset,
            include_byok,
            lives,
        }
    })
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![40 => 0..=120_i64, 1 => 0..=MAX_AMOUNT]
}

fn limit() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![2 => Just(None), 10 => (0..=300_i64).prop_map(Some), 1 => (0..=i64::MAX).prop_map(Some)]
}

fn reset() -> impl Strategy<Value = Option<LimitReset>> {
    option::weighted(0.7, select(LimitReset::ALL.to_vec()))
}

/// Mostly the first key, so that it gets many operations.
fn key() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0_usize), 1 => 1..KEYS]
}

/// Number of request ids; few, so that they repeat.
const IDS: usize = 16;

/// Generates a request id, an amount and a side of the account. Mostly the latter two match the id, so that repeated
/// requests are mostly identical.
fn request() -> impl Strategy<Value = (usize, i64, bool)> {
    let usual = (0..IDS).prop_map(|id| {
        let amount = i64::try_from(id * 7 % 100).unwrap();
        (id, amount, id % 3 == 0)
    });
    prop_oneof![3 => usual, 1 => (0..IDS, amount(), any::<bool>())]
}

fn step() -> impl Strategy<Value = Step> {
    let record = (key(), request(), after());
    let record = record.prop_map(|(key, (id, amount, byok), after)| Step::Record {
        key,
        id,
        amount,
        byok,
        after,
    });
    let reserve = (key(), request(), ttl());
    let reserve = reserve.prop_map(|(key, (id, amount, byok), ttl)| Step::Reserve {
        key,
        id,
        amount,
        byok,
        ttl,
    });
    let settle = (0..3_usize, thousandths());
    let settle = settle.prop_map(|(back, thousandths)| Step::Settle { back, thousandths });
    let change = (key(), change()).prop_map(|(key, change)| Step::Change { key, change });
    let retention = select(vec![1, HOUR, DAY, 8 * DAY, 40 * DAY]);
    prop_oneof![
        120 => record,
        180 => reserve,
        100 => settle,
        40 => (0..4_usize).prop_map(|back| Step::Release { back }),
        50 => change,
        15 => retention.prop_map(|retention| Step::RollUp { retention }),
        100 => movement().prop_map(Step::Move),
        1 => key().prop_map(|key| Step::Delete { key }),
    ]
}

fn after() -> impl Strategy<Value = Option<i64>> {
    let late = prop_oneof![0..MINUTE, 0..DAY, 0..8 * DAY, 0..400 * DAY].prop_map(|by| Some(-by));
    let ahead = prop_oneof![0..=MAX_AHEAD, MAX_AHEAD - 1..=MAX_AHEAD + 2].prop_map(Some);
    prop_oneof![3 => Just(None), 3 => late, 1 => ahead]
}

fn ttl() -> impl Strategy<Value = Option<i64>> {
    let edges = select(vec![0, 1, 2, MAX_TTL, MAX_TTL + 1]).prop_map(Some);
    let within = prop_oneof![1..=SECOND, 1..=MAX_TTL].prop_map(Some);
    prop_oneof![3 => Just(None), 6 => within, 1 => edges]
}

fn thousandths() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(1000_i64), 2 => 0..1000_i64, 2 => 1001..=3000_i64]
}

fn change() -> impl Strategy<Value = Change> {
    let one = prop_oneof![
        limit().prop_map(|limit| Change {
            limit: Some(limit),
            ..Change::default()
        }),
        reset().prop_map(|reset| Change {
            reset: Some(reset),
            ..Change::default()
        }),
        any::<bool>().prop_map(|include| Change {
            include_byok: Some(include),
            ..Change::default()
        }),
        // Enabled more often, because a disabled key rejects most operations.
        any::<[bool; 2]>().prop_map(|[one, other]| Change {
            disabled: Some(one && other),
            ..Change::default()
        }),
    ];
    let several = (option::of(limit()), option::of(reset()), any::<bool>());
    let several = several.prop_map(|(limit, reset, include)| Change {
        limit,
        reset,
        include_byok: Some(include),
        disabled: Some(false),
    });
    prop_oneof![3 => one, 1 => several]
}

fn movement() -> impl Strategy<Value = Move> {
    use Midnight::{After28February, After29February, Any, FirstOfMonth, Monday, NewYear};
    let midnights = [
        Any,
        Monday,
        FirstOfMonth,
        NewYear,
        After28February,
        After29February,
    ];
    let edge = || prop_oneof![2 => Just(0_i64), 3 => -1..=1_i64, 1 => -MINUTE..=MINUTE];
    let back = prop_oneof![0..MINUTE, 0..DAY, 0..8 * DAY, 0..40 * DAY];
    prop_oneof![
        6 => prop_oneof![0..SECOND, 0..HOUR, 0..3 * DAY].prop_map(Move::By),
        3 => (select(midnights.to_vec()), edge()).prop_map(|(kind, by)| Move::To(kind, by)),
        2 => (0..4_usize, edge()).prop_map(|(back, by)| Move::ToHoldsEnd(back, by)),
        2 => (0..KEYS, edge()).prop_map(|(key, by)| Move::ToKeysEnd(key, by)),
        2 => back.prop_map(|by| Move::By(-by)),
    ]
}

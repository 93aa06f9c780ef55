//! Guarantees of the ledger for concurrent calls.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use keyward_core::account::{self, MeteredKey};
use keyward_core::ledger::{Charge, Reservation};
use keyward_core::policy::{Grant, Serve};
use keyward_core::ports::LedgerStore;
use keyward_core::{Ending, Error};
use keyward_crypto::KeyHash;

use super::issued_key::put;
use super::ledger::{DAY, account, charged, record, summed_by_day, usage};
use super::reservation::{LIMIT, admit, hash_of, held, put_limited, reserve, settle_through};
use super::{Fixture, Stores, at_once};
use crate::fixtures::{NOON, World, after_noon, charge, nanos, reservation, serve_grant};

/// Of 32 identical concurrent charges one counts, and 31 are reported as duplicates.
pub async fn identical_charges_at_once_count_once<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let calls = (0..32).map(|_| {
        let (ledger, grant, hash) = (fixture.ledger(), serve_grant(&world.a), key.hash);
        async move {
            ledger
                .record(&grant, &hash, Box::new(|_| Ok(charge("r", 3))))
                .await
                .unwrap()
        }
    });
    let answers = at_once(calls).await;
    let duplicates = answers.iter().filter(|answer| answer.duplicate).count();
    assert_eq!(duplicates, 31);
    for answer in answers {
        assert_eq!(answer.metered.account.usage, usage(3, 3, 3, 3));
    }
    assert_eq!(charged(fixture).await, [3, 0]);
    assert_eq!(summed_by_day(fixture).await, [3, 0]);
}

/// Of 32 identical concurrent reservations one is created, and all calls return it.
pub async fn identical_reservations_at_once_are_one<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let calls = (0..32).map(|_| {
        let (ledger, grant, hash) = (fixture.ledger(), serve_grant(&world.a), key.hash);
        async move {
            let hold = reservation("r", 600);
            let hold = Box::new(move |_| hold.clone());
            let reserving = ledger.reserve(&grant, &hash, hold, Box::new(admit));
            reserving.await.unwrap()
        }
    });
    let answers = at_once(calls).await;
    for answer in &answers {
        assert_eq!(answer.reservation, answers[0].reservation);
        assert_eq!(answer.metered.account.held, nanos(600));
    }
    assert_eq!(fixture.database.count("reservations").await, 1);
}

/// Each of any number of concurrent reservations is decided on the state after the earlier ones: the limit is never
/// exceeded, and a reservation that fits is never rejected.
pub async fn limit_is_never_passed<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    record(fixture, &world.a, &key, &charge("spent", 100))
        .await
        .unwrap();
    let amounts = [
        37, 250, 1, 90, 13, 444, 8, 61, 120, 5, 77, 300, 19, 2, 55, 140, 33, 901, 10, 64, 7, 180,
        21, 3, 99, 48, 260, 16, 900, 70, 29, 4,
    ];
    let calls = amounts.into_iter().enumerate().map(|(number, amount)| {
        let (ledger, grant, hash) = (fixture.ledger(), serve_grant(&world.a), key.hash);
        async move {
            let mut hold = reservation(&number.to_string(), amount);
            hold.byok = number % 3 == 0;
            let seen = Arc::new(Mutex::new(None));
            let saw = Arc::clone(&seen);
            let admit = move |metered: &MeteredKey, hold: &Reservation| {
                *saw.lock().unwrap() = account::available(metered);
                admit(metered, hold)
            };
            let answer = ledger
                .reserve(
                    &grant,
                    &hash,
                    Box::new(move |_| hold.clone()),
                    Box::new(admit),
                )
                .await;
            let seen = seen.lock().unwrap().unwrap().get();
            (amount, seen, answer)
        }
    });
    let mut answers = at_once(calls).await;
    // In the order of their admission.
    answers.sort_by_key(|(_, seen, _)| Reverse(*seen));
    let mut left = LIMIT - 100;
    for (amount, seen, answer) in &answers {
        match answer {
            Ok(reserved) => {
                assert_eq!(*seen, left, "{amount} was decided on another account");
                left -= amount;
                assert_eq!(account::available(&reserved.metered), Some(nanos(left)));
            }
            Err(Error::LimitExceeded { .. }) => assert!(amount > seen, "{amount} fits in {seen}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(left >= 0, "{left}");
    let (own, byok) = held(fixture, &key, NOON).await;
    assert_eq!(own + byok, LIMIT - 100 - left);
    assert!(answers.iter().any(|(_, _, answer)| answer.is_err()));
}

/// A reservation is created while its key is locked: the order of admission is the order of creation, so no decision
/// uses a time before that of the previous one.
pub async fn reservations_are_made_in_turn<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put_limited(fixture, &world.a).await;
    let clock = Arc::new(AtomicI64::new(0));
    let calls = (0..32).map(|number| {
        let (ledger, grant, hash) = (fixture.ledger(), serve_grant(&world.a), key.hash);
        let clock = Arc::clone(&clock);
        async move {
            let hold = move |_| Reservation {
                created_at: after_noon(clock.fetch_add(1, Ordering::SeqCst)),
                ..reservation(&number.to_string(), 1)
            };
            let reserving = ledger.reserve(&grant, &hash, Box::new(hold), Box::new(admit));
            reserving.await.unwrap()
        }
    });
    let mut answers = at_once(calls).await;
    answers.sort_by_key(|answer| answer.reservation.created_at);
    let held = answers.iter().map(|answer| answer.metered.account.held);
    assert!(held.eq((1..=32).map(nanos)));
}

/// Of concurrent settlement and release one succeeds, and the other returns the state of the reservation.
pub async fn settling_and_releasing_exclude_each_other<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let mut settled = 0;
    for round in 0..32 {
        let hold = reservation(&round.to_string(), 10);
        reserve(fixture, &world.a, &key, &hold).await.unwrap();
        let calls = (0..2).map(|call| {
            let (ledger, grant, id) = (fixture.ledger(), serve_grant(&world.a), hold.id);
            // The first call to start has an advantage, so the order alternates.
            let settles = (round + call) % 2 == 0;
            async move {
                let answer = if settles {
                    let settling = settle_through(&*ledger, &grant, id, 1, NOON);
                    settling.await.map(|_| ())
                } else {
                    let hash = hash_of(&*ledger, id).await;
                    ledger.release(&grant, &hash, id, "platform").await
                };
                (settles, answer)
            }
        });
        let mut answers = at_once(calls).await;
        answers.sort_by_key(|(settles, _)| !settles);
        match [&answers[0].1, &answers[1].1] {
            [Ok(()), Err(Error::ReservationEnded(Ending::Settled))] => settled += 1,
            [Err(Error::ReservationEnded(Ending::Released)), Ok(())] => {}
            answers => panic!("round {round}: {answers:?}"),
        }
    }
    let account = account(fixture, &key, NOON).await;
    assert_eq!(account.usage.total, nanos(settled));
    assert_eq!(account.held, nanos(0));
    assert_eq!(fixture.database.count("charges").await, settled);
}

/// After concurrent charges, reservations and settlements, the sum of the charges equals the sum of the days and the
/// sum in the key.
pub async fn sums_agree<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let workspaces = [&world.a, &world.b];
    let keys = [put(fixture, &world.a).await, put(fixture, &world.b).await];
    let calls = (0..64).map(|call| {
        let (number, key) = (call / 2, usize::from(call % 2 == 1));
        let grant = serve_grant(workspaces[key]);
        let (ledger, hash) = (fixture.ledger(), keys[key].hash);
        async move { spend(&*ledger, &grant, &hash, number).await.unwrap() }
    });
    let answers = at_once(calls).await;
    let duplicates = answers.into_iter().filter(|duplicate| *duplicate).count();
    assert_eq!(duplicates, 2 * 8);
    let mut totals = [0; 2];
    for key in &keys {
        let account = account(fixture, key, NOON).await;
        totals[0] += account.usage.total.get();
        totals[1] += account.byok_usage.total.get();
        assert_eq!((account.held, account.byok_held), (nanos(0), nanos(0)));
    }
    assert!(totals[0] > 0 && totals[1] > 0);
    assert_eq!(charged(fixture).await, totals);
    assert_eq!(summed_by_day(fixture).await, totals);
}

/// Records one charge of a mixed run and returns true for a duplicate. Of four charges two are the same, and every
/// third one is reserved first.
async fn spend(
    ledger: &dyn LedgerStore,
    grant: &Grant<Serve>,
    hash: &KeyHash,
    number: i64,
) -> Result<bool, Error> {
    let twin = number % 4 < 2;
    let request = if twin { number / 4 } else { 100 + number };
    let sent = Charge {
        byok: !twin && number % 3 == 1,
        occurred_at: after_noon(-DAY * (number % 7)),
        ..charge(&request.to_string(), 1000 + number / 4)
    };
    if twin || number % 3 != 0 {
        let made = Box::new(move |_| Ok(sent.clone()));
        let recorded = ledger.record(grant, hash, made).await?;
        return Ok(recorded.duplicate);
    }
    let hold = reservation(&request.to_string(), 5000);
    let id = hold.id;
    let made = Box::new(move |_| hold.clone());
    ledger
        .reserve(grant, hash, made, Box::new(|_, _| Ok(())))
        .await?;
    let made = Box::new(move |_: &Reservation, _| sent.clone());
    let settled = ledger.settle(grant, hash, id, made).await?;
    Ok(settled.duplicate)
}

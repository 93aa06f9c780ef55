use futures_util::FutureExt;

use super::bound::{BEGUN_PER_SEAT, MAX_WAITING};
use super::*;

fn organization(name: &str) -> Payer {
    Owner::Organization(name.to_owned()).into()
}

fn principal(name: &str) -> Payer {
    Payer::principal_of("a".to_owned(), name.to_owned())
}

fn service() -> Payer {
    Owner::Service("gateway".to_owned()).into()
}

/// Begins a call; `None` if it has to wait.
fn begin(queue: &Arc<FairQueue>, payer: Payer, work: Work, subject: &str) -> Option<Running> {
    let turn = Turn::new(queue, payer);
    turn.begin(work, Some(subject)).now_or_never()?.ok()
}

/// Returns a call that waits for its seats, after polling the calls before it.
fn waiting(
    queue: &Arc<FairQueue>,
    payer: Payer,
    subject: &'static str,
) -> tokio::task::JoinHandle<Running> {
    let turn = Turn::new(queue, payer);
    tokio::spawn(async move { turn.begin(Work::Item, Some(subject)).await.unwrap() })
}

fn is_empty(queue: &FairQueue) -> bool {
    let state = queue.state();
    state.taken == 0 && state.changes == 0 && state.owners.is_empty() && state.turns.is_empty()
}

#[test]
fn owner_leaves_seats_to_others() {
    let queue = FairQueue::new(16);
    let one = || begin(&queue, organization("a"), Work::Item, "");
    let held: Vec<_> = std::iter::from_fn(one).collect();
    assert_eq!(held.len(), 8);
    let other = begin(&queue, organization("b"), Work::Item, "");
    assert!(other.is_some());
    drop((held, other));
    assert!(is_empty(&queue));
}

#[test]
fn lists_take_more_seats_than_items() {
    let queue = FairQueue::new(16);
    let one = || begin(&queue, organization("a"), Work::List, "");
    let held: Vec<_> = std::iter::from_fn(one).collect();
    assert_eq!(held.len(), 2);
    drop(held);
    assert!(is_empty(&queue));
}

#[test]
fn calls_for_one_key_leave_seats_to_other_keys() {
    let queue = FairQueue::new(16);
    let of = |key: &'static str| {
        let queue = &queue;
        move || begin(queue, service(), Work::Item, key)
    };
    let first: Vec<_> = std::iter::from_fn(of("k1")).collect();
    let second: Vec<_> = std::iter::from_fn(of("k2")).collect();
    assert_eq!((first.len(), second.len()), (8, 4));
    // The subject of an organization's call has no effect.
    let held: Vec<_> =
        std::iter::from_fn(|| begin(&queue, organization("a"), Work::Item, "k3")).collect();
    assert_eq!(held.len(), 4);
    assert!(begin(&queue, organization("a"), Work::Item, "k4").is_none());
    drop((first, second, held));
    assert!(is_empty(&queue));
}

#[test]
fn principal_leaves_seats_of_its_organization_to_colleagues() {
    let queue = FairQueue::new(16);
    let of = |name: &'static str| {
        let queue = &queue;
        move || begin(queue, principal(name), Work::Item, "")
    };
    let held = ["1", "2", "3"].map(|name| std::iter::from_fn(of(name)).collect::<Vec<_>>());
    assert_eq!(held.each_ref().map(Vec::len), [6, 6, 0]);
    // Other organizations find their share.
    let other = || begin(&queue, organization("b"), Work::Item, "");
    let others: Vec<_> = std::iter::from_fn(other).collect();
    assert_eq!(others.len(), 4);
    drop((held, others));
    assert!(is_empty(&queue));
}

#[test]
fn list_of_a_principal_fits_in_its_share() {
    for seats in 1..=40 {
        let queue = FairQueue::new(seats);
        let list = begin(&queue, principal("1"), Work::List, "");
        assert!(list.is_some(), "{seats} seats");
    }
    // From four seats on, it does not wait for another call of the principal that takes long.
    for seats in 4..=40 {
        let queue = FairQueue::new(seats);
        let item = begin(&queue, principal("1"), Work::Item, "");
        let list = begin(&queue, principal("1"), Work::List, "");
        assert!(item.is_some() && list.is_some(), "{seats} seats");
    }
}

#[test]
fn one_seat_is_enough_for_everything() {
    let queue = FairQueue::new(1);
    for work in [Work::Item, Work::List] {
        let running = begin(&queue, organization("a"), work, "");
        assert!(running.is_some());
        assert!(begin(&queue, organization("b"), Work::Item, "").is_none());
    }
    assert!(is_empty(&queue));
}

/// Starts a flood behind the only running call, then a call of another owner; expects that the call waits for one
/// call of the flood.
async fn expect_turns(
    queue: &Arc<FairQueue>,
    running: Running,
    flood: Vec<tokio::task::JoinHandle<Running>>,
) {
    tokio::task::yield_now().await;
    let other = waiting(queue, organization("b"), "");
    tokio::task::yield_now().await;
    drop(running);
    let mut flood = flood.into_iter();
    drop(flood.next().unwrap().await.unwrap());
    tokio::task::yield_now().await;
    assert!(other.is_finished());
    drop(other.await.unwrap());
    for call in flood {
        drop(call.await.unwrap());
    }
    assert!(is_empty(queue));
}

#[tokio::test]
async fn owners_take_turns_for_any_number_of_calls() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, organization("a"), Work::Item, "").unwrap();
    let flood = (0..20).map(|_| waiting(&queue, organization("a"), ""));
    expect_turns(&queue, first, flood.collect()).await;
}

#[tokio::test]
async fn list_gets_its_turn_among_items() {
    let queue = FairQueue::new(4);
    let mut items: Vec<_> = (0..4)
        .map(|number| begin(&queue, organization(&number.to_string()), Work::Item, "").unwrap())
        .collect();
    let list = Turn::new(&queue, organization("list"));
    // A quarter of 16 would be four seats; a quarter of 4 is one.
    let list = tokio::spawn(async move { list.begin(Work::List, None::<&str>).await.unwrap() });
    tokio::task::yield_now().await;
    let later = waiting(&queue, organization("later"), "");
    tokio::task::yield_now().await;
    drop(items.pop());
    let list = list.await.unwrap();
    assert!(!later.is_finished());
    drop(list);
    drop(later.await.unwrap());
    drop(items);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn call_that_is_given_up_keeps_no_seat() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, organization("a"), Work::Item, "").unwrap();
    let given_up = waiting(&queue, organization("b"), "");
    let next = waiting(&queue, organization("c"), "");
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.is_err());
    drop(first);
    drop(next.await.unwrap());
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn call_that_waits_for_others_has_no_seat_meanwhile() {
    let queue = FairQueue::new(1);
    let turn = Turn::new(&queue, organization("a"));
    let running = Arc::clone(&turn)
        .begin(Work::Item, None::<&str>)
        .await
        .unwrap();
    turn.leave();
    let other = begin(&queue, organization("b"), Work::Item, "").unwrap();
    // It continues at once, since other calls may wait for it.
    turn.enter();
    drop(other);
    assert!(begin(&queue, organization("b"), Work::Item, "").is_none());
    drop(running);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn blocked_calls_stay_within_the_share_of_their_flow() {
    let queue = FairQueue::new(8);
    let mut held = Vec::new();
    while let Some(running) = begin(&queue, service(), Work::Change, "k1") {
        running.0.leave();
        held.push(running);
    }
    assert_eq!(held.len(), 4);
    assert_eq!(queue.state().taken, 0);
    assert!(begin(&queue, service(), Work::Change, "k2").is_some());
    drop(held);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn further_calls_about_one_key_are_rejected() {
    let queue = FairQueue::new(4);
    let first = [(); 2].map(|()| begin(&queue, service(), Work::Change, "k1").unwrap());
    let change = |key: &'static str| {
        let turn = Turn::new(&queue, service());
        async move { turn.begin(Work::Change, Some(key)).await.map(drop) }
    };
    let mut calls: Vec<_> = (0..MAX_WAITING_CHANGES)
        .map(|_| Box::pin(change("k1")))
        .collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    assert_eq!(change("k1").now_or_never(), Some(Err(Overloaded)));
    assert_eq!(change("k2").now_or_never(), Some(Ok(())));
    drop(first);
    for call in calls {
        assert_eq!(call.await, Ok(()));
    }
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn list_of_a_service_is_not_overtaken_by_its_other_calls() {
    let queue = FairQueue::new(8);
    // The owner's share is six seats, a list takes two.
    let mut held: Vec<_> = ["k1", "k2", "k3", "k4", "k5", "k6"]
        .map(|key| begin(&queue, service(), Work::Item, key).unwrap())
        .into();
    let list = Turn::new(&queue, service());
    let list = tokio::spawn(async move { list.begin(Work::List, None::<&str>).await.unwrap() });
    tokio::task::yield_now().await;
    let later = waiting(&queue, service(), "k7");
    tokio::task::yield_now().await;
    held.pop();
    tokio::task::yield_now().await;
    assert!(!later.is_finished());
    held.pop();
    drop(list.await.unwrap());
    drop(later.await.unwrap());
    drop(held);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn owners_take_turns_for_any_number_of_flows() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, service(), Work::Item, "k0").unwrap();
    let flood = ["k1", "k2", "k3", "k4"].map(|key| waiting(&queue, service(), key));
    expect_turns(&queue, first, flood.into()).await;
}

#[tokio::test]
async fn changes_of_all_accounts_together_are_bounded() {
    let queue = FairQueue::new(4);
    let change = |number: usize| {
        let turn = Turn::new(&queue, service());
        async move { turn.begin(Work::Change, Some(&number)).await }
    };
    let mut held = Vec::new();
    let mut calls = Vec::new();
    for number in 0..MAX_CHANGES {
        let mut call = Box::pin(change(number));
        match (&mut call).now_or_never() {
            Some(running) => held.push(running.unwrap()),
            None => calls.push(call),
        }
    }
    assert_eq!(held.len(), 3);
    assert!(change(MAX_CHANGES).now_or_never().unwrap().is_err());
    drop((held, calls));
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn calls_of_a_flow_that_wait_for_a_lock_are_bounded() {
    let queue = FairQueue::new(8);
    let mut held = Vec::new();
    while let Some(running) = begin(&queue, organization("a"), Work::Item, "") {
        running.0.leave();
        held.push(running);
    }
    assert_eq!(held.len(), 8 * BEGUN_PER_SEAT);
    assert!(begin(&queue, organization("b"), Work::Item, "").is_some());
    held.pop();
    assert!(begin(&queue, organization("a"), Work::Item, "").is_some());
    drop(held);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn further_calls_of_a_flow_are_rejected() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, organization("a"), Work::Item, "").unwrap();
    let call = |payer| {
        let turn = Turn::new(&queue, payer);
        async move { turn.begin(Work::Item, None::<&str>).await.map(drop) }
    };
    let mut calls: Vec<_> = (0..MAX_WAITING)
        .map(|_| Box::pin(call(organization("a"))))
        .collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    assert_eq!(
        call(organization("a")).now_or_never(),
        Some(Err(Overloaded))
    );
    assert!(call(organization("b")).now_or_never().is_none());
    drop((first, calls));
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn principals_take_turns_for_any_number_of_calls() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, principal("1"), Work::Item, "").unwrap();
    let flood: Vec<_> = (0..20)
        .map(|_| waiting(&queue, principal("1"), ""))
        .collect();
    tokio::task::yield_now().await;
    let colleague = waiting(&queue, principal("2"), "");
    tokio::task::yield_now().await;
    drop(first);
    let mut flood = flood.into_iter();
    drop(flood.next().unwrap().await.unwrap());
    tokio::task::yield_now().await;
    assert!(colleague.is_finished());
    drop(colleague.await.unwrap());
    for call in flood {
        drop(call.await.unwrap());
    }
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn begun_calls_of_a_principal_leave_room_to_colleagues() {
    let queue = FairQueue::new(8);
    let begun = |name: &str, held: &mut Vec<Running>| {
        while let Some(running) = begin(&queue, principal(name), Work::Item, "") {
            running.0.leave();
            held.push(running);
        }
        held.len()
    };
    let mut held = Vec::new();
    let most = 8 * BEGUN_PER_SEAT;
    assert_eq!(begun("1", &mut held), most / 2);
    assert_eq!(begun("2", &mut held), most);
    assert_eq!(begun("3", &mut held), most);
    assert!(begin(&queue, organization("b"), Work::Item, "").is_some());
    drop(held);
    assert!(is_empty(&queue));
}

#[tokio::test]
async fn waiting_calls_of_many_principals_are_bounded() {
    let queue = FairQueue::new(1);
    let first = begin(&queue, principal("0"), Work::Item, "").unwrap();
    let call = |name: usize| {
        let turn = Turn::new(&queue, principal(&name.to_string()));
        Box::pin(async move { turn.begin(Work::Item, None::<&str>).await.map(drop) })
    };
    let mut calls: Vec<_> = (0..MAX_WAITING / 2).map(|_| call(0)).collect();
    calls.extend((1..=MAX_WAITING / 2).map(call));
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    // Half of the places are for one principal.
    drop(calls.pop());
    assert_eq!(call(0).now_or_never(), Some(Err(Overloaded)));
    calls.push(call(1));
    assert!(calls.last_mut().unwrap().now_or_never().is_none());
    for name in MAX_WAITING..MAX_WAITING + 10_000 {
        assert_eq!(call(name).now_or_never(), Some(Err(Overloaded)));
    }
    let subjects = |state: &State| {
        let flows = state.owners.values().map(|it| it.by_subject.len());
        flows.sum::<usize>()
    };
    assert_eq!(subjects(&queue.state()), MAX_WAITING / 2);
    drop((first, calls));
    assert!(is_empty(&queue));
}

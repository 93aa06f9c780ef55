//! Concurrent callers never spend more than a key's limit, and no fitting reservation is rejected.
//!
//! Every request is recorded with the ticks of a shared clock before it is sent and after its response. Its
//! effect happened between the two ticks. The records therefore bound the amount spent and reserved at any
//! moment: from below by the reservations that certainly existed, from above by those that may have existed.
//! A reservation must fit above the lower bound, and only a reservation that does not fit above the upper
//! bound may be rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyward::proto::v1::ReserveSpendRequest;
use tokio::sync::Barrier;
use tonic::Code;

use crate::support::deployment::Deployment;
use crate::support::random::{Random, seed};
use crate::support::spending::Meter;

/// The key's limit: a dollar, in nano-dollars.
const LIMIT: i64 = 1_000_000_000;
const CALLERS: usize = 64;
const SMALLEST: i64 = 250_000;
const LARGEST: i64 = 8_000_000;
/// Number of reservations that each caller makes and ends before it only makes them.
const ENDED: usize = 8;

/// Clock shared by all callers.
#[derive(Clone, Default)]
struct Ticks(Arc<AtomicU64>);

/// Ticks between which a request happened.
#[derive(Debug, Clone, Copy)]
struct Span {
    begun: u64,
    answered: u64,
}

impl Ticks {
    async fn note<T>(&self, call: impl Future<Output = T>) -> (Span, T) {
        let begun = self.0.fetch_add(1, Ordering::SeqCst);
        let answer = call.await;
        let answered = self.0.fetch_add(1, Ordering::SeqCst);
        (Span { begun, answered }, answer)
    }
}

/// An admitted reservation, and its end. Settling it at its full amount leaves the sum of the spent and
/// reserved amounts unchanged.
#[derive(Debug)]
struct Hold {
    amount: i64,
    made: Span,
    /// Remaining amount in the response: after reservations, and without them.
    available: i64,
    remaining: i64,
    /// Time of the settlement, and the remaining amount in its response, without reservations.
    settled: Option<(Span, i64)>,
    released: Option<Span>,
}

/// Records of callers.
#[derive(Debug, Default)]
struct Notes {
    holds: Vec<Hold>,
    /// Rejected amounts, each with its time.
    rejected: Vec<(i64, Span)>,
}

/// A caller.
struct Caller {
    name: String,
    meter: Meter,
    key: String,
    random: Random,
    ticks: Ticks,
    notes: Notes,
}

impl Caller {
    /// Reserves, and returns the reservation's id if it was admitted.
    async fn reserve(&mut self, amount: i64) -> Option<String> {
        let number = self.notes.holds.len() + self.notes.rejected.len();
        let call = self.meter.reserve(ReserveSpendRequest {
            hash: self.key.clone(),
            amount_nanos: amount,
            request_id: format!("{}-{number}", self.name),
            ..Default::default()
        });
        let (at, answer) = self.ticks.note(call).await;
        match answer {
            Ok(hold) => {
                self.notes.holds.push(Hold {
                    amount,
                    made: at,
                    available: hold.available_nanos.unwrap(),
                    remaining: hold.limit_remaining_nanos.unwrap(),
                    settled: None,
                    released: None,
                });
                Some(hold.reservation_id)
            }
            Err(rejected) => {
                assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}");
                self.notes.rejected.push((amount, at));
                None
            }
        }
    }

    fn amount(&mut self) -> i64 {
        self.random.between(SMALLEST, LARGEST)
    }

    /// Makes reservations, and settles, releases or keeps them.
    async fn make_and_end(&mut self) {
        for _ in 0..ENDED {
            let amount = self.amount();
            let Some(id) = self.reserve(amount).await else {
                continue;
            };
            let chance = self.random.below(10);
            let hold = self.notes.holds.last_mut().unwrap();
            if chance < 4 {
                let (at, answer) = self.ticks.note(self.meter.settle(&id, amount)).await;
                let answer = answer.unwrap();
                assert!(!answer.duplicate);
                hold.settled = Some((at, answer.limit_remaining_nanos.unwrap()));
            } else if chance < 8 {
                let (at, answer) = self.ticks.note(self.meter.release(&id)).await;
                answer.unwrap();
                hold.released = Some(at);
            }
        }
    }

    /// Makes reservations until not even the smallest fits.
    async fn fill(&mut self) {
        let mut amount = self.amount();
        loop {
            amount = match self.reserve(amount).await {
                Some(_) => self.amount(),
                None if amount == SMALLEST => return,
                None => SMALLEST,
            };
        }
    }
}

impl Notes {
    /// Returns the amount that was certainly spent or reserved throughout a request.
    fn least(&self, at: Span) -> i64 {
        let there = |hold: &&Hold| {
            let made = hold.made.answered < at.begun;
            made && hold.released.is_none_or(|end| at.answered < end.begun)
        };
        self.holds
            .iter()
            .filter(there)
            .map(|hold| hold.amount)
            .sum()
    }

    /// Returns the amount that may have been spent or reserved at some moment of a request.
    fn most(&self, at: Span) -> i64 {
        let there = |hold: &&Hold| {
            let made = hold.made.begun < at.answered;
            made && hold.released.is_none_or(|end| at.begun < end.answered)
        };
        self.holds
            .iter()
            .filter(there)
            .map(|hold| hold.amount)
            .sum()
    }

    /// Returns the amount certainly spent when a request began, and the amount possibly spent at its
    /// response.
    fn spent(&self, at: Span) -> (i64, i64) {
        let sum = |before: &dyn Fn(Span) -> bool| {
            let settled = |hold: &&Hold| hold.settled.is_some_and(|(settled, _)| before(settled));
            self.holds
                .iter()
                .filter(settled)
                .map(|hold| hold.amount)
                .sum()
        };
        (
            sum(&|settled| settled.answered < at.begun),
            sum(&|settled| settled.begun < at.answered),
        )
    }

    fn check(&self) {
        for hold in &self.holds {
            let (least, most) = (self.least(hold.made), self.most(hold.made));
            assert!(least + hold.amount <= LIMIT, "above {least}: {hold:?}");
            let left = LIMIT - most..=LIMIT - least - hold.amount;
            assert!(left.contains(&hold.available), "not in {left:?}: {hold:?}");
            let answers = [Some((hold.made, hold.remaining)), hold.settled];
            for (at, remaining) in answers.into_iter().flatten() {
                let (least, most) = self.spent(at);
                let left = LIMIT - most..=LIMIT - least;
                assert!(left.contains(&remaining), "not in {left:?}: {hold:?}");
            }
        }
        for (amount, at) in &self.rejected {
            let most = self.most(*at);
            assert!(most + amount > LIMIT, "{amount} fits beside {most}");
        }
    }

    /// Checks the amounts in order. Without releases, the available amount falls with every reservation. The
    /// responses therefore show their order: each amount must be the previous one less the reservation.
    fn check_order(&self) {
        let mut holds: Vec<&Hold> = self.holds.iter().collect();
        holds.sort_by_key(|hold| std::cmp::Reverse(hold.available));
        let mut left = LIMIT;
        for hold in holds {
            left -= hold.amount;
            assert_eq!(hold.available, left, "{hold:?}");
        }
    }
}

/// Starts all callers at once, spread over the servers.
async fn run(deployment: Deployment, servers: usize, ending: bool) {
    let mut random = Random(seed());
    let servers: Vec<_> = (0..servers).map(|_| deployment.start_patient()).collect();
    let meter = Meter::new(&servers[0].url, &deployment.env).await;
    let key = meter.issue(Some(LIMIT)).await;
    let (ticks, barrier) = (Ticks::default(), Arc::new(Barrier::new(CALLERS)));
    let mut calling = Vec::new();
    for number in 0..CALLERS {
        let server = &servers[number % servers.len()];
        let mut caller = Caller {
            name: format!("caller-{number}"),
            meter: Meter::new(&server.url, &deployment.env).await,
            key: key.clone(),
            random: random.fork(),
            ticks: ticks.clone(),
            notes: Notes::default(),
        };
        let barrier = Arc::clone(&barrier);
        calling.push(tokio::spawn(async move {
            barrier.wait().await;
            if ending {
                caller.make_and_end().await;
                // From here on no amount is released.
                barrier.wait().await;
            }
            caller.fill().await;
            caller.notes
        }));
    }
    let mut notes = Notes::default();
    for calling in calling {
        let of_one = calling.await.unwrap();
        notes.holds.extend(of_one.holds);
        notes.rejected.extend(of_one.rejected);
    }
    println!(
        "{} holds, {} refusals",
        notes.holds.len(),
        notes.rejected.len()
    );

    notes.check();
    if !ending {
        notes.check_order();
    }
    let kept = |hold: &&Hold| hold.released.is_none();
    let sum: i64 = notes
        .holds
        .iter()
        .filter(kept)
        .map(|hold| hold.amount)
        .sum();
    assert!(sum <= LIMIT && LIMIT < sum + SMALLEST, "it ends at {sum}");
    let settled = notes.holds.iter().filter(|hold| hold.settled.is_some());
    let settled: i64 = settled.map(|hold| hold.amount).sum();
    for server in &servers {
        let meter = Meter::new(&server.url, &deployment.env).await;
        let shown = meter.key(&key).await;
        assert_eq!(shown.usage_nanos, settled);
        assert_eq!(shown.limit_remaining_nanos, Some(LIMIT - settled));
        // A reservation of zero always fits.
        let nothing = ReserveSpendRequest {
            hash: key.clone(),
            request_id: "nothing".to_owned(),
            ..Default::default()
        };
        let nothing = meter.reserve(nothing).await.unwrap();
        assert_eq!(nothing.available_nanos, Some(LIMIT - sum));
    }
    for server in servers {
        server.running.terminate().expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_never_pass_the_limit_and_fill_it_on_sqlite() {
    run(Deployment::sqlite().await, 1, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_of_two_processes_fill_the_limit_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        run(deployment, 2, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_holds_fill_the_limit_and_never_pass_it_on_sqlite() {
    run(Deployment::sqlite().await, 1, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_holds_of_two_processes_keep_the_limit_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        run(deployment, 2, true).await;
    }
}

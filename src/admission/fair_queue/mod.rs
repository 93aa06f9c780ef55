//! Fair queue for the calls of authenticated callers, and for the look-ups of callers during authentication.
//!
//! At most as many calls run at once as there are connections to the database; further calls wait. Owners with
//! waiting calls take turns, and so do the flows of one owner. The calls of an internal service about one key are a
//! flow, since the service acts for many callers; in an organization the calls of each principal are one. A flood
//! delays the calls of another owner, and those of another flow, by the running calls, not by the waiting ones.
//!
//! The method is that of API Priority and Fairness in Kubernetes: each call takes seats, and a list takes more than a
//! single item.

mod bound;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_store::occupancy::Occupancy;
use keyward_throttle::{Owner, Payer};
use tokio::sync::oneshot;

use bound::{Bound, Subject};

use crate::admission::permits::Overloaded;

/// Seats of a call that reads a list, as a divisor of all seats.
const WHOLE_PER_LIST: usize = 4;
/// Maximum number of waiting changes of one key's account. Each waits for those before it.
const MAX_WAITING_CHANGES: usize = 64;
/// Maximum number of changes of all accounts that wait or have begun. A busy gateway has a multiple of it in flight,
/// mostly other calls, so those find permits regardless of the number of changes.
const MAX_CHANGES: usize = 512;

/// Seats, and the calls that wait for them.
#[derive(Debug)]
pub(crate) struct FairQueue {
    seats: usize,
    /// Key of the hashes of subjects, some of which are secret.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Owners with calls that have begun or wait.
    owners: HashMap<Owner, Flows>,
    /// Owners with waiting calls, the next one first.
    turns: VecDeque<Owner>,
    /// Changes that wait or have begun.
    changes: usize,
    next: u64,
}

/// Flows of one owner.
#[derive(Debug, Default)]
struct Flows {
    taken: usize,
    begun: usize,
    waiting: usize,
    by_subject: HashMap<Subject, FlowCalls>,
    /// Flows with waiting calls, the next one first.
    turns: VecDeque<Subject>,
}

/// Calls of one flow.
#[derive(Debug, Default)]
struct FlowCalls {
    taken: usize,
    /// Calls that have begun. Some of them wait for others and have no seats meanwhile.
    begun: usize,
    /// Waiting calls, in order of arrival.
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    owner: Owner,
    subject: Subject,
}

#[derive(Debug)]
struct Waiter {
    seats: usize,
    work: Work,
    granted: oneshot::Sender<Begun>,
}

/// Kind of work of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A single item.
    Item,
    /// A page of a list.
    List,
    /// A change of a key's account.
    Change,
}

impl FairQueue {
    /// Creates a queue with this number of seats, at least one.
    pub(crate) fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            seats: seats.max(1),
            hasher: RandomState::new(),
            state: Mutex::default(),
        })
    }

    /// Waits for seats for a call. A call that its caller drops leaves the queue.
    ///
    /// # Errors
    /// Too many calls of the flow wait.
    async fn take(self: &Arc<Self>, flow: &Flow, work: Work) -> Result<Begun, Overloaded> {
        let seats = match work {
            Work::Item | Work::Change => 1,
            Work::List => (self.seats / WHOLE_PER_LIST).max(1),
        };
        let (granted, grant) = oneshot::channel();
        let waiter = Waiter {
            seats,
            work,
            granted,
        };
        let number = self.state().join(flow, waiter, self.seats)?;
        let waiting = Waiting {
            queue: self,
            flow,
            number,
        };
        self.grant();
        let begun = grant.await;
        drop(waiting);
        // The queue drops no waiter before it is granted seats.
        begun.map_err(|_| Overloaded)
    }

    /// Grants the free seats to the next calls.
    fn grant(self: &Arc<Self>) {
        loop {
            let Some((flow, waiter)) = self.state().next_waiter(self.seats) else {
                return;
            };
            let begun = Begun {
                queue: Arc::clone(self),
                flow,
                seats: waiter.seats,
                work: waiter.work,
                has_seats: true,
            };
            // A call that was dropped meanwhile ends at once.
            let _ = waiter.granted.send(begun);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self, flow: &Flow, waiter: Waiter, all: usize) -> Result<u64, Overloaded> {
        let number = self.next;
        let is_change = waiter.work == Work::Change;
        let max_waiting = match is_change {
            true => MAX_WAITING_CHANGES,
            false => Bound::of_flow(&flow.owner, flow.subject, all).waiting,
        };
        let max_of_owner = Bound::of_owner(&flow.owner, all).waiting;
        let flows = self.owners.entry(flow.owner.clone()).or_default();
        let calls = flows.by_subject.entry(flow.subject).or_default();
        let is_full = calls.waiting.len() >= max_waiting || flows.waiting >= max_of_owner;
        if is_full || is_change && self.changes >= MAX_CHANGES {
            self.forget(flow);
            return Err(Overloaded);
        }
        self.next = number.wrapping_add(1);
        self.changes += usize::from(is_change);
        if calls.waiting.is_empty() {
            if flows.turns.is_empty() {
                self.turns.push_back(flow.owner.clone());
            }
            flows.turns.push_back(flow.subject);
        }
        calls.waiting.insert(number, waiter);
        flows.waiting += 1;
        Ok(number)
    }

    /// Removes the next call that may run from the queue. A flow or an owner that has its share waits without losing
    /// its turn.
    fn next_waiter(&mut self, all: usize) -> Option<(Flow, Waiter)> {
        if self.taken >= all {
            return None;
        }
        let mut owners = self.turns.iter().enumerate();
        let (turn, flow_turn, seats) = owners.find_map(|(turn, owner)| {
            let flows = self.owners.get(owner)?;
            let (flow_turn, seats) = flows.next(owner, all)?;
            // A call that needs many seats keeps its turn; otherwise calls that need few would always precede it.
            // That holds for the seats of its owner as for all.
            let max = Bound::of_owner(owner, all);
            let fits = flows.taken + seats <= max.seats && flows.begun < max.begun;
            fits.then_some((turn, flow_turn, seats))
        })?;
        if self.taken + seats > all {
            return None;
        }
        let owner = self.turns.remove(turn)?;
        let flows = self.owners.get_mut(&owner)?;
        let subject = flows.turns.remove(flow_turn)?;
        let calls = flows.by_subject.get_mut(&subject)?;
        let (_, waiter) = calls.waiting.pop_first()?;
        calls.begun += 1;
        flows.begun += 1;
        flows.waiting -= 1;
        if !calls.waiting.is_empty() {
            flows.turns.push_back(subject);
        }
        if !flows.turns.is_empty() {
            self.turns.push_back(owner.clone());
        }
        let flow = Flow { owner, subject };
        self.take(&flow, seats);
        Some((flow, waiter))
    }

    /// Removes a call from the queue. Returns `false` if the call no longer waits.
    fn leave(&mut self, flow: &Flow, number: u64) -> bool {
        let Some(flows) = self.owners.get_mut(&flow.owner) else {
            return false;
        };
        let Some(calls) = flows.by_subject.get_mut(&flow.subject) else {
            return false;
        };
        let Some(waiter) = calls.waiting.remove(&number) else {
            return false;
        };
        self.changes -= usize::from(waiter.work == Work::Change);
        flows.waiting -= 1;
        if calls.waiting.is_empty() {
            flows.turns.retain(|it| *it != flow.subject);
            if flows.turns.is_empty() {
                self.turns.retain(|it| *it != flow.owner);
            }
        }
        self.forget(flow);
        true
    }

    fn take(&mut self, flow: &Flow, seats: usize) {
        self.taken += seats;
        let flows = self.owners.entry(flow.owner.clone()).or_default();
        flows.taken += seats;
        flows.by_subject.entry(flow.subject).or_default().taken += seats;
    }

    fn give_back(&mut self, flow: &Flow, seats: usize) {
        self.taken -= seats;
        if let Some(flows) = self.owners.get_mut(&flow.owner) {
            flows.taken -= seats;
            if let Some(calls) = flows.by_subject.get_mut(&flow.subject) {
                calls.taken -= seats;
            }
        }
    }

    /// Ends a call that has begun.
    fn end(&mut self, flow: &Flow, work: Work) {
        self.changes -= usize::from(work == Work::Change);
        if let Some(flows) = self.owners.get_mut(&flow.owner)
            && let Some(calls) = flows.by_subject.get_mut(&flow.subject)
        {
            calls.begun -= 1;
            flows.begun -= 1;
        }
        self.forget(flow);
    }

    /// Removes a flow without calls, and an owner without flows.
    fn forget(&mut self, flow: &Flow) {
        let Some(flows) = self.owners.get_mut(&flow.owner) else {
            return;
        };
        let calls = flows.by_subject.get(&flow.subject);
        if calls.is_some_and(|it| it.waiting.is_empty() && it.begun == 0) {
            flows.by_subject.remove(&flow.subject);
        }
        if flows.by_subject.is_empty() {
            self.owners.remove(&flow.owner);
        }
    }
}

impl Flows {
    /// Returns the turn of the first flow whose next call is within the flow's share, and that call's seats.
    fn next(&self, owner: &Owner, all: usize) -> Option<(usize, usize)> {
        let mut flows = self.turns.iter().enumerate();
        flows.find_map(|(turn, subject)| {
            let calls = self.by_subject.get(subject)?;
            let (_, first) = calls.waiting.first_key_value()?;
            let max = Bound::of_flow(owner, *subject, all);
            let max_begun = match first.work {
                // A change of an account waits for the one before it: a few suffice to keep the account busy.
                Work::Change => max.seats,
                Work::Item | Work::List => max.begun,
            };
            let fits = calls.taken + first.seats <= max.seats && calls.begun < max_begun;
            fits.then_some((turn, first.seats))
        })
    }
}

/// A call in the queue. Dropping this removes the call.
struct Waiting<'a> {
    queue: &'a Arc<FairQueue>,
    flow: &'a Flow,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.queue.state().leave(self.flow, self.number) {
            // Other calls may have waited behind this one for its seats.
            self.queue.grant();
        }
    }
}

/// A call that has begun, until this is dropped.
#[derive(Debug)]
struct Begun {
    queue: Arc<FairQueue>,
    flow: Flow,
    seats: usize,
    work: Work,
    /// `false` while the call waits for others.
    has_seats: bool,
}

impl Begun {
    fn leave(&mut self) {
        if std::mem::take(&mut self.has_seats) {
            self.queue.state().give_back(&self.flow, self.seats);
            self.queue.grant();
        }
    }

    /// Takes the seats again at once: the call may hold a resource that other calls wait for. For a moment, more
    /// seats may be taken than exist, by the calls that wait for each other.
    fn enter(&mut self) {
        if !std::mem::replace(&mut self.has_seats, true) {
            self.queue.state().take(&self.flow, self.seats);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if self.has_seats {
            state.give_back(&self.flow, self.seats);
        }
        state.end(&self.flow, self.work);
        drop(state);
        self.queue.grant();
    }
}

/// A call, which has seats while it runs.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<FairQueue>,
    payer: Payer,
    begun: Mutex<Option<Begun>>,
}

impl Turn {
    /// Creates a call of this caller, without seats.
    pub(crate) fn new(queue: &Arc<FairQueue>, payer: Payer) -> Arc<Self> {
        Arc::new(Self {
            queue: Arc::clone(queue),
            payer,
            begun: Mutex::default(),
        })
    }

    /// Waits for seats. Calls of an internal service about different subjects belong to different flows, and so do
    /// those of different principals of an organization.
    ///
    /// # Errors
    /// Too many calls of the flow wait.
    pub(crate) async fn begin(
        self: Arc<Self>,
        work: Work,
        subject: Option<&(impl Hash + Sync + ?Sized)>,
    ) -> Result<Running, Overloaded> {
        let hasher = &self.queue.hasher;
        let flow = Flow {
            owner: self.payer.owner().clone(),
            subject: match self.payer.is_service() {
                true => subject.map(|it| hasher.hash_one(it)),
                false => self.payer.principal().map(|it| hasher.hash_one(it)),
            },
        };
        let begun = self.queue.take(&flow, work).await?;
        *self.begun() = Some(begun);
        Ok(Running(self))
    }

    fn begun(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupancy for Turn {
    fn leave(&self) {
        if let Some(begun) = &mut *self.begun() {
            begun.leave();
        }
    }

    fn enter(&self) {
        if let Some(begun) = &mut *self.begun() {
            begun.enter();
        }
    }
}

/// A call that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Turn>);

impl Drop for Running {
    fn drop(&mut self) {
        let begun = self.0.begun().take();
        drop(begun);
    }
}

#[cfg(test)]
mod tests;

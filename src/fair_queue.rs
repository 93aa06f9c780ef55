//! A fair queue for the calls of known callers. As many calls run at once as there are connections to the
//! database; further ones wait, and the flows that have calls waiting take turns. A flow is the calls of one
//! owner, and of an internal service, which calls for many, its calls about one key. A flood in one flow delays
//! a call of another by the calls that run, not by those that wait.
//!
//! The method is that of API Priority and Fairness in Kubernetes: each call takes seats, a list more than a
//! single item.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_store::occupancy::Occupancy;
use tokio::sync::oneshot;

use crate::budget::Owner;
use crate::in_flight::Overloaded;

/// The seats that one flow leaves to others, in parts of the whole.
const WHOLE_PER_REST: usize = 2;
/// The seats that all flows of one owner leave to others, in parts of the whole.
const WHOLE_PER_OWNERS_REST: usize = 4;
/// The seats of a call that reads a list, in parts of the whole.
const WHOLE_PER_LIST: usize = 4;
/// Maximum number of waiting calls of a service about one subject; further ones are rejected. Other flows are
/// bounded by the permits of calls under way.
const MAX_WAITING: usize = 256;
/// The same for calls that change a key's account, each of which waits for those before it.
const MAX_WAITING_CHANGES: usize = 64;

/// The seats, and the calls that wait for them.
#[derive(Debug)]
pub(crate) struct FairQueue {
    seats: usize,
    /// Keys the hashes of subjects, some of which are secret.
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: usize,
    /// The flows with calls that run or wait.
    flows: HashMap<Flow, Calls>,
    /// Seats that each owner has.
    by_owner: HashMap<Owner, usize>,
    /// The flows with calls that wait, the next one first.
    turns: VecDeque<Flow>,
    next: u64,
}

/// What takes turns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flow {
    owner: Owner,
    /// Hash of what the calls are about, if that tells them apart.
    subject: Option<u64>,
}

/// The calls of one flow.
#[derive(Debug, Default)]
struct Calls {
    /// Seats of the calls that have begun. Those that wait for others are counted, or a flood would wait there.
    begun: usize,
    /// The calls that wait, in their order.
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    seats: usize,
    granted: oneshot::Sender<Begun>,
}

/// Work of a call.
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
    /// A queue with this number of seats, at least one.
    pub(crate) fn new(seats: usize) -> Arc<Self> {
        let seats = seats.max(1);
        Arc::new(Self {
            seats,
            hasher: RandomState::new(),
            state: Mutex::new(State {
                taken: 0,
                flows: HashMap::new(),
                by_owner: HashMap::new(),
                turns: VecDeque::new(),
                next: 0,
            }),
        })
    }

    /// Waits for seats for a call. A call that is given up leaves the queue.
    ///
    /// # Errors
    /// Too many calls of the flow wait.
    async fn take(self: &Arc<Self>, flow: &Flow, work: Work) -> Result<Begun, Overloaded> {
        let seats = self.seats_of(work);
        let max_waiting = match work {
            Work::Change => MAX_WAITING_CHANGES,
            Work::Item | Work::List => MAX_WAITING,
        };
        let (granted, grant) = oneshot::channel();
        let waiter = Waiter { seats, granted };
        let number = self.state().join(flow, waiter, max_waiting)?;
        let queue = self;
        let waiting = Waiting {
            queue,
            flow,
            number,
        };
        self.grant();
        let begun = grant.await;
        drop(waiting);
        // The queue drops no waiter before it is granted seats.
        begun.map_err(|_| Overloaded)
    }

    fn seats_of(&self, work: Work) -> usize {
        match work {
            Work::Item | Work::Change => 1,
            Work::List => (self.seats / WHOLE_PER_LIST).max(1),
        }
    }

    /// Gives the free seats to the calls whose turn it is.
    fn grant(self: &Arc<Self>) {
        loop {
            let Some((flow, waiter)) = self.state().next_waiter(self.seats) else {
                return;
            };
            let begun = Begun {
                queue: Arc::clone(self),
                flow,
                seats: waiter.seats,
                has_seats: true,
            };
            // A call that was given up just now ends at once.
            let _ = waiter.granted.send(begun);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self, flow: &Flow, waiter: Waiter, max_waiting: usize) -> Result<u64, Overloaded> {
        let number = self.next;
        let calls = self.flows.entry(flow.clone()).or_default();
        if flow.subject.is_some() && calls.waiting.len() >= max_waiting {
            return Err(Overloaded);
        }
        self.next = number.wrapping_add(1);
        if calls.waiting.is_empty() {
            self.turns.push_back(flow.clone());
        }
        calls.waiting.insert(number, waiter);
        Ok(number)
    }

    /// Takes the next call that may run out of the queue. A flow that has its share waits without losing its turn.
    fn next_waiter(&mut self, all: usize) -> Option<(Flow, Waiter)> {
        let max_per_flow = (all - all / WHOLE_PER_REST).max(1);
        let max_per_owner = (all - all / WHOLE_PER_OWNERS_REST).max(1);
        let has_share = |flow: &Flow| {
            let calls = self.flows.get(flow)?;
            let (_, first) = calls.waiting.first_key_value()?;
            let of_owner = self.by_owner.get(&flow.owner).copied().unwrap_or_default();
            let fits = calls.begun + first.seats <= max_per_flow
                && of_owner + first.seats <= max_per_owner;
            fits.then_some(first.seats)
        };
        let mut flows = self.turns.iter().enumerate();
        let (turn, seats) = flows.find_map(|(turn, flow)| Some((turn, has_share(flow)?)))?;
        // A call with many seats keeps its turn, or those with few would always be before it.
        if self.taken + seats > all {
            return None;
        }
        let flow = self.turns.remove(turn)?;
        let calls = self.flows.get_mut(&flow)?;
        let (_, waiter) = calls.waiting.pop_first()?;
        calls.begun += seats;
        if !calls.waiting.is_empty() {
            self.turns.push_back(flow.clone());
        }
        self.take(&flow.owner, seats);
        Some((flow, waiter))
    }

    fn take(&mut self, owner: &Owner, seats: usize) {
        self.taken += seats;
        *self.by_owner.entry(owner.clone()).or_default() += seats;
    }

    /// Takes a call out of the queue. `false` if it does not wait any more.
    fn leave(&mut self, flow: &Flow, number: u64) -> bool {
        let Some(calls) = self.flows.get_mut(flow) else {
            return false;
        };
        if calls.waiting.remove(&number).is_none() {
            return false;
        }
        if calls.waiting.is_empty() {
            self.turns.retain(|it| it != flow);
        }
        self.forget(flow);
        true
    }

    fn give_back(&mut self, owner: &Owner, seats: usize) {
        self.taken -= seats;
        if let Some(taken) = self.by_owner.get_mut(owner) {
            *taken -= seats;
            if *taken == 0 {
                self.by_owner.remove(owner);
            }
        }
    }

    /// Ends a call that has begun with so many seats.
    fn end(&mut self, flow: &Flow, seats: usize) {
        if let Some(calls) = self.flows.get_mut(flow) {
            calls.begun -= seats;
        }
        self.forget(flow);
    }

    /// Removes a flow without calls.
    fn forget(&mut self, flow: &Flow) {
        let calls = self.flows.get(flow);
        if calls.is_some_and(|it| it.waiting.is_empty() && it.begun == 0) {
            self.flows.remove(flow);
        }
    }
}

/// A call in the queue, which it leaves when this is dropped.
struct Waiting<'a> {
    queue: &'a Arc<FairQueue>,
    flow: &'a Flow,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.queue.state().leave(self.flow, self.number) {
            // Others may have waited behind it for its seats.
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
    /// `false` while the call waits for others.
    has_seats: bool,
}

impl Begun {
    fn leave(&mut self) {
        if std::mem::take(&mut self.has_seats) {
            self.queue.state().give_back(&self.flow.owner, self.seats);
            self.queue.grant();
        }
    }

    /// Takes the seats again, at once: the call may have what others wait for. There may be more seats taken than
    /// there are, for a moment, by as many as wait for each other.
    fn enter(&mut self) {
        if !std::mem::replace(&mut self.has_seats, true) {
            self.queue.state().take(&self.flow.owner, self.seats);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if self.has_seats {
            state.give_back(&self.flow.owner, self.seats);
        }
        state.end(&self.flow, self.seats);
        drop(state);
        self.queue.grant();
    }
}

/// A call of a known caller, which has seats while it runs.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<FairQueue>,
    owner: Owner,
    begun: Mutex<Option<Begun>>,
}

impl Turn {
    /// A call of this owner, without seats.
    pub(crate) fn new(queue: &Arc<FairQueue>, owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            queue: Arc::clone(queue),
            owner,
            begun: Mutex::default(),
        })
    }

    /// Waits for seats. An internal service's calls about different subjects are of different flows.
    ///
    /// # Errors
    /// Too many calls of the flow wait.
    pub(crate) async fn begin(
        self: Arc<Self>,
        work: Work,
        subject: Option<&(impl Hash + Sync + ?Sized)>,
    ) -> Result<Running, Overloaded> {
        let subject = subject.filter(|_| self.owner.is_service());
        let flow = Flow {
            owner: self.owner.clone(),
            subject: subject.map(|it| self.queue.hasher.hash_one(it)),
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

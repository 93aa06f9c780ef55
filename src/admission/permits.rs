//! Permits of calls under way. A call first takes a permit for authentication; the authenticated caller then
//! takes one of its own share, and internal services have a reserve. A call that waits for input from outside
//! the process, such as the rest of its body or an issuer's keys, releases its permit during the wait
//! ([`unoccupied`]), so that such waits do not starve other calls.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use keyward_throttle::{Payer, PayerCounts};
use tokio::time::Instant;

/// Time that a client may read a response before its permit is given to another call.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between searches for such responses, while every permit is taken.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);
/// Divisor of the total that gives the reserve of internal services.
const WHOLE_PER_RESERVE: usize = 10;

tokio::task_local! {
    static PERMIT: Arc<Permit>;
}

/// No permit is free, or none of the caller's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// Runs a part of a call that waits for input from outside the process. The call releases its permit if the
/// part has to wait.
///
/// # Errors
/// [`Overloaded`]: no permit of the call's owner is free after the wait.
pub(crate) async fn unoccupied<F: Future>(waiting: F) -> Result<F::Output, Overloaded> {
    let mut waiting = pin!(waiting);
    if let Poll::Ready(done) = futures_util::poll!(&mut waiting) {
        return Ok(done);
    }
    let Some(permit) = current() else {
        return Ok(waiting.await);
    };
    permit.leave();
    let done = waiting.await;
    permit.enter_again()?;
    Ok(done)
}

/// Takes a permit of the caller's share for the current call, in place of the permit for authentication.
///
/// # Errors
/// [`Overloaded`]: no permit is free.
pub(crate) fn admit(payer: &Payer) -> Result<(), Overloaded> {
    PERMIT
        .try_with(|permit| permit.admit(payer))
        .unwrap_or(Ok(()))
}

/// Marks the current call as rejected by a limit inside the layers.
pub(crate) fn mark_limited() {
    // If calls are not limited, the rejection is not counted.
    let _ = PERMIT.try_with(|permit| permit.is_limited.store(true, Ordering::Relaxed));
}

/// Returns the permit of the current call. `None` if calls are not limited.
fn current() -> Option<Arc<Permit>> {
    PERMIT.try_with(Arc::clone).ok()
}

/// Runs a call that has a permit.
pub(crate) async fn with_permit<F: Future>(permit: Arc<Permit>, call: F) -> F::Output {
    PERMIT.scope(permit, call).await
}

/// All permits.
pub(crate) struct Permits {
    max: usize,
    max_per_organization: usize,
    taken: Mutex<Taken>,
}

struct Taken {
    permits: HashMap<u64, Use>,
    /// Number of permits for authentication.
    unknown: usize,
    /// Number of permits of internal services.
    services: usize,
    by_payer: PayerCounts,
    next: u64,
    searched: Instant,
}

/// A permit in use.
struct Use {
    payer: Option<Payer>,
    /// Time since which the client reads the response.
    read_since: Option<Instant>,
}

impl Permits {
    /// Allows `max` permits, `max_per_organization` for one organization, and half of them for one of its
    /// principals; 0 means no limit for both.
    pub(crate) fn new(max: usize, max_per_organization: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken {
            permits: HashMap::new(),
            unknown: 0,
            services: 0,
            by_payer: PayerCounts::default(),
            next: 0,
            searched: Instant::now(),
        });
        Arc::new(Self {
            max,
            max_per_organization,
            taken,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a permit for a call that is not authenticated yet.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Arc<Permit>> {
        let mut taken = self.lock();
        if taken.known() >= self.max || taken.unknown >= self.max {
            taken.clear_slow();
        }
        if taken.known() >= self.max || taken.unknown >= self.max {
            return None;
        }
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        taken.insert(number, None);
        drop(taken);
        Some(Arc::new(Permit {
            all: Arc::clone(self),
            number,
            payer: Mutex::new(None),
            is_limited: AtomicBool::new(false),
        }))
    }

    /// Returns true if this caller may take another permit.
    fn has_room(&self, taken: &mut Taken, payer: &Payer) -> bool {
        let fits = |taken: &Taken| {
            if payer.is_service() {
                return taken.known() < self.max;
            }
            let share = self.max_per_organization;
            let has_share = share == 0 || taken.by_payer.has_room(payer, 1, share);
            let unreserved = self.max - self.max / WHOLE_PER_RESERVE;
            has_share && taken.known() - taken.services < unreserved && taken.known() < self.max
        };
        fits(taken) || {
            taken.clear_slow();
            fits(taken)
        }
    }
}

impl Taken {
    /// Returns the number of permits of authenticated callers.
    fn known(&self) -> usize {
        self.permits.len() - self.unknown
    }

    fn insert(&mut self, number: u64, payer: Option<Payer>) {
        match &payer {
            None => self.unknown += 1,
            Some(payer) if payer.is_service() => self.services += 1,
            Some(payer) => self.by_payer.add(payer, 1),
        }
        let read_since = None;
        self.permits.insert(number, Use { payer, read_since });
    }

    fn remove(&mut self, number: u64) {
        let Some(Use { payer, .. }) = self.permits.remove(&number) else {
            return;
        };
        match payer {
            None => self.unknown -= 1,
            Some(payer) if payer.is_service() => self.services -= 1,
            Some(payer) => self.by_payer.subtract(&payer, 1),
        }
    }

    /// Takes the permits of clients that read too slowly.
    fn clear_slow(&mut self) {
        if self.searched.elapsed() < SEARCH_INTERVAL {
            return;
        }
        self.searched = Instant::now();
        let is_slow = |it: &Use| {
            it.read_since
                .is_some_and(|since| since.elapsed() >= READ_TIMEOUT)
        };
        let slow = self.permits.iter().filter(|(_, it)| is_slow(it));
        let slow: Vec<u64> = slow.map(|(number, _)| *number).collect();
        for number in slow {
            self.remove(number);
        }
    }
}

/// A permit, released on drop.
pub(crate) struct Permit {
    all: Arc<Permits>,
    number: u64,
    payer: Mutex<Option<Payer>>,
    is_limited: AtomicBool,
}

impl Permit {
    fn admit(&self, payer: &Payer) -> Result<(), Overloaded> {
        let mut taken = self.all.lock();
        taken.remove(self.number);
        if !self.all.has_room(&mut taken, payer) {
            return Err(Overloaded);
        }
        taken.insert(self.number, Some(payer.clone()));
        drop(taken);
        *self.payer() = Some(payer.clone());
        Ok(())
    }

    fn leave(&self) {
        self.all.lock().remove(self.number);
    }

    fn enter_again(&self) -> Result<(), Overloaded> {
        let payer = self.payer().clone();
        let mut taken = self.all.lock();
        let has_room = match &payer {
            Some(payer) => self.all.has_room(&mut taken, payer),
            // The call decides about its caller without work that waits, and then needs a permit of an owner.
            None => true,
        };
        if !has_room {
            return Err(Overloaded);
        }
        taken.insert(self.number, payer);
        Ok(())
    }

    /// Returns true if a limit has rejected the call.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Records that a part of the response waits for the client to read it.
    pub(crate) fn answered(&self) {
        self.set_read_since(Some(Instant::now()));
    }

    /// Records that the server produces the next part of the response.
    pub(crate) fn working(&self) {
        self.set_read_since(None);
    }

    fn set_read_since(&self, since: Option<Instant>) {
        if let Some(found) = self.all.lock().permits.get_mut(&self.number) {
            found.read_since = since;
        }
    }

    fn payer(&self) -> MutexGuard<'_, Option<Payer>> {
        self.payer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use keyward_throttle::Owner;

    use super::*;

    fn taken(all: &Arc<Permits>) -> usize {
        all.lock().permits.len()
    }

    fn organization(name: &str) -> Payer {
        Owner::Organization(name.to_owned()).into()
    }

    fn principal(name: &str) -> Payer {
        Payer::principal_of("a".to_owned(), name.to_owned())
    }

    fn service() -> Payer {
        Owner::Service("gateway".to_owned()).into()
    }

    fn known(all: &Arc<Permits>, payer: &Payer) -> Result<Arc<Permit>, Overloaded> {
        let permit = all.enter().ok_or(Overloaded)?;
        permit.admit(payer)?;
        Ok(permit)
    }

    #[tokio::test(start_paused = true)]
    async fn permits_are_as_many_as_configured() {
        let all = Permits::new(3, 0);
        let mut permits: Vec<_> = (0..3)
            .map(|_| known(&all, &organization("a")).unwrap())
            .collect();
        for _ in 0..3 {
            assert!(all.enter().is_none());
            drop(permits.remove(0));
            permits.push(known(&all, &organization("a")).unwrap());
        }
        drop(permits);
        assert_eq!(taken(&all), 0);
        assert!(all.lock().by_payer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn organization_beyond_its_share_keeps_none_from_others() {
        let all = Permits::new(100, 10);
        let held: Vec<_> = (0..10)
            .map(|_| known(&all, &organization("a")).unwrap())
            .collect();
        assert!(known(&all, &organization("a")).is_err());
        assert!(known(&all, &organization("b")).is_ok());
        drop(held);
        assert!(known(&all, &organization("a")).is_ok());
        assert_eq!(taken(&all), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn principal_at_half_of_the_share_leaves_the_rest() {
        let all = Permits::new(100, 10);
        let held: Vec<_> = (0..5)
            .map(|_| known(&all, &principal("1")).unwrap())
            .collect();
        // A response that its client has not read counts for the principal.
        held.iter().for_each(|permit| permit.answered());
        assert!(known(&all, &principal("1")).is_err());
        let colleagues: Vec<_> = (0..5)
            .map(|_| known(&all, &principal("2")).unwrap())
            .collect();
        assert!(known(&all, &principal("3")).is_err());
        drop(held);
        assert!(known(&all, &principal("1")).is_ok());
        drop(colleagues);
        assert!(all.lock().by_payer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn permits_of_many_principals_are_bounded_together() {
        let all = Permits::new(100, 10);
        let held: Vec<_> = (0..10_000)
            .filter_map(|number| known(&all, &principal(&number.to_string())).ok())
            .collect();
        assert_eq!(held.len(), 10);
        drop(held);
        assert!(all.lock().by_payer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn services_take_the_reserve_when_others_have_the_rest() {
        let all = Permits::new(100, 0);
        let mut held: Vec<_> = (0..90)
            .map(|_| known(&all, &organization("a")).unwrap())
            .collect();
        assert!(known(&all, &organization("b")).is_err());
        held.extend((0..10).map(|_| known(&all, &service()).unwrap()));
        assert!(known(&all, &service()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_waits_outside_holds_no_permit() {
        let all = Permits::new(1, 0);
        let permit = all.enter().unwrap();
        let (done, waiting) = tokio::sync::oneshot::channel::<()>();
        let call = tokio::spawn(with_permit(permit, async move {
            admit(&organization("a"))?;
            unoccupied(async { drop(waiting.await) }).await
        }));
        tokio::task::yield_now().await;
        let other = known(&all, &organization("b")).unwrap();
        done.send(()).unwrap();
        // It needs a permit again, and none is free.
        assert_eq!(call.await.unwrap(), Err(Overloaded));
        drop(other);
        assert_eq!(taken(&all), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_caller_continues_after_its_wait() {
        let all = Permits::new(1, 0);
        let permit = all.enter().unwrap();
        let (done, waiting) = tokio::sync::oneshot::channel::<()>();
        let call = tokio::spawn(with_permit(permit, async move {
            unoccupied(async { drop(waiting.await) }).await?;
            admit(&organization("a"))
        }));
        tokio::task::yield_now().await;
        let other = all.enter().unwrap();
        done.send(()).unwrap();
        assert_eq!(call.await.unwrap(), Ok(()));
        drop(other);
        assert_eq!(taken(&all), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_need_not_wait_keeps_its_permit() {
        let all = Permits::new(1, 0);
        let permit = all.enter().unwrap();
        let seen = Arc::clone(&all);
        let call = async move { unoccupied(async { taken(&seen) }).await };
        assert_eq!(with_permit(permit, call).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_gives_way_and_work_does_not() {
        let all = Permits::new(2, 0);
        let _working = known(&all, &organization("a")).unwrap();
        let reading = known(&all, &organization("a")).unwrap();
        reading.answered();
        tokio::time::advance(READ_TIMEOUT - SEARCH_INTERVAL).await;
        assert!(all.enter().is_none());
        tokio::time::advance(SEARCH_INTERVAL).await;
        let next = known(&all, &organization("a")).unwrap();
        assert!(all.enter().is_none());
        // The permit belongs to another call now.
        drop(reading);
        assert!(all.enter().is_none());
        drop(next);
        assert!(all.enter().is_some());
    }
}

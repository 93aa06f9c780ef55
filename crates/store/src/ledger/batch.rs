//! Applies changes of keys' accounts in batches, each of them one transaction.
//!
//! A caller adds its change to the queue and waits for the decision about it, which it gets after the commit. The
//! batches run in tasks of their own, so that a caller that disconnects affects no other one; its change is dropped if
//! its batch has not begun.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keyward_core::Error;
use keyward_core::policy::{Grant, Serve};
use keyward_crypto::KeyHash;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::change::{Change, Key, Outcome, PendingChange, Scope};
use super::locked_accounts::LockedAccounts;
use super::queue::Runner;
use crate::change_feed;
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::occupancy::unoccupied;
use crate::subject::Subject;
use crate::transaction::{Transaction, before_deadline};
use crate::{Store, deadline};

/// Name of a batch with changes of several kinds.
const MIXED: &str = "change_accounts";

/// Decision about a change; `None` if another transaction has locked its key.
type Decision = Option<Result<Outcome, Error>>;

impl Store {
    /// Applies a change of a key's account in the next batch.
    pub(super) async fn change_account(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        change: Change,
    ) -> Result<Outcome, Error> {
        let waiter = match self.key_queue.join(hash) {
            Ok(waiter) => waiter,
            // Callers that gave up may have the slots.
            Err(_) => {
                self.ledger_queue.drop_abandoned();
                self.key_queue.join(hash)?
            }
        };
        let (decided, decision) = oneshot::channel();
        let item = PendingChange {
            hash: *hash,
            scope: Scope::of(grant),
            change,
            until: deadline::current(),
            decided,
            span: Span::current(),
            waiter,
        };
        let waiting = async move {
            if let Some(runner) = self.ledger_queue.push(item) {
                self.start(runner);
            }
            let decision = decision.await;
            decision.unwrap_or_else(|_| Err(Error::unavailable("the batch was broken off")))
        };
        let decision = unoccupied(before_deadline(async { Ok(waiting.await?) })).await;
        decision.map_err(|failure| match failure {
            Failure::Rejected(error) => error,
            _ => Error::internal("a wait failed in the database"),
        })
    }

    /// Runs the next batch of a runner, and then those that follow, in a task of its own.
    fn start(&self, runner: Runner) {
        let batch = self.ledger_queue.next(runner);
        let Some(first) = batch.first() else {
            return;
        };
        let span = first.span.clone();
        let next = Next {
            store: self.clone(),
            runner,
        };
        let running = async move {
            next.store.run_batch(batch, runner).await;
        };
        tokio::spawn(running.instrument(span));
    }

    async fn run_batch(&self, batch: Vec<PendingChange>, runner: Runner) {
        let Undecided { mut failed, locked } = self.apply(batch, runner).await;
        self.set_apart(locked);
        // One of the changes may be at fault, so each is applied alone.
        while !failed.is_empty() {
            let item = failed.remove(0);
            let key = item.key();
            let Undecided { mut locked, .. } = self.apply(vec![item], runner).await;
            if !locked.is_empty() {
                // The key's other changes follow this one.
                locked.extend(failed.extract_if(.., |other| other.key() == key));
                self.set_apart(locked);
            }
        }
    }

    /// Applies changes in one transaction.
    async fn apply(&self, mut batch: Vec<PendingChange>, runner: Runner) -> Undecided {
        // A caller that gave up while it waited changes nothing.
        batch.retain(|item| !item.is_abandoned());
        let Some(first) = batch.first() else {
            return Undecided::default();
        };
        let name = first.change.name();
        let is_mixed = batch.iter().any(|item| item.change.name() != name);
        let name = if is_mixed { MIXED } else { name };
        let until = batch.iter().map(|item| item.until).reduce(latest).flatten();
        let skips_locked = matches!(runner, Runner::Lane(_));
        let (items, parent) = (&batch, &Span::current());
        let work = |txn: Transaction| async move {
            link(items, parent);
            decide(self, &txn, items, skips_locked).await
        };
        let locks = self.writer_lock.clone();
        let writing = self.write_through(locks.as_slice(), name, work);
        let outcome = match until {
            Some(until) => deadline::scope(until, writing).await,
            None => writing.await,
        };
        let mut undecided = Undecided::default();
        match outcome {
            Ok(decisions) => undecided.locked = report(batch, decisions),
            Err(Error::Internal(_)) if batch.len() > 1 => undecided.failed = batch,
            Err(error) => report_failure(batch, error),
        }
        undecided
    }

    /// Lets the changes of locked keys wait apart from their lane.
    fn set_apart(&self, locked: Vec<PendingChange>) {
        let mut by_key: HashMap<Key, Vec<PendingChange>> = HashMap::new();
        for item in locked {
            by_key.entry(item.key()).or_default().push(item);
        }
        for (key, items) in by_key {
            let runner = self.ledger_queue.set_apart(key, items);
            self.start(runner);
        }
    }
}

/// Changes without a decision after a transaction.
#[derive(Default)]
struct Undecided {
    /// Changes that failed together, and may succeed alone.
    failed: Vec<PendingChange>,
    /// Changes of keys that another transaction has locked.
    locked: Vec<PendingChange>,
}

/// Starts the next batch of a runner when this is dropped, even if the batch before panicked.
struct Next {
    store: Store,
    runner: Runner,
}

impl Drop for Next {
    fn drop(&mut self) {
        // `tokio::spawn` panics outside a runtime, for example while the process ends.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.store.start(self.runner);
        }
    }
}

/// Decides about the changes one after the other, under the locks of their keys, and writes the rows of those that are
/// applied.
async fn decide(
    store: &Store,
    txn: &Txn,
    items: &[PendingChange],
    skips_locked: bool,
) -> Result<Vec<Decision>, Failure> {
    let (mut accounts, now) = LockedAccounts::open(txn, &store.time, items, skips_locked).await?;
    let mut decisions = Vec::with_capacity(items.len());
    for item in items {
        let decision = match accounts.key(&item.hash) {
            Some(key) if item.covers(key) => {
                let key = key.id;
                Some(rejected(accounts.apply(key, &item.change, now).await)?)
            }
            None if skips_locked => None,
            _ => Some(Err(Error::NotFound(item.change.noun()))),
        };
        decisions.push(decision);
    }
    accounts.write().await?;
    let mut changed = BTreeMap::new();
    for (item, decision) in items.iter().zip(&decisions) {
        if matches!(decision, Some(Ok(_)))
            && let Some(key) = accounts.key(&item.hash)
        {
            changed.entry(key.id).or_insert_with(|| {
                let subject = Subject::Account(item.hash);
                (key.organization_id.clone(), subject)
            });
        }
    }
    let changed: Vec<_> = changed.into_values().collect();
    change_feed::append_accounts(txn, &changed).await?;
    Ok(decisions)
}

/// Sends the decisions to the callers. Returns the changes that have none.
fn report(batch: Vec<PendingChange>, decisions: Vec<Decision>) -> Vec<PendingChange> {
    let mut locked = Vec::new();
    for (item, decision) in batch.into_iter().zip(decisions) {
        match decision {
            Some(decision) => item.answer(decision),
            None => locked.push(item),
        }
    }
    locked
}

/// Separates the rejection of one change from a failure of the transaction. An internal error fails the transaction,
/// because the accounts may be incomplete then.
fn rejected(outcome: Result<Outcome, Failure>) -> Result<Result<Outcome, Error>, Failure> {
    match outcome {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(Failure::Rejected(error)) if !matches!(error, Error::Internal(_)) => Ok(Err(error)),
        Err(failure) => Err(failure),
    }
}

/// Links the span of the transaction to those of the callers, except the one whose span is its parent.
fn link(items: &[PendingChange], parent: &Span) {
    let current = Span::current();
    for item in items.iter().filter(|item| item.span.id() != parent.id()) {
        current.follows_from(&item.span);
    }
}

fn latest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.zip(other).map(|(one, other)| one.max(other))
}

/// Failure of a transaction, which several callers get.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the transaction of several changes failed")]
struct BatchFailed(#[source] Arc<Error>);

fn report_failure(batch: Vec<PendingChange>, error: Error) {
    let error = Arc::new(error);
    for item in batch {
        let error = match &*error {
            Error::DeadlineExceeded => Error::DeadlineExceeded,
            Error::Internal(_) => Error::internal(BatchFailed(Arc::clone(&error))),
            _ => Error::unavailable(BatchFailed(Arc::clone(&error))),
        };
        item.answer(Err(error));
    }
}

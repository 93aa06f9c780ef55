//! Accounts of callers: the times at which their calls are paid for.

use std::collections::HashMap;
use std::time::Duration;

use keyward_throttle::{Owner, Payer};
use tokio::time::Instant;

/// Maximum pause before a connection is read. Callers that owe more are read no later.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Minimum time between two removals of paid accounts, or of expired addresses.
pub(super) const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);
/// Rate of an organization, as a multiple of the rate of one of its principals.
const ORGANIZATION: u32 = 2;
/// Maximum number of owners with their own account; further owners share one.
pub(super) const MAX_OWNERS: usize = 10_000;
/// Maximum number of principals with their own account, in total and of one organization; further principals of an
/// organization share one.
pub(super) const MAX_PRINCIPALS: usize = 10_000;
pub(super) const MAX_PRINCIPALS_PER_ORGANIZATION: usize = 100;

/// Accounts of all callers.
pub(super) struct Accounts {
    pub(super) owners: HashMap<Owner, Account>,
    /// Account of all owners that have none of their own.
    others: Account,
    /// Number of accounts of principals.
    pub(super) principals: usize,
    removed: Instant,
}

/// Account of an owner.
pub(super) struct Account {
    /// Time at which its calls are paid for.
    paid: Instant,
    principals: HashMap<String, PrincipalAccount>,
    /// Account of all principals that have none of their own.
    others: PrincipalAccount,
}

/// Account of a principal.
#[derive(Clone, Copy)]
struct PrincipalAccount {
    /// Time at which its calls are paid for.
    paid: Instant,
    /// The same for the calls within its rate, which are charged to its organization.
    shared: Instant,
}

/// Charge, or refund, at one moment.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) now: Instant,
    pub(super) cost: Duration,
    pub(super) is_refund: bool,
}

impl Accounts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            owners: HashMap::new(),
            others: Account::new(now),
            principals: 0,
            removed: now,
        }
    }

    /// Charges a caller, and its organization for what is within the caller's rate. Returns the larger debt.
    pub(super) fn charge(&mut self, payer: &Payer, change: Change, credit: Duration) -> Duration {
        let now = change.now;
        if self.removed + REMOVAL_INTERVAL <= now && self.is_crowded(payer.owner()) {
            self.remove_paid(now);
        }
        let is_full = self.owners.len() >= MAX_OWNERS && !self.owners.contains_key(payer.owner());
        let account = match is_full {
            true => &mut self.others,
            false => {
                (self.owners.entry(payer.owner().clone())).or_insert_with(|| Account::new(now))
            }
        };
        let Some(name) = payer.principal().filter(|_| !is_full) else {
            change.apply(&mut account.paid, credit + MAX_PAUSE);
            return account.paid.saturating_duration_since(now);
        };
        let principals = account.principals.len();
        let is_full =
            principals >= MAX_PRINCIPALS_PER_ORGANIZATION || self.principals >= MAX_PRINCIPALS;
        let principal = match account.principals.contains_key(name) {
            false if is_full => &mut account.others,
            _ => (account.principals.entry(name.to_owned())).or_insert_with(|| {
                self.principals += 1;
                PrincipalAccount::new(now)
            }),
        };
        let own = Change {
            cost: change.cost * ORGANIZATION,
            ..change
        };
        own.apply(&mut principal.paid, credit + MAX_PAUSE);
        let cost = own.apply(&mut principal.shared, credit) / ORGANIZATION;
        Change { cost, ..change }.apply(&mut account.paid, credit + MAX_PAUSE);
        let paid = principal.paid.max(account.paid);
        paid.saturating_duration_since(now)
    }

    /// Returns true if many accounts are in use, or if this owner has no account for a further principal.
    fn is_crowded(&self, owner: &Owner) -> bool {
        let own = self.owners.get(owner);
        self.owners.len().max(self.principals) >= MAX_OWNERS / 8
            || own.is_some_and(|it| it.principals.len() >= MAX_PRINCIPALS_PER_ORGANIZATION)
    }

    /// Removes the accounts of callers that owe nothing.
    fn remove_paid(&mut self, now: Instant) {
        self.removed = now;
        self.principals = 0;
        self.owners.retain(|_, account| {
            account.principals.retain(|_, it| it.paid > now);
            self.principals += account.principals.len();
            account.paid > now || account.others.paid > now || !account.principals.is_empty()
        });
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            paid: now,
            principals: HashMap::new(),
            others: PrincipalAccount::new(now),
        }
    }
}

impl PrincipalAccount {
    fn new(now: Instant) -> Self {
        Self {
            paid: now,
            shared: now,
        }
    }
}

impl Change {
    /// Returns a change with a part of the cost.
    pub(super) fn divided_by(self, parts: u32) -> Self {
        let cost = self.cost / parts;
        Self { cost, ..self }
    }

    /// Changes the time at which calls are paid for, to at most `max` from now. Returns the difference.
    pub(super) fn apply(self, paid: &mut Instant, max: Duration) -> Duration {
        let before = (*paid).max(self.now);
        *paid = match self.is_refund {
            true => before
                .checked_sub(self.cost)
                .unwrap_or(self.now)
                .max(self.now),
            false => (before + self.cost).min(self.now + max),
        };
        match self.is_refund {
            true => before.saturating_duration_since(*paid),
            false => paid.saturating_duration_since(before),
        }
    }
}

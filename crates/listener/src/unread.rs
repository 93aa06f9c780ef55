//! Bounds the memory of responses that clients have not read: for each principal of an organization, for each
//! owner, for each class of owners, and so for the process. When a response does not fit, the oldest responses
//! of its own principal are shed, then those of the principal that has most of its own organization, then those of
//! its own class. A client that reads its responses is not affected.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use keyward_throttle::{Owner, Payer, principal_share};

/// Charge for a call whose response waits, in addition to the bytes of its body: the structures of HTTP/2, the
/// task, headers and the span. `tests/load/attacks` measures it.
const CALL_BYTES: usize = 8 * 1024;

/// Owners that share a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    index: usize,
    /// Divisors of the total that give the maximum of all its owners together and of a single owner.
    whole_over_class: usize,
    whole_over_owner: usize,
}

const CLASSES: usize = 3;
const ADDRESSES: Class = Class {
    index: 0,
    whole_over_class: 4,
    whole_over_owner: 32,
};
const ORGANIZATIONS: Class = Class {
    index: 1,
    whole_over_class: 2,
    whole_over_owner: 4,
};
const SERVICES: Class = Class {
    index: 2,
    whole_over_class: 4,
    whole_over_owner: 4,
};

fn class_of(owner: &Owner) -> Class {
    match owner {
        Owner::Address(_) => ADDRESSES,
        Owner::Organization(_) => ORGANIZATIONS,
        Owner::Service(_) => SERVICES,
    }
}

/// Connection whose responses can be shed.
pub(crate) trait Shed: Send + Sync {
    /// Sheds the response of a call that the client has not read.
    fn shed(&self, call: u64);
}

/// All responses that wait for their clients.
pub(crate) struct UnreadResponses {
    max_bytes: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    responses: HashMap<u64, Entry>,
    owners: HashMap<Owner, OwnerAccount>,
    /// Responses of each class, oldest first, and their bytes.
    classes: [Account; CLASSES],
}

#[derive(Default)]
struct Account {
    bytes: usize,
    responses: BTreeSet<u64>,
}

/// Responses of an owner, and those of each of its principals.
#[derive(Default)]
struct OwnerAccount {
    all: Account,
    principals: HashMap<Arc<str>, Account>,
    /// The principals by their bytes.
    by_bytes: BTreeSet<(usize, Arc<str>)>,
}

struct Entry {
    payer: Payer,
    bytes: usize,
    connection: Weak<dyn Shed>,
    call: u64,
}

/// Charge for a response, released on drop.
pub(crate) struct UnreadCharge {
    unread: Arc<UnreadResponses>,
    number: u64,
}

impl UnreadResponses {
    /// Bounds the bytes of all responses together.
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            table: Mutex::default(),
        })
    }

    /// Charges a response with a body of this number of bytes, and sheds older ones if it does not fit.
    pub(crate) fn charge(
        self: &Arc<Self>,
        payer: Payer,
        body_bytes: usize,
        connection: Weak<dyn Shed>,
        call: u64,
    ) -> UnreadCharge {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.insert(
            number,
            Entry {
                payer: payer.clone(),
                bytes: body_bytes.saturating_add(CALL_BYTES),
                connection,
                call,
            },
        );
        let mut shed = Vec::new();
        while let Some(oldest) = table.excess(&payer, number, self.max_bytes) {
            shed.extend(table.remove(oldest));
        }
        drop(table);
        for entry in shed {
            if let Some(connection) = entry.connection.upgrade() {
                connection.shed(entry.call);
            }
        }
        UnreadCharge {
            unread: Arc::clone(self),
            number,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes charged now.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.table().classes.iter().map(|class| class.bytes).sum()
    }
}

impl Table {
    fn insert(&mut self, number: u64, entry: Entry) {
        let owner = entry.payer.owner();
        self.classes[class_of(owner).index].add(number, entry.bytes);
        let owner = self.owners.entry(owner.clone()).or_default();
        owner.all.add(number, entry.bytes);
        if let Some(principal) = entry.payer.principal() {
            owner.change(principal, |account| account.add(number, entry.bytes));
        }
        self.responses.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.responses.remove(&number)?;
        let owner = entry.payer.owner();
        self.classes[class_of(owner).index].subtract(number, entry.bytes);
        if let Some(account) = self.owners.get_mut(owner) {
            account.all.subtract(number, entry.bytes);
            if let Some(principal) = entry.payer.principal() {
                account.change(principal, |account| account.subtract(number, entry.bytes));
            }
            if account.all.responses.is_empty() {
                self.owners.remove(owner);
            }
        }
        Some(entry)
    }

    /// Returns the oldest response of an account that exceeds its bound, besides the `newest`.
    fn excess(&self, payer: &Payer, newest: u64, max_bytes: usize) -> Option<u64> {
        let class = class_of(payer.owner());
        let max_of_class = max_bytes / class.whole_over_class;
        let max_of_owner = max_bytes / class.whole_over_owner;
        let of_owner = self.owners.get(payer.owner());
        let of_owner = of_owner.and_then(|it| it.excess(payer, newest, max_of_owner));
        of_owner.or_else(|| self.classes[class.index].excess(newest, max_of_class))
    }
}

impl OwnerAccount {
    /// Changes the account of a principal.
    fn change(&mut self, principal: &str, change: impl FnOnce(&mut Account)) {
        let (name, mut account) = (self.principals.remove_entry(principal))
            .unwrap_or_else(|| (principal.into(), Account::default()));
        self.by_bytes.remove(&(account.bytes, Arc::clone(&name)));
        change(&mut account);
        if !account.responses.is_empty() {
            self.by_bytes.insert((account.bytes, Arc::clone(&name)));
            self.principals.insert(name, account);
        }
    }

    fn excess(&self, payer: &Payer, newest: u64, max_bytes: usize) -> Option<u64> {
        let Some(principal) = payer.principal() else {
            return self.all.excess(newest, max_bytes);
        };
        let own = self.principals.get(principal);
        own.and_then(|own| own.excess(newest, principal_share(max_bytes)))
            .or_else(|| {
                if self.all.bytes <= max_bytes {
                    return None;
                }
                let most_first = self.by_bytes.iter().rev();
                let mut accounts = most_first.filter_map(|(_, name)| self.principals.get(name));
                accounts.find_map(|account| account.oldest(newest))
            })
    }
}

impl Account {
    fn add(&mut self, number: u64, bytes: usize) {
        self.bytes += bytes;
        self.responses.insert(number);
    }

    fn subtract(&mut self, number: u64, bytes: usize) {
        self.bytes -= bytes;
        self.responses.remove(&number);
    }

    /// Returns the oldest response besides the `newest`.
    fn oldest(&self, newest: u64) -> Option<u64> {
        self.responses.first().filter(|it| **it != newest).copied()
    }

    fn excess(&self, newest: u64, max_bytes: usize) -> Option<u64> {
        self.oldest(newest).filter(|_| self.bytes > max_bytes)
    }
}

impl Drop for UnreadCharge {
    fn drop(&mut self) {
        self.unread.table().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::activity::Activity;

    const WHOLE: usize = 64 * 1024 * 1024;

    fn address(last: u8) -> Payer {
        Owner::Address([127, 0, 0, last].into()).into()
    }

    fn organization() -> Payer {
        Owner::Organization("o".to_owned()).into()
    }

    fn principal(name: &str) -> Payer {
        Payer::principal_of("o".to_owned(), name.to_owned())
    }

    #[tokio::test]
    async fn unread_answers_of_one_owner_are_bounded() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        let connection = || Arc::downgrade(&activity) as Weak<dyn Shed>;
        for (owner, parts) in [
            (address(1), 32),
            (organization(), 4),
            (principal("p"), 8),
            (Owner::Service("s".to_owned()).into(), 4),
        ] {
            let held: Vec<UnreadCharge> = (0..10_000)
                .map(|call| unread.charge(owner.clone(), 100, connection(), call))
                .collect();
            let most = WHOLE / parts;
            assert!(unread.bytes() <= most && unread.bytes() > most / 2);
            drop(held);
            assert_eq!(unread.bytes(), 0);
        }
        assert!(unread.table().owners.is_empty());
    }

    #[tokio::test]
    async fn unread_answers_of_many_addresses_are_bounded_together() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        let connection = || Arc::downgrade(&activity) as Weak<dyn Shed>;
        let mine = unread.charge(organization(), 0, connection(), 0);
        let held: Vec<UnreadCharge> = (0..20_000)
            .map(|call| unread.charge(address((call % 100) as u8), 100, connection(), call))
            .collect();
        assert!(unread.bytes() <= WHOLE / 4 + CALL_BYTES);
        // The responses of other owners are not shed for this one.
        assert!(unread.table().responses.contains_key(&mine.number));
        drop(held);
    }

    #[tokio::test]
    async fn a_large_answer_sheds_older_ones_and_stays() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        let connection = || Arc::downgrade(&activity) as Weak<dyn Shed>;
        let small = unread.charge(organization(), 0, connection(), 0);
        let large = unread.charge(organization(), WHOLE, connection(), 1);
        let table = unread.table();
        assert!(!table.responses.contains_key(&small.number));
        assert!(table.responses.contains_key(&large.number));
    }

    #[tokio::test]
    async fn principal_with_most_makes_room_for_its_colleagues() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        let charge = |name: &str, bytes: usize| {
            let connection = Arc::downgrade(&activity) as Weak<dyn Shed>;
            unread.charge(principal(name), bytes, connection, 0)
        };
        let first = charge("small", 0);
        let share = WHOLE / 4;
        let much: Vec<_> = (0..2).map(|_| charge("much", share / 5)).collect();
        let more: Vec<_> = (0..3).map(|_| charge("more", share / 7)).collect();
        // The organization is full: the response of a colleague fits in the place of the oldest of "more".
        let last = charge("late", share / 5);
        let holds = |it: &UnreadCharge| unread.table().responses.contains_key(&it.number);
        assert!(holds(&first) && holds(&last) && much.iter().all(holds));
        assert!(!holds(&more[0]) && holds(&more[1]) && holds(&more[2]));
        assert!(unread.bytes() <= share);
    }

    #[tokio::test]
    async fn unread_answers_of_many_principals_are_bounded_together() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        for bytes in [100, WHOLE / 8] {
            let held: Vec<UnreadCharge> = (0..10_000)
                .map(|number: u32| {
                    let connection = Arc::downgrade(&activity) as Weak<dyn Shed>;
                    unread.charge(principal(&number.to_string()), bytes, connection, 0)
                })
                .collect();
            assert!(unread.bytes() <= WHOLE / 4);
            let tracked = |table: &Table| {
                let account = table.owners.values().next().unwrap();
                assert_eq!(account.principals.len(), account.by_bytes.len());
                (table.owners.len(), account.principals.len())
            };
            let (owners, principals) = tracked(&unread.table());
            assert!(owners == 1 && principals <= WHOLE / 4 / CALL_BYTES);
            drop(held);
            assert!(unread.table().owners.is_empty());
        }
    }
}

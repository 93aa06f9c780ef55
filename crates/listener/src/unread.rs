//! Bounds the memory of responses that clients have not read: for each owner, for each class of owners, and so
//! for the process. When a response does not fit, the oldest responses of its own owner, then of its own class,
//! are shed. A client that reads its responses is not affected.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use keyward_throttle::Owner;

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
    owners: HashMap<Owner, Account>,
    /// Responses of each class, oldest first, and their bytes.
    classes: [Account; CLASSES],
}

#[derive(Default)]
struct Account {
    bytes: usize,
    responses: BTreeSet<u64>,
}

struct Entry {
    owner: Owner,
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
        owner: Owner,
        body_bytes: usize,
        connection: Weak<dyn Shed>,
        call: u64,
    ) -> UnreadCharge {
        let class = class_of(&owner);
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.insert(
            number,
            Entry {
                owner: owner.clone(),
                bytes: body_bytes.saturating_add(CALL_BYTES),
                connection,
                call,
            },
        );
        let mut shed = Vec::new();
        while let Some(oldest) = table.excess(&owner, class, self.max_bytes) {
            if oldest == number {
                break;
            }
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
        let class = &mut self.classes[class_of(&entry.owner).index];
        let owner = self.owners.entry(entry.owner.clone()).or_default();
        for account in [class, owner] {
            account.bytes += entry.bytes;
            account.responses.insert(number);
        }
        self.responses.insert(number, entry);
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.responses.remove(&number)?;
        let class = &mut self.classes[class_of(&entry.owner).index];
        class.bytes -= entry.bytes;
        class.responses.remove(&number);
        if let Some(owner) = self.owners.get_mut(&entry.owner) {
            owner.bytes -= entry.bytes;
            owner.responses.remove(&number);
            if owner.responses.is_empty() {
                self.owners.remove(&entry.owner);
            }
        }
        Some(entry)
    }

    /// Returns the oldest response of an account that exceeds its bound.
    fn excess(&self, owner: &Owner, class: Class, max_bytes: usize) -> Option<u64> {
        let over = |account: &Account, parts: usize| {
            let is_over = account.bytes > max_bytes / parts;
            account.responses.first().filter(|_| is_over).copied()
        };
        let own = self.owners.get(owner);
        own.and_then(|own| over(own, class.whole_over_owner))
            .or_else(|| over(&self.classes[class.index], class.whole_over_class))
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

    fn address(last: u8) -> Owner {
        Owner::Address([127, 0, 0, last].into())
    }

    #[tokio::test]
    async fn unread_answers_of_one_owner_are_bounded() {
        let unread = UnreadResponses::new(WHOLE);
        let activity = Activity::new(Instant::now());
        let connection = || Arc::downgrade(&activity) as Weak<dyn Shed>;
        for (owner, parts) in [
            (address(1), 32),
            (Owner::Organization("o".to_owned()), 4),
            (Owner::Service("s".to_owned()), 4),
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
        let mine = unread.charge(Owner::Organization("o".to_owned()), 0, connection(), 0);
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
        let owner = || Owner::Organization("o".to_owned());
        let small = unread.charge(owner(), 0, connection(), 0);
        let large = unread.charge(owner(), WHOLE, connection(), 1);
        let table = unread.table();
        assert!(!table.responses.contains_key(&small.number));
        assert!(table.responses.contains_key(&large.number));
    }
}

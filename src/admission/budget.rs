//! Memory budget for requests whose bodies are being read, shared by the process. Each owner has a share of it,
//! a principal half of its organization's, and a part is reserved for internal services: if a caller sends slow,
//! large or many bodies, its further requests are rejected, and other callers are not affected.
//!
//! Responses that wait for their clients have their own budget (in `keyward_listener`), since those are not
//! rejected but shed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_core::principal::{Actor, Principal};
use keyward_throttle::{Owner, Payer, PayerCounts};

/// Returns the caller that the calls of a principal are charged to.
pub(crate) fn payer_of(principal: &Principal) -> Payer {
    let organization = match principal {
        Principal::Service(name) => return Owner::Service(name.0.clone()).into(),
        Principal::User(member) => &member.organization,
        Principal::IssuedKey { organization, .. }
        | Principal::ManagementKey { organization, .. } => organization,
    };
    let Actor { kind, id } = principal.actor();
    Payer::principal_of(organization.to_string(), format!("{kind} {id}"))
}

/// Divisor of the total that gives the share of an owner that is not a service.
const WHOLE_PER_OWNER: usize = 4;
/// Divisor of the total that gives the reserve of internal services.
const WHOLE_PER_RESERVE: usize = 4;

/// Bytes drawn by callers.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: usize,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    all: usize,
    by_payer: PayerCounts,
}

/// Bytes that a request has drawn, returned on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    payer: Payer,
    bytes: usize,
}

impl Budget {
    /// Returns a budget of `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            drawn: Mutex::default(),
        })
    }

    /// Returns an empty charge to a caller.
    pub(crate) fn charge(self: &Arc<Self>, payer: Payer) -> Charge {
        Charge {
            budget: Arc::clone(self),
            payer,
            bytes: 0,
        }
    }

    /// Returns the maximum of this owner, and of all owners together when this owner draws.
    fn bounds(&self, owner: &Owner) -> (usize, usize) {
        let max = self.max_bytes;
        let unreserved = max - max / WHOLE_PER_RESERVE;
        match owner {
            Owner::Address(_) | Owner::Organization(_) => (max / WHOLE_PER_OWNER, unreserved),
            Owner::Service(_) => (max, max),
        }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge {
    /// Returns the drawn bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Draws more. Returns false, and draws nothing, if that exceeds the caller's share or the budget.
    #[must_use]
    pub(crate) fn draw(&mut self, bytes: usize) -> bool {
        let (share, all) = self.budget.bounds(self.payer.owner());
        let mut drawn = self.budget.drawn();
        let has_share = drawn.by_payer.has_room(&self.payer, bytes, share);
        if !has_share || drawn.all.saturating_add(bytes) > all {
            return false;
        }
        drawn.all += bytes;
        drawn.by_payer.add(&self.payer, bytes);
        self.bytes += bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut drawn = self.budget.drawn();
        drawn.all -= self.bytes;
        drawn.by_payer.subtract(&self.payer, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use keyward_core::id::{OrganizationId, WorkspaceId};
    use keyward_crypto::KeyHash;
    use keyward_testkit::fixtures;

    use super::*;

    fn organization(name: &str) -> Payer {
        Owner::Organization(name.to_owned()).into()
    }

    fn principal(organization: &str, name: &str) -> Payer {
        Payer::principal_of(organization.to_owned(), name.to_owned())
    }

    #[test]
    fn principal_beyond_half_of_the_share_leaves_the_rest() {
        let budget = Budget::new(1024);
        let mut first = budget.charge(principal("a", "1"));
        assert!(first.draw(128) && !first.draw(1));
        assert!(!budget.charge(principal("a", "1")).draw(1));
        let mut second = budget.charge(principal("a", "2"));
        assert!(second.draw(128) && !second.draw(1));
        assert!(!budget.charge(principal("a", "3")).draw(1));
        assert!(budget.charge(principal("b", "1")).draw(128));
        drop((first, second));
        assert!(budget.drawn().by_payer.is_empty());
    }

    #[test]
    fn principals_of_every_kind_are_charged_apart() {
        let organization = OrganizationId::parse("org-1").unwrap();
        let hash = KeyHash::from_bytes([1; 32]);
        let workspace = WorkspaceId::parse("w").unwrap();
        let principals = [
            Principal::User(fixtures::member("org-1", "u1", &[])),
            Principal::User(fixtures::member("org-1", "u2", &[])),
            Principal::IssuedKey {
                hash,
                organization: organization.clone(),
                workspace,
            },
            Principal::ManagementKey { hash, organization },
        ];
        let payers: HashSet<Payer> = principals.iter().map(payer_of).collect();
        assert_eq!(payers.len(), principals.len());
        let owner = Owner::Organization("org-1".to_owned());
        assert!(payers.iter().all(|payer| *payer.owner() == owner));
    }

    #[test]
    fn owner_beyond_its_share_draws_nothing_more() {
        let budget = Budget::new(1024);
        let mut first = budget.charge(organization("a"));
        let mut second = budget.charge(organization("a"));
        assert!(first.draw(200) && second.draw(56));
        assert!(!second.draw(1));
        let mut other = budget.charge(organization("b"));
        assert!(other.draw(256));
        drop(first);
        assert!(second.draw(200));
    }

    #[test]
    fn services_draw_the_reserve_when_others_have_drawn_the_rest() {
        let budget = Budget::new(1024);
        let mut all = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let mut charge = budget.charge(organization(name));
            assert_eq!(charge.draw(256), name != "d");
            all.push(charge);
        }
        let mut service = budget.charge(Owner::Service("gateway".to_owned()).into());
        assert!(service.draw(256));
        assert!(!service.draw(1));
    }

    #[test]
    fn charges_that_are_dropped_leave_nothing() {
        let budget = Budget::new(1 << 20);
        for last in 0..=255 {
            let mut charge = budget.charge(Owner::Address([127, 0, 0, last].into()).into());
            assert!(charge.draw(1 << 18) && !charge.draw(1));
        }
        let drawn = budget.drawn();
        assert!(drawn.all == 0 && drawn.by_payer.is_empty());
    }
}

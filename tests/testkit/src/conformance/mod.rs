//! Guarantees of every store. Each function tests one guarantee on an empty database.
//!
//! [`crate::conformance_tests`] generates a test for each.

pub mod audit;
pub mod audit_trail;
pub mod holding;
pub mod issued_key;
pub mod ledger;
pub mod ledger_race;
pub mod link;
pub mod management_key;
pub mod member;
pub mod organization;
pub mod provider_key;
pub mod race;
pub mod repo;
pub mod repo_ai_key;
pub mod reservation;
pub mod vault;
pub mod workspace;

use std::future::Future;
use std::sync::Arc;

use keyward_core::Error;
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::ports::{
    AuditStore, DataKeyStore, DirectoryStore, IssuedKeyStore, LedgerStore, ManagementKeyStore,
    ProviderKeyStore, RepoAiKeyStore, StoreHealth,
};
use tokio::sync::Barrier;

use crate::{ManualClock, TestDatabase};

/// All stores.
pub trait Stores:
    DirectoryStore
    + DataKeyStore
    + ProviderKeyStore
    + RepoAiKeyStore
    + IssuedKeyStore
    + ManagementKeyStore
    + LedgerStore
    + AuditStore
    + StoreHealth
    + Send
    + Sync
    + 'static
{
}

impl<S> Stores for S where
    S: DirectoryStore
        + DataKeyStore
        + ProviderKeyStore
        + RepoAiKeyStore
        + IssuedKeyStore
        + ManagementKeyStore
        + LedgerStore
        + AuditStore
        + StoreHealth
        + Send
        + Sync
        + 'static
{
}

/// A store on its own database.
pub struct Fixture<S> {
    /// The store, with the current schema.
    pub store: Arc<S>,
    /// Clock that the store reads, at [`crate::fixtures::NOON`] until a test sets it.
    pub clock: Arc<ManualClock>,
    /// Database of the store, for direct access.
    pub database: TestDatabase,
}

/// The store as one of its traits, where several traits have a method of the same name.
impl<S: Stores> Fixture<S> {
    /// Returns the store of provider keys.
    #[must_use]
    pub fn provider_keys(&self) -> Arc<dyn ProviderKeyStore> {
        self.store.clone()
    }

    /// Returns the store of repo AI keys.
    #[must_use]
    pub fn repo_ai_keys(&self) -> Arc<dyn RepoAiKeyStore> {
        self.store.clone()
    }

    /// Returns the store of issued keys.
    #[must_use]
    pub fn issued_keys(&self) -> Arc<dyn IssuedKeyStore> {
        self.store.clone()
    }

    /// Returns the ledger.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn LedgerStore> {
        self.store.clone()
    }

    /// Returns the store of management keys.
    #[must_use]
    pub fn management_keys(&self) -> Arc<dyn ManagementKeyStore> {
        self.store.clone()
    }
}

/// Reads a list in pages of two, so that every test of a list also tests its pages.
async fn all_pages<T, R>(page: impl Fn(PageRequest<Position>) -> R) -> Vec<T>
where
    R: Future<Output = Result<Page<T>, Error>>,
{
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = page(PageRequest { limit: 2, after }).await.unwrap();
        assert!(page.items.len() <= 2);
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(Position::from_sort_key(&next).unwrap()),
            None => return items,
        }
    }
}

/// Runs the calls concurrently.
async fn at_once<T, R>(calls: impl IntoIterator<Item = R>) -> Vec<T>
where
    T: Send + 'static,
    R: Future<Output = T> + Send + 'static,
{
    let calls: Vec<R> = calls.into_iter().collect();
    let barrier = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                call.await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Asserts that an error matches a pattern.
macro_rules! assert_rejected {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            Err(error) => panic!("{} failed otherwise: {error:?}", stringify!($result)),
            Ok(_) => panic!("{} succeeded", stringify!($result)),
        }
    };
}
use assert_rejected;

/// Returns true if the error is "not found".
fn is_not_found<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::NotFound(_)))
}

/// Generates a test of every guarantee. The argument is called for each and returns a future of `Option<Fixture<_>>`; a
/// test without a fixture is skipped.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:path) => {
        $crate::conformance_tests! { @module $fixture, audit:
            event_is_stored_whole
            rejected_change_leaves_no_event
            repeated_link_leaves_no_event
            deletion_of_a_workspace_names_its_organization
            repo_events_name_their_organization
            member_events_name_each_access
            directory_events_name_the_changes
        }
        $crate::conformance_tests! { @module $fixture, audit_trail:
            event_is_read_whole
            events_page_newest_first
            filters_hold_together
            pages_do_not_move
            old_events_expire
            old_events_expire_once
            replicas_advance_one_cutoff
        }
        $crate::conformance_tests! { @module $fixture, holding:
            repo_ai_key_holds_its_repo
            grant_reaches_no_namesake
            grant_seals_nothing_in_a_namesake
            grant_changes_no_key_of_a_namesake
            secret_of_replaced_data_keys_is_rejected
            provider_key_holds_its_workspace
            issued_key_holds_its_workspace
            management_key_holds_its_organization
        }
        $crate::conformance_tests! { @module $fixture, issued_key:
            key_is_stored_whole
            keys_are_listed_newest_first
            key_pages_are_stable
            grant_reaches_no_other_workspace
            key_is_located
            change_is_stored
            changes_leave_events
            changes_and_charges_are_not_lost
            deleted_key_is_found_by_nothing
            key_is_not_stored_in_a_deleted_workspace
            odd_text_survives
            last_use_is_noted_once_in_a_while
        }
        $crate::conformance_tests! { @module $fixture, ledger:
            charge_is_stored_whole
            charges_count_in_the_windows_of_their_day
            charge_counts_once
            grant_reaches_no_other_workspace
            deleted_key_is_charged
            charge_is_a_use
            sum_does_not_overflow
            roll_up_leaves_the_sums
        }
        $crate::conformance_tests! { @module $fixture, ledger_race:
            identical_charges_at_once_count_once
            identical_reservations_at_once_are_one
            limit_is_never_passed
            reservations_are_made_in_turn
            settling_and_releasing_exclude_each_other
            sums_agree
        }
        $crate::conformance_tests! { @module $fixture, link:
            links_are_counted
            key_is_deleted_unless_linked
            first_link_stays
            unlinking_is_idempotent
            links_page_by_kind_and_id
        }
        $crate::conformance_tests! { @module $fixture, management_key:
            key_is_stored_whole
            odd_text_survives
            keys_page_newest_first
            grant_reaches_no_other_organization
            key_needs_its_organization
            revoked_key_is_found_by_nothing
            use_is_noted_once_in_a_while
            simultaneous_uses_are_one_note
            events_follow_the_changes
            former_administrator_stores_nothing
        }
        $crate::conformance_tests! { @module $fixture, member:
            member_is_created_and_replaced
            member_needs_organization_and_workspaces
            members_page_in_byte_order
            member_pages_are_bounded_in_bytes
            member_is_deleted
        }
        $crate::conformance_tests! { @module $fixture, organization:
            organization_is_created_and_renamed
            organizations_page_in_byte_order
            organization_with_content_is_not_deleted
            odd_text_survives
        }
        $crate::conformance_tests! { @module $fixture, provider_key:
            key_is_stored_whole
            keys_are_listed_newest_first
            keys_are_listed_by_workspace_and_provider
            grant_reaches_no_other_workspace
            duplicate_is_rejected_within_a_workspace
            change_is_stored
            rejected_change_changes_nothing
            key_is_located
            key_is_not_stored_in_a_deleted_workspace
            odd_text_survives
            unbound_secrets_are_found_and_resealed
        }
        $crate::conformance_tests! { @module $fixture, race:
            identical_inserts_make_one_key
            link_and_delete_exclude_each_other
            changes_are_not_lost
            upserts_agree
            one_organization_gets_a_contested_workspace
            contested_name_is_taken_by_one_key
            repo_ai_key_is_deleted_once
        }
        $crate::conformance_tests! { @module $fixture, repo:
            repo_is_created_renamed_and_deleted
            repo_does_not_change_its_workspace
            repos_page_in_byte_order
            repo_with_live_keys_is_not_deleted
        }
        $crate::conformance_tests! { @module $fixture, repo_ai_key:
            key_is_stored_whole
            keys_are_listed_newest_first
            key_is_reached_through_its_repo_alone
            duplicate_name_is_rejected_within_a_repo
            key_is_renamed
            deleted_key_loses_its_secret
            key_is_not_stored_in_a_deleted_repo
            odd_text_survives
            events_follow_the_changes
        }
        $crate::conformance_tests! { @module $fixture, reservation:
            hold_counts_until_it_expires
            hold_counts_until_it_ends
            same_reservation_is_the_first
            ended_reservation_is_not_made_again
            reservation_is_settled_in_full
            settlement_finds_the_charge_that_was_recorded
            holds_do_not_overflow
            only_live_keys_are_reserved
        }
        $crate::conformance_tests! { @module $fixture, vault:
            data_keys_are_stored_per_workspace
            one_data_key_wins
            lost_data_keys_are_not_replaced
            every_kek_version_is_proven
            damaged_data_key_is_not_a_missing_kek
            forms_of_sealed_texts_are_fixed
            store_answers
        }
        $crate::conformance_tests! { @module $fixture, workspace:
            first_workspace_is_the_default
            default_moves_to_the_workspace_that_asks
            default_passes_to_no_other_workspace
            default_is_found_by_its_organization
            workspace_does_not_change_its_organization
            workspaces_page_in_byte_order
            workspace_with_content_is_not_deleted
            deleted_workspace_takes_data_keys_and_access
        }
    };
    (@module $fixture:path, $module:ident: $($guarantee:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $guarantee() {
                    if let Some(fixture) = $fixture().await {
                        $crate::conformance::$module::$guarantee(&fixture).await;
                    }
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    /// A guarantee that is missing in the list would never be tested.
    #[test]
    fn every_guarantee_is_listed() {
        let list = include_str!("mod.rs");
        for (module, source) in [
            ("audit", include_str!("audit.rs")),
            ("audit_trail", include_str!("audit_trail.rs")),
            ("holding", include_str!("holding.rs")),
            ("issued_key", include_str!("issued_key.rs")),
            ("ledger", include_str!("ledger.rs")),
            ("ledger_race", include_str!("ledger_race.rs")),
            ("link", include_str!("link.rs")),
            ("management_key", include_str!("management_key.rs")),
            ("member", include_str!("member.rs")),
            ("organization", include_str!("organization.rs")),
            ("provider_key", include_str!("provider_key.rs")),
            ("race", include_str!("race.rs")),
            ("repo", include_str!("repo.rs")),
            ("repo_ai_key", include_str!("repo_ai_key.rs")),
            ("reservation", include_str!("reservation.rs")),
            ("vault", include_str!("vault.rs")),
            ("workspace", include_str!("workspace.rs")),
        ] {
            let (_, listed) = list
                .split_once(&format!("@module $fixture, {module}:"))
                .unwrap();
            let (listed, _) = listed.split_once('}').unwrap();
            let listed: Vec<&str> = listed.split_whitespace().collect();
            let declared: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .map(|line| line.split_once('<').unwrap().0)
                .collect();
            assert_eq!(declared, listed, "the guarantees of {module}");
        }
    }
}

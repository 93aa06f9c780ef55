//! Ports to the storage: one trait for each type of resource, one method for each transaction.
//!
//! A method that changes data takes the audit event and stores it in the same transaction. A method that
//! fails has changed nothing. A method on a workspace takes a grant and accesses no other workspace.
//! Exceptions are documented at the method: the inputs of authentication and of the policy, and a check at
//! start-up.

mod audit;
mod data_key;
mod directory;
mod health;
mod issued_key;
mod ledger;
mod management_key;
mod provider_key;
mod repo_ai_key;

pub use audit::AuditStore;
pub use data_key::DataKeyStore;
pub use directory::DirectoryStore;
pub use health::{NotReady, StoreHealth};
pub use issued_key::{IssuedKeyStore, KeyChange};
pub use ledger::{AdmitReservation, LedgerStore, MakeCharge, MakeReservation, MakeSettlement};
pub use management_key::ManagementKeyStore;
pub use provider_key::{Change, ProviderKeyStore};
pub use repo_ai_key::RepoAiKeyStore;

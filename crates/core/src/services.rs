//! Use cases: each authorizes its caller, decides by the model, and stores the result through a port.

mod audit_trail;
mod directory;
mod issued_keys;
mod ledger;
mod management_keys;
mod provider_keys;
mod repo_ai_keys;
mod vault;

pub use audit_trail::{AuditSettings, AuditTrail};
pub use directory::Directory;
pub use issued_keys::{Created, CurrentKey, IssuedKeys, PresentedKey, VerifiedIssuedKey};
pub use ledger::{Ledger, LedgerSettings, MAX_AHEAD};
pub use management_keys::ManagementKeys;
pub use provider_keys::{
    OpenedProviderKey, ProviderKeySettings, ProviderKeys, SecretBinding, SecretMismatch,
    SecretsBound,
};
pub use repo_ai_keys::{CreatedRepoAiKey, RepoAiKeys, VerifiedRepoAiKey};
pub use vault::{KekMismatch, SecretContext, Vault, VerifyKekError, WorkspaceKeys};

//! What can go wrong, in words that a caller may hear.
//!
//! A text here never repeats a value that a caller sent, since that may be a secret; the causes of
//! the last two kinds are for the log alone.

use std::time::Duration;

use crate::ledger::Ending;

/// A cause that is for the log alone.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What was looked for, or is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noun {
    /// An organization.
    Organization,
    /// A workspace.
    Workspace,
    /// A member.
    Member,
    /// A repo.
    Repo,
    /// A provider key.
    ProviderKey,
    /// A repo AI key.
    RepoAiKey,
    /// An issued key.
    IssuedKey,
    /// A management key.
    ManagementKey,
    /// A reservation.
    Reservation,
}

impl Noun {
    /// The name that callers know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Workspace => "Workspace",
            Self::Member => "Member",
            Self::Repo => "Repo",
            Self::ProviderKey | Self::RepoAiKey | Self::IssuedKey => "API key",
            Self::ManagementKey => "Management key",
            Self::Reservation => "Reservation",
        }
    }
}

/// Why a use case refused or failed. Nothing has changed, but for one case: when the store became
/// unavailable during a commit, no one can tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field has a value that it cannot have.
    #[error("{message}")]
    Invalid {
        /// The field, by its name in the API's JSON.
        field: &'static str,
        /// What is wrong with it; never the value.
        message: String,
    },
    /// The caller may not do this, or may not know that it exists.
    #[error("Insufficient permissions")]
    Denied,
    /// There is no such thing.
    #[error("{} not found", .0.name())]
    NotFound(Noun),
    /// The same credentials are in that workspace already.
    #[error("API key with these credentials already exists")]
    DuplicateCredentials,
    /// A live key of that repo has the name already.
    #[error("API key with this name already exists")]
    DuplicateName,
    /// The request id was used for something else.
    #[error("Request ID was already used for {earlier}")]
    RequestIdConflict {
        /// What it was used for, such as `a charge of another cost`.
        earlier: &'static str,
    },
    /// The key is disabled.
    #[error("API key is disabled")]
    KeyDisabled,
    /// The key is past its expiry.
    #[error("API key has expired")]
    KeyExpired,
    /// Less is left of the key's limit than was asked for.
    #[error("API key's limit is exceeded")]
    LimitExceeded {
        /// When the same may fit, if time can bring that about.
        retry_after: Option<Duration>,
    },
    /// The reservation has come to another end.
    #[error("Reservation was already {}", .0.name())]
    ReservationEnded(Ending),
    /// The key is linked, so that it cannot be deleted.
    #[error("{}", in_use_message(*.buckets, *.ai_models))]
    ProviderKeyInUse {
        /// How many buckets use it.
        buckets: u64,
        /// How many AI models use it.
        ai_models: u64,
    },
    /// The thing has as many keys as the operator allows.
    #[error("{} must have at most {limit} API keys", .parent.name())]
    TooManyKeys {
        /// Owner of the keys.
        parent: Noun,
        /// Maximum number of keys.
        limit: u32,
    },
    /// What the thing holds is in the way of its deletion.
    #[error("{} still has {held}", .noun.name())]
    NotEmpty {
        /// What was to be deleted.
        noun: Noun,
        /// What it holds, in the plural.
        held: &'static str,
    },
    /// The thing belongs elsewhere and cannot move.
    #[error("{} belongs to another {}", .noun.name(), .parent.name().to_lowercase())]
    Immovable {
        /// What was to be moved.
        noun: Noun,
        /// What kind of thing it belongs to.
        parent: Noun,
    },
    /// The store or the key service cannot be reached now.
    #[error("Service unavailable")]
    Unavailable(#[source] Cause),
    /// Something that should not happen.
    #[error("Internal server error")]
    Internal(#[source] Cause),
}

impl Error {
    /// A failure that should not happen.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// A failure of something that Keyward depends on.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// A field with a value that it cannot have.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            message: message.into(),
        }
    }
}

impl From<keyward_crypto::Error> for Error {
    fn from(error: keyward_crypto::Error) -> Self {
        match error {
            keyward_crypto::Error::Unavailable(_) => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

fn in_use_message(buckets: u64, ai_models: u64) -> String {
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    format!(
        "API key is in use by {buckets} bucket{} and {ai_models} AI model{}",
        plural(buckets),
        plural(ai_models)
    )
}

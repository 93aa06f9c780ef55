//! Errors of the use cases, with messages that are safe to return to clients.
//!
//! A message never repeats a value that the caller sent, since the value may be a secret. The causes of
//! [`Error::Unavailable`] and [`Error::Internal`] are only logged.

use std::time::Duration;

/// A cause that is only logged.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Kind of resource that an error concerns.
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
    /// Returns the name used in the API.
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

/// End of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Settled: it became a charge.
    Settled,
    /// Released by a caller.
    Released,
    /// Expired.
    Expired,
}

impl Ending {
    /// Returns the name used in error messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// Reason why a use case rejected a call or failed. Nothing was changed, with one exception: if the store
/// became unavailable during a commit, the outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field has an invalid value.
    #[error("{message}")]
    Invalid {
        /// Name of the field in the API's JSON.
        field: &'static str,
        /// Description of the defect, never the value.
        message: String,
    },
    /// The caller lacks the permission, or may not learn that the resource exists.
    #[error("Insufficient permissions")]
    Denied,
    /// The resource does not exist.
    #[error("{} not found", .0.name())]
    NotFound(Noun),
    /// The workspace already has a key with the same credentials.
    #[error("API key with these credentials already exists")]
    DuplicateCredentials,
    /// A live key of the repo already has the name.
    #[error("API key with this name already exists")]
    DuplicateName,
    /// The request id was used for another operation.
    #[error("Request ID was already used for {earlier}")]
    RequestIdConflict {
        /// Earlier use of the id, such as `a charge of another cost`.
        earlier: &'static str,
    },
    /// The key is disabled.
    #[error("API key is disabled")]
    KeyDisabled,
    /// The key has expired.
    #[error("API key has expired")]
    KeyExpired,
    /// The rest of the key's limit is smaller than the requested amount.
    #[error("API key's limit is exceeded")]
    LimitExceeded {
        /// Time after which the same request may fit; `None` if waiting does not help.
        retry_after: Option<Duration>,
    },
    /// The reservation has already ended in another way.
    #[error("Reservation was already {}", .0.name())]
    ReservationEnded(Ending),
    /// The key is linked to resources and cannot be deleted.
    #[error("{}", in_use_message(*.buckets, *.ai_models))]
    ProviderKeyInUse {
        /// Number of buckets that use it.
        buckets: u64,
        /// Number of AI models that use it.
        ai_models: u64,
    },
    /// The parent has the maximum number of keys that the operator allows.
    #[error("{} must have at most {limit} API keys", .parent.name())]
    TooManyKeys {
        /// Owner of the keys.
        parent: Noun,
        /// Maximum number of keys.
        limit: u32,
    },
    /// The resource cannot be deleted because it has children.
    #[error("{} still has {held}", .noun.name())]
    NotEmpty {
        /// The resource to delete.
        noun: Noun,
        /// Its children, in the plural.
        held: &'static str,
    },
    /// The resource has another parent and cannot move.
    #[error("{} belongs to another {}", .noun.name(), .parent.name().to_lowercase())]
    Immovable {
        /// The resource to move.
        noun: Noun,
        /// Kind of its parent.
        parent: Noun,
    },
    /// The maximum number of calls change the key's account or wait to do so.
    #[error("Too many requests for this key are under way")]
    KeyBusy,
    /// The deadline of the call passed before the store responded.
    #[error("The deadline expired before the call could complete")]
    DeadlineExceeded,
    /// A failure that a retry may not meet, such as a store or a key service that cannot be reached.
    #[error("Service unavailable")]
    Unavailable(#[source] Cause),
    /// An internal error.
    #[error("Internal server error")]
    Internal(#[source] Cause),
}

impl Error {
    /// Returns an internal error.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Returns the error for a failure that a retry may not meet, such as a dependency that cannot be reached.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// Returns the error for a field with an invalid value.
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

//! Identifiers, each with its own type so that they cannot be mixed up.
//!
//! Resources of the platform (organizations, workspaces, users, repos, buckets, AI models, requests) have its
//! opaque text as identifier. Resources of Keyward have a UUID that sorts by creation time.

use std::fmt;

use uuid::{ContextV7, Uuid};

use crate::model::clock::Timestamp;

/// Maximum length of an identifier of the platform, in bytes of UTF-8. Three of them fit an index row on
/// every engine.
pub const MAX_ID_BYTES: usize = 255;

/// Reason why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`MAX_ID_BYTES`] bytes.
    #[error("must have at most {MAX_ID_BYTES} bytes")]
    TooLong,
    /// It has a control character, which databases do not all store faithfully.
    #[error("must not have control characters")]
    ControlCharacter,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    Ok(())
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads a text of 1 to [`MAX_ID_BYTES`] bytes without control characters.
            ///
            /// # Errors
            /// The defect of the text.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// Identifies an organization.
    OrganizationId
}
opaque_id! {
    /// Identifies a workspace.
    WorkspaceId
}
opaque_id! {
    /// Identifies a user.
    UserId
}
opaque_id! {
    /// Identifies a repo.
    RepoId
}
opaque_id! {
    /// Identifies a bucket or an AI model.
    ResourceId
}
opaque_id! {
    /// Identifies a charge or a reservation within its key.
    RequestId
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Returns a new identifier, greater than all that this process generated before.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                Self(uuid_at(now))
            }

            /// Reads the hyphenated form of 36 characters; returns `None` for any other text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return None;
                }
                Uuid::try_parse(text).ok().map(Self)
            }

            /// Wraps a stored UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the 16 bytes of the UUID, which identify a record in associated data.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Returns the UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// Identifies a provider key.
    ProviderKeyId
}
uuid_id! {
    /// Identifies a repo AI key.
    RepoAiKeyId
}
uuid_id! {
    /// Identifies an issued key internally; the API uses its hash.
    IssuedKeyId
}
uuid_id! {
    /// Identifies a management key internally; the API uses its hash.
    ManagementKeyId
}
uuid_id! {
    /// Identifies a reservation.
    ReservationId
}
uuid_id! {
    /// Identifies an audit event.
    AuditEventId
}

/// Returns a version 7 UUID (RFC 9562, section 5.7) whose counter preserves the order within a millisecond.
fn uuid_at(now: Timestamp) -> Uuid {
    static CONTEXT: std::sync::LazyLock<std::sync::Mutex<ContextV7>> =
        std::sync::LazyLock::new(|| std::sync::Mutex::new(ContextV7::new()));
    let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
    let (seconds, nanos) = (millis / 1000, (millis % 1000) as u32 * 1_000_000);
    let context = CONTEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos))
}

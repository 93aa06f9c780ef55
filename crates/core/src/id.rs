//! Identifiers, each with a type of its own so that one cannot stand in for another.
//!
//! What the platform names (organizations, workspaces, users, repos, buckets, AI models, requests) has
//! the platform's opaque text; what Keyward names has a UUID whose order is the order of creation.

use std::fmt;

use uuid::{ContextV7, Uuid};

use crate::clock::Timestamp;

/// The longest identifier that the platform may use, in bytes of UTF-8: three of them together fit an
/// index row on every engine.
pub const MAX_ID_BYTES: usize = 255;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// It has no characters.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`MAX_ID_BYTES`] bytes.
    #[error("must have at most {MAX_ID_BYTES} bytes")]
    TooLong,
    /// It has a control character, which no database keeps faithfully.
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
            /// Takes a text of 1 to [`MAX_ID_BYTES`] bytes without control characters.
            ///
            /// # Errors
            /// What is wrong with the text.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
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
    /// Names an organization.
    OrganizationId
}
opaque_id! {
    /// Names a workspace.
    WorkspaceId
}
opaque_id! {
    /// Names a user.
    UserId
}
opaque_id! {
    /// Names a repo.
    RepoId
}
opaque_id! {
    /// Names a bucket or an AI model.
    ResourceId
}
opaque_id! {
    /// Names a charge or a reservation among those of its key.
    RequestId
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, greater than those that this process made before it.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                Self(uuid_at(now))
            }

            /// Reads the hyphenated form of 36 characters; anything else names nothing.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return None;
                }
                Uuid::try_parse(text).ok().map(Self)
            }

            /// Takes a UUID that was stored.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID's 16 bytes, by which a record is named where it is sealed.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID.
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
    /// Names a provider key.
    ProviderKeyId
}
uuid_id! {
    /// Names a repo AI key.
    RepoAiKeyId
}
uuid_id! {
    /// Names an issued key inside; callers know it by its hash.
    IssuedKeyId
}
uuid_id! {
    /// Names a management key inside; callers know it by its hash.
    ManagementKeyId
}
uuid_id! {
    /// Names a reservation.
    ReservationId
}
uuid_id! {
    /// Names an audit event.
    AuditEventId
}

/// A version 7 UUID (RFC 9562, section 5.7) whose counter keeps the order within a millisecond.
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

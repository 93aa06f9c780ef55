//! Which events to list, and how a page names the place where the next one begins.
//!
//! Events lie in the order of their moment and then of their id, neither of which ever changes. So
//! whoever walks from page to page sees every event that was there when the walk began, once each,
//! whatever is stored meanwhile.

use sha2::{Digest, Sha256};

use super::RecordedEvent;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AuditEventId, MAX_ID_BYTES};
use crate::page;

/// How many bytes of the filter's digest a place is written with: enough that no other filter has
/// the same by chance.
const DIGEST_BYTES: usize = 16;
/// How many bytes tell that a place was not damaged. Whoever makes one up reaches nothing that the
/// same filter would not let through.
const CHECK_BYTES: usize = 4;

/// Which events to list. What is `None` lets every event through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of this organization.
    pub organization: Option<String>,
    /// Only events of this workspace.
    pub workspace: Option<String>,
    /// Only events on things of this kind, such as `api_key`.
    pub resource_kind: Option<String>,
    /// Only events on the thing of this name.
    pub resource_id: Option<String>,
    /// Only events of this action, such as `api_key.create`.
    pub action: Option<String>,
    /// Only what principals of this kind did, such as `user`.
    pub actor_kind: Option<String>,
    /// Only what the principal of this name did.
    pub actor_id: Option<String>,
    /// Only what calls of this `x-request-id` did.
    pub request_id: Option<String>,
    /// Only events at or after this moment.
    pub start: Option<Timestamp>,
    /// Only events before this moment; none, when it is not after `start`.
    pub end: Option<Timestamp>,
}

/// Where an event stands in the trail; later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Names it.
    pub id: AuditEventId,
}

impl AuditFilter {
    /// Refuses texts that no event can have.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), Error> {
        for (field, label, text) in self.texts() {
            check_text(field, label, text)?;
        }
        Ok(())
    }

    /// Whether the filter lets an event through: what a store must answer, in one expression.
    #[must_use]
    pub fn lets_through(&self, event: &RecordedEvent) -> bool {
        fn fits(wanted: Option<&String>, found: Option<&String>) -> bool {
            wanted.is_none() || wanted == found
        }
        let at = event.place.occurred_at;
        fits(self.organization.as_ref(), event.organization.as_ref())
            && fits(self.workspace.as_ref(), event.workspace.as_ref())
            && fits(self.resource_kind.as_ref(), Some(&event.resource_kind))
            && fits(self.resource_id.as_ref(), Some(&event.resource_id))
            && fits(self.action.as_ref(), Some(&event.action))
            && fits(self.actor_kind.as_ref(), Some(&event.actor_kind))
            && fits(self.actor_id.as_ref(), Some(&event.actor_id))
            && fits(self.request_id.as_ref(), Some(&event.request_id))
            && self.start.is_none_or(|start| at >= start)
            && self.end.is_none_or(|end| at < end)
    }

    /// A place as a page token holds it, bound to this filter.
    #[must_use]
    pub fn write_place(&self, place: EventPlace) -> String {
        let EventPlace { occurred_at, id } = place;
        let digest = hex::encode(self.digest());
        let text = format!("{}.{id}.{digest}", occurred_at.unix_millis());
        format!("{text}.{}", check(&text))
    }

    /// Reads a place that a page token held.
    ///
    /// # Errors
    /// It is none, it was changed, or it is one of a list with other filters.
    pub fn read_place(&self, text: &str) -> Result<EventPlace, Error> {
        let invalid = page::invalid;
        let (text, found) = text.rsplit_once('.').ok_or_else(invalid)?;
        if found != check(text) {
            return Err(invalid());
        }
        let (place, digest) = text.rsplit_once('.').ok_or_else(invalid)?;
        if digest != hex::encode(self.digest()) {
            let message = "Page token is of a list with other filters";
            return Err(Error::invalid("pageToken", message));
        }
        let (millis, id) = place.split_once('.').ok_or_else(invalid)?;
        let millis = millis.parse().map_err(|_| invalid())?;
        Ok(EventPlace {
            occurred_at: Timestamp::from_unix_millis(millis),
            id: AuditEventId::parse(id).ok_or_else(invalid)?,
        })
    }

    /// Every text, by its name in JSON and by what people call it.
    fn texts(&self) -> [(&'static str, &'static str, Option<&str>); 8] {
        [
            (
                "organizationId",
                "Organization ID",
                self.organization.as_deref(),
            ),
            ("workspaceId", "Workspace ID", self.workspace.as_deref()),
            (
                "resourceKind",
                "Resource kind",
                self.resource_kind.as_deref(),
            ),
            ("resourceId", "Resource ID", self.resource_id.as_deref()),
            ("action", "Action", self.action.as_deref()),
            ("actorKind", "Actor kind", self.actor_kind.as_deref()),
            ("actorId", "Actor ID", self.actor_id.as_deref()),
            ("requestId", "Request ID", self.request_id.as_deref()),
        ]
    }

    /// Two filters that differ have different digests: each part says whether it is there and how
    /// long it is.
    fn digest(&self) -> [u8; DIGEST_BYTES] {
        let mut hash = Sha256::new_with_prefix("keyward.audit-filter.v1");
        for (_, _, text) in self.texts() {
            hash_part(&mut hash, text.map(str::as_bytes));
        }
        for moment in [self.start, self.end] {
            let millis = moment.map(|at| at.unix_millis().to_be_bytes());
            hash_part(&mut hash, millis.as_ref().map(<[u8; 8]>::as_slice));
        }
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hash.finalize()[..DIGEST_BYTES]);
        digest
    }
}

fn hash_part(hash: &mut Sha256, part: Option<&[u8]>) {
    match part {
        None => hash.update([0]),
        Some(bytes) => {
            hash.update([1]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

fn check(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..CHECK_BYTES])
}

fn check_text(field: &'static str, label: &str, text: Option<&str>) -> Result<(), Error> {
    let problem = match text {
        Some(text) if text.len() > MAX_ID_BYTES => {
            format!("{label} must have at most {MAX_ID_BYTES} bytes")
        }
        Some(text) if text.chars().any(char::is_control) => {
            format!("{label} must not have control characters")
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(field, problem))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;

    fn place() -> EventPlace {
        EventPlace {
            occurred_at: Timestamp::from_unix_millis(1_785_585_600_123),
            id: AuditEventId::generate(Timestamp::from_unix_millis(0)),
        }
    }

    /// A filter for each field alone, and such whose texts would run together.
    fn filters() -> Vec<AuditFilter> {
        let text = |text: &str| Some(text.to_owned());
        let at = Some(Timestamp::from_unix_millis(0));
        let none = AuditFilter::default;
        vec![
            none(),
            AuditFilter {
                organization: text("a"),
                ..none()
            },
            AuditFilter {
                workspace: text("a"),
                ..none()
            },
            AuditFilter {
                resource_kind: text("a"),
                ..none()
            },
            AuditFilter {
                resource_id: text("a"),
                ..none()
            },
            AuditFilter {
                action: text("a"),
                ..none()
            },
            AuditFilter {
                actor_kind: text("a"),
                ..none()
            },
            AuditFilter {
                actor_id: text("a"),
                ..none()
            },
            AuditFilter {
                request_id: text("a"),
                ..none()
            },
            AuditFilter {
                start: at,
                ..none()
            },
            AuditFilter { end: at, ..none() },
            AuditFilter {
                organization: text("ab"),
                workspace: text("c"),
                ..none()
            },
            AuditFilter {
                organization: text("a"),
                workspace: text("bc"),
                ..none()
            },
        ]
    }

    #[test]
    fn a_place_is_read_by_the_filter_that_wrote_it_alone() {
        let place = place();
        for (number, writer) in filters().iter().enumerate() {
            let text = writer.write_place(place);
            for (other, reader) in filters().iter().enumerate() {
                let read = reader.read_place(&text);
                match read {
                    Ok(read) => assert_eq!((number, read), (other, place)),
                    Err(error) => {
                        assert_ne!(number, other);
                        assert!(error.to_string().contains("other filters"), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_place_that_was_changed_is_refused() {
        let filter = AuditFilter::default();
        let text = filter.write_place(place());
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            let error = filter.read_place(&changed).unwrap_err();
            assert_eq!(error.to_string(), "Page token is not valid", "{changed}");
            assert!(filter.read_place(&text[..index]).is_err());
        }
    }
}

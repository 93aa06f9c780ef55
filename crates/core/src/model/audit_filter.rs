//! Filters for lists of events, and the encoding of the position at which the next page begins.
//!
//! Events are ordered by time and then by id; neither ever changes. A client that reads page by page
//! therefore receives each event that existed at the start exactly once, regardless of events that are stored
//! meanwhile.

use crate::error::Error;
use crate::model::audit::{AuditCursor, RecordedEvent};
use crate::model::clock::Timestamp;
use crate::model::filter_digest::FilterDigest;
use crate::model::id::{AuditEventId, MAX_ID_BYTES};
use crate::model::page;

/// Filter for a list of events. A field that is `None` matches every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of this organization.
    pub organization: Option<String>,
    /// Only events of this workspace.
    pub workspace: Option<String>,
    /// Only events on resources of this kind, such as `api_key`.
    pub resource_kind: Option<String>,
    /// Only events on the resource with this identifier.
    pub resource_id: Option<String>,
    /// Only events of this action, such as `api_key.create`.
    pub action: Option<String>,
    /// Only events of principals of this kind, such as `user`.
    pub actor_kind: Option<String>,
    /// Only events of the principal with this identifier.
    pub actor_id: Option<String>,
    /// Only events of calls with this `x-request-id`.
    pub request_id: Option<String>,
    /// Only events at or after this time.
    pub start: Option<Timestamp>,
    /// Only events before this time. No event matches if it is not after `start`.
    pub end: Option<Timestamp>,
}

impl AuditFilter {
    /// Rejects texts that no event can have.
    ///
    /// # Errors
    /// The invalid field and its defect.
    pub fn check(&self) -> Result<(), Error> {
        for (field, label, text) in self.texts() {
            check_text(field, label, text)?;
        }
        Ok(())
    }

    /// Returns true if the filter matches an event. Stores must return the same events.
    #[must_use]
    pub fn lets_through(&self, event: &RecordedEvent) -> bool {
        fn fits(wanted: Option<&String>, found: Option<&String>) -> bool {
            wanted.is_none() || wanted == found
        }
        let at = event.cursor.occurred_at;
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

    /// Returns a position as a page token contains it, bound to this filter.
    #[must_use]
    pub fn write_cursor(&self, cursor: AuditCursor) -> String {
        let AuditCursor { occurred_at, id } = cursor;
        let key = format!("{}.{id}", occurred_at.unix_millis());
        self.digest().bind(&key)
    }

    /// Reads a position from a page token.
    ///
    /// # Errors
    /// The text is not a position, was modified, or belongs to a list with another filter.
    pub fn read_cursor(&self, text: &str) -> Result<AuditCursor, Error> {
        let invalid = page::invalid;
        let digest = self.digest();
        let cursor = digest.unbind(text)?;
        let (millis, id) = cursor.split_once('.').ok_or_else(invalid)?;
        let millis = millis.parse().map_err(|_| invalid())?;
        Ok(AuditCursor {
            occurred_at: Timestamp::from_unix_millis(millis),
            id: AuditEventId::parse(id).ok_or_else(invalid)?,
        })
    }

    /// Returns every text with its name in JSON and its human-readable name.
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

    fn digest(&self) -> FilterDigest {
        let list = FilterDigest::of("keyward.audit-filter.v1");
        let texts = self.texts().into_iter();
        let texts = texts.fold(list, |digest, (_, _, text)| digest.with_text(text));
        let moments = [self.start, self.end].into_iter();
        moments.fold(texts, |digest, moment| {
            let millis = moment.map(|at| at.unix_millis().to_be_bytes());
            digest.with(millis.as_ref().map(<[u8; 8]>::as_slice))
        })
    }
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

    fn cursor() -> AuditCursor {
        AuditCursor {
            occurred_at: Timestamp::from_unix_millis(1_785_585_600_123),
            id: AuditEventId::generate(Timestamp::from_unix_millis(0)),
        }
    }

    /// Returns a filter for each single field, and filters whose texts would be ambiguous if they were
    /// concatenated.
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
    fn cursor_is_read_only_by_the_filter_that_wrote_it() {
        let cursor = cursor();
        for (number, writer) in filters().iter().enumerate() {
            let text = writer.write_cursor(cursor);
            for (other, reader) in filters().iter().enumerate() {
                let read = reader.read_cursor(&text);
                match read {
                    Ok(read) => assert_eq!((number, read), (other, cursor)),
                    Err(error) => {
                        assert_ne!(number, other);
                        assert!(error.to_string().contains("other filters"), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn cursor_that_was_changed_is_rejected() {
        let filter = AuditFilter::default();
        let text = filter.write_cursor(cursor());
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            let error = filter.read_cursor(&changed).unwrap_err();
            assert_eq!(error.to_string(), "Page token is not valid", "{changed}");
            assert!(filter.read_cursor(&text[..index]).is_err());
        }
    }
}

//! Checks the declared rules of a request before a method runs.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::pb;

use crate::details;
use crate::spec::MethodSpec;

/// Maximum number of violations in an error. A request may contain any number of messages that
/// break a rule, and the size of the response, whose details are sent in a header, must not depend
/// on it.
const MAX_VIOLATIONS: usize = 50;

/// Field that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in JSON, such as `organization.id`.
    pub field: String,
    /// Expected form of the field. Never contains the field's value.
    pub description: String,
}

impl Violation {
    /// Creates a violation: `field` breaks the rule that `description` states.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}

/// Message whose fields have declared rules.
pub trait Check {
    /// Adds every rule that the message breaks, in field order.
    fn check(&self, violations: &mut Vec<Violation>);
}

/// Implements `Check` for messages whose fields have no rules.
macro_rules! unruled {
    ($($message:ty),*) => {
        $(impl Check for $message {
            fn check(&self, _: &mut Vec<Violation>) {}
        })*
    };
}

// Messages of `google.protobuf` that a method may take.
unruled!((), bool, f32, f64, i32, i64, u32, u64, String, Vec<u8>);
unruled!(
    prost_types::Any,
    prost_types::Duration,
    prost_types::FieldMask,
    prost_types::ListValue,
    prost_types::Struct,
    prost_types::Timestamp,
    prost_types::Value
);

impl<M: Check> Check for Box<M> {
    fn check(&self, violations: &mut Vec<Violation>) {
        M::check(self, violations);
    }
}

/// Checks the message in `field`, if present, and adds its violations under the field's name.
pub fn check_nested<M: Check>(field: &str, message: Option<&M>, violations: &mut Vec<Violation>) {
    if violations.len() >= MAX_VIOLATIONS {
        return;
    }
    if let Some(message) = message {
        let first = violations.len();
        message.check(violations);
        for violation in violations.iter_mut().skip(first) {
            violation.field = format!("{field}.{}", violation.field);
        }
    }
}

/// Checks each message in `field` and adds its violations under the field's name and the message's
/// index.
pub fn check_list<M: Check>(field: &str, messages: &[M], violations: &mut Vec<Violation>) {
    for (index, message) in messages.iter().enumerate() {
        if violations.len() >= MAX_VIOLATIONS {
            return;
        }
        check_nested(&format!("{field}[{index}]"), Some(message), violations);
    }
}

/// Checks each message of a map in `field` and adds its violations under the field's name, in key
/// order. Keys come from the client and are not repeated.
pub fn check_map<K: Ord, M: Check>(
    field: &str,
    messages: &HashMap<K, M>,
    violations: &mut Vec<Violation>,
) {
    let mut entries: Vec<_> = messages.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    for (_, message) in entries {
        if violations.len() >= MAX_VIOLATIONS {
            return;
        }
        check_nested(&format!("{field}[*]"), Some(message), violations);
    }
}

/// Checks a request before its method runs.
///
/// # Errors
///
/// Returns [`invalid`] if the request breaks a rule.
pub fn check_request<M: Check>(spec: &MethodSpec, request: &M) -> Result<(), Status> {
    let mut violations = Vec::new();
    request.check(&mut violations);
    if violations.is_empty() {
        Ok(())
    } else {
        Err(invalid(&violations, spec.error_domain))
    }
}

/// Creates the INVALID_ARGUMENT status for these violations. The message is that of the first
/// violation; the details have the first fifty.
pub fn invalid(violations: &[Violation], domain: &str) -> Status {
    rejected_fields(violations, "FIELD_REQUIRED", domain, Vec::new())
}

/// Creates an INVALID_ARGUMENT status with one `ErrorInfo`, and one `BadRequest` for the violations
/// that have a field. The `ErrorInfo` has the first violation's field, which the message names, and
/// `metadata`.
pub(crate) fn rejected_fields(
    violations: &[Violation],
    reason: &str,
    domain: &str,
    mut metadata: Vec<(&'static str, String)>,
) -> Status {
    let message = violations
        .first()
        .map_or("Invalid request", |first| first.description.as_str());
    let field_violations: Vec<_> = violations
        .iter()
        .filter(|violation| !violation.field.is_empty())
        .take(MAX_VIOLATIONS)
        .map(|violation| pb::bad_request::FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
            ..Default::default()
        })
        .collect();
    let first = violations.first().map(|first| first.field.clone());
    metadata.extend(
        first
            .filter(|field| !field.is_empty())
            .map(|field| ("field", field)),
    );
    let mut list = vec![details::error_info(reason, domain, metadata)];
    if !field_violations.is_empty() {
        list.push(details::any(
            details::BAD_REQUEST,
            &pb::BadRequest { field_violations },
        ));
    }
    let bytes = details::encode(Code::InvalidArgument, message, list);
    Status::with_details(Code::InvalidArgument, message, bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::StatusExt;

    use super::{Check, MAX_VIOLATIONS, Violation, check_list, check_map, invalid};

    struct Empty;

    impl Check for Empty {
        fn check(&self, violations: &mut Vec<Violation>) {
            violations.push(Violation::new("name", "must not be empty"));
            violations.push(Violation::new("note", "must not be empty"));
        }
    }

    #[test]
    fn no_more_than_fifty_are_named() {
        let mut violations = vec![Violation::new("first", "must not be empty")];
        let list: Vec<Empty> = (0..100_000).map(|_| Empty).collect();
        check_list("list", &list, &mut violations);
        // Each message is checked completely.
        assert_eq!(violations.len(), MAX_VIOLATIONS + 1);
        assert_eq!(violations[50].field, "list[24].note");
        let map: HashMap<u32, Empty> = (0..1000).map(|key| (key, Empty)).collect();
        check_map("map", &map, &mut violations);
        assert_eq!(violations.len(), MAX_VIOLATIONS + 1);
        let status = invalid(&violations, "probe");
        let named = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(named.len(), MAX_VIOLATIONS);
        assert_eq!(named[0].field, "first");
        assert!(status.details().len() < 4096);
        violations.clear();
        check_map("map", &map, &mut violations);
        assert_eq!(violations.len(), MAX_VIOLATIONS);
    }
}

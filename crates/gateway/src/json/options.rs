//! Options for reading and writing JSON.

use super::any::AnyType;

/// Options for reading and writing JSON: the types that an `Any` may contain, and the treatment of
/// unknown names and default values.
///
/// By default unknown members are ignored, so that a client may be newer than the service, and
/// unknown enum names are rejected, since the server must not run a request that it does not
/// understand. Default values are written, so that an object always has the members of its schema.
#[derive(Debug, Clone, Default)]
pub struct JsonOptions {
    types: Vec<&'static [AnyType]>,
    pub(super) reject_unknown_members: bool,
    pub(super) ignore_unknown_enum_names: bool,
    pub(super) omit_defaults: bool,
}

impl JsonOptions {
    /// Adds types that an `Any` may contain: the generated `TYPES` of a package. The types of
    /// `google.protobuf` and the error details of `google.rpc` are always included.
    #[must_use]
    pub fn with_types(mut self, types: &'static [AnyType]) -> Self {
        self.types.push(types);
        self
    }

    /// Rejects members that the message does not have.
    #[must_use]
    pub fn reject_unknown_members(mut self) -> Self {
        self.reject_unknown_members = true;
        self
    }

    /// Treats an unknown enum name as an absent value.
    #[must_use]
    pub fn ignore_unknown_enum_names(mut self) -> Self {
        self.ignore_unknown_enum_names = true;
        self
    }

    /// Omits zeros, empty strings, lists and maps, and other default values of fields without
    /// presence.
    #[must_use]
    pub fn omit_defaults(mut self) -> Self {
        self.omit_defaults = true;
        self
    }

    /// Returns the type of this full name, such as `google.protobuf.Duration`.
    pub(super) fn any_type(&self, full_name: &str) -> Option<&'static AnyType> {
        let own = self.types.iter().copied().flatten();
        own.chain(super::google::BUILT_IN)
            .find(|known| known.info.full_name == full_name)
    }
}

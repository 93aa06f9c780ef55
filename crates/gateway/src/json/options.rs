//! How JSON is read and written.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use super::any::AnyType;
use super::info::MessageInfo;

/// How deep messages, lists and objects may lie inside each other when they are
/// written. What is read is held to the same number by the JSON parser.
const MAX_DEPTH: u32 = 128;

/// How deep the field of a query parameter may lie.
pub(crate) const MAX_PARAMETER_DEPTH: u32 = 100;

/// How many `Any`s may lie inside each other. Each is kept whole until its type is
/// known, so their number multiplies the work.
const MAX_ANY_DEPTH: u32 = 16;

/// How JSON is read and written: which types an `Any` may hold, and what becomes
/// of names that are not known and of values that need not be there.
///
/// By default unknown members are ignored, so that a caller may be newer than the
/// service, and unknown enum names are refused, since a request that asks for
/// something unknown must not do something else. Default values are written, so that
/// an object always has the members of its schema.
#[derive(Debug, Clone, Default)]
pub struct JsonOptions {
    types: Vec<&'static [AnyType]>,
    refuse_unknown_members: bool,
    ignore_unknown_enum_names: bool,
    omit_defaults: bool,
}

impl JsonOptions {
    /// Adds types that an `Any` may hold: the generated `TYPES` of a package. Those
    /// of `google.protobuf` and the error details of `google.rpc` are always known.
    #[must_use]
    pub fn with_types(mut self, types: &'static [AnyType]) -> Self {
        self.types.push(types);
        self
    }

    /// Refuses members that the message does not have.
    #[must_use]
    pub fn refuse_unknown_members(mut self) -> Self {
        self.refuse_unknown_members = true;
        self
    }

    /// Reads a value that is no name of its enum as if it were not there.
    #[must_use]
    pub fn ignore_unknown_enum_names(mut self) -> Self {
        self.ignore_unknown_enum_names = true;
        self
    }

    /// Leaves out numbers that are 0, empty strings, lists and maps, and so on, where
    /// the message cannot tell them from unset.
    #[must_use]
    pub fn omit_defaults(mut self) -> Self {
        self.omit_defaults = true;
        self
    }

    /// The type of this full name, such as `google.protobuf.Duration`.
    pub(super) fn any_type(&self, full_name: &str) -> Option<&'static AnyType> {
        let own = self.types.iter().copied().flatten();
        own.chain(super::google::BUILT_IN)
            .find(|known| known.info.full_name == full_name)
    }
}

/// Why a message is not written.
const TOO_DEEP: &str = "the message is nested too deeply for JSON";

/// Where values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A JSON text.
    Json,
    /// Query parameters.
    Query,
    /// A path variable, which replaces what is there.
    Path,
}

/// A step of the way to a value.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Member(&'static str),
    /// A member that is not known, as errors show its name.
    Unknown(String),
    Place(usize),
    /// A value of a map, whose key is the caller's and is not repeated.
    Entry,
}

/// One reading of a request: the options, where the values come from and, once it
/// failed, where.
#[derive(Debug)]
pub struct Reading<'o> {
    pub(super) options: &'o JsonOptions,
    pub(super) mode: Mode,
    /// The steps to what failed, from the inside out.
    trail: RefCell<Vec<Step>>,
    /// How many `Any`s lie around what is read.
    any_depth: Cell<u32>,
    masked: Option<Masked>,
    /// The known name that is suggested for the unknown one that failed.
    nearest: RefCell<Option<String>>,
    /// What the innermost member that failed must be, if its field says so.
    expected: Cell<Option<&'static str>>,
}

/// What the update mask of a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masked {
    /// The request, which has the mask.
    pub(crate) request: &'static MessageInfo,
    /// The message whose members the mask names.
    pub(crate) changed: &'static MessageInfo,
}

impl<'o> Reading<'o> {
    pub(super) fn new(options: &'o JsonOptions, mode: Mode) -> Self {
        Self {
            options,
            mode,
            trail: RefCell::default(),
            any_depth: Cell::new(0),
            masked: None,
            nearest: RefCell::default(),
            expected: Cell::new(None),
        }
    }

    pub(super) fn with_mask_of(mut self, masked: Option<Masked>) -> Self {
        self.masked = masked;
        self
    }

    /// The message whose members the mask of `request` names, if that is known.
    pub(super) fn masked_by(&self, request: &'static MessageInfo) -> Option<&'static MessageInfo> {
        self.masked
            .filter(|masked| std::ptr::eq(masked.request, request))
            .map(|masked| masked.changed)
    }

    /// Whether values are texts rather than JSON.
    pub(super) fn is_text(&self) -> bool {
        self.mode != Mode::Json
    }

    pub(super) fn refuses_unknown_members(&self) -> bool {
        self.options.refuse_unknown_members
    }

    pub(super) fn ignores_unknown_enum_names(&self) -> bool {
        self.options.ignore_unknown_enum_names
    }

    /// Reads the inside of an `Any`; None if it lies too deep.
    pub(super) fn in_any<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let depth = self.any_depth.get();
        if depth >= MAX_ANY_DEPTH {
            return None;
        }
        self.any_depth.set(depth + 1);
        let value = read();
        self.any_depth.set(depth);
        Some(value)
    }

    /// Notes a step out from what failed.
    #[cold]
    pub(super) fn failed_in(&self, step: Step) {
        // Parameters have no place: each is known by its name.
        if matches!(step, Step::Place(_)) && self.is_text() {
            return;
        }
        self.trail.borrow_mut().push(step);
    }

    /// Notes what the member that failed must be. The first one is the innermost.
    #[cold]
    pub(super) fn expected(&self, expected: &'static str) {
        if self.expected.get().is_none() {
            self.expected.set(Some(expected));
        }
    }

    /// What the member must be whose decimal failed, if its field says so.
    pub(super) fn expected_decimal(&self) -> Option<&'static str> {
        self.expected.get().filter(|expected| !expected.is_empty())
    }

    /// Notes the known name that is suggested for what failed.
    #[cold]
    pub(super) fn suggest(&self, nearest: Option<String>) {
        *self.nearest.borrow_mut() = nearest;
    }

    /// The known name that is suggested for what failed.
    pub(super) fn nearest(&self) -> Option<String> {
        self.nearest.borrow().clone()
    }

    /// The path to what failed, in JSON names.
    pub(super) fn path(&self) -> String {
        let add = |path: &mut String, name: &str| {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        };
        let mut path = String::new();
        for step in self.trail.borrow().iter().rev() {
            match step {
                Step::Member(name) => add(&mut path, name),
                Step::Unknown(name) => add(&mut path, name),
                Step::Place(place) => _ = write!(path, "[{place}]"),
                Step::Entry => path.push_str("[*]"),
            }
        }
        path
    }
}

/// One writing of a message: the options, and how deep it has come.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'o> {
    pub(super) options: &'o JsonOptions,
    depth: u32,
    any_depth: u32,
    omits_defaults: bool,
}

impl<'o> Writing<'o> {
    pub(super) fn new(options: &'o JsonOptions) -> Self {
        Self {
            options,
            depth: 0,
            any_depth: 0,
            omits_defaults: options.omit_defaults,
        }
    }

    /// The writing of what has `depth` messages around it.
    pub(super) fn at_depth(options: &'o JsonOptions, depth: u32) -> Self {
        Self {
            depth,
            ..Self::new(options)
        }
    }

    /// The writing of a member that was asked for, whatever its value.
    pub(super) fn of_member(options: &'o JsonOptions) -> Self {
        Self {
            omits_defaults: false,
            ..Self::new(options)
        }
    }

    pub(super) fn omits_defaults(&self) -> bool {
        self.omits_defaults
    }

    /// The writing of what lies inside.
    pub(super) fn deeper<E: serde::ser::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self {
            depth: self.depth + 1,
            omits_defaults: self.options.omit_defaults,
            ..*self
        })
    }

    /// The writing of what lies inside an `Any`.
    pub(super) fn in_any<E: serde::ser::Error>(&self) -> Result<Self, E> {
        if self.any_depth >= MAX_ANY_DEPTH {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self {
            any_depth: self.any_depth + 1,
            ..self.deeper()?
        })
    }
}

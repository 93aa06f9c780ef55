//! State of reading one request and of writing one message.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use super::info::MessageInfo;
use super::options::JsonOptions;

/// Maximum nesting depth of messages, lists and objects in written JSON. The JSON parser has the
/// same limit for reading.
const MAX_DEPTH: u32 = 128;

/// Maximum nesting depth of the field of a query parameter.
pub(crate) const MAX_PARAMETER_DEPTH: u32 = 100;

/// Maximum nesting depth of `Any`s. Each is buffered until its type is known, so the depth
/// multiplies the work.
const MAX_ANY_DEPTH: u32 = 16;

/// Error for a message that is nested too deeply to be written.
const TOO_DEEP: &str = "the message is nested too deeply for JSON";

/// Source of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// JSON text.
    Json,
    /// Query parameters.
    Query,
    /// Path variable, which replaces the existing value.
    Path,
}

/// Step on the path to a value.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Member(&'static str),
    /// Unknown member, with its name as errors show it.
    Unknown(String),
    Index(usize),
    /// Value of a map. Its key comes from the client and is not repeated.
    Entry,
}

/// State of reading one request: the options, the source of the values and, after a failure, its
/// path.
#[derive(Debug)]
pub struct ReadContext<'o> {
    pub(super) options: &'o JsonOptions,
    pub(super) mode: Mode,
    /// Steps to the failure, innermost first.
    trail: RefCell<Vec<Step>>,
    /// Number of enclosing `Any`s.
    any_depth: Cell<u32>,
    masked: Option<Masked>,
    /// Known name that is suggested for the unknown name that failed.
    nearest: RefCell<Option<String>>,
    /// Expected form of the innermost member that failed, if its field declares one.
    expected: Cell<Option<&'static str>>,
}

/// Message that the update mask of a request applies to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masked {
    /// Request that has the mask.
    pub(crate) request: &'static MessageInfo,
    /// Message whose members the mask names.
    pub(crate) changed: &'static MessageInfo,
}

impl<'o> ReadContext<'o> {
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

    /// Returns the message whose members the mask of `request` names, if known.
    pub(super) fn masked_by(&self, request: &'static MessageInfo) -> Option<&'static MessageInfo> {
        self.masked
            .filter(|masked| std::ptr::eq(masked.request, request))
            .map(|masked| masked.changed)
    }

    /// Returns true if values are texts rather than JSON.
    pub(super) fn is_text(&self) -> bool {
        self.mode != Mode::Json
    }

    pub(super) fn rejects_unknown_members(&self) -> bool {
        self.options.reject_unknown_members
    }

    pub(super) fn ignores_unknown_enum_names(&self) -> bool {
        self.options.ignore_unknown_enum_names
    }

    /// Reads the content of an `Any`; `None` if it is nested too deeply.
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

    /// Records the next outer step of a failure.
    #[cold]
    pub(super) fn failed_in(&self, step: Step) {
        // Parameters have no index: each is identified by its name.
        if matches!(step, Step::Index(_)) && self.is_text() {
            return;
        }
        self.trail.borrow_mut().push(step);
    }

    /// Records the expected form of the member that failed. The first call is for the innermost
    /// member.
    #[cold]
    pub(super) fn expected(&self, expected: &'static str) {
        if self.expected.get().is_none() {
            self.expected.set(Some(expected));
        }
    }

    /// Returns the expected form of the member whose decimal failed, if its field declares one.
    pub(super) fn expected_decimal(&self) -> Option<&'static str> {
        self.expected.get().filter(|expected| !expected.is_empty())
    }

    /// Records the known name that is suggested for the failed name.
    #[cold]
    pub(super) fn suggest(&self, nearest: Option<String>) {
        *self.nearest.borrow_mut() = nearest;
    }

    /// Returns the known name that is suggested for the failed name.
    pub(super) fn nearest(&self) -> Option<String> {
        self.nearest.borrow().clone()
    }

    /// Returns the path to the failure, in JSON names.
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
                Step::Index(index) => _ = write!(path, "[{index}]"),
                Step::Entry => path.push_str("[*]"),
            }
        }
        path
    }
}

/// State of writing one message: the options and the current depth.
#[derive(Debug, Clone, Copy)]
pub struct WriteContext<'o> {
    pub(super) options: &'o JsonOptions,
    depth: u32,
    any_depth: u32,
    omits_defaults: bool,
}

impl<'o> WriteContext<'o> {
    pub(super) fn new(options: &'o JsonOptions) -> Self {
        Self {
            options,
            depth: 0,
            any_depth: 0,
            omits_defaults: options.omit_defaults,
        }
    }

    /// Creates the state for a value inside `depth` messages.
    pub(super) fn at_depth(options: &'o JsonOptions, depth: u32) -> Self {
        Self {
            depth,
            ..Self::new(options)
        }
    }

    /// Creates the state for a requested member, which is written even if it has its default value.
    pub(super) fn of_member(options: &'o JsonOptions) -> Self {
        Self {
            omits_defaults: false,
            ..Self::new(options)
        }
    }

    pub(super) fn omits_defaults(&self) -> bool {
        self.omits_defaults
    }

    /// Returns the state for a nested value.
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

    /// Returns the state for the content of an `Any`.
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

//! Fields to read and to write.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::context::{Mode, ReadContext, WriteContext};
use super::{Codec, expected};

/// Reads a value into a field. The result is false if no value was read: an unknown enum name
/// may be ignored.
pub(super) struct FieldSeed<'s, 'o, C: Codec> {
    value: &'s mut C::Value,
    context: &'s ReadContext<'o>,
}

impl<'s, 'o, C: Codec> FieldSeed<'s, 'o, C> {
    pub(super) fn new(value: &'s mut C::Value, context: &'s ReadContext<'o>) -> Self {
        Self { value, context }
    }

    fn set<E: de::Error>(self, read: Option<C::Value>) -> Result<bool, E> {
        match read {
            Some(value) => {
                *self.value = value;
                Ok(true)
            }
            None => Err(expected::<C, E>()),
        }
    }

    /// Sets a value that was read from a string.
    fn set_named<E: de::Error>(self, read: Option<C::Value>) -> Result<bool, E> {
        if C::IS_ENUM && read.is_none() && self.context.ignores_unknown_enum_names() {
            return Ok(false);
        }
        self.set(read)
    }
}

impl<'de, C: Codec> DeserializeSeed<'de> for FieldSeed<'_, '_, C> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Accepts any JSON and lets the codec decide if it is valid. Every method is implemented here,
/// since serde's defaults put the value into the error.
impl<'de, C: Codec> Visitor<'de> for FieldSeed<'_, '_, C> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(C::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        self.set(C::bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
        self.set(C::i64(value))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<bool, E> {
        self.set(None)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
        self.set(C::u64(value))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<bool, E> {
        self.set(None)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<bool, E> {
        self.set(C::f64(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
        if self.context.is_text() {
            *self.value =
                C::text(value).map_err(|expected| E::custom(format_args!("must be {expected}")))?;
            return Ok(true);
        }
        self.set_named(C::str(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<bool, E> {
        self.set_named(C::string(value))
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<bool, E> {
        self.set(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<bool, E> {
        self.visit_unit()
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        self.set(C::null())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<bool, A::Error> {
        C::array(self.value, array, self.context).map(|()| true)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<bool, A::Error> {
        C::object(self.value, object, self.context).map(|()| true)
    }
}

/// Adds the meaning of null to a codec and delegates everything else.
macro_rules! with_null {
    ($(#[$doc:meta])* $name:ident, $value:ty, $wrap:expr, $open:expr, $null:expr, $write:expr) => {
        $(#[$doc])*
        pub(super) struct $name<C>(PhantomData<C>);

        impl<C: Codec> Codec for $name<C> {
            type Value = $value;
            const EXPECTED: &'static str = C::EXPECTED;
            const IS_ENUM: bool = C::IS_ENUM;

            fn write<S: Serializer>(
                value: &Self::Value,
                serializer: S,
                context: &WriteContext<'_>,
            ) -> Result<S::Ok, S::Error> {
                $write(value, serializer, context)
            }

            fn bool(value: bool) -> Option<Self::Value> {
                C::bool(value).map($wrap)
            }

            fn i64(value: i64) -> Option<Self::Value> {
                C::i64(value).map($wrap)
            }

            fn u64(value: u64) -> Option<Self::Value> {
                C::u64(value).map($wrap)
            }

            fn f64(value: f64) -> Option<Self::Value> {
                C::f64(value).map($wrap)
            }

            fn str(value: &str) -> Option<Self::Value> {
                C::str(value).map($wrap)
            }

            fn string(value: String) -> Option<Self::Value> {
                C::string(value).map($wrap)
            }

            fn text(text: &str) -> Result<Self::Value, &'static str> {
                C::text(text).map($wrap)
            }

            fn null() -> Option<Self::Value> {
                Some($null)
            }

            fn array<'de, A: SeqAccess<'de>>(
                value: &mut Self::Value,
                array: A,
                context: &ReadContext<'_>,
            ) -> Result<(), A::Error> {
                C::array($open(value), array, context)
            }

            fn object<'de, A: MapAccess<'de>>(
                value: &mut Self::Value,
                object: A,
                context: &ReadContext<'_>,
            ) -> Result<(), A::Error> {
                C::object($open(value), object, context)
            }
        }
    };
}

with_null!(
    /// Value that null leaves unset, unless null is one of its values.
    OrNull,
    Option<C::Value>,
    Some,
    |value| Option::get_or_insert_with(value, Default::default),
    C::null(),
    |value: &Option<C::Value>, serializer: S, context| match value {
        Some(value) => C::write(value, serializer, context),
        None => serializer.serialize_none(),
    }
);

with_null!(
    /// Value for which null stands for the default.
    OrDefault,
    C::Value,
    std::convert::identity,
    std::convert::identity,
    C::null().unwrap_or_default(),
    C::write
);

/// Field to write.
pub(super) struct FieldRef<'a, 'o, C: Codec> {
    value: &'a C::Value,
    context: &'a WriteContext<'o>,
}

impl<'a, 'o, C: Codec> FieldRef<'a, 'o, C> {
    pub(super) fn new(value: &'a C::Value, context: &'a WriteContext<'o>) -> Self {
        Self { value, context }
    }
}

impl<C: Codec> Serialize for FieldRef<'_, '_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        C::write(self.value, serializer, self.context)
    }
}

/// Reads the value of the member whose name was just read; null is the default.
///
/// # Errors
///
/// Gives the expected form of the value.
pub fn read_field<'de, C: Codec, A: MapAccess<'de>>(
    value: &mut C::Value,
    members: &mut A,
    context: &ReadContext<'_>,
) -> Result<(), A::Error> {
    let seed = FieldSeed::<OrDefault<C>>::new(value, context);
    members.next_value_seed(seed).map(|_| ())
}

/// Reads the value of a member that can be unset; null leaves it unset.
///
/// # Errors
///
/// Gives the expected form of the value.
pub fn read_optional_field<'de, C: Codec, A: MapAccess<'de>>(
    value: &mut Option<C::Value>,
    members: &mut A,
    context: &ReadContext<'_>,
) -> Result<(), A::Error> {
    let seed = FieldSeed::<OrNull<C>>::new(value, context);
    members.next_value_seed(seed).map(|_| ())
}

/// Reads the value of a member of a oneof. `open` returns the value if the choice is this member,
/// and returns the choice if it is another.
///
/// # Errors
///
/// Gives the expected form of the value, or reports that another member of the oneof is set; a path
/// variable replaces that member instead.
pub fn read_oneof_field<'de, C: Codec, O, A: MapAccess<'de>>(
    choice: &mut Option<O>,
    members: &mut A,
    context: &ReadContext<'_>,
    open: impl FnOnce(O) -> Result<C::Value, O>,
    wrap: impl FnOnce(C::Value) -> O,
) -> Result<(), A::Error> {
    let (mut value, other) = match choice.take().map(open) {
        None => (None, None),
        Some(Ok(value)) => (Some(value), None),
        Some(Err(other)) => (None, Some(other)),
    };
    members.next_value_seed(Choice::<C> {
        value: &mut value,
        is_taken: other.is_some() && context.mode != Mode::Path,
        context,
    })?;
    *choice = value.map(wrap).or(other);
    Ok(())
}

/// Reads a member of a oneof. It rejects at the value, so that the error has the member's path.
struct Choice<'s, 'o, C: Codec> {
    value: &'s mut Option<C::Value>,
    is_taken: bool,
    context: &'s ReadContext<'o>,
}

impl<'de, C: Codec> DeserializeSeed<'de> for Choice<'_, '_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let seed = FieldSeed::<OrNull<C>>::new(self.value, self.context);
        deserializer.deserialize_any(seed)?;
        if self.is_taken && self.value.is_some() {
            return Err(de::Error::custom(
                "must not be given beside another member of its oneof",
            ));
        }
        Ok(())
    }
}

/// Writes a member that has a default value.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn write_field<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: &C::Value,
    context: &WriteContext<'_>,
) -> Result<(), S::Error> {
    if context.omits_defaults() && C::is_default(value) {
        return members.skip_field(name);
    }
    members.serialize_field(name, &FieldRef::<C>::new(value, context))
}

/// Writes a member that is left out when it is unset.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn write_optional_field<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: Option<&C::Value>,
    context: &WriteContext<'_>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => members.serialize_field(name, &FieldRef::<C>::new(value, context)),
        None => members.skip_field(name),
    }
}

/// Writes a member that is null when it is unset.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn write_nullable_field<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: Option<&C::Value>,
    context: &WriteContext<'_>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => members.serialize_field(name, &FieldRef::<C>::new(value, context)),
        None => members.serialize_field(name, &()),
    }
}

//! Messages: JSON objects whose members are known at build time.

use std::fmt;
use std::marker::PhantomData;

use prost_types::FieldMask;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};

use super::context::{Mode, ReadContext, Step, WriteContext};
use super::field::FieldSeed;
use super::info::MessageInfo;
use super::nearest::{nearest, shown, suggestion};
use super::options::JsonOptions;
use super::skipped::Skipped;
use super::{Codec, GIVEN_TWICE};

/// Description of a message, from the generator. Members are counted from zero, in the order of
/// their declaration.
pub trait JsonMessage: Default {
    /// Form of the whole message in JSON: [`Message`] of itself, except for messages of
    /// `google.protobuf` with their own form.
    type Form: Codec<Value = Self>;

    /// Name and members of the message.
    const INFO: &'static MessageInfo;

    /// Returns the index of the member with this name in JSON or in the proto file.
    fn member(name: &str) -> Option<usize>;

    /// Reads the value of a member.
    ///
    /// # Errors
    ///
    /// Gives the expected form of the value.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        member: usize,
        members: &mut A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error>;

    /// Writes every member.
    ///
    /// # Errors
    ///
    /// The serializer fails, or a value has no form in JSON.
    fn write<S: SerializeStruct>(
        &self,
        members: &mut S,
        context: &WriteContext<'_>,
    ) -> Result<(), S::Error>;

    /// Returns the message's `update_mask`, if it has one.
    fn update_mask(&mut self) -> Option<UpdateMask<'_>> {
        None
    }
}

/// Field mask of a request that selects the fields to change (<https://google.aip.dev/134>).
#[derive(Debug)]
pub struct UpdateMask<'m> {
    /// Mask itself.
    pub mask: &'m mut Option<FieldMask>,
    /// Index of the mask's own member.
    pub member: usize,
}

/// Nested message.
pub struct Message<M>(PhantomData<M>);

impl<M: JsonMessage> Codec for Message<M> {
    type Value = M;
    const EXPECTED: &'static str = "an object";

    fn write<S: Serializer>(
        value: &M,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let inside = context.deeper()?;
        let mut members = serializer.serialize_struct("", M::INFO.members.len())?;
        value.write(&mut members, &inside)?;
        members.end()
    }

    fn object<'de, A: MapAccess<'de>>(
        message: &mut M,
        mut object: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        let name = || MemberName::<M> {
            message: PhantomData,
            is_kept: context.rejects_unknown_members(),
        };
        while let Some(member) = object.next_key_seed(name())? {
            match member {
                Name::Unknown(Some(name)) => return Err(unknown::<M, _>(&name, context)),
                Name::Unknown(None) => _ = object.next_value::<Skipped>()?,
                Name::Known(member) if seen.insert(member) => message
                    .read(member, &mut object, context)
                    .inspect_err(|_| failed_in::<M>(member, context))?,
                Name::Known(member) => {
                    failed_in::<M>(member, context);
                    return Err(de::Error::custom(GIVEN_TWICE));
                }
            }
        }
        Ok(())
    }
}

/// Rejection of a member that the message does not have. It has the member's name, shortened if
/// necessary, and the nearest known name.
#[cold]
fn unknown<M: JsonMessage, E: de::Error>(name: &str, context: &ReadContext<'_>) -> E {
    let Some(shown) = shown(name) else {
        return E::custom("must have no unknown members");
    };
    let nearest = nearest(M::INFO, name);
    context.failed_in(Step::Unknown(shown));
    context.suggest(nearest.map(str::to_owned));
    E::custom(format_args!("is not a known member{}", suggestion(nearest)))
}

/// Records the member that failed.
#[cold]
pub(super) fn failed_in<M: JsonMessage>(member: usize, context: &ReadContext<'_>) {
    if let Some(member) = M::INFO.members.get(member) {
        context.failed_in(Step::Member(member.json_name));
        context.expected(member.expected);
    }
}

/// Writes a message. Called by the generated `Serialize`.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn serialize<M: JsonMessage, S: Serializer>(
    message: &M,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    M::Form::write(
        message,
        serializer,
        &WriteContext::new(&JsonOptions::default()),
    )
}

/// Reads a message. Called by the generated `Deserialize`.
///
/// # Errors
///
/// Describes the error without the invalid value.
pub fn deserialize<'de, M: JsonMessage, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<M, D::Error> {
    let options = JsonOptions::default();
    let context = ReadContext::new(&options, Mode::Json);
    let mut message = M::default();
    FieldSeed::<M::Form>::new(&mut message, &context).deserialize(deserializer)?;
    Ok(message)
}

/// Set of the members that were read.
#[derive(Default)]
struct Seen {
    low: u128,
    high: Vec<usize>,
}

impl Seen {
    /// Inserts a member; returns true if it was absent.
    fn insert(&mut self, member: usize) -> bool {
        if member < 128 {
            let first = self.low & (1 << member) == 0;
            self.low |= 1 << member;
            return first;
        }
        let first = !self.high.contains(&member);
        if first {
            self.high.push(member);
        }
        first
    }
}

/// Name of a member, looked up without a copy. Formats other than JSON give the member's index
/// instead.
struct MemberName<M> {
    message: PhantomData<M>,
    /// True if an unknown name is kept for an error.
    is_kept: bool,
}

enum Name {
    Known(usize),
    Unknown(Option<String>),
}

impl<'de, M: JsonMessage> DeserializeSeed<'de> for MemberName<M> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<M: JsonMessage> Visitor<'_> for MemberName<M> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
        Ok(match M::member(name) {
            Some(index) => Name::Known(index),
            None => Name::Unknown(self.is_kept.then(|| name.to_owned())),
        })
    }

    fn visit_u64<E: de::Error>(self, index: u64) -> Result<Name, E> {
        let index = usize::try_from(index);
        Ok(index.map_or(Name::Unknown(None), Name::Known))
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn members_past_the_bits_are_seen_too() {
        let mut seen = Seen::default();
        for member in [0, 127, 128, 1000] {
            assert!(seen.insert(member), "{member}");
            assert!(!seen.insert(member), "{member}");
        }
        assert!(seen.insert(1) && seen.insert(129));
    }
}

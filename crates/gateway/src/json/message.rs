//! Messages: JSON objects whose members are known at build time.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};

use super::{AnyVisitor, Codec};

/// What the generator says of a message. Its members are counted from zero, in
/// the order of their field numbers.
pub trait JsonMessage: Default {
    /// The message's own name.
    const NAME: &'static str;

    /// The members' names in JSON.
    const MEMBERS: &'static [&'static str];

    /// The member of this name, which is the one in JSON or the one in the proto
    /// file.
    fn member(name: &str) -> Option<usize>;

    /// Reads the value of a member.
    ///
    /// # Errors
    ///
    /// What the value should have been.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        member: usize,
        members: &mut A,
    ) -> Result<(), A::Error>;

    /// Writes every member.
    ///
    /// # Errors
    ///
    /// The serializer's, or that a value has no form in JSON.
    fn write<S: SerializeStruct>(&self, members: &mut S) -> Result<(), S::Error>;
}

/// A message inside a message.
pub struct Message<M>(PhantomData<M>);

impl<M: JsonMessage> Codec for Message<M> {
    type Value = M;
    const EXPECTED: &'static str = "an object";

    fn write<S: Serializer>(value: &M, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct(M::NAME, M::MEMBERS.len())?;
        value.write(&mut members)?;
        members.end()
    }

    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<M, A::Error> {
        Tracked::<M>::object(object).map(|(message, _)| message)
    }
}

/// A message and the members that its object has.
pub(super) struct Tracked<M>(PhantomData<M>);

impl<M: JsonMessage> Codec for Tracked<M> {
    type Value = (M, Seen);
    const EXPECTED: &'static str = Message::<M>::EXPECTED;

    fn write<S: Serializer>(value: &(M, Seen), serializer: S) -> Result<S::Ok, S::Error> {
        Message::<M>::write(&value.0, serializer)
    }

    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(M, Seen), A::Error> {
        let mut message = M::default();
        let mut seen = Seen::default();
        while let Some(name) = object.next_key::<MemberName<M>>()? {
            match name.member {
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
                Some(member) if seen.insert(member) => message.read(member, &mut object)?,
                Some(_) => {
                    object.next_value::<GivenTwice>()?;
                }
            }
        }
        Ok((message, seen))
    }
}

/// Writes a message; what the generated `Serialize` calls.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn serialize<M: JsonMessage, S: Serializer>(
    message: &M,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Message::<M>::write(message, serializer)
}

/// Reads a message; what the generated `Deserialize` calls.
///
/// # Errors
///
/// What is wrong, without the value that is.
pub fn deserialize<'de, M: JsonMessage, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<M, D::Error> {
    deserializer.deserialize_any(AnyVisitor::<Message<M>>(PhantomData))
}

/// Which members were read, whatever their values.
#[derive(Default)]
pub(crate) struct Seen {
    low: u128,
    high: Vec<usize>,
}

impl Seen {
    /// Whether the member was read.
    pub(crate) fn contains(&self, member: usize) -> bool {
        if member < 128 {
            self.low & (1 << member) != 0
        } else {
            self.high.contains(&member)
        }
    }

    /// Whether this is the member's first time.
    fn insert(&mut self, member: usize) -> bool {
        let first = !self.contains(member);
        if member < 128 {
            self.low |= 1 << member;
        } else if first {
            self.high.push(member);
        }
        first
    }
}

/// The name of a member, looked up without being copied.
struct MemberName<M> {
    member: Option<usize>,
    of: PhantomData<M>,
}

impl<'de, M: JsonMessage> Deserialize<'de> for MemberName<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let member = deserializer.deserialize_identifier(NameVisitor::<M>(PhantomData))?;
        Ok(Self {
            member,
            of: PhantomData,
        })
    }
}

struct NameVisitor<M>(PhantomData<M>);

impl<M: JsonMessage> Visitor<'_> for NameVisitor<M> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(M::member(name))
    }
}

/// Refuses the value of a member that was read before. It takes the value's
/// place so that the error has the member's path.
struct GivenTwice;

impl<'de> Deserialize<'de> for GivenTwice {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("must be given once"))
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn members_past_the_bits_are_seen_too() {
        let mut seen = Seen::default();
        for member in [0, 127, 128, 1000] {
            assert!(!seen.contains(member), "{member}");
            assert!(seen.insert(member), "{member}");
            assert!(!seen.insert(member), "{member}");
            assert!(seen.contains(member), "{member}");
        }
        assert!(!seen.contains(1) && !seen.contains(129));
    }
}

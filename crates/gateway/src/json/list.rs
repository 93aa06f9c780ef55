//! Lists, maps and boxed messages.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::Codec;
use super::context::{ReadContext, Step, WriteContext};
use super::field::{FieldRef, FieldSeed};

/// Any number of values; an array in JSON.
pub struct List<C>(PhantomData<C>);

impl<C: Codec> Codec for List<C> {
    type Value = Vec<C::Value>;
    const EXPECTED: &'static str = "an array";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let mut array = serializer.serialize_seq(Some(value.len()))?;
        for element in value {
            array.serialize_element(&FieldRef::<C>::new(element, context))?;
        }
        array.end()
    }

    fn is_default(value: &Self::Value) -> bool {
        value.is_empty()
    }

    fn text(text: &str) -> Result<Self::Value, &'static str> {
        C::text(text).map(|value| vec![value])
    }

    fn array<'de, A: SeqAccess<'de>>(
        values: &mut Self::Value,
        mut array: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        values.clear();
        let mut index = 0;
        loop {
            let mut value = C::Value::default();
            let read = array
                .next_element_seed(FieldSeed::<C>::new(&mut value, context))
                .inspect_err(|_| context.failed_in(Step::Index(index)))?;
            match read {
                None => return Ok(()),
                Some(true) => values.push(value),
                Some(false) => {}
            }
            index += 1;
        }
    }
}

/// `map`: an object whose names are the keys of the map as text, written in key order.
pub struct Map<K, C>(PhantomData<(K, C)>);

impl<K, C> Codec for Map<K, C>
where
    K: Codec<Value: Display + Eq + Hash + Ord>,
    C: Codec,
{
    type Value = HashMap<K::Value, C::Value>;
    const EXPECTED: &'static str = "an object";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = value.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut object = serializer.serialize_map(Some(entries.len()))?;
        for (key, value) in entries {
            object.serialize_entry(&Shown(key), &FieldRef::<C>::new(value, context))?;
        }
        object.end()
    }

    fn is_default(value: &Self::Value) -> bool {
        value.is_empty()
    }

    fn object<'de, A: MapAccess<'de>>(
        values: &mut Self::Value,
        mut object: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        values.clear();
        while let Some(key) = object.next_key_seed(Key::<K>(PhantomData))? {
            let mut value = C::Value::default();
            let is_there = object
                .next_value_seed(FieldSeed::<C>::new(&mut value, context))
                .inspect_err(|_| context.failed_in(Step::Entry))?;
            if is_there && values.insert(key, value).is_some() {
                return Err(de::Error::custom("must have each key once"));
            }
        }
        Ok(())
    }
}

/// Key of a map, written as text.
struct Shown<'k, K>(&'k K);

impl<K: Display> Serialize for Shown<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Reads the key of a map from its text.
struct Key<K>(PhantomData<K>);

impl<'de, K: Codec> DeserializeSeed<'de> for Key<K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<K: Codec> Visitor<'_> for Key<K> {
    type Value = K::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<K::Value, E> {
        K::text(key)
            .map_err(|expected| E::custom(format_args!("must have keys that are {expected}")))
    }
}

/// Message that prost boxes, since it can contain itself.
pub struct Boxed<C>(PhantomData<C>);

impl<C: Codec> Codec for Boxed<C> {
    type Value = Box<C::Value>;
    const EXPECTED: &'static str = C::EXPECTED;

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        C::write(value, serializer, context)
    }

    fn object<'de, A: MapAccess<'de>>(
        value: &mut Self::Value,
        object: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        C::object(value, object, context)
    }
}

//! JSON inside JSON: values that have no type of their own.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess};
use serde::ser::{Error as _, SerializeMap, SerializeSeq, Serializer};

use super::context::{MAX_PARAMETER_DEPTH, Mode, ReadContext, Step, WriteContext};
use super::field::{FieldRef, FieldSeed};
use super::options::JsonOptions;
use super::{Codec, GIVEN_TWICE, JsonMessage};

/// Largest integer up to which every integer is exact as a floating-point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `google.protobuf.NullValue`: null.
pub struct NullValue;

impl Codec for NullValue {
    type Value = i32;
    const EXPECTED: &'static str = "null";
    const IS_ENUM: bool = true;

    fn write<S: Serializer>(
        _: &i32,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }

    fn is_default(value: &i32) -> bool {
        *value == 0
    }

    fn i64(value: i64) -> Option<i32> {
        value.try_into().ok()
    }

    fn str(value: &str) -> Option<i32> {
        (value == "NULL_VALUE").then_some(0)
    }

    fn null() -> Option<i32> {
        Some(0)
    }
}

fn value(kind: Kind) -> Option<prost_types::Value> {
    Some(prost_types::Value { kind: Some(kind) })
}

/// `google.protobuf.Value`: any JSON.
pub struct Value;

impl Codec for Value {
    type Value = prost_types::Value;
    const EXPECTED: &'static str = "JSON";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        match &value.kind {
            Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(value)) => serializer.serialize_bool(*value),
            Some(Kind::StringValue(value)) => serializer.serialize_str(value),
            Some(Kind::ListValue(list)) => ListValue::write(list, serializer, context),
            Some(Kind::StructValue(object)) => Struct::write(object, serializer, context),
            #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
            Some(Kind::NumberValue(value))
                if value.fract() == 0.0
                    && value.abs() <= EXACT
                    && (*value != 0.0 || value.is_sign_positive()) =>
            {
                serializer.serialize_i64(*value as i64)
            }
            Some(Kind::NumberValue(value)) if value.is_finite() => serializer.serialize_f64(*value),
            Some(Kind::NumberValue(_)) => Err(S::Error::custom(
                "a Value has a number without a form in JSON",
            )),
            None => Err(S::Error::custom("a Value has no kind")),
        }
    }

    fn bool(given: bool) -> Option<Self::Value> {
        value(Kind::BoolValue(given))
    }

    #[allow(clippy::cast_precision_loss, reason = "its numbers are doubles")]
    fn i64(given: i64) -> Option<Self::Value> {
        value(Kind::NumberValue(given as f64))
    }

    #[allow(clippy::cast_precision_loss, reason = "its numbers are doubles")]
    fn u64(given: u64) -> Option<Self::Value> {
        value(Kind::NumberValue(given as f64))
    }

    fn f64(given: f64) -> Option<Self::Value> {
        value(Kind::NumberValue(given))
    }

    fn str(given: &str) -> Option<Self::Value> {
        value(Kind::StringValue(given.to_owned()))
    }

    fn string(given: String) -> Option<Self::Value> {
        value(Kind::StringValue(given))
    }

    fn text(text: &str) -> Result<Self::Value, &'static str> {
        json_text::<Self>(text)
    }

    fn null() -> Option<Self::Value> {
        value(Kind::NullValue(0))
    }

    fn array<'de, A: SeqAccess<'de>>(
        value: &mut Self::Value,
        array: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        let mut list = prost_types::ListValue::default();
        ListValue::array(&mut list, array, context)?;
        value.kind = Some(Kind::ListValue(list));
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(
        value: &mut Self::Value,
        object: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        let mut fields = prost_types::Struct::default();
        Struct::object(&mut fields, object, context)?;
        value.kind = Some(Kind::StructValue(fields));
        Ok(())
    }
}

/// `google.protobuf.ListValue`: any array.
pub struct ListValue;

impl Codec for ListValue {
    type Value = prost_types::ListValue;
    const EXPECTED: &'static str = "an array";

    fn write<S: Serializer>(
        list: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let inside = context.deeper()?;
        let mut array = serializer.serialize_seq(Some(list.values.len()))?;
        for value in &list.values {
            array.serialize_element(&FieldRef::<Value>::new(value, &inside))?;
        }
        array.end()
    }

    fn text(text: &str) -> Result<Self::Value, &'static str> {
        json_text::<Self>(text)
    }

    fn array<'de, A: SeqAccess<'de>>(
        list: &mut Self::Value,
        array: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        // The text of a parameter is an array by itself.
        if context.is_text() {
            return Err(A::Error::custom(GIVEN_TWICE));
        }
        super::List::<Value>::array(&mut list.values, array, context)
    }
}

/// `google.protobuf.Struct`: any object.
pub struct Struct;

impl Codec for Struct {
    type Value = prost_types::Struct;
    const EXPECTED: &'static str = "an object";

    fn write<S: Serializer>(
        object: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let inside = context.deeper()?;
        let mut members = serializer.serialize_map(Some(object.fields.len()))?;
        for (name, value) in &object.fields {
            members.serialize_entry(name, &FieldRef::<Value>::new(value, &inside))?;
        }
        members.end()
    }

    fn text(text: &str) -> Result<Self::Value, &'static str> {
        json_text::<Self>(text)
    }

    fn object<'de, A: MapAccess<'de>>(
        object: &mut Self::Value,
        mut members: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            let mut value = prost_types::Value::default();
            members
                .next_value_seed(FieldSeed::<Value>::new(&mut value, context))
                .inspect_err(|_| context.failed_in(Step::Entry))?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("must have each member once"));
            }
        }
        object.fields = fields;
        Ok(())
    }
}

/// Reads a parameter whose text is JSON, as grpc-gateway does.
fn json_text<C: Codec<Value: JsonMessage>>(text: &str) -> Result<C::Value, &'static str> {
    let options = JsonOptions::default();
    let context = ReadContext::new(&options, Mode::Json);
    let mut value = C::Value::default();
    let mut json = serde_json::Deserializer::from_str(text);
    FieldSeed::<C>::new(&mut value, &context)
        .deserialize(&mut json)
        .and_then(|_| json.end())
        .map_err(|_| C::EXPECTED)?;
    // The value may be nested in as many messages as a parameter's name may have, and the total
    // depth must not exceed that of JSON that can be written and read again.
    let inside = WriteContext::at_depth(&options, MAX_PARAMETER_DEPTH + 1);
    serde_json::to_writer(std::io::sink(), &FieldRef::<C>::new(&value, &inside))
        .map_err(|_| "nested less deeply")?;
    Ok(value)
}

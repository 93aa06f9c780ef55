//! A request with an update mask, as the generator would make it of
//!
//! ```proto
//! message Change {
//!   string name = 1;
//!   optional int64 limit_nanos = 2 [
//!     json_name = "limit",
//!     (keyward.gateway.v1.field) = {decimal_places: 9}
//!   ];
//!   optional string the_note = 3;
//!   google.protobuf.FieldMask update_mask = 4;
//! }
//! ```
//!
//! and of a method with several bindings.

use keyward_gateway::serde::de::MapAccess;
use keyward_gateway::serde::ser::SerializeStruct;
use keyward_gateway::{Bind, Binding, MethodSpec, Parameter, RouteSpec, UpdateMask, json};
use prost_types::FieldMask;

use super::Segment::{Literal, Variable};
use super::{route, spec};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Change {
    name: String,
    limit_nanos: Option<i64>,
    the_note: Option<String>,
    update_mask: Option<FieldMask>,
}

impl json::JsonMessage for Change {
    const NAME: &'static str = "Change";
    const MEMBERS: &'static [&'static str] = &["name", "limit", "theNote", "updateMask"];

    fn member(name: &str) -> Option<usize> {
        match name {
            "name" => Some(0),
            "limit" => Some(1),
            "theNote" | "the_note" => Some(2),
            "updateMask" | "update_mask" => Some(3),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        member: usize,
        from: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            0 => self.name = json::take::<json::Text, A>(from)?.unwrap_or_default(),
            1 => self.limit_nanos = json::take::<json::Decimal<i64, 9>, A>(from)?,
            2 => self.the_note = json::take::<json::Text, A>(from)?,
            _ => self.update_mask = json::take::<json::FieldMask, A>(from)?,
        }
        Ok(())
    }

    fn write<S: SerializeStruct>(&self, to: &mut S) -> Result<(), S::Error> {
        json::put::<json::Text, S>(to, "name", &self.name)?;
        json::put_present::<json::Decimal<i64, 9>, S>(to, "limit", &self.limit_nanos)?;
        json::put_present::<json::Text, S>(to, "theNote", &self.the_note)?;
        json::put_present::<json::FieldMask, S>(to, "updateMask", &self.update_mask)
    }
}

impl Bind for Change {
    fn parameter(member: usize) -> Parameter {
        if member == 3 {
            Parameter::None
        } else {
            Parameter::Single
        }
    }

    fn bind(&mut self, member: usize, text: &str) -> Result<(), &'static str> {
        match member {
            0 => self.name = json::text::<json::Text>(text)?,
            1 => self.limit_nanos = Some(json::text::<json::Decimal<i64, 9>>(text)?),
            _ => self.the_note = Some(json::text::<json::Text>(text)?),
        }
        Ok(())
    }

    fn update_mask(&mut self) -> Option<UpdateMask<'_>> {
        Some(UpdateMask {
            mask: &mut self.update_mask,
            member: 3,
            paths: &["name", "limit_nanos", "the_note", "update_mask"],
        })
    }
}

static CHANGE: MethodSpec = spec("One", "Change");

/// `patch: "/c/{name}" body: "*"` and its additional bindings.
pub(crate) static CHANGE_ROUTES: [RouteSpec; 5] = [
    route(
        "PATCH",
        "/c/{name}",
        &[Literal("c"), Variable],
        &[0],
        Binding::Body,
        &CHANGE,
    ),
    route(
        "PATCH",
        "/c/{name}/{the_note}",
        &[Literal("c"), Variable, Variable],
        &[0, 2],
        Binding::Body,
        &CHANGE,
    ),
    route("PATCH", "/c", &[Literal("c")], &[], Binding::Query, &CHANGE),
    route(
        "PUT",
        "/c/{name}",
        &[Literal("c"), Variable],
        &[0],
        Binding::Body,
        &CHANGE,
    ),
    route("POST", "/c", &[Literal("c")], &[], Binding::Body, &CHANGE),
];

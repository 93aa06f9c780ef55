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
use keyward_gateway::{Binding, MethodSpec, RouteSpec, json};
use prost_types::FieldMask;

use super::Segment::{Literal, Variable};
use super::{route, single, spec};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Change {
    name: String,
    limit_nanos: Option<i64>,
    the_note: Option<String>,
    update_mask: Option<FieldMask>,
}

static INFO: json::MessageInfo = json::MessageInfo {
    full_name: "probe.Change",
    members: &[
        single("name", "name", true),
        single("limit", "limit_nanos", false),
        single("theNote", "the_note", true),
        single("updateMask", "update_mask", true),
    ],
};

impl json::JsonMessage for Change {
    type Form = json::Message<Self>;
    const INFO: &'static json::MessageInfo = &INFO;

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
        how: &json::Reading<'_>,
    ) -> Result<(), A::Error> {
        match member {
            0 => json::take::<json::Text, A>(&mut self.name, from, how),
            1 => json::take_present::<json::Decimal<i64, 9>, A>(&mut self.limit_nanos, from, how),
            2 => json::take_present::<json::Text, A>(&mut self.the_note, from, how),
            _ => json::take_present::<json::UpdatePaths, A>(&mut self.update_mask, from, how),
        }
    }

    fn write<S: SerializeStruct>(
        &self,
        to: &mut S,
        how: &json::Writing<'_>,
    ) -> Result<(), S::Error> {
        json::put::<json::Text, S>(to, "name", &self.name, how)?;
        let limit = self.limit_nanos.as_ref();
        json::put_present::<json::Decimal<i64, 9>, S>(to, "limit", limit, how)?;
        json::put_present::<json::Text, S>(to, "theNote", self.the_note.as_ref(), how)?;
        let mask = self.update_mask.as_ref();
        json::put_present::<json::UpdatePaths, S>(to, "updateMask", mask, how)
    }

    fn update_mask(&mut self) -> Option<json::UpdateMask<'_>> {
        Some(json::UpdateMask {
            mask: &mut self.update_mask,
            member: 3,
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

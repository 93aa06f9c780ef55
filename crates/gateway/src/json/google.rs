//! Messages of `google.protobuf` and error details of `google.rpc` for which prost and tonic have
//! types.

use serde::de::{IgnoredAny, MapAccess};
use serde::ser::SerializeStruct;
use tonic_types::pb;

use super::{
    Any, AnyType, Binary, Bool, Double, Duration, FieldMask, Float, Int32, Int64, JsonMessage,
    List, ListValue, Map, MemberInfo, MemberKind, Message, MessageInfo, ReadContext, Struct, Text,
    Timestamp, UInt32, UInt64, Value, WriteContext, info, read_field, read_optional_field,
    write_field, write_optional_field,
};

/// Types that every `Any` may contain.
pub(super) static BUILT_IN: &[AnyType] = &[
    AnyType::value::<bool>(),
    AnyType::value::<f64>(),
    AnyType::value::<f32>(),
    AnyType::value::<i32>(),
    AnyType::value::<i64>(),
    AnyType::value::<u32>(),
    AnyType::value::<u64>(),
    AnyType::value::<String>(),
    AnyType::value::<Vec<u8>>(),
    AnyType::value::<prost_types::Any>(),
    AnyType::value::<prost_types::Duration>(),
    AnyType::value::<prost_types::FieldMask>(),
    AnyType::value::<prost_types::ListValue>(),
    AnyType::value::<prost_types::Struct>(),
    AnyType::value::<prost_types::Timestamp>(),
    AnyType::value::<prost_types::Value>(),
    AnyType::message::<()>(),
    AnyType::message::<pb::BadRequest>(),
    AnyType::message::<pb::DebugInfo>(),
    AnyType::message::<pb::ErrorInfo>(),
    AnyType::message::<pb::Help>(),
    AnyType::message::<pb::LocalizedMessage>(),
    AnyType::message::<pb::PreconditionFailure>(),
    AnyType::message::<pb::QuotaFailure>(),
    AnyType::message::<pb::RequestInfo>(),
    AnyType::message::<pb::ResourceInfo>(),
    AnyType::message::<pb::RetryInfo>(),
    AnyType::message::<pb::Status>(),
];

macro_rules! read_member {
    (always, $codec:ty, $field:expr, $members:expr, $context:expr) => {
        read_field::<$codec, A>(&mut $field, $members, $context)
    };
    (present, $codec:ty, $field:expr, $members:expr, $context:expr) => {
        read_optional_field::<$codec, A>(&mut $field, $members, $context)
    };
}

macro_rules! write_member {
    (always, $codec:ty, $name:expr, $field:expr, $members:expr, $context:expr) => {
        write_field::<$codec, S>($members, $name, &$field, $context)
    };
    (present, $codec:ty, $name:expr, $field:expr, $members:expr, $context:expr) => {
        write_optional_field::<$codec, S>($members, $name, $field.as_ref(), $context)
    };
}

/// Implements for a message the code that the generator would emit.
macro_rules! message {
    ($rust:ty, $full_name:literal, $form:ty {$(
        $index:literal $json_name:literal $proto_name:literal
        $shape:ident $kind:ident $(of $inner:ty)?, $codec:ty, |$this:ident| $field:expr;
    )*}) => {
        const _: () = {
            static INFO: MessageInfo = MessageInfo {
                full_name: $full_name,
                members: &[$(MemberInfo {
                    json_name: $json_name,
                    proto_name: $proto_name,
                    reads_proto_name: true,
                    expected: "",
                    kind: MemberKind::$kind$((info::<$inner>))?,
                }),*],
                member: <$rust as JsonMessage>::member,
            };

            impl JsonMessage for $rust {
                type Form = $form;
                const INFO: &'static MessageInfo = &INFO;

                #[allow(unreachable_patterns, reason = "both names may be one")]
                fn member(name: &str) -> Option<usize> {
                    match name {
                        $($json_name | $proto_name => Some($index),)*
                        _ => None,
                    }
                }

                fn read<'de, A: MapAccess<'de>>(
                    &mut self,
                    member: usize,
                    members: &mut A,
                    context: &ReadContext<'_>,
                ) -> Result<(), A::Error> {
                    _ = context;
                    match member {
                        $($index => {
                            let $this = self;
                            read_member!($shape, $codec, $field, members, context)
                        })*
                        _ => members.next_value::<IgnoredAny>().map(|_| ()),
                    }
                }

                fn write<S: SerializeStruct>(
                    &self,
                    members: &mut S,
                    context: &WriteContext<'_>,
                ) -> Result<(), S::Error> {
                    _ = (&members, context);
                    $(
                        let $this = self;
                        write_member!($shape, $codec, $json_name, $field, members, context)?;
                    )*
                    Ok(())
                }
            }
        };
    };
}

macro_rules! wrapper {
    ($rust:ty, $full_name:literal, $form:ty) => {
        message!($rust, $full_name, $form {
            0 "value" "value" always Single, $form, |this| *this;
        });
    };
}

wrapper!(bool, "google.protobuf.BoolValue", Bool);
wrapper!(f64, "google.protobuf.DoubleValue", Double);
wrapper!(f32, "google.protobuf.FloatValue", Float);
wrapper!(i32, "google.protobuf.Int32Value", Int32);
wrapper!(i64, "google.protobuf.Int64Value", Int64);
wrapper!(u32, "google.protobuf.UInt32Value", UInt32);
wrapper!(u64, "google.protobuf.UInt64Value", UInt64);
wrapper!(String, "google.protobuf.StringValue", Text);
wrapper!(Vec<u8>, "google.protobuf.BytesValue", Binary);
message!((), "google.protobuf.Empty", Message<()> {});
message!(prost_types::Any, "google.protobuf.Any", Any {
    0 "typeUrl" "type_url" always Single, Text, |any| any.type_url;
    1 "value" "value" always Single, Binary, |any| any.value;
});
message!(prost_types::Duration, "google.protobuf.Duration", Duration {
    0 "seconds" "seconds" always Single, Int64, |duration| duration.seconds;
    1 "nanos" "nanos" always Single, Int32, |duration| duration.nanos;
});
message!(prost_types::FieldMask, "google.protobuf.FieldMask", FieldMask {
    0 "paths" "paths" always Repeated, List<Text>, |mask| mask.paths;
});
message!(prost_types::ListValue, "google.protobuf.ListValue", ListValue {
    0 "values" "values" always Repeated, List<Value>, |list| list.values;
});
// The field names of these two messages are not fixed.
message!(prost_types::Struct, "google.protobuf.Struct", Struct {});
message!(prost_types::Value, "google.protobuf.Value", Value {});
message!(prost_types::Timestamp, "google.protobuf.Timestamp", Timestamp<0> {
    0 "seconds" "seconds" always Single, Int64, |timestamp| timestamp.seconds;
    1 "nanos" "nanos" always Single, Int32, |timestamp| timestamp.nanos;
});

message!(pb::Status, "google.rpc.Status", Message<pb::Status> {
    0 "code" "code" always Single, Int32, |status| status.code;
    1 "message" "message" always Single, Text, |status| status.message;
    2 "details" "details" always Repeated, List<Any>, |status| status.details;
});
message!(pb::ErrorInfo, "google.rpc.ErrorInfo", Message<pb::ErrorInfo> {
    0 "reason" "reason" always Single, Text, |info| info.reason;
    1 "domain" "domain" always Single, Text, |info| info.domain;
    2 "metadata" "metadata" always Map, Map<Text, Text>, |info| info.metadata;
});
message!(pb::RetryInfo, "google.rpc.RetryInfo", Message<pb::RetryInfo> {
    0 "retryDelay" "retry_delay" present Single, Duration, |info| info.retry_delay;
});
message!(pb::DebugInfo, "google.rpc.DebugInfo", Message<pb::DebugInfo> {
    0 "stackEntries" "stack_entries" always Repeated, List<Text>, |info| info.stack_entries;
    1 "detail" "detail" always Single, Text, |info| info.detail;
});
type Quota = pb::quota_failure::Violation;
message!(pb::QuotaFailure, "google.rpc.QuotaFailure", Message<pb::QuotaFailure> {
    0 "violations" "violations" always RepeatedMessage, List<Message<Quota>>,
        |failure| failure.violations;
});
message!(Quota, "google.rpc.QuotaFailure.Violation", Message<Quota> {
    0 "subject" "subject" always Single, Text, |quota| quota.subject;
    1 "description" "description" always Single, Text, |quota| quota.description;
    2 "apiService" "api_service" always Single, Text, |quota| quota.api_service;
    3 "quotaMetric" "quota_metric" always Single, Text, |quota| quota.quota_metric;
    4 "quotaId" "quota_id" always Single, Text, |quota| quota.quota_id;
    5 "quotaDimensions" "quota_dimensions" always Map, Map<Text, Text>,
        |quota| quota.quota_dimensions;
    6 "quotaValue" "quota_value" always Single, Int64, |quota| quota.quota_value;
    7 "futureQuotaValue" "future_quota_value" present Single, Int64,
        |quota| quota.future_quota_value;
});
type Precondition = pb::precondition_failure::Violation;
message!(pb::PreconditionFailure, "google.rpc.PreconditionFailure",
    Message<pb::PreconditionFailure> {
    0 "violations" "violations" always RepeatedMessage, List<Message<Precondition>>,
        |failure| failure.violations;
});
message!(Precondition, "google.rpc.PreconditionFailure.Violation", Message<Precondition> {
    0 "type" "type" always Single, Text, |precondition| precondition.r#type;
    1 "subject" "subject" always Single, Text, |precondition| precondition.subject;
    2 "description" "description" always Single, Text, |precondition| precondition.description;
});
type Field = pb::bad_request::FieldViolation;
message!(pb::BadRequest, "google.rpc.BadRequest", Message<pb::BadRequest> {
    0 "fieldViolations" "field_violations" always RepeatedMessage, List<Message<Field>>,
        |bad| bad.field_violations;
});
message!(Field, "google.rpc.BadRequest.FieldViolation", Message<Field> {
    0 "field" "field" always Single, Text, |field| field.field;
    1 "description" "description" always Single, Text, |field| field.description;
    2 "reason" "reason" always Single, Text, |field| field.reason;
    3 "localizedMessage" "localized_message" present Message of pb::LocalizedMessage, Message<pb::LocalizedMessage>,
        |field| field.localized_message;
});
message!(pb::RequestInfo, "google.rpc.RequestInfo", Message<pb::RequestInfo> {
    0 "requestId" "request_id" always Single, Text, |info| info.request_id;
    1 "servingData" "serving_data" always Single, Text, |info| info.serving_data;
});
message!(pb::ResourceInfo, "google.rpc.ResourceInfo", Message<pb::ResourceInfo> {
    0 "resourceType" "resource_type" always Single, Text, |info| info.resource_type;
    1 "resourceName" "resource_name" always Single, Text, |info| info.resource_name;
    2 "owner" "owner" always Single, Text, |info| info.owner;
    3 "description" "description" always Single, Text, |info| info.description;
});
type Link = pb::help::Link;
message!(pb::Help, "google.rpc.Help", Message<pb::Help> {
    0 "links" "links" always RepeatedMessage, List<Message<Link>>, |help| help.links;
});
message!(Link, "google.rpc.Help.Link", Message<Link> {
    0 "description" "description" always Single, Text, |link| link.description;
    1 "url" "url" always Single, Text, |link| link.url;
});
message!(pb::LocalizedMessage, "google.rpc.LocalizedMessage", Message<pb::LocalizedMessage> {
    0 "locale" "locale" always Single, Text, |text| text.locale;
    1 "message" "message" always Single, Text, |text| text.message;
});

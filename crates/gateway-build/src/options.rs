//! Reads and checks the options of `keyward.gateway.v1`.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, MethodDescriptor, ReflectMessage, ServiceDescriptor,
};

use crate::error::{Error, annotation, declaration};
use crate::{field_path, names};

/// Maximum number of decimal places in 64 bits.
const MAX_DECIMAL_PLACES: u32 = 18;

/// JSON form and constraints of a field.
#[derive(Debug, Default)]
pub(crate) struct FieldJson {
    pub(crate) null_when_unset: bool,
    pub(crate) not_empty: Option<String>,
    pub(crate) decimal_places: Option<u32>,
    pub(crate) utc_only: bool,
    /// JSON schema of the field, for the OpenAPI document.
    pub(crate) schema: Option<String>,
}

/// Error format of a service.
#[derive(Debug, Default)]
pub(crate) struct ServiceRest {
    pub(crate) error_body: Option<String>,
    pub(crate) errors: Vec<ErrorRule>,
}

/// Response options of a method.
#[derive(Debug)]
pub(crate) struct MethodRest {
    pub(crate) success_status: u32,
    pub(crate) errors: Vec<ErrorRule>,
    /// True if the REST response has all pages of the list.
    pub(crate) whole_list: bool,
}

/// Rule for one code.
#[derive(Debug, Clone)]
pub(crate) struct ErrorRule {
    /// Variant of `tonic::Code`.
    pub(crate) code: &'static str,
    pub(crate) status: Option<u32>,
    pub(crate) message: Option<String>,
    pub(crate) body: Option<String>,
    /// Condition of the error, for the OpenAPI document.
    pub(crate) description: Option<String>,
    /// Other texts of the error, for the OpenAPI document.
    pub(crate) examples: Vec<String>,
}

/// Returns the declared number of fractional digits; 0 by default.
pub(crate) fn timestamp_digits(file: &FileDescriptor) -> Result<u32, Error> {
    let digits =
        extension(&file.options(), "file").map_or(0, |json| number(&json, "timestamp_digits"));
    match digits {
        0 | 3 | 6 | 9 => Ok(digits),
        other => Err(declaration(
            file,
            "file option",
            format!("timestamp_digits must not be {other}"),
        )),
    }
}

/// Returns true if the field's value must not be printed.
pub(crate) fn is_redacted(field: &FieldDescriptor) -> bool {
    flag(&field.options(), "debug_redact")
}

/// Returns the fields that JSON has.
pub(crate) fn json_fields(
    message: &MessageDescriptor,
) -> impl ExactSizeIterator<Item = FieldDescriptor> {
    let visible: Vec<_> = message.fields().filter(|field| !is_hidden(field)).collect();
    visible.into_iter()
}

/// Returns true if the field is for gRPC only.
pub(crate) fn is_hidden(field: &FieldDescriptor) -> bool {
    extension(&field.options(), "field").is_some_and(|json| flag(&json, "hidden"))
}

pub(crate) fn field(field: &FieldDescriptor) -> Result<FieldJson, Error> {
    let Some(json) = extension(&field.options(), "field") else {
        return Ok(FieldJson::default());
    };
    let declared = FieldJson {
        null_when_unset: flag(&json, "null_when_unset"),
        not_empty: text(&json, "not_empty"),
        decimal_places: some_number(&json, "decimal_places"),
        utc_only: flag(&json, "utc_only"),
        schema: text(&json, "schema"),
    };
    let fault = |reason: &str| {
        let extension = "keyward.gateway.v1.field";
        Err(annotation(
            &field.parent_file(),
            field.full_name(),
            extension,
            reason,
        ))
    };
    let value = names::value_kind(field);
    if flag(&json, "hidden") {
        let mut fields = field.parent_message().fields();
        let visible_after = fields.any(|other| !is_hidden(&other) && after(field, &other));
        if visible_after || names::is_choice(field) {
            return fault("hidden needs a field behind all that JSON has, outside of a oneof");
        }
    }
    if declared.null_when_unset && (field.is_list() || !field.supports_presence()) {
        return fault("null_when_unset needs a field that can be unset");
    }
    if declared.decimal_places.is_some() && !is_integer(&value) {
        return fault("decimal_places needs an integer");
    }
    if declared
        .decimal_places
        .is_some_and(|places| places > MAX_DECIMAL_PLACES)
    {
        return fault("decimal_places must be at most 18");
    }
    if declared.utc_only && !is_timestamp(&value) {
        return fault("utc_only needs a google.protobuf.Timestamp");
    }
    Ok(declared)
}

/// Returns true if the other field of the message is declared after this one.
fn after(field: &FieldDescriptor, other: &FieldDescriptor) -> bool {
    field_path::index(other) > field_path::index(field)
}

fn is_integer(kind: &Kind) -> bool {
    use Kind::*;
    matches!(
        kind,
        Int32 | Sint32 | Sfixed32 | Uint32 | Fixed32 | Int64 | Sint64 | Sfixed64 | Uint64 | Fixed64
    )
}

fn is_timestamp(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp")
}

/// Returns the values of an enum in the order of their declaration: of several names of one number,
/// the first is written.
pub(crate) fn enum_values(descriptor: &EnumDescriptor) -> Vec<EnumValueDescriptor> {
    let mut values: Vec<_> = descriptor.values().collect();
    values.sort_by_key(|value| value.path().last().copied());
    values
}

/// Returns the name of an enum value in JSON.
pub(crate) fn enum_value_name(value: &EnumValueDescriptor) -> String {
    extension(&value.options(), "enum_value")
        .and_then(|json| text(&json, "name"))
        .unwrap_or_else(|| value.name().to_owned())
}

pub(crate) fn service(service: &ServiceDescriptor) -> Result<ServiceRest, Error> {
    let Some(rest) = extension(&service.options(), "service") else {
        return Ok(ServiceRest::default());
    };
    let fault = |reason| {
        let extension = "keyward.gateway.v1.service";
        annotation(
            &service.parent_file(),
            service.full_name(),
            extension,
            reason,
        )
    };
    let error_body = text(&rest, "error_body");
    if let Some(body) = &error_body {
        check_template("error_body", body).map_err(fault)?;
    }
    Ok(ServiceRest {
        error_body,
        errors: rules(&rest).map_err(fault)?,
    })
}

pub(crate) fn method(method: &MethodDescriptor) -> Result<MethodRest, Error> {
    let fault = |reason| {
        let extension = "keyward.gateway.v1.method";
        annotation(&method.parent_file(), method.full_name(), extension, reason)
    };
    let Some(rest) = extension(&method.options(), "method") else {
        return Ok(MethodRest {
            success_status: 200,
            errors: Vec::new(),
            whole_list: false,
        });
    };
    let success_status = some_number(&rest, "success_status").unwrap_or(200);
    if !(200..300).contains(&success_status) {
        return Err(fault(format!(
            "success_status must not be {success_status}"
        )));
    }
    let whole_list = flag(&rest, "whole_list");
    Ok(MethodRest {
        success_status,
        errors: rules(&rest).map_err(fault)?,
        whole_list,
    })
}

fn rules(rest: &DynamicMessage) -> Result<Vec<ErrorRule>, String> {
    let Some(list) = rest.get_field_by_name("errors") else {
        return Ok(Vec::new());
    };
    let messages = list
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(|value| value.as_message());
    let rules: Vec<ErrorRule> = messages.map(rule).collect::<Result<_, _>>()?;
    for (index, rule) in rules.iter().enumerate() {
        if rules
            .iter()
            .take(index)
            .any(|earlier| earlier.code == rule.code)
        {
            return Err(format!("two error rules for the same code ({})", rule.code));
        }
    }
    Ok(rules)
}

fn rule(rule: &DynamicMessage) -> Result<ErrorRule, String> {
    let number = rule
        .get_field_by_name("code")
        .and_then(|code| code.as_enum_number());
    let code = number
        .and_then(|number| usize::try_from(number).ok())
        .and_then(|number| CODES.get(number).copied())
        .filter(|code| *code != "Ok")
        .ok_or("an error rule needs the code of an error")?;
    let status = some_number(rule, "status");
    if let Some(status) = status.filter(|status| !(400..600).contains(status)) {
        return Err(format!("the status of an error rule must not be {status}"));
    }
    let body = text(rule, "body");
    if let Some(body) = &body {
        check_template("body", body)?;
    }
    Ok(ErrorRule {
        code,
        status,
        message: text(rule, "message"),
        body,
        description: text(rule, "description"),
        examples: texts(rule, "examples"),
    })
}

/// Variants of `tonic::Code` by number.
const CODES: [&str; 17] = [
    "Ok",
    "Cancelled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Returns the variant of the code with this name in the protocol, except OK.
pub(crate) fn code(name: &str) -> Option<&'static str> {
    use heck::ToShoutySnakeCase;
    let mut errors = CODES.iter().skip(1).copied();
    errors.find(|code| code.to_shouty_snake_case() == name)
}

/// Checks that an error body is JSON after its placeholders are filled in.
pub(crate) fn check_template(option: &str, body: &str) -> Result<(), String> {
    let filled = body.replace("$message", "\"\"").replace("$status", "400");
    match serde_json::from_str::<serde_json::Value>(&filled) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{option} is not JSON: {error}")),
    }
}

pub(crate) fn extension(options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let pool = options.descriptor().parent_pool().clone();
    let extension = pool.get_extension_by_name(&format!("keyward.gateway.v1.{name}"))?;
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

/// Returns true if a response of this HTTP status has content.
pub(crate) fn has_content(status: u32) -> bool {
    !matches!(status, 204 | 205)
}

pub(crate) fn flag(message: &DynamicMessage, field: &str) -> bool {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_bool())
        .unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> u32 {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_u32())
        .unwrap_or_default()
}

fn some_number(message: &DynamicMessage, field: &str) -> Option<u32> {
    Some(number(message, field)).filter(|number| *number != 0)
}

/// Returns a text that is not empty.
pub(crate) fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Returns the texts of a list.
pub(crate) fn texts(message: &DynamicMessage, field: &str) -> Vec<String> {
    let list = message.get_field_by_name(field);
    let list = list.as_deref().and_then(|value| value.as_list());
    let values = list.unwrap_or_default().iter();
    values
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

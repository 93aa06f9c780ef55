//! Schemas of scalars and well-known types, each in three directions.

use prost_reflect::Kind;

use super::node::{Node, Object, object};

/// Position of a value, which determines its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    /// In the JSON of a request, where several forms are accepted.
    Request,
    /// In a path or a query, as text.
    Text,
    /// In the JSON of a response, where there is one form.
    Response,
}

/// A number in JSON's own grammar, or a value that has no number there.
const NUMBER_TEXT: &str =
    r"^(?:NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$";
/// Base64 in either alphabet, padded or not.
const ANY_BASE64: &str = "^(?:(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?\
                          |(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}(?:==)?|[A-Za-z0-9_-]{3}=?)?)$";
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";
const DATE_TIME: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}";
/// Maximum duration, in seconds.
const MAX_DURATION: u64 = 315_576_000_000;
/// Names in lowerCamel have no underscore; the existence of the fields is not checked.
const FIELD_MASK: &str = "^[^_]*$";

/// Returns the schema of a scalar other than an enum.
pub(crate) fn scalar(kind: &Kind, position: Position) -> Object {
    match kind {
        Kind::Bool => object! {"type" => "boolean"},
        Kind::Bytes => object! {
            "type" => "string",
            "contentEncoding" => "base64",
            "pattern" => if position == Position::Response { BASE64 } else { ANY_BASE64 },
        },
        Kind::Double => floating("double", f64::MAX, position),
        Kind::Float => floating("float", f64::from(f32::MAX), position),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            small_integer("int32", i64::from(i32::MIN), i64::from(i32::MAX), position)
        }
        Kind::Uint32 | Kind::Fixed32 => small_integer("uint32", 0, i64::from(u32::MAX), position),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            large_integer("int64", i64::MIN, i64::MAX.unsigned_abs(), position)
        }
        Kind::Uint64 | Kind::Fixed64 => large_integer("uint64", 0, u64::MAX, position),
        Kind::String | Kind::Enum(_) | Kind::Message(_) => object! {"type" => "string"},
    }
}

/// In JSON a number, or a text for values that JSON numbers cannot express; in a request, any
/// number may be a text.
fn floating(format: &str, max: f64, position: Position) -> Object {
    let mut schema = object! {
        "type" => vec!["number", "string"],
        "format" => format,
    };
    if position == Position::Response {
        schema.set("pattern", "^(?:NaN|-?Infinity)$");
    } else {
        schema.set("minimum", -max);
        schema.set("maximum", max);
        schema.set("pattern", NUMBER_TEXT);
    }
    schema
}

/// In JSON a number; a text is accepted too.
fn small_integer(format: &str, min: i64, max: i64, position: Position) -> Object {
    let mut schema = object! {
        "type" => "integer",
        "format" => format,
        "minimum" => min,
        "maximum" => max,
    };
    if position == Position::Request {
        schema.set("type", vec!["integer", "string"]);
        schema.set("pattern", range(min, max.unsigned_abs()));
    }
    schema
}

/// In JSON a text, since JavaScript's numbers are too small; a number is accepted too.
fn large_integer(format: &str, min: i64, max: u64, position: Position) -> Object {
    let mut schema = object! {"type" => "string", "format" => format};
    if position == Position::Response {
        let pattern = if min < 0 { "^-?[0-9]+$" } else { "^[0-9]+$" };
        schema.set("pattern", pattern);
        return schema;
    }
    schema.set("minimum", min);
    schema.set("maximum", max);
    if position == Position::Text {
        schema.set("type", "integer");
    } else {
        schema.set("type", vec!["string", "integer"]);
        schema.set("pattern", range(min, max));
    }
    schema
}

/// Returns a pattern of the integers from `min`, which is 0 or the complement of `max`, to `max`.
fn range(min: i64, max: u64) -> String {
    let positive = up_to(max);
    match min {
        0 => format!("^(?:{positive})$"),
        min => format!("^(?:-?(?:{positive})|{min})$"),
    }
}

/// Returns a pattern of the integers from 0 to `max`: those with fewer digits; for each digit,
/// those that are less there and equal before; and `max` itself.
fn up_to(max: u64) -> String {
    let text = max.to_string();
    let mut forms = Vec::new();
    match text.len() {
        1 => {}
        2 => forms.push("[0-9]".to_owned()),
        length => forms.push(format!("0|[1-9][0-9]{{0,{}}}", length - 2)),
    }
    for (position, digit) in text.char_indices() {
        let least = if position == 0 && text.len() > 1 {
            '1'
        } else {
            '0'
        };
        let Some(below) = digit.to_digit(10).and_then(|digit| digit.checked_sub(1)) else {
            continue;
        };
        let Some(below) = char::from_digit(below, 10).filter(|below| *below >= least) else {
            continue;
        };
        let choice = if below == least {
            below.to_string()
        } else {
            format!("[{least}-{below}]")
        };
        let before = text.get(..position).unwrap_or_default();
        let rest = match text.len() - position - 1 {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            more => format!("[0-9]{{{more}}}"),
        };
        forms.push(format!("{before}{choice}{rest}"));
    }
    forms.push(text);
    forms.join("|")
}

/// Returns the schema of an integer in units of ten to the minus `places`.
pub(crate) fn decimal(kind: &Kind, places: u32, position: Position) -> Object {
    let (min, max): (i128, i128) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    let mut schema = object! {"type" => "number"};
    if position != Position::Response {
        schema.set("minimum", -greatest(-min, places));
        schema.set("maximum", greatest(max, places));
    }
    schema
}

/// Returns the greatest floating-point number that is at most `units` when its text is scaled.
#[allow(
    clippy::cast_precision_loss,
    reason = "the loss of precision is checked"
)]
fn greatest(units: i128, places: u32) -> f64 {
    if units <= 0 {
        return 0.0;
    }
    let mut candidate = units as f64 / 10_f64.powi(places.cast_signed());
    while units_from_text(&format!("{candidate}"), places).is_none_or(|found| found > units) {
        candidate = candidate.next_down();
    }
    candidate
}

/// Returns the decimal number `text` (without exponent) times ten to the `places`, rounded up.
fn units_from_text(text: &str, places: u32) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut units: i128 = whole.parse().ok()?;
    let mut digits = fraction.bytes();
    for _ in 0..places {
        let digit = digits.next().map_or(0, |byte| byte.wrapping_sub(b'0'));
        units = units.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    units.checked_add(i128::from(digits.next().is_some()))
}

/// Returns the schema of a well-known type with its own JSON form. `digits` is the declared number
/// of a timestamp's fractional digits.
pub(crate) fn well_known(
    name: &str,
    position: Position,
    digits: u32,
    utc_only: bool,
) -> Option<Object> {
    let wrapped = |kind: &Kind| Some(scalar(kind, position));
    Some(match name {
        "google.protobuf.Timestamp" => timestamp(position, digits, utc_only),
        "google.protobuf.Duration" => {
            let seconds = up_to(MAX_DURATION);
            object! {
                "type" => "string",
                "pattern" => format!(r"^-?(?:{seconds})(?:\.[0-9]{{1,9}})?s$"),
            }
        }
        "google.protobuf.FieldMask" => object! {"type" => "string", "pattern" => FIELD_MASK},
        "google.protobuf.Struct" | "google.protobuf.Empty" => object! {"type" => "object"},
        "google.protobuf.Value" => object! {},
        "google.protobuf.ListValue" => object! {"type" => "array"},
        "google.protobuf.Any" => object! {
            "type" => "object",
            "properties" => object! {
                "@type" => object! {
                    "type" => "string",
                    "description" => "The URL of the type of the other members, such as \
                                      `type.googleapis.com/google.protobuf.Duration`.",
                },
            },
            "anyOf" => vec![
                object! {"required" => vec!["@type"]},
                object! {"maxProperties" => 0_u64},
            ],
        },
        "google.protobuf.BoolValue" => return wrapped(&Kind::Bool),
        "google.protobuf.StringValue" => return wrapped(&Kind::String),
        "google.protobuf.BytesValue" => return wrapped(&Kind::Bytes),
        "google.protobuf.DoubleValue" => return wrapped(&Kind::Double),
        "google.protobuf.FloatValue" => return wrapped(&Kind::Float),
        "google.protobuf.Int32Value" => return wrapped(&Kind::Int32),
        "google.protobuf.UInt32Value" => return wrapped(&Kind::Uint32),
        "google.protobuf.Int64Value" => return wrapped(&Kind::Int64),
        "google.protobuf.UInt64Value" => return wrapped(&Kind::Uint64),
        _ => return None,
    })
}

fn timestamp(position: Position, digits: u32, utc_only: bool) -> Object {
    let fraction = match (position, digits) {
        (Position::Response, 0) => r"(?:\.(?:[0-9]{3}){1,3})?".to_owned(),
        (Position::Response, digits) => format!(r"\.[0-9]{{{digits}}}"),
        _ => r"(?:\.[0-9]{1,9})?".to_owned(),
    };
    let zone = if position == Position::Response || utc_only {
        "Z"
    } else {
        "(?:Z|[+-][0-9]{2}:[0-9]{2})"
    };
    object! {
        "type" => "string",
        "format" => "date-time",
        "pattern" => format!("^{DATE_TIME}{fraction}{zone}$"),
    }
}

/// Makes a schema accept null. A schema without a type accepts it already. An enum keeps values of
/// one type, so null is added as an alternative.
pub(crate) fn nullable(mut schema: Object) -> Object {
    let null = Node::from("null");
    if schema.get("enum").is_some() {
        return object! {"anyOf" => vec![schema, object! {"type" => null}]};
    }
    if schema.get("type").is_none()
        && let Some(Node::List(parts)) = schema.get_mut("anyOf")
    {
        let null = Node::from(object! {"type" => null});
        if !parts.contains(&null) {
            parts.push(null);
        }
        return schema;
    }
    match schema.get("type").cloned() {
        Some(Node::List(mut types)) => {
            if !types.contains(&null) {
                types.push(null);
            }
            schema.set("type", types);
        }
        Some(one) if one == null => {}
        Some(one) => schema.set("type", vec![one, null]),
        None if schema.is_empty() => {}
        None => {
            let null = object! {"type" => "null"};
            return object! {"anyOf" => vec![schema, null]};
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::{Position, decimal, range, up_to};
    use prost_reflect::Kind;

    #[test]
    fn ranges_are_exact() {
        assert_eq!(up_to(7), "[0-6]|7");
        assert_eq!(up_to(10), "[0-9]|10");
        assert_eq!(
            up_to(215),
            "0|[1-9][0-9]{0,1}|1[0-9]{2}|20[0-9]|21[0-4]|215"
        );
        assert!(range(i64::from(i32::MIN), 2_147_483_647).ends_with("|2147483647)|-2147483648)$"));
    }

    #[test]
    fn the_bounds_of_decimals_are_the_last_numbers_that_are_read() {
        let schema = decimal(&Kind::Int64, 9, Position::Request);
        let bound = schema.get("maximum").map(super::Node::compact);
        assert_eq!(bound.as_deref(), Some("9223372036.854774"));
    }
}

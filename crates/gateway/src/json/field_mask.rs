//! Field masks.

use std::borrow::Cow;

use serde::de::{Error as _, MapAccess};
use serde::ser::{Error, Serializer};

use super::context::{ReadContext, WriteContext};
use super::field::read_optional_field;
use super::info::mask_path;
use super::nearest::{nearest_path, suggestion};
use super::{Codec, MessageInfo};

/// `google.protobuf.FieldMask`: its paths in lowerCamel, joined by commas.
pub struct FieldMask;

impl Codec for FieldMask {
    type Value = prost_types::FieldMask;
    const EXPECTED: &'static str = "a string of field names in lowerCamel joined by commas";

    fn write<S: Serializer>(
        mask: &Self::Value,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let paths: Option<Vec<String>> = mask
            .paths
            .iter()
            .map(|path| camel_from_snake(path))
            .collect();
        match paths {
            Some(paths) => serializer.serialize_str(&paths.join(",")),
            None => Err(S::Error::custom(
                "a field mask has a path without a form in JSON",
            )),
        }
    }

    fn str(value: &str) -> Option<Self::Value> {
        if value.contains('_') {
            return None;
        }
        let mut mask = UpdatePaths::str(value)?;
        for path in &mut mask.paths {
            *path = snake_from_camel(path);
        }
        Some(mask)
    }
}

/// Field mask of a request, `update_mask`. It is written as any other mask but may also be read
/// with the names of the proto file: REST clients use the names that they see, which may have
/// underscores. Paths are read verbatim, and [`read_update_mask`] converts them to names of the
/// proto file. A path without a form in lowerCamel is written verbatim, since it is read that way.
pub struct UpdatePaths;

impl Codec for UpdatePaths {
    type Value = prost_types::FieldMask;
    const EXPECTED: &'static str = "a string of field names joined by commas";

    fn write<S: Serializer>(
        mask: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        _ = context;
        let paths = mask.paths.iter();
        let paths: Vec<_> = paths
            .map(|path| camel_from_snake(path).map_or(Cow::Borrowed(path.as_str()), Cow::Owned))
            .collect();
        serializer.serialize_str(&paths.join(","))
    }

    fn str(value: &str) -> Option<Self::Value> {
        let paths = value.split(',').filter(|path| !path.is_empty());
        Some(prost_types::FieldMask {
            paths: paths.map(str::to_owned).collect(),
        })
    }
}

/// Reads the update mask of the message `info`. If the message that the mask applies to is known,
/// each path is first looked up verbatim by JSON names and converted to names of the proto file;
/// any other path is read as lowerCamel.
///
/// # Errors
///
/// As [`read_optional_field`].
pub fn read_update_mask<'de, A: MapAccess<'de>>(
    mask: &mut Option<prost_types::FieldMask>,
    info: &'static MessageInfo,
    members: &mut A,
    context: &ReadContext<'_>,
) -> Result<(), A::Error> {
    read_optional_field::<UpdatePaths, A>(mask, members, context)?;
    let changed = context.masked_by(info);
    let paths = mask.iter_mut().flat_map(|mask| &mut mask.paths);
    for (index, path) in paths.enumerate() {
        let snake = snake_from_camel(path);
        let found = match changed {
            Some(info) => mask_path(info, path, &snake),
            None => Some(snake).filter(|snake| camel_from_snake(snake).is_some()),
        };
        let Some(found) = found else {
            let nearest = changed.and_then(|info| nearest_path(info, path));
            let suggested = suggestion(nearest.as_deref());
            context.suggest(nearest);
            return Err(A::Error::custom(format_args!(
                "must name fields, and its path {} does not{suggested}",
                index + 1
            )));
        };
        *path = found;
    }
    Ok(())
}

/// Returns `a_b` as `aB`, or `None` if the conversion cannot be reversed.
fn camel_from_snake(path: &str) -> Option<String> {
    let mut name = String::with_capacity(path.len());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '_' => name.push(
                characters
                    .next()
                    .filter(char::is_ascii_lowercase)?
                    .to_ascii_uppercase(),
            ),
            upper if upper.is_ascii_uppercase() => return None,
            other => name.push(other),
        }
    }
    Some(name)
}

/// Returns `aB` as `a_b`.
fn snake_from_camel(path: &str) -> String {
    let mut name = String::with_capacity(path.len() + 4);
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::{FieldMask, UpdatePaths, camel_from_snake};

    fn read<C: Codec<Value = prost_types::FieldMask>>(text: &str) -> Option<String> {
        C::str(text).map(|mask| mask.paths.join(","))
    }

    #[test]
    fn masks_are_read_in_lower_camel() {
        for (text, expected) in [
            ("", ""),
            ("a", "a"),
            ("aB,c.dEf", "a_b,c.d_ef"),
            (",a,,b,", "a,b"),
            ("a1B", "a1_b"),
        ] {
            assert_eq!(read::<FieldMask>(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read::<FieldMask>("a_b"), None);
        assert_eq!(
            read::<UpdatePaths>(",a_b,,c.dE").as_deref(),
            Some("a_b,c.dE")
        );
    }

    #[test]
    fn a_path_is_written_if_it_can_come_back() {
        for (path, expected) in [
            ("a_b.c_d", Some("aB.cD")),
            ("", Some("")),
            ("a1", Some("a1")),
            ("aB", None),
            ("a__b", None),
            ("a_1", None),
            ("a_", None),
            ("_a", Some("A")),
        ] {
            assert_eq!(camel_from_snake(path).as_deref(), expected, "{path}");
        }
    }
}

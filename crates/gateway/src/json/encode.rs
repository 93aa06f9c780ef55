//! Encodes the body of a response.

use serde::Serialize;
use serde::ser::SerializeStruct;
use serde_json::Error;

use super::context::WriteContext;
use super::field::FieldRef;
use super::message::JsonMessage;
use super::options::JsonOptions;

/// Writes a message as the body of a response.
///
/// # Errors
///
/// A value, such as a timestamp after the year 9999, has no form in JSON.
pub fn encode<M: JsonMessage>(message: &M, options: &JsonOptions) -> Result<Vec<u8>, Error> {
    let context = WriteContext::new(options);
    serde_json::to_vec(&FieldRef::<M::Form>::new(message, &context))
}

/// Writes one member of a message as the body of a response, or null if it is absent.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_member<M: JsonMessage>(
    message: &M,
    member: usize,
    options: &JsonOptions,
) -> Result<Vec<u8>, Error> {
    let name = M::INFO.members.get(member).map(|member| member.json_name);
    let mut one = One {
        name: name.unwrap_or_default(),
        text: None,
    };
    message.write(&mut one, &WriteContext::of_member(options))?;
    Ok(one.text.unwrap_or_else(|| b"null".to_vec()))
}

/// Serializer that keeps only the requested member of a message.
struct One {
    name: &'static str,
    text: Option<Vec<u8>>,
}

impl SerializeStruct for One {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if name == self.name {
            self.text = Some(serde_json::to_vec(value)?);
        }
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

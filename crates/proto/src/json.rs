//! The same messages as JSON text: `{"kind":"say","ref":0,"body":{…}}`.
//!
//! Identifiers and tickets are hexadecimal, codes are names, `null` means none. Unknown and missing
//! fields are refused. Names are used once a direction, so a reader says which direction it reads.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::{DecodeError, EncodeError},
    limits,
    message::{Direction, KINDS, Message, Ref},
};

#[derive(Serialize)]
struct Written<'a> {
    kind: &'a str,
    #[serde(rename = "ref")]
    reference: u32,
    body: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    kind: String,
    #[serde(rename = "ref")]
    reference: u32,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Which end reads a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A server.
    Server,
    /// A client.
    Client,
}

impl Reader {
    fn is_reached_by(self, direction: Direction) -> bool {
        match self {
            Self::Server => direction.reaches_server(),
            Self::Client => direction.reaches_client(),
        }
    }
}

/// Writes a message on one line.
///
/// # Errors
/// It is larger than [`limits::JSON`].
pub fn encode(message: &Message, reference: Ref) -> Result<String, EncodeError> {
    let name = message.kind().name;
    let failed = |reason: String| EncodeError { name, reason };
    let body = message.body_to_json().map_err(|error| failed(error.to_string()))?;
    let written = Written { kind: name, reference: reference.0, body: &body };
    let text = serde_json::to_string(&written).map_err(|error| failed(error.to_string()))?;
    if text.len() > limits::JSON {
        return Err(failed(format!("{} bytes as JSON, at most {}", text.len(), limits::JSON)));
    }
    Ok(text)
}

/// Reads a message.
///
/// # Errors
/// The text is too long, not a message, or not one that reaches `reader`.
pub fn decode(text: &str, reader: Reader) -> Result<(Ref, Message), DecodeError> {
    if text.len() > limits::JSON {
        return Err(DecodeError::Json(format!("{} bytes, at most {}", text.len(), limits::JSON)));
    }
    // serde would take a list of the fields' values for an object.
    let is_object = |json: &str| json.trim_start().starts_with('{');
    if !is_object(text) {
        return Err(DecodeError::Json("it is no object".into()));
    }
    let read: Read<'_> =
        serde_json::from_str(text).map_err(|error| DecodeError::Json(error.to_string()))?;
    let kind = KINDS
        .iter()
        .find(|kind| kind.name == read.kind && reader.is_reached_by(kind.direction))
        .ok_or(DecodeError::UnknownName(read.kind))?;
    if !is_object(read.body.get()) {
        return Err(DecodeError::Body { name: kind.name, reason: "it is no object".into() });
    }
    let message = Message::body_from_json(kind.number, read.body.get())?;
    Ok((Ref(read.reference), message))
}

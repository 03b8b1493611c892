//! How a body becomes bytes: the only place that names bincode.
//!
//! Little-endian, integers at their full width, strings and lists behind a `u64` count, `Option` and
//! enum behind a tag (one byte; a `u32`). One value has one encoding.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bytes::{BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{DecodeError, EncodeError},
    limits,
};

/// What a decoder may be made to allocate by one body.
const MOST: usize = limits::FRAME as usize;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MOST>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MOST>();

pub(crate) fn write<T: Serialize>(
    name: &'static str,
    body: &T,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    bincode::serde::encode_into_std_write(body, &mut out.writer(), CONFIG)
        .map(|_| ())
        .map_err(|error| EncodeError { name, reason: error.to_string() })
}

pub(crate) fn read<T: DeserializeOwned>(name: &'static str, body: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(body, CONFIG)
        .map_err(|error| DecodeError::Body { name, reason: error.to_string() })?;
    match body.len().checked_sub(used) {
        Some(0) => Ok(value),
        left => Err(DecodeError::LeftOver { name, left: left.unwrap_or_default() }),
    }
}

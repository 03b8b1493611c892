#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod address;
pub mod code;
#[cfg(feature = "codec")]
pub mod codec;
pub mod error;
pub mod frame;
pub mod ids;
#[cfg(feature = "json")]
pub mod json;
pub mod limits;
pub mod message;
#[doc(hidden)]
pub mod planted;
pub mod session;
pub mod text;
pub mod time;
pub mod version;
mod wire;

#[cfg(test)]
mod tests;

//! The screens of a caller and an operator.
//!
//! What is decided without I/O is decided in [`caller`] and [`operator`]: an event or something entered
//! goes in, [`act::Act`]s come out. [`input`] reads what was entered, [`words`] says things in English,
//! [`screen`] is where both meet the world, and [`run`] carries out what was decided.

pub(crate) mod act;
pub(crate) mod ask;
pub(crate) mod caller;
pub(crate) mod connection;
pub(crate) mod earlier;
pub(crate) mod failure;
pub(crate) mod input;
pub(crate) mod operator;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod screen;
pub(crate) mod sending;
pub(crate) mod span;
pub(crate) mod words;

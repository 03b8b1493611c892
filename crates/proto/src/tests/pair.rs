//! Both sessions held against each other, over pipes that delay, slice, hold back and break.

mod chaos;
mod resuming;
mod stories;
mod world;

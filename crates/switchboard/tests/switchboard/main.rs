//! The rules of a line, told as stories, held against a naive model, and at size.

#[cfg(test)]
mod away;
#[cfg(test)]
mod model;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod store;
#[cfg(test)]
mod stories;

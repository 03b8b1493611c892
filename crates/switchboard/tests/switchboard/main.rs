//! The rules of a line, told as stories, held against a naive model, and at size.

#[cfg(test)]
mod model;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod stories;

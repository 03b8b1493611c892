//! What Helpline's two command lines share about being a program.
//!
//! **The rule for what may enter:** both command lines need it (or the client's screens, which the
//! server shows as its console), it is about being a program in a terminal, and it would make sense in
//! a program that has nothing to do with calls. Nothing here knows the protocol, opens a socket or
//! reads a configuration file.
//!
//! | module | what it is about |
//! |---|---|
//! | [`clean`] | text from elsewhere, made harmless for a terminal and visible in JSON |
//! | [`color`] | whether to colour, and the few roles that are coloured |
//! | [`exit`] | exit codes, and the one way a program says why it failed |
//! | [`log`] | `-v`, `-q`, `--color`, and where log lines go |
//! | [`plain`] | lines from a stdin without editing |
//! | [`prompt`] | lines from a terminal with editing, and printing above what is being typed |
//! | [`secrets`] | what a program that knows secrets owes to those whose they are |
//! | [`terminal`] | what the terminal is, how it was, and who sits there |

#![warn(missing_docs)]

pub mod clean;
pub mod color;
pub mod exit;
pub mod log;
pub mod plain;
pub mod prompt;
mod recall;
pub mod secrets;
pub mod terminal;

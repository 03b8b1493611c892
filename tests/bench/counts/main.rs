//! Goes one path of the server so many times, and does nothing else: `scripts/counts` has valgrind count the
//! instructions of that.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::line::Line;

mod line;
mod wire;

#[derive(Debug, Parser)]
struct Cli {
    path: Path,
    repetitions: usize,
    /// How many wait on the line at first.
    #[arg(long, default_value_t = 10)]
    waiting: usize,
}

/// What is done over and over.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Path {
    /// A connection's session is handed the bytes of a `Say`, and says what is asked for.
    Decode,
    /// The switchboard is asked for a line of a connected call.
    Say,
    /// The frame of a `Said` is made.
    Encode,
    /// Somebody joins behind all the others, hangs up, and has seen the end.
    JoinAndLeave,
    /// Somebody who waits is told their place again.
    Place,
    /// The first in line leaves and joins again: everybody moves up, until so many places were told.
    Moved,
}

fn main() -> ExitCode {
    let Cli { path, repetitions, waiting } = Cli::parse();
    let done = match path {
        Path::Decode => wire::decode(repetitions),
        Path::Encode => wire::encode(repetitions),
        Path::Say => Line::new(waiting).and_then(|line| line.say(repetitions)),
        Path::JoinAndLeave => Line::new(waiting).and_then(|line| line.join_and_leave(repetitions)),
        Path::Place => Line::new(waiting).and_then(|line| line.place(repetitions)),
        Path::Moved => Line::new(waiting).and_then(|line| line.moved(repetitions)),
    };
    match done {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("{path:?}: something else came of it than is to be counted");
            ExitCode::FAILURE
        }
    }
}

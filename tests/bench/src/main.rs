//! Measures the release program from outside, beside its rivals and the limits of the machine, in one run.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    figures::{Figures, Values},
    load::Span,
    rivals::Place,
    works::{Extent, Plan, Who, Work},
};

mod bare;
mod figures;
mod load;
mod machine;
mod plot;
mod process;
mod raw;
mod report;
mod rivals;
mod speak;
mod summary;
mod trust;
mod wire;
mod works;

/// Measures helpline-server beside its rivals and the limits of this machine.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Role>,
    /// The release program.
    #[arg(long, default_value = "target/release/helpline-server")]
    server: PathBuf,
    /// A directory on the disk that is measured.
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
    /// Less of everything: about two minutes in all.
    #[arg(long)]
    quick: bool,
    /// Writes the page and its pictures, too.
    #[arg(long)]
    write: bool,
    /// The page that is written.
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,
    /// Measures nothing, but takes the figures of an earlier run, which are in the directory of the disk.
    #[arg(long)]
    again: bool,
    /// What is done; everything, if it isn't given.
    #[arg(long)]
    work: Vec<Work>,
    /// Who does it: those whose name contains this.
    #[arg(long)]
    only: Vec<String>,
    /// How many pairs, connections, calls or entries, instead of the work's own sizes.
    #[arg(long, alias = "pairs")]
    size: Vec<u64>,
    /// How often everything is done.
    #[arg(long)]
    rounds: Option<u64>,
    /// For how many milliseconds pairs talk.
    #[arg(long)]
    lasts: Option<u64>,
    /// Messages of one speaker that are under way in a stream.
    #[arg(long, default_value_t = 64)]
    in_flight: u64,
}

/// What else this program is: the raw servers.
#[derive(Debug, Subcommand)]
enum Role {
    Relay { at: SocketAddr },
    Log { at: SocketAddr, file: PathBuf },
    Naive { at: SocketAddr },
    Echo { at: SocketAddr },
    EchoTls { at: SocketAddr },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    raise_descriptor_limit();
    let ended = match &cli.command {
        Some(Role::Relay { at }) => raw::relay(*at),
        Some(Role::Log { at, file }) => raw::log(*at, file),
        Some(Role::Naive { at }) => raw::naive(*at),
        Some(Role::Echo { at }) => bare::echo(*at),
        Some(Role::EchoTls { at }) => bare::echo_tls(*at),
        None => measure(&cli),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// As many descriptors as the system gives, for this process and the servers that it starts.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With fewer, large crowds fail, and say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn measure(cli: &Cli) -> io::Result<()> {
    fs::create_dir_all(&cli.scratch)?;
    let kept = cli.scratch.join("figures.jsonl");
    let figures = if cli.again {
        Figures::from_json(&fs::read_to_string(kept)?)?
    } else {
        let place = Place { helpline_server: cli.server.clone(), scratch: cli.scratch.clone() };
        let facts = machine::described(&cli.scratch)?;
        let mut figures = works::run(&plan(cli), &place, told);
        let versions = works::versions(&figures, &place);
        for (what, is) in facts.into_iter().chain(versions) {
            figures.fact(&what, &is);
        }
        fs::write(kept, figures.to_json())?;
        figures
    };
    println!("{}", report::page(&figures));
    if cli.write {
        report::write(&figures, &cli.page)?;
    }
    Ok(())
}

fn plan(cli: &Cli) -> Plan {
    let extent = if cli.quick { Extent::Quick } else { Extent::Whole };
    let (rounds, warm, lasts) = match extent {
        Extent::Quick => (2, 100, 300),
        Extent::Whole => (5, 500, 2000),
    };
    let works = if cli.work.is_empty() { Work::value_variants() } else { &cli.work };
    Plan {
        works: works.to_vec(),
        only: cli.only.clone(),
        sizes: cli.size.clone(),
        rounds: cli.rounds.unwrap_or(rounds),
        extent,
        span: Span {
            warm: Duration::from_millis(warm),
            lasts: Duration::from_millis(cli.lasts.unwrap_or(lasts)),
        },
        in_flight: cli.in_flight,
    }
}

/// Shows a figure as it comes.
fn told(work: Work, who: Who, size: u64, values: &io::Result<Values>) {
    let about = format!("{:8} {size:>7}  {:26}", work.name(), who.name());
    match values {
        Ok(values) => {
            let values: Vec<String> =
                values.iter().map(|(key, value)| format!("{key} {value:.3}")).collect();
            eprintln!("{about}{}", values.join("  "));
        }
        Err(why) => eprintln!("{about}not run: {why}"),
    }
}

//! Measures the release program from outside, beside its rivals and the limits of the machine, in one run.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    load::Talk,
    rivals::{Place, Rival},
};

mod load;
mod process;
mod raw;
mod rivals;
mod speak;
mod summary;
mod trust;
mod wire;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Role>,
    #[arg(long, default_value = "target/release/helpline-server")]
    server: PathBuf,
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 2000)]
    lasts: u64,
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    #[arg(long, default_value_t = 64)]
    in_flight: u64,
    #[arg(long)]
    answered: bool,
    #[arg(long)]
    only: Vec<String>,
}

/// What else this program is: the raw servers.
#[derive(Debug, Subcommand)]
enum Role {
    Relay { at: SocketAddr },
    Log { at: SocketAddr, file: PathBuf },
    Naive { at: SocketAddr },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match &cli.command {
        Some(Role::Relay { at }) => raw::relay(*at),
        Some(Role::Log { at, file }) => raw::log(*at, file),
        Some(Role::Naive { at }) => raw::naive(*at),
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

fn measure(cli: &Cli) -> io::Result<()> {
    std::fs::create_dir_all(&cli.scratch)?;
    let place = Place { helpline_server: cli.server.clone(), scratch: cli.scratch.clone() };
    let talk = Talk {
        in_flight: cli.in_flight,
        answered: cli.answered,
        warm: Duration::from_millis(500),
        lasts: Duration::from_millis(cli.lasts),
    };
    let all = [
        Rival::Relay,
        Rival::Log,
        Rival::Helpline,
        Rival::HelplineTls,
        Rival::RedisPubSub,
        Rival::RedisStreams,
        Rival::RedisStreamsEverySecond,
        Rival::InspIrcd,
        Rival::Ngircd,
        Rival::MosquittoQos0,
        Rival::MosquittoQos1,
        Rival::Nats,
        Rival::JetStream,
        Rival::JetStreamSynced,
        Rival::Naive,
    ];
    let wanted = |rival: &Rival| {
        cli.only.is_empty() || cli.only.iter().any(|only| rival.name().contains(only.as_str()))
    };
    let wanted: Vec<_> = all.into_iter().filter(wanted).collect();
    for rival in &wanted {
        println!("{:24} {}", rival.name(), rival.version(&place).unwrap_or_default());
    }
    for _ in 0..cli.rounds {
        println!();
        for rival in &wanted {
            match once(*rival, &place, cli.pairs, talk) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    println!("{:24} {error}", rival.name());
                }
                ended => ended?,
            }
        }
    }
    Ok(())
}

/// Measures somebody once and prints the figures. Unsupported if that can't be done with it.
fn once(rival: Rival, place: &Place, pairs: usize, talk: Talk) -> io::Result<()> {
    let running = rival.start(place)?;
    let pairs = running.protocol.pairs(running.at, pairs)?;
    let acknowledges = running.protocol.acknowledges();
    let mut measured = load::talk(pairs, talk, acknowledges, &running.process)?;
    let rate = measured.done as f64 / measured.took.as_secs_f64();
    let cpu = measured.cpu.as_secs_f64() * 1e6 / measured.done as f64;
    println!(
        "{:24} {rate:10.0}/s  {cpu:6.2} s/10^6  p50 {:?} p99 {:?}  {} KiB",
        rival.name(),
        measured.latencies.within(50),
        measured.latencies.within(99),
        running.process.resident()?,
    );
    Ok(())
}

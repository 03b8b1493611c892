//! A line of the release program's, with nobody on it yet.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::{
    process::Process,
    rivals::{self, Place, Rival},
    speak::helpline::Helpline,
    trust,
};

/// A line that answers.
pub(crate) struct Line {
    pub(crate) process: Process,
    pub(crate) at: SocketAddr,
    pub(crate) helpline: Helpline,
    /// From starting the program until it said that it listens.
    pub(crate) took: Duration,
    files: TempDir,
}

impl Line {
    /// Opens one whose data are its own.
    pub(crate) fn open(place: &Place, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let files = TempDir::new_in(&place.scratch)?;
        let token = rivals::operator(place, files.path())?;
        let at = free()?;
        let begun = Instant::now();
        let process = rivals::helpline(place, files.path(), at)?;
        let took = begun.elapsed();
        Ok(Self { process, at, helpline: Helpline { token, tls }, took, files })
    }

    /// The same as this rival, if it is a line.
    pub(crate) fn of(rival: Rival, place: &Place, sessions: Sessions) -> io::Result<Option<Self>> {
        let tls = match rival {
            Rival::Helpline => None,
            Rival::HelplineTls => Some(trust::config(sessions == Sessions::Resumed)?),
            _ => return Ok(None),
        };
        Self::open(place, tls).map(Some)
    }

    /// Kills it, and starts it again on what it kept.
    pub(crate) fn again(self, place: &Place) -> io::Result<Self> {
        let Self { process, helpline, files, .. } = self;
        drop(process);
        let at = free()?;
        let begun = Instant::now();
        let process = rivals::helpline(place, files.path(), at)?;
        let took = begun.elapsed();
        Ok(Self { process, at, helpline, took, files })
    }
}

/// Whether those who come under TLS go on with what was agreed on before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    Resumed,
    Fresh,
}

/// An address on loopback where nobody answers.
pub(crate) fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

//! The server that is dialled: who is expected there, and what is remembered of whom one has met.

use helpline_cli_common::exit::Failure;

use crate::{
    Address, Fingerprint,
    dial::Dialler,
    kept::KeptError,
    known::{Known, KnownError, KnownServers},
    trust::{Met, Security, Trust},
    ui::{failure, screen::Screen},
};

use super::IsEncrypted;

/// What somebody who was met is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    Secrets,
    /// Only what a person allows who knows this key.
    WhatIsConfirmed(Fingerprint),
    Nothing,
}

fn hears(met: Met, is_unknown: bool, is_loopback: bool) -> Hears {
    match met {
        _ if is_loopback => Hears::Secrets,
        Met::Anybody => Hears::Nothing,
        Met::Key(key) if is_unknown => Hears::WhatIsConfirmed(key),
        Met::Key(_) | Met::PublicRoots => Hears::Secrets,
    }
}

/// The server, for as long as this process calls it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) dialler: Dialler,
    /// Where servers are remembered, or why they are not.
    servers: Result<KnownServers, KeptError>,
    /// Who is remembered.
    known: Option<Known>,
    /// Nobody has told who is to be expected: neither a link, nor a person, nor this program the last time.
    is_unknown: bool,
}

impl Server {
    /// Finds out who is expected at this address.
    pub(crate) fn new(
        address: &Address,
        security: IsEncrypted,
        screen: &mut Screen,
    ) -> Result<Self, Failure> {
        let servers = KnownServers::of_user();
        let mut known = None;
        if let (IsEncrypted::Yes, Ok(servers)) = (security, &servers) {
            let found = match servers.find(&address.to_string()) {
                Ok(found) => found,
                // What counts is the link.
                Err(KnownError::Damaged { .. }) if address.fingerprint.is_some() => {
                    crate::known::Found::default()
                }
                Err(error) => return Err(failure::known(&error)),
            };
            known = found.known;
            for line in found.damaged {
                let path = servers.path().display();
                screen.warn(&format!("line {line} of {path} can't be understood"));
            }
        }
        let trust = known.map_or(Trust::FirstContact, Known::trust);
        let security = match security {
            IsEncrypted::Yes => Security::Tls(trust),
            IsEncrypted::No => Security::Plaintext,
        };
        let dialler =
            Dialler::new(address, &security).map_err(|error| failure::dial(address, error))?;
        let is_unknown = known.is_none() && address.fingerprint.is_none();
        Ok(Self { dialler, servers, known, is_unknown })
    }

    /// What an operator may tell whoever was met.
    pub(crate) fn hears(&self, met: Met, is_loopback: bool) -> Hears {
        hears(met, self.is_unknown, is_loopback)
    }

    /// Remembers who was met, if that is the first time, and says so.
    pub(crate) fn remember(
        &mut self,
        address: &Address,
        met: Met,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        self.is_unknown = false;
        let Some(now) = Known::from_met(met) else { return Ok(()) };
        match self.known {
            Some(known) if known == now => return Ok(()),
            // Only a link lets anybody come as far as here.
            Some(known) => {
                screen.warn(&format!(
                    "this is not the {address} that was met before: it was known by {known}. The link's key counts \
                     this time; to remember it: helpline forget {address}"
                ));
                return Ok(());
            }
            None => self.known = Some(now),
        }
        let who = match now {
            Known::Key(key) => format!("its key is {key}"),
            Known::PublicRoots => "public authorities vouch for it".to_owned(),
        };
        let remembered = match &self.servers {
            Ok(servers) => servers.remember(&address.to_string(), now),
            Err(error) => {
                screen.warn(&format!(
                    "first contact with {address}: {who}; nothing is remembered: {error}"
                ));
                return Ok(());
            }
        };
        match remembered {
            Ok(()) => {
                screen
                    .warn(&format!("first contact with {address}: {who}, remembered from now on"));
                Ok(())
            }
            Err(KnownError::Another(other)) => {
                Err(failure::other_key(&address.to_string(), other, now))
            }
            Err(error @ KnownError::NotKept(_)) => {
                screen.warn(&format!(
                    "first contact with {address}: {who}; that can't be remembered: {error}"
                ));
                Ok(())
            }
            Err(error) => Err(failure::known(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_this_machine_and_for_servers_that_somebody_vouches_for() {
        let key = Fingerprint([7; 32]);
        for is_unknown in [true, false] {
            for met in [Met::Anybody, Met::Key(key), Met::PublicRoots] {
                assert_eq!(hears(met, is_unknown, true), Hears::Secrets, "{met:?}");
            }
            assert_eq!(hears(Met::Anybody, is_unknown, false), Hears::Nothing);
            assert_eq!(hears(Met::PublicRoots, is_unknown, false), Hears::Secrets);
        }
        assert_eq!(hears(Met::Key(key), true, false), Hears::WhatIsConfirmed(key));
        assert_eq!(hears(Met::Key(key), false, false), Hears::Secrets);
    }
}

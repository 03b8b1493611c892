//! Who belongs: operators' accounts, invitations, bans, and what is kept of secrets.

use std::fmt;

use helpline_proto::{
    ids::Uses,
    text::{Name, Secret},
    time::UnixMillis,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{calendar, gate::Ban};

/// What is kept of a token or an invitation: its SHA-256. Both have too much randomness for a slower hash to
/// add anything.
#[derive(Clone, Copy, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.as_str()).into())
    }
}

/// In constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers callers.
    Operator,
    /// The same, and may end and ban any call of the line.
    Supervisor,
}

/// Somebody who may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Under which name; callers read it.
    pub name: Name,
    /// What they may do.
    pub role: Role,
    /// What is kept of their token.
    pub token: SecretHash,
    /// Whether they may not sign on at the moment.
    pub disabled: bool,
}

/// Something to be let in with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invitation {
    /// What is kept of its code.
    pub code: SecretHash,
    /// How often it holds.
    pub uses: Uses,
    /// Until when.
    pub until: Option<UnixMillis>,
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.uses {
            Uses::Once => "once",
            Uses::Many => "many",
        })?;
        match self.until {
            Some(until) => write!(f, " until {}", calendar::utc(until)),
            None => Ok(()),
        }
    }
}

/// What invitations are written in: Crockford's base 32, without letters that are read for something else.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An invitation as it is given away: 80 of these random bits, in groups of four letters.
#[must_use]
pub fn invitation_code(random: [u8; 16]) -> String {
    let letter = |byte: u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or_default();
    let letters = random.map(|byte| char::from(letter(byte)));
    letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-")
}

/// Everything that those who run the line have decided about who belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Who may answer.
    pub accounts: Vec<Account>,
    /// Invitations that are not used up.
    pub invitations: Vec<Invitation>,
    /// Who is kept out.
    pub bans: Vec<Ban>,
}

/// One line of the audit: somebody did something that others may have to answer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: UnixMillis,
    /// Who: the name of an account, of whoever is at the console, or of a user of the machine.
    pub who: String,
    /// From where.
    pub seat: Seat,
    /// What they did.
    pub did: Did,
    /// To whom or what, and the like. No text of a call, and no secret.
    pub about: String,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $type:ident { $($(#[$member_doc:meta])* $member:ident = $number:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[$member_doc])* $member,)*
        }

        impl $type {
            /// Its number in the database.
            #[must_use]
            pub fn number(self) -> i64 {
                match self { $(Self::$member => $number,)* }
            }

            /// What has this number.
            #[must_use]
            pub fn numbered(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$member),)* _ => None }
            }

            /// What scripts and lists call it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$member => $name,)* }
            }
        }
    };
}

numbered! {
    /// Where somebody sat who did something.
    Seat {
        /// At a desk, with an account.
        Desk = 1 "desk",
        /// At the server's own console.
        Console = 2 "console",
        /// At the command line of `helpline-server`.
        Command = 3 "command",
    }
}

numbered! {
    /// What somebody did.
    Did {
        /// Signed on as an operator.
        SignedOn = 1 "signed_on",
        /// Read a call.
        LookedAt = 2 "looked_at",
        /// Took a call's transcript away for programs.
        Exported = 3 "exported",
        /// Banned an address.
        Banned = 4 "banned",
        /// Lifted a ban.
        Lifted = 5 "lifted",
        /// Made an invitation.
        Invited = 6 "invited",
        /// Took an invitation back.
        Uninvited = 7 "uninvited",
        /// Made an account.
        AccountAdded = 8 "account_added",
        /// Disabled an account.
        AccountDisabled = 9 "account_disabled",
        /// Removed an account.
        AccountRemoved = 10 "account_removed",
        /// Gave an account another token.
        AccountRotated = 11 "account_rotated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_secret_is_not_the_secret() {
        let hash = SecretHash::of(&Secret::new("hunter2").unwrap());
        assert_eq!(hash, SecretHash::of(&Secret::new("hunter2").unwrap()));
        assert_ne!(hash, SecretHash::of(&Secret::new("hunter3").unwrap()));
        assert_eq!(format!("{hash:?}"), "SecretHash(…)");
    }

    #[test]
    fn an_invitation_is_easily_typed() {
        let random = std::array::from_fn(|at| u8::try_from(at * 17).unwrap());
        assert_eq!(invitation_code(random), "0h2k-4n6q-8sav-cxez");
    }

    #[test]
    fn numbers_read_back() {
        for number in 1..=11 {
            assert_eq!(Did::numbered(number).map(Did::number), Some(number));
        }
        assert_eq!(Did::numbered(12), None);
        assert_eq!(
            (1..=4).map(Seat::numbered).map(|seat| seat.map(Seat::number)).collect::<Vec<_>>(),
            [Some(1), Some(2), Some(3), None]
        );
    }
}

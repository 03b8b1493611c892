//! The tokens that operators were let in with, one for each account at each address.
//!
//! Each has a file in `tokens`, in the directory where unfinished calls are kept; it is its owner's alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use helpline_proto::{
    code::Code,
    session::Lost,
    text::{Name, Secret},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{kept::KeptError, own, secret};

/// What is read of a file at most.
const MOST: u64 = 4 * 1024;

/// Where tokens are kept.
#[derive(Clone, Debug)]
pub(crate) struct Tokens(PathBuf);

impl Tokens {
    /// Those of whoever runs this process.
    pub(crate) fn of_user() -> Result<Self, KeptError> {
        let state = own::state()?;
        own::open_directory(&state)?;
        Self::open(&state.join("tokens"))
    }

    fn open(directory: &Path) -> Result<Self, KeptError> {
        own::open_directory(directory)?;
        Ok(Self(directory.into()))
    }

    /// The one for the account of this name at this address.
    pub(crate) fn of(&self, address: &str, name: &Name) -> Place {
        let account = Account { address: address.to_ascii_lowercase(), name: name.clone() };
        // A name may hold anything, which a file's can't.
        let digest = Sha256::digest(format!("{}\n{}", account.address, account.name));
        let file: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Place { path: self.0.join(file), account }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    address: String,
    name: Name,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    account: Account,
    token: Secret,
}

/// Where the token of one account is kept.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    account: Account,
}

impl Place {
    /// The token, if there is one.
    pub(crate) fn token(&self) -> Option<Secret> {
        let path = self.path.display();
        let read = own::read(&self.path, MOST);
        let bytes = read.inspect_err(|error| tracing::warn!("{path} can't be read: {error}"));
        let kept: Option<Kept> = serde_json::from_slice(&bytes.ok()??).ok();
        let token = kept.filter(|kept| kept.account == self.account).map(|kept| kept.token);
        let token = token.filter(|token| secret::token(token.as_str()).is_ok());
        if token.is_none() {
            tracing::warn!("{path} is damaged: it has no token");
        }
        token
    }

    fn remember(&self, token: &Secret) {
        if self.path.exists() && self.token().as_ref() == Some(token) {
            return;
        }
        let kept = Kept { account: self.account.clone(), token: token.clone() };
        let written = serde_json::to_string(&kept).map_err(Into::into).and_then(|text| {
            let _lock = own::lock(&self.path.with_file_name("tokens"))?;
            own::replace(&self.path, (text + "\n").as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!("the token can't be kept in {}: {error}", self.path.display());
        }
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => tracing::debug!("the token in {} is no longer good", self.path.display()),
            Err(error) => tracing::debug!("no token is removed: {error}"),
        }
    }
}

/// What becomes of the token that somebody signs on with.
#[derive(Debug)]
pub(crate) struct Remembering {
    pub(crate) place: Place,
    /// None for whoever needed none to come back.
    pub(crate) token: Option<Secret>,
}

impl Remembering {
    /// The server has let somebody in.
    pub(crate) fn let_in(&mut self) {
        if let Some(token) = self.token.take() {
            self.place.remember(&token);
        }
    }

    /// The server has parted, for good.
    pub(crate) fn over(&mut self, lost: &Lost) {
        if let Lost::Goodbye(goodbye) = lost
            && matches!(goodbye.code, Code::NOT_RECOGNISED | Code::DISABLED)
        {
            self.place.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use helpline_proto::{ids::Resumable, message::Goodbye, text::Detail};

    use super::*;

    fn token(digit: &str) -> Secret {
        secret::token(&digit.repeat(64)).unwrap()
    }

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn goodbye(code: Code) -> Lost {
        let (detail, resumable) = (Detail::cut(""), Resumable::No);
        Lost::Goodbye(Goodbye { code, detail, retry_after_s: None, resumable })
    }

    #[test]
    fn a_token_is_kept_once_it_was_good_and_removed_once_it_is_not() {
        let home = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&home.path().join("tokens")).unwrap();
        let place = tokens.of("here:1", &name("../wei"));
        let mut signing_on = Remembering { place: place.clone(), token: Some(token("a")) };
        assert_eq!(place.token(), None);
        signing_on.let_in();
        assert_eq!(place.token(), Some(token("a")));
        assert_eq!(tokens.of("HERE:1", &name("../wei")).token(), Some(token("a")));
        for other in [tokens.of("here:2", &name("../wei")), tokens.of("here:1", &name("li"))] {
            assert_eq!(other.token(), None);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&tokens.0), mode(&place.path)), (0o700, 0o600));
        Remembering { place: place.clone(), token: Some(token("b")) }.let_in();
        assert_eq!(place.token(), Some(token("b")));
        signing_on.over(&goodbye(Code::STOPPING));
        signing_on.over(&Lost::Broken);
        assert_eq!(place.token(), Some(token("b")));
        for code in [Code::NOT_RECOGNISED, Code::DISABLED] {
            place.remember(&token("c"));
            signing_on.over(&goodbye(code));
            assert_eq!(place.token(), None, "{code}");
        }
        fs::write(&place.path, "{}").unwrap();
        assert_eq!(place.token(), None);
        place.remember(&token("d"));
        assert_eq!(place.token(), Some(token("d")), "a damaged file is written anew");
    }
}

//! Operators' accounts: each is made when a story first needs it.
//!
//! A story says who answers and where; what keeps strangers out is another story's business.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use helpline_proto::{
    text::{Name, Secret},
    time::UnixMillis,
};
use helpline_server::{
    access::{Account, Audit, Did, Role, Seat, SecretHash},
    store::admin::Admin,
};

#[derive(Default)]
struct Known {
    /// Where the server at an address keeps its calls.
    data: HashMap<SocketAddr, PathBuf>,
    made: HashSet<(PathBuf, Name)>,
    given: HashMap<(SocketAddr, Name), Secret>,
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server answers here.
pub fn serve(address: SocketAddr, data: &Path) {
    let mut known = known();
    if known.data.insert(address, data.to_owned()).is_some_and(|before| before != data) {
        known.given.retain(|(at, _), _| *at != address);
    }
}

/// What answers here leads to the server there.
pub fn lead(address: SocketAddr, to: SocketAddr) {
    let mut known = known();
    if let Some(data) = known.data.get(&to).cloned() {
        known.data.insert(address, data);
    }
}

/// Somebody has this token at the server there, and none is to be made.
pub fn give(address: SocketAddr, name: &Name, token: Secret) {
    known().given.insert((address, name.clone()), token);
}

/// The token of an operator at the server there, if that is a server of a story.
///
/// # Panics
/// An account can't be made.
#[must_use]
pub fn token(address: SocketAddr, name: &Name) -> Option<Secret> {
    let mut known = known();
    if let Some(given) = known.given.get(&(address, name.clone())) {
        return Some(given.clone());
    }
    let data = known.data.get(&address)?.clone();
    let token = token_of(name);
    if known.made.insert((data.clone(), name.clone())) {
        add(&data, name, Role::Operator);
    }
    Some(token)
}

/// The token that [`add`] gives an account of this name.
///
/// # Panics
/// Never.
#[must_use]
pub fn token_of(name: &Name) -> Secret {
    let letters = name.as_str().bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    Secret::new(format!("{letters:0>64}").as_str()).unwrap()
}

/// Makes an account, unless there is one.
///
/// # Panics
/// It can't be made.
pub fn add(data: &Path, name: &Name, role: Role) {
    let token = SecretHash::of(&token_of(name));
    let account = Account { name: name.clone(), role, token, disabled: false };
    let (who, about) = ("a story".to_owned(), name.to_string());
    let (at, did) = (UnixMillis(0), Did::AccountAdded);
    let audit = Audit { at, who, seat: Seat::Command, did, about };
    Admin::open(data).unwrap().add_account(&account, &audit).unwrap();
}

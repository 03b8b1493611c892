//! Who may come in, and from where those have come who are in.
//!
//! Pure, as the switchboard is: what administrators decide is [`set`](Guard::set), time is passed in.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use helpline_proto::{
    code::Code,
    ids::{CallId, Uses},
    text::{Name, Secret},
    time::{Moment, UnixMillis},
};
use helpline_switchboard::OperatorId;

use crate::{
    access::{Access, Account, Invitation, Role, SecretHash},
    gate::{Ban, Gate},
    network::Network,
};

use super::Origin;

/// Failures from one address that are answered at once: a mistyped token or two.
const FREE: u32 = 3;

/// How much later the first failure beyond is answered; each further one waits twice as long.
const SLOWER: Duration = Duration::from_millis(250);

/// The latest that a failure is answered: half of what the handshake may take.
const SLOWEST: Duration = Duration::from_secs(5);

/// After this long one failure is forgiven.
const FORGIVEN: Duration = Duration::from_secs(10);

/// Addresses whose failures are remembered. Whoever comes from more than these is slowed down by having to
/// connect from so many.
const REMEMBERED: usize = 4096;

/// What a host decides about who is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Only callers with an invitation are let in.
    pub invite_only: bool,
    /// No address is written down.
    pub private: bool,
    /// How long calls are kept once they are over; `None` for ever.
    pub keep: Option<Duration>,
    /// How many callers of one address may wait; `None` for any number.
    pub callers_per_address: Option<u32>,
    /// Whether that also holds for this machine's own addresses.
    pub limit_loopback: bool,
}

/// An operator who is signed on.
#[derive(Clone, Debug)]
struct SignedOn {
    name: Name,
    /// What is kept of the token they came with; none at the console.
    token: Option<SecretHash>,
    address: Option<IpAddr>,
    /// The call they answered last, and where its caller came from.
    last: Option<(CallId, Option<IpAddr>)>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Moment,
}

/// Decides who may come in.
#[derive(Debug)]
pub(super) struct Guard {
    policy: Policy,
    gate: Arc<Gate>,
    accounts: HashMap<Name, Account>,
    invitations: Vec<Invitation>,
    bans: Vec<Ban>,
    /// Bans that are written down nowhere.
    unwritten: Vec<Ban>,
    operators: HashMap<OperatorId, SignedOn>,
    /// Where each caller has come from last.
    callers: HashMap<CallId, IpAddr>,
    networks: HashMap<Network, BTreeSet<CallId>>,
    failures: HashMap<Network, Failures>,
}

impl Guard {
    pub(super) fn new(policy: Policy, gate: Arc<Gate>) -> Self {
        Self {
            policy,
            gate,
            accounts: HashMap::new(),
            invitations: Vec::new(),
            bans: Vec::new(),
            unwritten: Vec::new(),
            operators: HashMap::new(),
            callers: HashMap::new(),
            networks: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes in what administrators have decided.
    pub(super) fn set(&mut self, access: Access) {
        let accounts = access.accounts.into_iter();
        self.accounts = accounts.map(|account| (account.name.clone(), account)).collect();
        self.invitations = access.invitations;
        self.bans = access.bans;
        self.close();
    }

    fn close(&self) {
        self.gate.set(self.bans.iter().chain(&self.unwritten).copied().collect());
    }

    /// Until when nothing is taken from where a connection comes from.
    pub(super) fn banned(&self, origin: Origin, at: UnixMillis) -> Option<UnixMillis> {
        match origin {
            Origin::Console => None,
            Origin::Address(address) => self.gate.banned(address, at),
        }
    }

    /// Bans a network from now on. False if it is already, and for no less long.
    pub(super) fn ban(&mut self, ban: Ban, at: UnixMillis) -> bool {
        let bans = if self.policy.private { &mut self.unwritten } else { &mut self.bans };
        // The longest one counts, so one is enough of each network, however often somebody bans it.
        if bans.iter().any(|other| other.network == ban.network && other.until >= ban.until) {
            return false;
        }
        bans.retain(|other| other.until > at && other.network != ban.network);
        bans.push(ban);
        self.close();
        true
    }

    /// Every ban there is.
    #[cfg(test)]
    pub(super) fn bans(&self) -> Vec<Ban> {
        self.bans.iter().chain(&self.unwritten).copied().collect()
    }

    /// Whether something has run out that is still written down.
    pub(super) fn has_outdated(&self, at: UnixMillis) -> bool {
        let outdated = |until: Option<UnixMillis>| until.is_some_and(|until| until <= at);
        self.bans.iter().any(|ban| outdated(Some(ban.until)))
            || self.invitations.iter().any(|invitation| outdated(invitation.until))
    }

    /// Forgets what has run out.
    pub(super) fn forget_outdated(&mut self, at: UnixMillis) {
        let holds = |until: Option<UnixMillis>| until.is_none_or(|until| until > at);
        self.bans.retain(|ban| holds(Some(ban.until)));
        self.unwritten.retain(|ban| holds(Some(ban.until)));
        self.invitations.retain(|invitation| holds(invitation.until));
        self.close();
    }
}

/// Secrets.
impl Guard {
    /// Whether somebody may sign on: what is kept of the token they came with; nothing, at the console.
    ///
    /// An unknown name and a wrong token are the same, also in the time it takes.
    pub(super) fn recognise(
        &self,
        origin: Origin,
        name: &Name,
        token: Option<&Secret>,
    ) -> Result<Option<SecretHash>, Code> {
        if origin == Origin::Console {
            return Ok(None);
        }
        let account = self.accounts.get(name);
        // No secret has this hash.
        let expected = account.map_or(SecretHash([0; 32]), |account| account.token);
        let token = token.map_or(SecretHash([1; 32]), SecretHash::of);
        match account {
            _ if token != expected => Err(Code::NOT_RECOGNISED),
            None => Err(Code::NOT_RECOGNISED),
            Some(account) if account.disabled => Err(Code::DISABLED),
            Some(_) => Ok(Some(token)),
        }
    }

    /// Uses an invitation up, if it holds.
    pub(super) fn invited(&mut self, code: Option<&Secret>, at: UnixMillis) -> Option<SecretHash> {
        let code = SecretHash::of(code?);
        let holds = |invitation: &Invitation| {
            let in_time = invitation.until.is_none_or(|until| until > at);
            (invitation.code == code) & in_time
        };
        self.invitations.iter().any(holds).then_some(code)
    }

    /// The call was admitted with this invitation. True if it holds no longer.
    pub(super) fn use_up(&mut self, code: SecretHash) -> bool {
        let before = self.invitations.len();
        self.invitations
            .retain(|invitation| invitation.code != code || invitation.uses == Uses::Many);
        self.invitations.len() < before
    }

    /// How many invitations hold.
    pub(super) fn invitations(&self) -> usize {
        self.invitations.len()
    }

    pub(super) fn invite(&mut self, invitation: Invitation) {
        self.invitations.push(invitation);
    }

    /// Takes note that somebody came with a wrong secret, and says how much later they are told.
    pub(super) fn failed(&mut self, origin: Origin, now: Moment) -> Duration {
        let Origin::Address(address) = origin else { return Duration::ZERO };
        let left = |failures: &Failures| {
            let forgiven = now.since(failures.since).as_secs() / FORGIVEN.as_secs();
            failures.count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
        };
        let network = Network::around(address);
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(&network) {
            self.failures.retain(|_, failures| left(failures) > 0);
            if self.failures.len() >= REMEMBERED {
                return SLOWEST;
            }
        }
        let failures = self.failures.entry(network).or_insert(Failures { count: 0, since: now });
        let count = left(failures).saturating_add(1);
        *failures = Failures { count, since: now };
        match count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(beyond) => SLOWER.saturating_mul(1 << beyond.min(16)).min(SLOWEST),
        }
    }
}

/// Those who are in.
impl Guard {
    pub(super) fn signed_on(
        &mut self,
        operator: OperatorId,
        name: Name,
        token: Option<SecretHash>,
    ) {
        self.operators.insert(operator, SignedOn { name, token, address: None, last: None });
    }

    /// A caller or an operator has a connection from here.
    pub(super) fn caller_came(&mut self, call: CallId, origin: Origin) {
        self.caller_gone(call);
        if let Origin::Address(address) = origin {
            self.callers.insert(call, address);
            for (last, from) in self.operators.values_mut().filter_map(|on| on.last.as_mut()) {
                if *last == call {
                    *from = Some(address);
                }
            }
            self.networks.entry(Network::around(address)).or_default().insert(call);
        }
    }

    pub(super) fn operator_came(&mut self, operator: OperatorId, origin: Origin) {
        if let Some(signed_on) = self.operators.get_mut(&operator) {
            signed_on.address = match origin {
                Origin::Console => None,
                Origin::Address(address) => Some(address),
            };
        }
    }

    pub(super) fn caller_gone(&mut self, call: CallId) {
        let Some(address) = self.callers.remove(&call) else { return };
        let network = Network::around(address);
        if let Some(calls) = self.networks.get_mut(&network) {
            calls.remove(&call);
            if calls.is_empty() {
                self.networks.remove(&network);
            }
        }
    }

    pub(super) fn operator_gone(&mut self, operator: OperatorId) {
        self.operators.remove(&operator);
    }

    /// Nobody is known to be in any more.
    pub(super) fn forget_everybody(&mut self) {
        self.operators.clear();
        self.callers.clear();
        self.networks.clear();
    }

    /// Whether as many callers wait who came from the same place as may.
    pub(super) fn is_crowded(&self, origin: Origin, waits: impl Fn(CallId) -> bool) -> bool {
        let (Origin::Address(address), Some(most)) = (origin, self.policy.callers_per_address)
        else {
            return false;
        };
        if address.is_loopback() && !self.policy.limit_loopback {
            return false;
        }
        let calls = self.networks.get(&Network::around(address)).into_iter().flatten();
        let waiting = calls.filter(|call| waits(**call)).count();
        u32::try_from(waiting).unwrap_or(u32::MAX) >= most
    }

    /// The network that the caller of a call comes from, or of the last call of this operator came from, if
    /// banning it would not shut out this machine itself.
    pub(super) fn network_of(&self, call: CallId, operator: OperatorId) -> Option<Network> {
        let last = || {
            let (last, address) = self.operators.get(&operator)?.last?;
            address.filter(|_| last == call)
        };
        let network = Network::around(self.callers.get(&call).copied().or_else(last)?);
        (!network.is_loopback()).then_some(network)
    }

    /// Who an operator is, to be written down: their name, and whether they are at the console.
    pub(super) fn who(&self, operator: OperatorId) -> Option<(Name, bool)> {
        let signed_on = self.operators.get(&operator)?;
        Some((signed_on.name.clone(), signed_on.token.is_none()))
    }

    /// What is kept of the token that an operator came with; nothing, at the console.
    pub(super) fn token(&self, operator: OperatorId) -> Option<SecretHash> {
        self.operators.get(&operator)?.token
    }

    /// Whoever is at the console has started the server, and may do what a supervisor may.
    pub(super) fn is_supervisor(&self, operator: OperatorId) -> bool {
        self.operators.get(&operator).is_some_and(|signed_on| {
            let account = self.accounts.get(&signed_on.name);
            signed_on.token.is_none()
                || account.is_some_and(|account| account.role == Role::Supervisor)
        })
    }

    /// An operator talks in a call.
    pub(super) fn answered(&mut self, operator: OperatorId, call: CallId) {
        let address = self.callers.get(&call).copied();
        if let Some(signed_on) = self.operators.get_mut(&operator) {
            signed_on.last = Some((call, address));
        }
    }

    /// Whether this is the call that an operator answered last.
    pub(super) fn answered_last(&self, operator: OperatorId, call: CallId) -> bool {
        let last = self.operators.get(&operator).and_then(|signed_on| signed_on.last);
        last.is_some_and(|(last, _)| last == call)
    }

    /// Operators whose account is none any more, is disabled, or has another token.
    pub(super) fn strangers(&self) -> Vec<OperatorId> {
        let is_strange = |signed_on: &SignedOn| {
            let Some(token) = signed_on.token else { return false };
            let account = self.accounts.get(&signed_on.name);
            !account.is_some_and(|account| !account.disabled && account.token == token)
        };
        let strange = self.operators.iter().filter(|(_, signed_on)| is_strange(signed_on));
        let mut strange: Vec<OperatorId> = strange.map(|(operator, _)| *operator).collect();
        strange.sort_unstable();
        strange
    }

    /// Callers and operators whose address is banned.
    pub(super) fn shut_out(&self, at: UnixMillis) -> (Vec<CallId>, Vec<OperatorId>) {
        let is_banned = |address: IpAddr| self.gate.banned(address, at).is_some();
        let callers = self.callers.iter().filter(|(_, address)| is_banned(**address));
        let operators = self.operators.iter();
        let operators = operators.filter(|(_, signed_on)| signed_on.address.is_some_and(is_banned));
        let mut callers: Vec<CallId> = callers.map(|(call, _)| *call).collect();
        let mut operators: Vec<OperatorId> = operators.map(|(operator, _)| *operator).collect();
        callers.sort_unstable();
        operators.sort_unstable();
        (callers, operators)
    }
}

#[cfg(test)]
mod timing;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(secret: &str) -> Secret {
        Secret::new(secret).unwrap()
    }

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    fn from(address: &str) -> Origin {
        Origin::Address(address.parse().unwrap())
    }

    fn account(name: &str, token: &str) -> Account {
        let token = SecretHash::of(&secret(token));
        Account { name: self::name(name), role: Role::Operator, token, disabled: false }
    }

    fn guard(policy: Policy) -> Guard {
        let mut guard = Guard::new(policy, Arc::default());
        let disabled = Account { disabled: true, ..account("Li", "li's") };
        let accounts = vec![account("Wei", "wei's"), disabled];
        guard.set(Access { accounts, ..Access::default() });
        guard
    }

    #[test]
    fn only_a_name_with_its_own_token_is_recognised() {
        let guard = guard(Policy::default());
        let far = from("192.0.2.7");
        let recognise = |origin, named, token: Option<&str>| {
            let token = token.map(secret);
            guard.recognise(origin, &name(named), token.as_ref()).map(|token| token.is_some())
        };
        assert_eq!(recognise(far, "Wei", Some("wei's")), Ok(true));
        assert_eq!(recognise(Origin::Console, "whoever", None), Ok(false));
        for (named, token) in [
            ("Wei", Some("li's")),
            ("Wei", None),
            ("wei", Some("wei's")),
            ("Eve", Some("wei's")),
            ("Eve", None),
            ("Li", Some("wei's")),
        ] {
            assert_eq!(recognise(far, named, token), Err(Code::NOT_RECOGNISED), "{named}");
        }
        assert_eq!(recognise(far, "Li", Some("li's")), Err(Code::DISABLED));
    }

    #[test]
    fn failures_slow_down_their_own_address_and_are_forgiven() {
        let mut guard = guard(Policy::default());
        let mut fail = |address: &str, at| guard.failed(from(address), Moment(at)).as_millis();
        let slower: Vec<u128> = (0..10).map(|_| fail("192.0.2.7", 0)).collect();
        assert_eq!(slower, [0, 0, 0, 250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(fail("192.0.2.8", 0), 0, "somebody else");
        assert_eq!(fail("192.0.2.7", 60_000), 500, "six are forgiven");
        assert_eq!(fail("192.0.2.7", 3_600_000), 0);
        assert_eq!(fail("2001:db8::1", 0), 0);
        assert_eq!(
            (0..4).map(|at| fail(&format!("2001:db8::{at}"), 0)).max(),
            Some(500),
            "one household"
        );
    }

    #[test]
    fn failures_from_everywhere_are_not_all_remembered() {
        let mut guard = guard(Policy::default());
        for host in 0..20_000_u32 {
            let address = IpAddr::from(host.to_be_bytes());
            guard.failed(Origin::Address(address), Moment(0));
        }
        assert_eq!(guard.failures.len(), REMEMBERED);
        assert_eq!(guard.failed(from("203.0.113.1"), Moment(0)), SLOWEST);
        assert_eq!(guard.failed(from("203.0.113.1"), Moment(60_000)), Duration::ZERO);
    }

    #[test]
    fn an_invitation_holds_once_or_until_its_time() {
        let mut guard = guard(Policy::default());
        let invitation = |code: &str, uses, until: Option<i64>| {
            let code = SecretHash::of(&secret(code));
            Invitation { code, uses, until: until.map(UnixMillis) }
        };
        guard.invite(invitation("once", Uses::Once, None));
        guard.invite(invitation("many", Uses::Many, Some(10)));
        let mut invited = |code: Option<&str>, at| {
            let code = guard.invited(code.map(secret).as_ref(), UnixMillis(at))?;
            Some(guard.use_up(code))
        };
        assert_eq!(invited(None, 0), None);
        assert_eq!(invited(Some("other"), 0), None);
        assert_eq!(invited(Some("once"), 0), Some(true));
        assert_eq!(invited(Some("once"), 0), None);
        assert_eq!(invited(Some("many"), 9), Some(false));
        assert_eq!(invited(Some("many"), 9), Some(false));
        assert_eq!(invited(Some("many"), 10), None);
    }

    #[test]
    fn one_address_takes_only_its_share_of_the_places() {
        let policy = Policy { callers_per_address: Some(2), ..Policy::default() };
        let mut guard = guard(policy);
        let call = |number| CallId([number; 16]);
        let waits = |call: CallId| call != CallId([9; 16]);
        // The ninth talks.
        for number in [9, 1, 2] {
            assert!(!guard.is_crowded(from("192.0.2.7"), waits), "{number}");
            guard.caller_came(call(number), from("192.0.2.7"));
        }
        assert!(guard.is_crowded(from("192.0.2.7"), waits));
        assert!(!guard.is_crowded(from("192.0.2.8"), waits));
        guard.caller_came(call(1), from("192.0.2.8"));
        assert!(!guard.is_crowded(from("192.0.2.7"), waits), "one has moved");
        for number in 10..20 {
            guard.caller_came(call(number), from("127.0.0.1"));
        }
        assert!(!guard.is_crowded(from("127.0.0.1"), waits), "this machine is exempt");
        guard.policy.limit_loopback = true;
        assert!(guard.is_crowded(from("127.0.0.1"), waits));
        for number in 0..20 {
            guard.caller_gone(call(number));
        }
        assert!(guard.callers.is_empty() && guard.networks.is_empty());
    }

    #[test]
    fn whoever_is_disabled_or_has_another_token_is_a_stranger() {
        let mut guard = guard(Policy::default());
        let token = |token: &str| Some(SecretHash::of(&secret(token)));
        guard.signed_on(OperatorId(1), name("Wei"), token("wei's"));
        guard.signed_on(OperatorId(2), name("console"), None);
        guard.signed_on(OperatorId(3), name("Wei"), token("wei's-old-one"));
        guard.signed_on(OperatorId(4), name("Li"), token("li's"));
        assert_eq!(guard.strangers(), [OperatorId(3), OperatorId(4)]);
        assert!(guard.is_supervisor(OperatorId(2)) && !guard.is_supervisor(OperatorId(1)));
        guard.set(Access::default());
        assert_eq!(guard.strangers(), [OperatorId(1), OperatorId(3), OperatorId(4)]);
    }

    #[test]
    fn a_ban_shuts_out_who_is_in_already() {
        for private in [false, true] {
            let mut guard = guard(Policy { private, ..Policy::default() });
            let call = CallId([1; 16]);
            guard.caller_came(call, from("192.0.2.7"));
            guard.caller_came(CallId([2; 16]), from("127.0.0.1"));
            guard.signed_on(OperatorId(1), name("Wei"), None);
            guard.operator_came(OperatorId(1), from("192.0.2.7"));
            assert_eq!(
                guard.network_of(CallId([2; 16]), OperatorId(1)),
                None,
                "this machine itself"
            );
            let network = guard.network_of(call, OperatorId(1)).unwrap();
            guard.ban(Ban { network, until: UnixMillis(10) }, UnixMillis(0));
            assert_eq!(guard.shut_out(UnixMillis(0)), (vec![call], vec![OperatorId(1)]));
            assert_eq!(guard.banned(from("192.0.2.7"), UnixMillis(0)), Some(UnixMillis(10)));
            assert_eq!(guard.has_outdated(UnixMillis(10)), !private, "written down");
            guard.forget_outdated(UnixMillis(10));
            assert_eq!(guard.shut_out(UnixMillis(10)), (vec![], vec![]));
        }
    }
}

//! Who is let in, and who is sent away again.

use std::time::Duration;

use helpline_proto::{
    code::Why,
    ids::Uses,
    message::{Ban, Banned, Busy, Ended, Invite, Invited},
    text::{Detail, Secret},
};

use super::*;
use crate::{
    access::{Account, Did, Invitation, Role, Seat, SecretHash},
    gate,
    network::Network,
    store::memory::Disk,
};

const EVE: &str = "192.0.2.7";

fn secret(secret: &str) -> Secret {
    Secret::new(secret).unwrap()
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn account(name: &str, role: Role) -> Account {
    let token = SecretHash::of(&secret(&format!("{name}'s")));
    Account { name: self::name(name), role, token, disabled: false }
}

fn from(address: &str) -> Origin {
    Origin::Address(address.parse().unwrap())
}

/// A line with two accounts.
fn line(policy: Policy) -> Line {
    let disk = Disk::default();
    disk.administer(|access| {
        access.accounts = vec![account("wei", Role::Operator), account("li", Role::Supervisor)];
    });
    Line { core: guarded(&disk, 4, policy), disk, now: 0 }
}

/// A connection.
struct Knock {
    id: u64,
    from: &'static str,
}

fn knock(id: u64, from: &'static str) -> Knock {
    Knock { id, from }
}

impl Knock {
    fn ticket(&self) -> Ticket {
        Ticket([u8::try_from(self.id).unwrap(); 32])
    }

    fn arrives(&self, event: ServerEvent) -> (Inbox, Outbox) {
        let (sender, outbox) = outbox();
        (Inbox::Arrived(ConnectionId(self.id), from(self.from), sender, event), outbox)
    }

    fn join(&self, invite: Option<&str>) -> (Inbox, Outbox) {
        let (ticket, invite) = (self.ticket(), invite.map(secret));
        let join = Join { ticket, line: None, name: name("Eve"), invite };
        self.arrives(ServerEvent::Join(Ref(9), join))
    }

    fn sign_on(&self, named: &str, token: Option<&str>) -> (Inbox, Outbox) {
        let (ticket, name, token) = (self.ticket(), name(named), token.map(secret));
        let sign_on = SignOn { ticket, name, answering: Answering::ByItself, token };
        self.arrives(ServerEvent::SignOn(Ref(1), sign_on))
    }

    /// Comes back as whoever had this ticket.
    fn resumes(&self, ticket: u8, side: Side) -> (Inbox, Outbox) {
        let resume = Resume { ticket: Ticket([ticket; 32]), side, shown: Vec::new() };
        self.arrives(ServerEvent::Resume(Ref(2), resume))
    }

    fn asks(&self, event: ServerEvent) -> Inbox {
        Inbox::Asked(ConnectionId(self.id), vec![event])
    }

    fn bans(&self, call: u8, for_s: u32) -> Inbox {
        let (call, reason) = (CallId([call; 16]), Detail::cut("threats"));
        self.asks(ServerEvent::Ban(Ref(5), Ban { call, for_s, reason }))
    }
}

fn code(messages: &[Message]) -> Code {
    match messages {
        [.., Message::Goodbye(goodbye)] => goodbye.code,
        [.., Message::Error(error)] => error.code,
        other => panic!("{other:?}"),
    }
}

impl Line {
    /// Lets somebody in, or not: what they are told.
    fn lets(&mut self, (arrival, mut outbox): (Inbox, Outbox)) -> (Vec<Message>, Outbox) {
        self.turn([arrival]);
        (take(&mut outbox), outbox)
    }

    fn pass(&mut self, time: Duration) {
        self.now += u64::try_from(time.as_millis()).unwrap();
        self.turn([]);
    }
}

#[test]
fn only_an_account_with_its_token_signs_on_from_loopback_too() {
    let mut line = line(Policy::default());
    let wrong = [(1, "wei", None), (2, "wei", Some("li's")), (3, "eve", Some("wei's"))];
    let answers =
        wrong.map(|(id, named, token)| line.lets(knock(id, "127.0.0.1").sign_on(named, token)).0);
    assert_eq!(code(&answers[0]), Code::NOT_RECOGNISED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "nobody learns which was wrong");
    assert_eq!((line.commits(), line.core.switchboard().operators()), (0, 0));
    let (told, _) = line.lets(knock(4, "127.0.0.1").sign_on("wei", Some("wei's")));
    assert_eq!(names(&told), ["admitted", "board"]);
    let audit = &line.disk.audit()[0];
    assert_eq!((audit.did, audit.seat, audit.who.as_str()), (Did::SignedOn, Seat::Desk, "wei"));
    assert_eq!(audit.about, "from 127.0.0.1");
}

#[test]
fn wrong_tokens_are_answered_later_and_later_and_right_ones_at_once() {
    let mut line = line(Policy::default());
    let (first, mut outboxes): (Vec<_>, Vec<_>) =
        (1..=5).map(|id| line.lets(knock(id, EVE).sign_on("wei", Some("x")))).unzip();
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    let (told, _) = line.lets(knock(6, EVE).sign_on("wei", Some("wei's")));
    assert_eq!(names(&told), ["admitted", "board"], "whoever knows it isn't kept waiting");
    assert_eq!(line.core.poll_timeout(), Some(Moment(250)));
    let mut told = || {
        line.pass(Duration::from_millis(250));
        outboxes.iter_mut().map(|outbox| take(outbox).len()).collect::<Vec<_>>()
    };
    assert_eq!(told(), [0, 0, 0, 1, 0]);
    assert_eq!(told(), [0, 0, 0, 0, 1]);
    assert_eq!(line.core.later.len(), 0);
}

#[test]
fn nothing_is_kept_of_those_who_guess_and_leave() {
    let mut line = line(Policy::default());
    let mut outboxes: Vec<_> =
        (1..=9).map(|id| line.lets(knock(id, EVE).sign_on("wei", Some("x"))).1).collect();
    assert_eq!((line.core.later.len(), line.core.peers.count()), (6, 6));
    line.turn((1..=9).map(|id| Inbox::Gone(ConnectionId(id))));
    assert_eq!((line.core.later.len(), line.core.peers.count()), (0, 0));
    // Whoever has only ended their own side is let go of, and hears nothing about the token.
    assert_eq!(code(&take(&mut outboxes[8])), Code::DONE);
    line.pass(Duration::from_secs(5));
    assert_eq!(take(&mut outboxes[8]), []);
}

#[test]
fn a_disabled_operator_is_sent_away_and_the_caller_waits_again() {
    let mut line = line(Policy::default());
    let (_, mut eves) = line.lets(knock(1, EVE).join(None));
    let (told, mut weis) = line.lets(knock(2, "192.0.2.9").sign_on("wei", Some("wei's")));
    assert_eq!(names(&told), ["admitted", "board", "connected", "joined", "joined"]);
    take(&mut eves);
    line.disk.administer(|access| access.accounts[0].disabled = true);
    let _other = line.lets(knock(3, EVE).join(None));
    let told = take(&mut weis);
    assert_eq!(names(&told), ["left", "goodbye"]);
    assert_eq!(code(&told), Code::DISABLED);
    assert_eq!(names(&take(&mut eves)), ["left", "place"]);
    let (told, _) = line.lets(knock(4, EVE).sign_on("wei", Some("wei's")));
    assert_eq!(code(&told), Code::DISABLED);
    let (told, _) = line.lets(resume(ConnectionId(5), 2, Side::Operator, &[]));
    assert_eq!(code(&told), Code::NO_SUCH_TICKET);
}

#[test]
fn another_token_counts_after_a_restart_too() {
    let mut line = line(Policy::default());
    for (id, named, token) in [(1, "wei", "wei's"), (2, "li", "li's")] {
        let _seat = line.lets(knock(id, EVE).sign_on(named, Some(token)));
    }
    let _console = line.lets(sign_on(ConnectionId(3)));
    line.disk.administer(|access| access.accounts[0].token = SecretHash::of(&secret("new")));
    line.core = guarded(&line.disk, 4, Policy::default());
    assert_eq!(line.core.switchboard().operators(), 3);
    let answers = [1, 2, 200].map(|ticket| {
        let id = ConnectionId(10 + u64::from(ticket));
        names(&line.lets(resume(id, ticket, Side::Operator, &[])).0)[0]
    });
    assert_eq!(answers, ["goodbye", "admitted", "admitted"]);
    assert_eq!(line.core.switchboard().operators(), 2);
}

#[test]
fn an_operator_bans_the_caller_of_the_own_call_and_no_other() {
    let mut line = line(Policy::default());
    let (_, mut eves) = line.lets(knock(1, EVE).join(None));
    let (_, mut weis) = line.lets(knock(2, "192.0.2.9").sign_on("wei", Some("wei's")));
    let (_, mut bobs) = line.lets(knock(3, "203.0.113.5").join(None));
    take(&mut weis);
    // Another's call, and no call at all.
    line.turn([knock(2, EVE).bans(2, 60), knock(2, EVE).bans(99, 60)]);
    let refused = take(&mut weis);
    let refused: Vec<_> = refused.iter().filter(|told| told.kind().name == "error").collect();
    assert_eq!((refused.len(), refused[0]), (2, refused[1]));
    assert_eq!(code(&[refused[0].clone()]), Code::NO_SUCH_CALL);
    take(&mut bobs);
    line.turn([knock(3, EVE).bans(2, 60)]);
    assert_eq!(code(&take(&mut bobs)), Code::NOT_ALLOWED);

    take(&mut eves);
    line.turn([knock(2, EVE).bans(1, 60)]);
    let until = UnixMillis(60_000);
    let told = take(&mut weis);
    assert!(told.contains(&Banned { call: CallId([1; 16]), until }.into()), "{told:?}");
    let heard = take(&mut eves);
    assert!(matches!(&heard[..], [Message::Ended(Ended { why: Why::BANNED, .. })]), "{heard:?}");
    let (refused, _) = line.lets(knock(4, EVE).join(None));
    let [Message::Goodbye(Goodbye { code, retry_after_s, .. })] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!((*code, *retry_after_s), (Code::BANNED, Some(60)));
    assert_eq!(line.disk.access().bans.len(), 1);
    let audit = line.disk.audit();
    let last = audit.last().unwrap();
    assert_eq!((last.did, last.who.as_str()), (Did::Banned, "wei"));
    assert_eq!(last.about, "192.0.2.7 until 1970-01-01 00:01:00Z");
    assert_eq!(line.core.switchboard().waiting(), 1, "somebody else's call goes on");
}

#[test]
fn a_call_that_is_over_can_still_be_why_its_caller_is_banned() {
    let mut line = line(Policy::default());
    let _eve = line.lets(knock(1, EVE).join(None));
    let (_, mut weis) = line.lets(knock(2, "192.0.2.9").sign_on("wei", Some("wei's")));
    let call = CallId([1; 16]);
    line.turn([
        knock(1, EVE).asks(ServerEvent::HangUp(Ref(1), HangUp { call })),
        knock(1, EVE).asks(ServerEvent::EndSeen(EndSeen { call })),
        knock(2, EVE).asks(ServerEvent::EndSeen(EndSeen { call })),
    ]);
    take(&mut weis);
    line.turn([knock(2, EVE).bans(1, 60)]);
    assert_eq!(names(&take(&mut weis)), ["banned"]);
    let (refused, _) = line.lets(knock(3, EVE).join(None));
    assert_eq!(code(&refused), Code::BANNED);
}

#[test]
fn a_caller_who_came_back_from_elsewhere_is_banned_there_after_a_restart_too() {
    const ELSEWHERE: &str = "198.51.100.9";
    for is_over in [false, true] {
        let mut line = line(Policy::default());
        let _eve = line.lets(knock(1, EVE).join(None));
        let _wei = line.lets(knock(2, "192.0.2.9").sign_on("wei", Some("wei's")));
        line.core = guarded(&line.disk, 4, Policy::default());
        let _eve = line.lets(knock(11, ELSEWHERE).resumes(1, Side::Caller));
        let (_, mut weis) = line.lets(knock(12, "192.0.2.9").resumes(2, Side::Operator));
        if is_over {
            let call = CallId([1; 16]);
            line.turn([
                knock(11, EVE).asks(ServerEvent::HangUp(Ref(1), HangUp { call })),
                knock(11, EVE).asks(ServerEvent::EndSeen(EndSeen { call })),
                knock(12, EVE).asks(ServerEvent::EndSeen(EndSeen { call })),
            ]);
        }
        take(&mut weis);
        line.turn([knock(12, EVE).bans(1, 60)]);
        assert!(names(&take(&mut weis)).contains(&"banned"), "over: {is_over}");
        let (refused, _) = line.lets(knock(13, ELSEWHERE).join(None));
        assert_eq!(code(&refused), Code::BANNED);
    }
}

#[test]
fn an_address_that_is_banned_again_and_again_is_banned_once() {
    for private in [false, true] {
        let mut line = line(Policy { private, ..Policy::default() });
        let _eve = line.lets(knock(1, EVE).join(None));
        let (_, mut weis) = line.lets(knock(2, "192.0.2.9").sign_on("wei", Some("wei's")));
        take(&mut weis);
        line.turn([60, 60, 90, 30].map(|for_s| knock(2, EVE).bans(1, for_s)));
        let told = names(&take(&mut weis));
        assert_eq!(told.iter().filter(|name| **name == "banned").count(), 4, "{told:?}");
        let network = Network::around(EVE.parse().unwrap());
        let bans = [gate::Ban { network, until: UnixMillis(90_000) }];
        assert_eq!(line.core.guard.bans(), bans, "the longest");
        assert_eq!(line.disk.access().bans, if private { &[][..] } else { &bans });
    }
}

#[test]
fn a_supervisor_bans_any_caller_and_everybody_of_that_address_goes() {
    let mut line = line(Policy::default());
    let (_, mut lis) = line.lets(knock(1, "192.0.2.9").sign_on("li", Some("li's")));
    let _first = line.lets(knock(2, "203.0.113.5").join(None));
    let (_, mut eves) = line.lets(knock(3, EVE).join(None));
    let (_, mut others) = line.lets(knock(4, EVE).join(None));
    take(&mut eves);
    line.turn([knock(1, EVE).bans(2, 0)]);
    assert_eq!(names(&take(&mut eves)), ["ended"]);
    assert_eq!(names(&take(&mut others)), ["place", "ended"]);
    assert!(names(&take(&mut lis)).contains(&"banned"));
    let (refused, _) = line.lets(knock(5, EVE).sign_on("wei", Some("wei's")));
    assert_eq!(code(&refused), Code::BANNED);
    // No ban is shorter than a second.
    let (arrival, mut weis) = knock(6, EVE).sign_on("wei", Some("wei's"));
    let later = Now { moment: Moment(1000), at: UnixMillis(1000) };
    line.core.turn(later, [arrival]).unwrap();
    assert_eq!(names(&take(&mut weis))[0], "admitted");
}

#[test]
fn a_ban_by_administrators_sends_away_whoever_is_there() {
    let mut line = line(Policy::default());
    let (_, mut weis) = line.lets(knock(1, EVE).sign_on("wei", Some("wei's")));
    let (_, mut eves) = line.lets(knock(2, EVE).join(None));
    take(&mut eves);
    line.disk.administer(|access| {
        let (network, until) = ("192.0.2.0/24".parse().unwrap(), UnixMillis(60_000));
        access.bans.push(gate::Ban { network, until });
    });
    let (refused, _) = line.lets(knock(3, "192.0.2.200").join(None));
    assert_eq!(code(&refused), Code::BANNED);
    assert_eq!(names(&take(&mut eves)), ["ended"]);
    assert_eq!(code(&take(&mut weis)), Code::BANNED);
}

#[test]
fn in_private_no_address_is_written_down() {
    let mut line = line(Policy { private: true, ..Policy::default() });
    let (_, mut weis) = line.lets(knock(1, "192.0.2.9").sign_on("wei", Some("wei's")));
    let _eve = line.lets(knock(2, EVE).join(None));
    take(&mut weis);
    line.turn([knock(1, EVE).bans(1, 60)]);
    assert!(names(&take(&mut weis)).contains(&"banned"));
    let (refused, _) = line.lets(knock(3, EVE).join(None));
    assert_eq!(code(&refused), Code::BANNED);
    assert!(line.disk.access().bans.is_empty());
    let written = format!("{:?}", line.disk.audit());
    assert!(!written.contains("192.0.2"), "{written}");
}

#[test]
fn whoever_has_no_address_is_not_banned() {
    let mut line = line(Policy::default());
    let (_, mut weis) = line.lets(knock(1, "192.0.2.9").sign_on("wei", Some("wei's")));
    let (_, mut locals) = line.lets(knock(2, "127.0.0.1").join(None));
    take(&mut weis);
    line.turn([knock(1, EVE).bans(1, 60)]);
    assert_eq!(code(&take(&mut weis)), Code::NO_ADDRESS);
    assert_eq!(take(&mut locals), []);
}

#[test]
fn an_invitation_lets_in_once() {
    let mut line = line(Policy { invite_only: true, ..Policy::default() });
    let (_, mut weis) = line.lets(knock(1, "192.0.2.9").sign_on("wei", Some("wei's")));
    let invite =
        |uses, until| knock(1, EVE).asks(ServerEvent::Invite(Ref(6), Invite { uses, until }));
    line.turn([
        invite(Uses::Once, None),
        invite(Uses::Many, None),
        invite(Uses::Once, Some(UnixMillis(-1))),
    ]);
    let told = take(&mut weis);
    assert_eq!(names(&told), ["invited", "error", "error"]);
    let Message::Invited(Invited { code: invitation, .. }) = &told[0] else { panic!() };
    let invitation = Some(invitation.as_str());
    let tries = [(2, None), (3, Some("0000-0000-0000-0000")), (4, invitation), (5, invitation)];
    let answers = tries.map(|(id, invite)| line.lets(knock(id, EVE).join(invite)).0);
    let first = answers.each_ref().map(|answer| names(answer)[0]);
    assert_eq!(first, ["goodbye", "goodbye", "admitted", "goodbye"]);
    assert_eq!((code(&answers[0]), &answers[0]), (Code::INVITATION, &answers[3]));
    assert!(line.disk.access().invitations.is_empty(), "used up");
    let (told, _) = line.lets(resume(ConnectionId(6), 4, Side::Caller, &[]));
    assert_eq!(names(&told)[0], "admitted", "coming back needs none");
}

#[test]
fn who_is_sent_away_invites_nobody_in_that_very_turn() {
    let mut line = line(Policy::default());
    line.lets(knock(1, EVE).sign_on("wei", Some("wei's")));
    line.disk.administer(|access| access.accounts[0].disabled = true);
    let invite = Invite { uses: Uses::Once, until: None };
    let (arrives, _outbox) = knock(2, EVE).join(None);
    line.turn([arrives, knock(1, EVE).asks(ServerEvent::Invite(Ref(6), invite))]);
    assert_eq!(line.core.switchboard().operators(), 0);
    assert!(line.disk.access().invitations.is_empty());
}

#[test]
fn an_invitation_is_not_used_up_by_hearing_busy() {
    let disk = Disk::default();
    let code = SecretHash::of(&secret("once-only"));
    disk.administer(|access| {
        access.invitations.push(Invitation { code, uses: Uses::Once, until: None });
    });
    let policy = Policy { invite_only: true, ..Policy::default() };
    let mut line = Line { core: guarded(&disk, 0, policy), disk, now: 0 };
    let (told, _) = line.lets(knock(1, EVE).join(Some("once-only")));
    assert_eq!(names(&told), ["busy"]);
    assert_eq!(line.disk.access().invitations.len(), 1);
    assert_eq!(line.core.guard.invitations(), 1);
}

#[test]
fn one_address_fills_only_its_share_of_the_queue() {
    let policy = Policy { callers_per_address: Some(2), ..Policy::default() };
    let mut line = line(policy);
    let answers = [1, 2, 3].map(|id| line.lets(knock(id, EVE).join(None)).0);
    let crowded = Message::from(Busy { why: Why::TOO_MANY, retry_after_s: 60, wait_s: None });
    assert_eq!(answers[2], [crowded]);
    assert_eq!(names(&line.lets(knock(4, "192.0.2.8").join(None)).0)[0], "admitted");
    let call = CallId([1; 16]);
    line.turn([knock(1, EVE).asks(ServerEvent::HangUp(Ref(1), HangUp { call }))]);
    let (told, _) = line.lets(knock(5, EVE).join(None));
    assert_eq!(names(&told)[0], "admitted", "a place has come free");
}

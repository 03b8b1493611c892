//! Who belongs: written by administrators beside the server, and by the server for operators.

use helpline_proto::{
    ids::Uses,
    text::{Detail, Secret},
};

use rusqlite_migration::{M, Migrations};

use super::*;
use crate::{
    access::{Account, Audit, Did, Invitation, Role, Seat, SecretHash},
    store::{
        admin::{Admin, NamedBan},
        schema,
    },
};

fn hash(secret: &str) -> SecretHash {
    SecretHash::of(&Secret::new(secret).unwrap())
}

fn audit(did: Did) -> Audit {
    Audit { at: UnixMillis(9), who: "root".into(), seat: Seat::Command, did, about: "x".into() }
}

fn account(named: &str) -> Account {
    let (name, token) = (Name::new(named).unwrap(), hash(named));
    Account { name, role: Role::Operator, token, disabled: false }
}

fn audits(admin: &Admin) -> Vec<Did> {
    let mut all = Vec::new();
    admin
        .audits(|audit| {
            all.push(audit.did);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    all
}

#[test]
fn the_server_learns_what_administrators_do_while_it_runs() {
    let directory = directory();
    let mut store = open(directory.path());
    let mut admin = Admin::open(directory.path()).unwrap();
    let before = store.access_version().unwrap();
    assert!(admin.add_account(&account("Wei"), &audit(Did::AccountAdded)).unwrap());
    assert!(!admin.add_account(&account("Wei"), &audit(Did::AccountAdded)).unwrap());
    let after = store.access_version().unwrap();
    assert_ne!(after, before);
    assert_eq!(store.access().unwrap().accounts, [account("Wei")]);
    store.commit(&[opened(1)]).unwrap();
    assert_eq!(store.access_version().unwrap(), after, "its own writes are no news");

    let wei = Name::new("Wei").unwrap();
    assert!(admin.disable_account(&wei, &audit(Did::AccountDisabled)).unwrap());
    assert!(!admin.disable_account(&wei, &audit(Did::AccountDisabled)).unwrap());
    assert!(store.access().unwrap().accounts[0].disabled);
    assert!(admin.rotate_account(&wei, hash("new"), &audit(Did::AccountRotated)).unwrap());
    let rotated = Account { token: hash("new"), ..account("Wei") };
    assert_eq!(store.access().unwrap().accounts, [rotated]);
    assert!(admin.remove_account(&wei, &audit(Did::AccountRemoved)).unwrap());
    assert!(!admin.remove_account(&wei, &audit(Did::AccountRemoved)).unwrap());
    assert!(!admin.rotate_account(&wei, hash("x"), &audit(Did::AccountRotated)).unwrap());
    assert_eq!(store.access().unwrap().accounts, []);
    // What came to nothing isn't there.
    assert_eq!(
        audits(&admin),
        [Did::AccountAdded, Did::AccountDisabled, Did::AccountRotated, Did::AccountRemoved]
    );
}

#[test]
fn accounts_can_be_made_before_the_server_was_ever_started() {
    let directory = directory();
    let mut admin = Admin::open(directory.path()).unwrap();
    admin.add_account(&account("Wei"), &audit(Did::AccountAdded)).unwrap();
    drop(admin);
    let mut store = open(directory.path());
    assert_eq!(store.access().unwrap().accounts, [account("Wei")]);
}

#[test]
fn bans_and_invitations_are_the_same_whoever_makes_them() {
    let directory = directory();
    let mut store = open(directory.path());
    let mut admin = Admin::open(directory.path()).unwrap();
    let (first, second) = ("192.0.2.7".parse().unwrap(), "2001:db8::/32".parse().unwrap());
    let (until, at) = (UnixMillis(100), UnixMillis(1));
    let ban = NamedBan { network: first, until, reason: "spam".into(), by: "root".into(), at };
    admin.ban(&ban, &audit(Did::Banned)).unwrap();
    let reason = Detail::cut("threats");
    let once = Invitation { code: hash("once"), uses: Uses::Once, until: None };
    let many = Invitation { code: hash("many"), uses: Uses::Many, until: Some(UnixMillis(50)) };
    admin.invite(&once, "root", &audit(Did::Invited)).unwrap();
    store
        .commit(&[
            Write::Ban { network: second, until, reason, by: "Wei".into(), at },
            Write::Invitation { invitation: many, by: "Wei".into(), at },
            Write::Audit(audit(Did::SignedOn)),
        ])
        .unwrap();
    let access = store.access().unwrap();
    assert_eq!(access.bans.iter().map(|ban| ban.network).collect::<Vec<_>>(), [first, second]);
    assert_eq!(access.invitations, [once, many]);
    let bans = admin.bans(UnixMillis(2)).unwrap();
    assert_eq!((&bans[0], bans[1].by.as_str(), bans[1].reason.as_str()), (&ban, "Wei", "threats"));
    assert_eq!(admin.bans(until).unwrap(), []);
    // One that is outlasted goes.
    let longer = NamedBan { until: UnixMillis(110), ..ban.clone() };
    admin.ban(&longer, &audit(Did::Banned)).unwrap();
    assert_eq!(
        admin.bans(UnixMillis(2)).unwrap().iter().filter(|ban| ban.network == first).count(),
        1
    );
    let invitations = admin.invitations(UnixMillis(50)).unwrap();
    assert_eq!((invitations.len(), invitations[0].invitation), (1, once));

    store.commit(&[Write::InvitationUsed(once.code)]).unwrap();
    assert!(!admin.uninvite(invitations[0].number, &audit(Did::Uninvited)).unwrap());
    // Removed by an administrator between being looked at and being used.
    store.commit(&[Write::InvitationUsed(once.code)]).unwrap();
    assert!(admin.lift(first, &audit(Did::Lifted)).unwrap());
    assert!(!admin.lift(first, &audit(Did::Lifted)).unwrap());
    store.commit(&[Write::Tidy { now: until, ended_before: None }]).unwrap();
    let access = store.access().unwrap();
    assert_eq!((access.bans, access.invitations), (vec![], vec![]));
    assert_eq!(
        audits(&admin),
        [Did::Banned, Did::Invited, Did::SignedOn, Did::Banned, Did::Lifted]
    );
}

#[test]
fn the_audit_is_only_added_to() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&[Write::Audit(audit(Did::SignedOn))]).unwrap();
    for sql in ["DELETE FROM audit", "UPDATE audit SET who = 'nobody'"] {
        let error = store.database.execute(sql, []).unwrap_err();
        assert!(error.to_string().contains("only added to"), "{error}");
    }
    store
        .commit(&[Write::Tidy { now: UnixMillis(99), ended_before: Some(UnixMillis(99)) }])
        .unwrap();
    assert_eq!(audits(&Admin::open(directory.path()).unwrap()), [Did::SignedOn]);
}

#[test]
fn an_operators_token_is_known_again_and_whoever_had_none_is_a_stranger() {
    let directory = directory();
    let mut store = open(directory.path());
    store
        .commit(&[signed_on(1), Write::Credential(OperatorId(1), hash("wei")), signed_on(2)])
        .unwrap();
    let (elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.credentials().unwrap(), [(OperatorId(1), hash("wei"))]);
    drop((again, elsewhere));
    // A database from before there were accounts.
    let old = self::directory();
    let mut database = Connection::open(old.path().join(DATABASE)).unwrap();
    let forms = vec![M::up(schema::FIRST), M::up(schema::SECOND)];
    Migrations::new(forms).to_latest(&mut database).unwrap();
    database
        .execute_batch(
            "INSERT INTO sign_on (number, ticket, name, since, answering, presence)
             VALUES (1, zeroblob(32), 'anybody', 1, 1, 1)",
        )
        .unwrap();
    drop(database);
    let strange = [(OperatorId(1), SecretHash([0; 32]))];
    assert_eq!(open(old.path()).credentials().unwrap(), strange);
}

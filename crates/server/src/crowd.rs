//! Who is connected, and who makes room when it gets crowded.
//!
//! Somebody who was let in never makes room for anybody. Strangers, who have not joined, signed on or resumed
//! yet, do: the oldest of them for the newest. Whoever means well is a stranger for a moment only.
//!
//! Whatever becomes of a connection, its place is given back; from that the core, if it knows of the connection,
//! hears that it is gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    core::{ConnectionId, Origin},
    network::Network,
};

/// Descriptors that connections leave alone: the database and those who read it, logs, listeners, an accepted
/// connection that is turned away, and displaced ones that are on their way out.
const RESERVE: u64 = 64;

/// How many may be on their way out at once. That takes them no time; it is a bound nevertheless.
const LEAVING: usize = 32;

/// Connections that may be open and not let in, by default: so many come in a second or two, at most.
pub const STRANGERS: u32 = 1024;

/// Connections that one address may have, by default: a school or an office fits.
pub const PER_ADDRESS: u32 = 64;

/// How many may be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub connections: usize,
    /// Those who are not let in yet.
    pub strangers: usize,
    /// Of one address, or of one household's IPv6; `None` for any number.
    pub per_address: Option<u32>,
}

impl Room {
    /// As much as the process may have open files for; `None` if that is any number.
    #[must_use]
    pub fn within(descriptors: Option<u64>, strangers: u32, per_address: Option<u32>) -> Self {
        // More connections than this have no port.
        let descriptors = descriptors.unwrap_or(u64::MAX).min(1 << 24);
        let half = (descriptors / 2).max(1);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connections: size(descriptors.saturating_sub(RESERVE).max(half)),
            strangers: size(u64::from(strangers).clamp(1, half)),
            per_address,
        }
    }
}

/// Whom there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too many have come from the same address.
    OfAddress,
    /// Everybody who is connected was let in.
    InAll,
}

/// Everybody who is connected.
#[derive(Debug)]
pub struct Crowd {
    room: Room,
    limit_loopback: bool,
    people: Mutex<People>,
    /// Something may have changed for whoever waits for those who go.
    somebody_went: Notify,
}

#[derive(Debug, Default)]
struct People {
    /// How many have a place.
    here: usize,
    /// Those of them who came through a socket, with those who are displaced.
    connected: usize,
    /// By age, each with what ends it, once it is begun.
    strangers: BTreeMap<ConnectionId, Option<AbortHandle>>,
    displaced: HashSet<ConnectionId>,
    of: HashMap<Network, u32>,
    /// Who has gone, and the core has still to hear it; it knows of them all, so there is no other bound.
    gone: Vec<ConnectionId>,
    is_closed: bool,
}

impl Crowd {
    /// Nobody yet. Whether connections of this machine count for their address is the host's to say.
    #[must_use]
    pub fn new(room: Room, limit_loopback: bool) -> Self {
        let (people, somebody_went) = (Mutex::default(), Notify::new());
        Self { room, limit_loopback, people, somebody_went }
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for whoever needs one; the oldest stranger's if need be.
    pub(crate) fn place(self: &Arc<Self>, id: ConnectionId, origin: Origin) -> Result<Place, Full> {
        match origin {
            Origin::Console => {
                self.people().here += 1;
                Ok(self.taken(id, Counted::Not, Displaced::Nobody))
            }
            Origin::Address(address) => self.enter(id, address),
        }
    }

    fn enter(self: &Arc<Self>, id: ConnectionId, address: IpAddr) -> Result<Place, Full> {
        let network = Network::around(address);
        let has_a_share = self.limit_loopback || !network.is_loopback();
        let most = self.room.per_address.filter(|_| has_a_share);
        let mut people = self.people();
        if let Some(most) = most
            && people.of.get(&network).is_some_and(|count| *count >= most)
        {
            return Err(Full::OfAddress);
        }
        let is_crowded = people.strangers.len() >= self.room.strangers
            || people.staying() >= self.room.connections;
        if is_crowded && !people.displace_the_oldest_stranger() {
            return Err(Full::InAll);
        }
        people.here += 1;
        people.connected += 1;
        people.strangers.insert(id, None);
        let counted = if most.is_some() {
            let count = people.of.entry(network).or_default();
            *count = count.saturating_add(1);
            Counted::Of(network)
        } else {
            Counted::InAll
        };
        drop(people);
        let displaced = if is_crowded { Displaced::Somebody } else { Displaced::Nobody };
        Ok(self.taken(id, counted, displaced))
    }

    fn taken(self: &Arc<Self>, id: ConnectionId, counted: Counted, displaced: Displaced) -> Place {
        Place { crowd: Arc::clone(self), id, counted, displaced, is_known: false }
    }

    /// Says how a stranger's connection is ended.
    pub(crate) fn begun(&self, id: ConnectionId, end: AbortHandle) {
        // It may have ended already, or been let in.
        if let Some(stranger) = self.people().strangers.get_mut(&id) {
            *stranger = Some(end);
        }
    }

    /// Waits for somebody to go whom the core has to hear of; `None` once the crowd is closed and everybody has
    /// gone. Only one may wait. Cancel-safe.
    pub(crate) async fn gone(&self) -> Option<Vec<ConnectionId>> {
        loop {
            {
                let mut people = self.people();
                if !people.gone.is_empty() {
                    return Some(std::mem::take(&mut people.gone));
                }
                if people.is_closed && people.here == 0 {
                    return None;
                }
            }
            self.somebody_went.notified().await;
        }
    }

    /// Nobody will come any more.
    pub(crate) fn close(&self) {
        self.people().is_closed = true;
        self.somebody_went.notify_one();
    }
}

impl People {
    fn staying(&self) -> usize {
        self.connected.saturating_sub(self.displaced.len())
    }

    fn displace_the_oldest_stranger(&mut self) -> bool {
        if self.displaced.len() >= LEAVING {
            return false;
        }
        let oldest = self.strangers.iter().find_map(|(id, end)| Some((*id, end.clone()?)));
        let Some((id, end)) = oldest else { return false };
        self.strangers.remove(&id);
        self.displaced.insert(id);
        tracing::debug!("a connection that was not let in makes room for another");
        end.abort();
        true
    }
}

/// Whether anybody had to go for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Displaced {
    Nobody,
    Somebody,
}

/// What a place counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// It is the console's.
    Not,
    InAll,
    /// Also for its network.
    Of(Network),
}

/// A connection's place, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    id: ConnectionId,
    counted: Counted,
    displaced: Displaced,
    /// The core knows of the connection.
    is_known: bool,
}

impl Place {
    /// Whose it is.
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether anybody had to go for this one.
    pub(crate) fn displaced(&self) -> Displaced {
        self.displaced
    }

    /// From now on it makes room for nobody.
    pub(crate) fn let_in(&self) {
        self.crowd.people().strangers.remove(&self.id);
    }

    /// The core is told of the connection.
    pub(crate) fn arrives(&mut self) {
        self.is_known = true;
    }

    /// Lets the core hear that nobody is there any more, though the connection isn't closed yet.
    pub(crate) fn is_left(&mut self) {
        if std::mem::take(&mut self.is_known) {
            self.crowd.people().gone.push(self.id);
            self.crowd.somebody_went.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a connection's task failed");
        }
        self.is_left();
        let mut people = self.crowd.people();
        people.here = people.here.saturating_sub(1);
        if self.counted != Counted::Not {
            people.connected = people.connected.saturating_sub(1);
            people.strangers.remove(&self.id);
            people.displaced.remove(&self.id);
        }
        if let Counted::Of(network) = self.counted
            && let Some(count) = people.of.get_mut(&network)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                people.of.remove(&network);
            }
        }
        if people.is_closed {
            self.crowd.somebody_went.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, net::Ipv4Addr};

    use tokio::task::JoinHandle;

    use super::*;

    const ROOM: Room = Room { connections: 100, strangers: 100, per_address: None };

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn crowd(room: Room) -> Arc<Crowd> {
        Arc::new(Crowd::new(room, false))
    }

    /// Somebody who stays until they are displaced.
    fn comes(crowd: &Arc<Crowd>, id: u64, from: u8) -> Result<(Place, JoinHandle<()>), Full> {
        let id = ConnectionId(id);
        let place = crowd.enter(id, address(from))?;
        let task = tokio::spawn(pending());
        crowd.begun(id, task.abort_handle());
        Ok((place, task))
    }

    async fn is_displaced(task: JoinHandle<()>) -> bool {
        task.await.is_err_and(|error| error.is_cancelled())
    }

    #[tokio::test]
    async fn one_address_has_so_many_connections_and_no_more() {
        let crowd = crowd(Room { per_address: Some(2), ..ROOM });
        let (first, _) = comes(&crowd, 1, 7).unwrap();
        let (second, _) = comes(&crowd, 2, 7).unwrap();
        second.let_in();
        assert_eq!(comes(&crowd, 3, 7).unwrap_err(), Full::OfAddress);
        let (_other, _) = comes(&crowd, 4, 8).unwrap();
        drop(first);
        let (_third, _) = comes(&crowd, 5, 7).unwrap();
        assert_eq!(comes(&crowd, 6, 7).unwrap_err(), Full::OfAddress);
    }

    #[tokio::test]
    async fn a_household_is_one_address() {
        let crowd = crowd(Room { per_address: Some(1), ..ROOM });
        let enter = |id, address: &str| crowd.enter(ConnectionId(id), address.parse().unwrap());
        let _first = enter(1, "2001:db8:1:2::1").unwrap();
        assert_eq!(enter(2, "2001:db8:1:2:ffff::2").unwrap_err(), Full::OfAddress);
        enter(3, "2001:db8:1:3::1").unwrap();
    }

    #[tokio::test]
    async fn this_machine_counts_only_if_wanted() {
        let room = Room { per_address: Some(1), ..ROOM };
        for (limit_loopback, second) in [(false, None), (true, Some(Full::OfAddress))] {
            let crowd = Arc::new(Crowd::new(room, limit_loopback));
            let enter = |id| crowd.enter(ConnectionId(id), Ipv4Addr::LOCALHOST.into());
            let _first = enter(1).unwrap();
            assert_eq!(enter(2).err(), second);
        }
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_for_the_newest() {
        let crowd = crowd(Room { strangers: 2, ..ROOM });
        let (first, first_task) = comes(&crowd, 1, 1).unwrap();
        let (second, second_task) = comes(&crowd, 2, 2).unwrap();
        first.let_in();
        let (_third, third_task) = comes(&crowd, 3, 3).unwrap();
        assert_eq!(_third.displaced(), Displaced::Nobody);
        let (fourth, _) = comes(&crowd, 4, 4).unwrap();
        assert_eq!(fourth.displaced(), Displaced::Somebody);
        assert!(is_displaced(second_task).await);
        drop(second);
        assert!(!first_task.is_finished() && !third_task.is_finished());
    }

    #[tokio::test]
    async fn when_it_is_full_strangers_go_and_those_let_in_stay() {
        let crowd = crowd(Room { connections: 2, ..ROOM });
        let (first, _) = comes(&crowd, 1, 1).unwrap();
        let (second, second_task) = comes(&crowd, 2, 2).unwrap();
        first.let_in();
        let (third, _) = comes(&crowd, 3, 3).unwrap();
        assert!(is_displaced(second_task).await);
        third.let_in();
        assert_eq!(comes(&crowd, 4, 4).unwrap_err(), Full::InAll);
        drop(second);
        assert_eq!(comes(&crowd, 5, 5).unwrap_err(), Full::InAll);
        drop(first);
        comes(&crowd, 6, 6).unwrap();
    }

    #[tokio::test]
    async fn so_many_can_be_on_their_way_out_and_no_more() {
        let crowd = crowd(Room { strangers: 1, ..ROOM });
        let mut leaving = vec![comes(&crowd, 0, 1).unwrap()];
        for id in 1.. {
            match comes(&crowd, id, 1) {
                Ok(came) => leaving.push(came),
                Err(full) => {
                    assert_eq!((full, leaving.len()), (Full::InAll, LEAVING + 1));
                    break;
                }
            }
        }
        leaving.remove(0);
        assert!(comes(&crowd, 1000, 1).is_ok());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_have_gone() {
        let crowd = crowd(Room { strangers: 8, per_address: Some(9), ..ROOM });
        let people: Vec<_> = (0..20).map(|id| comes(&crowd, id, 1)).collect();
        drop(people);
        let left = crowd.people();
        assert_eq!((left.connected, left.strangers.len(), left.displaced.len()), (0, 0, 0));
        assert!(left.of.is_empty());
    }

    #[tokio::test]
    async fn the_core_hears_of_those_it_knows_even_if_their_task_panics() {
        let crowd = crowd(ROOM);
        let stranger = crowd.place(ConnectionId(1), Origin::Console).unwrap();
        let mut known = crowd.place(ConnectionId(2), Origin::Console).unwrap();
        known.arrives();
        let task = tokio::spawn(async move {
            let _places = (stranger, known);
            panic!("told to");
        });
        task.await.unwrap_err();
        assert_eq!(crowd.gone().await, Some(vec![ConnectionId(2)]));
        crowd.close();
        assert_eq!(crowd.gone().await, None);
    }

    #[test]
    fn there_is_room_for_as_many_as_there_are_descriptors_for() {
        let room = |descriptors| Room::within(descriptors, 1024, Some(64));
        assert_eq!(
            room(Some(65536)),
            Room { connections: 65472, strangers: 1024, per_address: Some(64) }
        );
        assert_eq!(
            room(Some(1024)),
            Room { connections: 960, strangers: 512, per_address: Some(64) }
        );
        assert_eq!(room(Some(20)), Room { connections: 10, strangers: 10, per_address: Some(64) });
        assert!(room(None).connections > 1_000_000);
        assert!(room(Some(0)).connections > 0 && room(Some(0)).strangers > 0);
    }
}

//! One conversation, cut once at each byte that the network carries for it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use helpline_client::{Security, Trust};
use helpline_proto::ids::Side;
use helpline_server::store::DATABASE;
use helpline_tests::{
    Proof, Server,
    conversation::converse,
    dice::Dice,
    proxy::{Cut, Fate, Proxy, Way},
};
use serde_json::json;
use tokio::{runtime::Builder, task::JoinSet};

/// Servers, each with one conversation at a time: most of it is waiting.
const SERVERS: usize = 12;

/// Of so many cuts within TLS one is made: it has four times as many bytes, which mean nothing to anybody
/// but it.
const OF_TLS: usize = 7;

/// A cut: of what, whose connection, which way, behind how many bytes, how.
#[derive(Clone, Debug)]
struct At {
    security: Security,
    side: Side,
    up: bool,
    byte: usize,
    cut: Cut,
}

impl At {
    fn fate(&self) -> Fate {
        let way = Way { cut: Some((self.byte, self.cut)), ..Way::default() };
        if self.up {
            Fate { up: way, ..Fate::default() }
        } else {
            Fate { down: way, ..Fate::default() }
        }
    }
}

#[test]
fn a_cut_at_any_byte_of_a_conversation_costs_nothing() {
    let mut proof = Proof::begin("cut-at-every-byte");
    let passes = proof.times("HELPLINE_BYTE_CUTS", 1);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dice = Dice::new(proof.seed(), 0);
    let (planned, cuts) = runtime.block_on(all(passes, dice));
    println!("{planned} conversations, {cuts} of them cut");
    // A byte that wasn't sent this time, such as those of a board, can't be cut behind.
    assert!(cuts * 100 >= planned * 90, "only {cuts} of {planned} cuts were made");
    proof.holds(&[("conversations", json!(planned)), ("cuts", json!(cuts))]);
}

/// Has every conversation. Returns how many there were and how many were cut.
async fn all(passes: usize, mut dice: Dice) -> (usize, usize) {
    let servers: Vec<Server> = (0..SERVERS).map(|_| Server::start()).collect();
    let mut plan = Vec::new();
    let plain = (Security::Plaintext, 1);
    for (security, step) in [plain, (Security::Tls(Trust::FirstContact), OF_TLS)] {
        for side in [Side::Caller, Side::Operator] {
            let place = Place::of(&servers[0]);
            let (_, bytes) = place.converse(&security, side, Fate::default()).await.unwrap();
            println!("{security:?}, {side:?}: {} bytes up, {} down", bytes.0, bytes.1);
            for (up, bytes) in [(true, bytes.0), (false, bytes.1)] {
                for byte in (0..=bytes).step_by(step) {
                    let (security, cut) = (security.clone(), Cut::any(&mut dice));
                    plan.push(At { security, side, up, byte, cut });
                }
            }
        }
    }
    let planned = passes * plan.len();
    let plan = Arc::new(Mutex::new((0..passes).flat_map(|_| plan.clone()).collect::<Vec<_>>()));
    let cuts = Arc::<AtomicUsize>::default();
    let mut workers = JoinSet::new();
    for server in &servers {
        let (place, plan, cuts) = (Place::of(server), Arc::clone(&plan), Arc::clone(&cuts));
        workers.spawn(async move {
            loop {
                let Some(at) = plan.lock().unwrap().pop() else { break };
                let had = place.converse(&at.security, at.side, at.fate()).await;
                let (cut, _) = had.unwrap_or_else(|why| panic!("{at:?}: {why}"));
                cuts.fetch_add(cut, SeqCst);
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    (planned, cuts.load(SeqCst))
}

/// Where a conversation is had.
struct Place {
    address: std::net::SocketAddr,
    file: PathBuf,
}

impl Place {
    fn of(server: &Server) -> Self {
        Self { address: server.address(), file: server.data().join(DATABASE) }
    }

    /// Has it with this fate for the first connection of that side; further ones are good. Returns how many cuts
    /// were made, and how many bytes went up and down.
    async fn converse(
        &self,
        security: &Security,
        side: Side,
        fate: Fate,
    ) -> Result<(usize, (usize, usize)), String> {
        let mut first = Some(fate);
        let proxy = Proxy::start(self.address, move || first.take().unwrap_or_default()).await;
        let proxy = proxy.map_err(|error| error.to_string())?;
        let (caller, operator) = match side {
            Side::Caller => (proxy.address(), self.address),
            Side::Operator => (self.address, proxy.address()),
        };
        converse(caller, operator, &self.file, security).await?;
        Ok((proxy.cuts(), proxy.bytes()))
    }
}

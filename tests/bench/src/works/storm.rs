//! Everybody comes at once: connects, is let in, says one thing, and leaves.

use std::{
    io,
    net::SocketAddr,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Registry, Token};
use rustls::ClientConfig;

use crate::{
    figures::{Values, keys},
    process::Process,
    rivals::{Place, Running},
    summary::Latencies,
    trust,
    wire::Wire,
    works::{
        Who,
        line::{self, Line, Sessions},
    },
};

use self::visit::{Then, Visit};

mod visit;

/// As many are there at the same time.
const AT_ONCE: usize = 50;

/// How long those may take who come before it counts, and those who count. Some servers let nobody in before a second has
/// passed; then fewer come.
const WARMS: Duration = Duration::from_secs(2);
const LASTS: Duration = Duration::from_secs(15);

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server has to see that the last have left, before its processor time is read.
const LEAVES: Duration = Duration::from_millis(100);

/// Who lets visitors in.
struct Host {
    server: Server,
    at: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// A server, with all that it needs.
enum Server {
    Bare(Process),
    Line(Line),
    Rival(Running),
}

impl Host {
    /// Under TLS every visitor makes a whole handshake.
    fn start(who: Who, place: &Place) -> io::Result<Self> {
        let rival = match who {
            Who::Bare => return Self::bare("echo", None),
            Who::BareTls => return Self::bare("echo-tls", Some(trust::config(false)?)),
            Who::Rival(rival) => rival,
        };
        if let Some(line) = Line::of(rival, place, Sessions::Fresh)? {
            let (at, tls) = (line.at, line.helpline.tls.clone());
            return Ok(Self { server: Server::Line(line), at, tls });
        }
        let running = rival.start(place)?;
        let at = running.at;
        Ok(Self { server: Server::Rival(running), at, tls: None })
    }

    /// One of this program's own, which does the least that can be done.
    fn bare(role: &str, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let at = line::free()?;
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.args([role, &at.to_string()]))?;
        process.answers(at)?;
        Ok(Self { server: Server::Bare(process), at, tls })
    }

    fn cpu(&self) -> io::Result<Duration> {
        match &self.server {
            Server::Bare(process) => process.cpu(),
            Server::Line(line) => line.process.cpu(),
            Server::Rival(running) => running.process.cpu(),
        }
    }

    fn dial(&self) -> io::Result<Wire> {
        match &self.tls {
            Some(config) => Wire::connect_tls(self.at, config),
            None => Wire::connect(self.at),
        }
    }
}

/// How somebody is doing.
struct Visitor {
    wire: Wire,
    visit: Box<dyn Visit>,
    since: Instant,
}

/// Lets so many visit, if they come in time, and before them a tenth as many that don't count.
pub(crate) fn visits(who: Who, place: &Place, count: usize) -> io::Result<Values> {
    let host = Host::start(who, place)?;
    some(&host, who, count / 10, WARMS, &mut Latencies::default())?;
    let cpu = host.cpu()?;
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    let left = some(&host, who, count, LASTS, &mut latencies)?;
    let took = begun.elapsed();
    thread::sleep(LEAVES);
    let cpu = host.cpu()?.saturating_sub(cpu);
    let count = f64::from(left);
    Ok(Values::from([
        (keys::CPU_MS, cpu.as_secs_f64() * 1e3 * 1e3 / count),
        (keys::RATE, count / took.as_secs_f64()),
        (keys::P50, latencies.within(50).as_secs_f64() * 1e3),
        (keys::P99, latencies.within(99).as_secs_f64() * 1e3),
    ]))
}

/// Lets at most so many in for so long at most; how many have left in the end.
fn some(
    host: &Host,
    who: Who,
    count: usize,
    lasts: Duration,
    latencies: &mut Latencies,
) -> io::Result<u32> {
    let begun = Instant::now();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut here: Vec<Option<Visitor>> = Vec::new();
    here.resize_with(AT_ONCE.min(count), || None);
    let (mut come, mut left) = (0, 0_u32);
    let mut heard = Instant::now();
    for (place, visitor) in here.iter_mut().enumerate() {
        *visitor = Some(Visitor::comes(host, who, poll.registry(), Token(place))?);
        come += 1;
    }
    while here.iter().any(Option::is_some) {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() && heard.elapsed() > PATIENCE {
            return Err(io::Error::other("the server lets nobody in any more"));
        }
        heard = Instant::now();
        for event in &events {
            let place = here.get_mut(event.token().0);
            let Some(visitor) = place else { continue };
            let Some(one) = visitor else { continue };
            if one.goes_on()? == Then::Waits {
                continue;
            }
            latencies.add(one.since.elapsed(), 1);
            *visitor = None;
            left += 1;
            if come < count && begun.elapsed() < lasts {
                *visitor = Some(Visitor::comes(host, who, poll.registry(), event.token())?);
                come += 1;
            }
        }
    }
    Ok(left)
}

impl Visitor {
    fn comes(host: &Host, who: Who, registry: &Registry, token: Token) -> io::Result<Self> {
        let since = Instant::now();
        let mut wire = host.dial()?;
        let visit = visit::of(who, &mut wire.out)?;
        wire.register(registry, token)?;
        wire.flush()?;
        Ok(Self { wire, visit, since })
    }

    fn goes_on(&mut self) -> io::Result<Then> {
        let Self { wire, visit, .. } = self;
        let mut then = Then::Waits;
        wire.drain(|bytes, out| {
            let (used, now) = visit.hear(bytes, out)?;
            then = now;
            Ok(used)
        })?;
        wire.flush()?;
        Ok(then)
    }
}

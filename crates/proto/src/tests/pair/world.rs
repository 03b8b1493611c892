//! A small world: clients and the server's sessions, joined by byte pipes, one clock, and a
//! switchboard of the plainest kind, which forgets nobody unless told to.

use std::{collections::VecDeque, mem, time::Duration};

use bytes::Bytes;

use crate::{
    code::{Code, Why},
    frame,
    ids::{Answering, By, CallId, Nonce, Resumable, Seq, Side, Ticket},
    limits,
    message::{
        Admitted, Away, Back, Connected, Ended, Error, Goodbye, IsTyping, Join, Joined, Left,
        Listed, Message, Place, PutBack, Ref, Resumed, Said, Say, Shown, SignOn, samples::name,
    },
    session::{
        ClientEvent, ClientSession, Lost, Opening, Role, ServerEvent, ServerSession, Settings,
    },
    text::{Agent, Detail, LineName, Name, Text},
    time::{Moment, UnixMillis},
};

/// How what is written at one end is read at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As it was written.
    AsWritten,
    /// So many bytes at a time.
    Slices(usize),
    /// Everything that has come, at once.
    Together,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) delay: Duration,
    pub(super) reads: Reads,
    /// Takes nothing more.
    pub(super) full: bool,
    /// Loses everything.
    pub(super) dead: bool,
    on_the_way: VecDeque<(Moment, Vec<u8>)>,
    stalled: Moment,
    ended: Option<Moment>,
    /// Read, and not a whole frame yet.
    rest: Vec<u8>,
    pub(super) written: usize,
}

impl Pipe {
    fn new() -> Self {
        Self {
            delay: Duration::from_millis(20),
            reads: Reads::AsWritten,
            full: false,
            dead: false,
            on_the_way: VecDeque::new(),
            stalled: Moment(0),
            ended: None,
            rest: Vec::new(),
            written: 0,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], now: Moment) {
        self.written += bytes.len();
        if !self.dead && self.ended.is_none() {
            self.on_the_way.push_back((self.arrival(now), bytes.to_vec()));
        }
    }

    /// A delay that has become shorter lets nothing overtake.
    fn arrival(&self, now: Moment) -> Moment {
        let last = self.on_the_way.back().map_or(Moment(0), |(at, _)| *at);
        last.max(now + self.delay).max(self.stalled)
    }

    pub(super) fn end(&mut self, now: Moment) {
        if !self.dead {
            self.ended.get_or_insert(self.arrival(now));
        }
    }

    fn read(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let mut read = Vec::new();
        while let Some((_, bytes)) = self.on_the_way.pop_front_if(|(at, _)| *at <= now) {
            match self.reads {
                Reads::AsWritten => read.push(bytes),
                Reads::Slices(size) => read.extend(bytes.chunks(size.max(1)).map(<[u8]>::to_vec)),
                Reads::Together => match read.last_mut() {
                    Some(last) => last.extend(bytes),
                    None => read.push(bytes),
                },
            }
        }
        read
    }

    /// What is on the way, and what is written next, takes until then.
    fn stall(&mut self, until: Moment) {
        for (at, _) in &mut self.on_the_way {
            *at = until.max(*at);
        }
        self.stalled = until;
        self.ended = self.ended.map(|at| at.max(until));
    }

    /// Ends behind so many more bytes, and loses whatever follows them.
    fn cut(&mut self, mut bytes: usize, now: Moment) {
        for (_, written) in &mut self.on_the_way {
            written.truncate(bytes);
            bytes -= written.len();
        }
        self.end(now);
        self.dead = true;
    }

    fn has_ended(&self, now: Moment) -> bool {
        self.on_the_way.is_empty() && self.ended.is_some_and(|at| at <= now)
    }

    fn next(&self) -> Option<Moment> {
        self.on_the_way.front().map(|(at, _)| *at).or(self.ended)
    }
}

/// One connection of a client, and the session that serves it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) server: ServerSession,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// The server has closed it, or seen it end.
    gone: bool,
    /// The client has closed it, or seen it end.
    left: bool,
}

/// One client, and its connections so far.
#[derive(Debug)]
pub(super) struct End {
    pub(super) client: ClientSession,
    /// The last one is the one in use; the server may still serve others.
    pub(super) conns: Vec<Conn>,
    /// What the client has learnt, in order.
    pub(super) events: Vec<ClientEvent>,
    /// What the processes before this one learnt.
    pub(super) earlier: Vec<Vec<ClientEvent>>,
    /// Whether entries are shown as soon as they come.
    pub(super) shows: bool,
    /// Whether it comes back by itself.
    pub(super) returns: bool,
    returns_at: Option<Moment>,
    pub(super) side: Side,
    opening: Opening,
    /// How much the client has sent of each kind.
    pub(super) sent: Vec<(Moment, u16)>,
}

impl End {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.events.last(), Some(ClientEvent::Over(_)))
    }

    pub(super) fn lost(&self) -> Option<&Lost> {
        match self.events.last() {
            Some(ClientEvent::Over(lost)) => Some(lost),
            _ => None,
        }
    }

    /// Why it was offline, each time.
    pub(super) fn offline(&self) -> Vec<&Lost> {
        let lost = self.events.iter().filter_map(|event| match event {
            ClientEvent::Offline(lost) => Some(lost),
            _ => None,
        });
        lost.collect()
    }

    /// The code of the goodbye that a connection of it ended with last.
    pub(super) fn goodbye(&self) -> Option<Code> {
        let lost = self.events.iter().rev().find_map(|event| match event {
            ClientEvent::Over(lost) | ClientEvent::Offline(lost) => Some(lost),
            _ => None,
        });
        match lost {
            Some(Lost::Goodbye(goodbye)) => Some(goodbye.code),
            _ => None,
        }
    }

    pub(super) fn told(&self) -> impl Iterator<Item = (Ref, &Message)> {
        self.events.iter().filter_map(|event| match event {
            ClientEvent::Told(reference, message) => Some((*reference, message)),
            _ => None,
        })
    }

    pub(super) fn entries(&self) -> Vec<Message> {
        let entries = self.told().map(|(_, message)| message).filter(|it| entry(it).is_some());
        entries.cloned().collect()
    }

    /// The texts that came as entries.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.told().filter_map(|(_, message)| match message {
            Message::Said(said) => Some(said.text.to_string()),
            _ => None,
        });
        texts.collect()
    }

    /// The references that came back with entries.
    pub(super) fn said(&self) -> Vec<u32> {
        let said = self.told().filter_map(|(reference, message)| {
            (matches!(message, Message::Said(_)) && reference != Ref::NONE).then_some(reference.0)
        });
        said.collect()
    }

    pub(super) fn not_said(&self) -> Vec<(String, Ref, Option<Code>)> {
        let lines = self.events.iter().filter_map(|event| match event {
            ClientEvent::NotSaid { text, reference, why, .. } => {
                Some((text.to_string(), *reference, *why))
            }
            _ => None,
        });
        lines.collect()
    }

    /// The errors that it was told, and what for.
    pub(super) fn errors(&self) -> Vec<(Ref, Code)> {
        let errors = self.told().filter_map(|(reference, message)| match message {
            Message::Error(error) => Some((reference, error.code)),
            _ => None,
        });
        errors.collect()
    }

    /// The call that is open, or was last.
    pub(super) fn call(&self) -> CallId {
        let calls = self.told().filter_map(|(_, message)| match message {
            Message::Place(place) => Some(place.call),
            Message::Connected(connected) => Some(connected.call),
            _ => None,
        });
        calls.last().expect("a call")
    }

    pub(super) fn count(&self, kind: u16) -> usize {
        self.sent.iter().filter(|(_, sent)| *sent == kind).count()
    }
}

/// The call and number of an entry.
pub(super) fn entry(message: &Message) -> Option<(CallId, Seq)> {
    match message {
        Message::Said(it) => Some((it.call, it.seq)),
        Message::Joined(it) => Some((it.call, it.seq)),
        Message::Left(it) => Some((it.call, it.seq)),
        Message::Ended(it) => Some((it.call, it.seq)),
        _ => None,
    }
}

/// Whoever the switchboard knows by a ticket.
#[derive(Debug)]
struct Party {
    ticket: Ticket,
    side: Side,
    name: Name,
    /// Its connection: the end, and which of that one's.
    seat: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    caller: usize,
    operator: Option<usize>,
    pub(super) transcript: Vec<Message>,
    next: [Nonce; 2],
    pub(super) ended: bool,
    /// Which side has seen the end.
    seen: [bool; 2],
}

/// The place of a side in arrays of two.
fn at(side: Side) -> usize {
    usize::from(side == Side::Operator)
}

impl Call {
    fn side(&self, party: usize) -> Option<Side> {
        if self.caller == party {
            Some(Side::Caller)
        } else {
            (self.operator == Some(party)).then_some(Side::Operator)
        }
    }

    fn hearers(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.caller), self.operator].into_iter().flatten()
    }

    fn seq(&self) -> Seq {
        Seq(u32::try_from(self.transcript.len() + 1).unwrap())
    }
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) ends: Vec<End>,
    pub(super) calls: Vec<Call>,
    pub(super) settings: Settings,
    /// The next line can't be recorded, and the server sends everybody away.
    pub(super) disk_full: bool,
    parties: Vec<Party>,
}

const AT: UnixMillis = UnixMillis(0);

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Moment(1_000),
            ends: vec![],
            calls: vec![],
            settings: Settings::default(),
            disk_full: false,
            parties: vec![],
        }
    }

    fn conn_made(&self) -> Conn {
        Conn {
            server: ServerSession::new(self.settings, self.now),
            up: Pipe::new(),
            down: Pipe::new(),
            gone: false,
            left: false,
        }
    }

    pub(super) fn open(&mut self, opening: Opening, side: Side) -> usize {
        let conns = vec![self.conn_made()];
        self.ends.push(End {
            client: ClientSession::new(opening.clone(), Agent::new("pair").unwrap(), self.now),
            conns,
            events: vec![],
            earlier: vec![],
            shows: true,
            returns: false,
            returns_at: None,
            side,
            opening,
            sent: vec![],
        });
        self.ends.len() - 1
    }

    fn ticket(&self) -> Ticket {
        Ticket([u8::try_from(self.ends.len() + 1).unwrap(); 32])
    }

    pub(super) fn caller(&mut self) -> usize {
        let join = Join { ticket: self.ticket(), line: None, name: name("Wei"), invite: None };
        self.open(Opening::Join(join), Side::Caller)
    }

    pub(super) fn operator(&mut self) -> usize {
        let sign_on = SignOn {
            ticket: self.ticket(),
            name: name("Ada"),
            answering: Answering::ByHand,
            token: None,
        };
        self.open(Opening::SignOn(sign_on), Side::Operator)
    }

    /// A caller and an operator in a call with each other.
    pub(super) fn connected() -> (Self, usize, usize) {
        let mut world = Self::new();
        let caller = world.caller();
        let operator = world.operator();
        world.pass(1);
        world.ends[operator].client.request(crate::message::Next {}.into(), Ref(900));
        world.pass(1);
        assert_eq!(world.ends[operator].call(), world.ends[caller].call());
        (world, caller, operator)
    }

    /// The same, and both come back by themselves.
    pub(super) fn returning() -> (Self, usize, usize) {
        let (mut world, caller, operator) = Self::connected();
        world.ends[caller].returns = true;
        world.ends[operator].returns = true;
        (world, caller, operator)
    }

    /// The connection that a client uses.
    pub(super) fn conn(&mut self, end: usize) -> &mut Conn {
        self.ends[end].conns.last_mut().unwrap()
    }

    pub(super) fn say(&mut self, end: usize, text: &str, reference: u32) {
        let call = self.ends[end].call();
        let text = Text::new(text).unwrap();
        self.ends[end].client.say(call, text, Ref(reference)).unwrap();
    }

    pub(super) fn hang_up(&mut self, end: usize) {
        let call = self.ends[end].call();
        self.ends[end].client.hang_up(call, Ref(901)).unwrap();
    }

    /// Breaks the connection: neither end hears of the other again, and both are told.
    pub(super) fn cut(&mut self, end: usize) {
        self.cut_behind(end, 0, 0);
    }

    /// The same behind so many bytes of what is under way, up and down.
    pub(super) fn cut_behind(&mut self, end: usize, up: usize, down: usize) {
        let now = self.now;
        let conn = self.conn(end);
        conn.up.cut(up, now);
        conn.down.cut(down, now);
    }

    /// The client loses the connection, and the server doesn't see it.
    pub(super) fn vanish(&mut self, end: usize) {
        let now = self.now;
        let conn = self.conn(end);
        conn.down.cut(0, now);
        conn.up.dead = true;
    }

    /// What the client sends, and has sent, is late by so much.
    pub(super) fn stall(&mut self, end: usize, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.conn(end).up.stall(until);
    }

    /// The client goes on over another connection, if it is offline.
    pub(super) fn reconnect(&mut self, end: usize) {
        let conn = self.conn_made();
        let now = self.now;
        let end = &mut self.ends[end];
        end.returns_at = None;
        end.conns.push(conn);
        end.client.connected(now);
    }

    /// The client's process ends, and another one goes on with its ticket and the lines it kept.
    pub(super) fn restart(&mut self, end: usize) {
        let conn = self.conn_made();
        let now = self.now;
        let end = &mut self.ends[end];
        let lines: Vec<_> =
            end.client.unsaid_lines().map(|(c, n, text)| (c, n, text.clone())).collect();
        let was_let_in = |events: &Vec<ClientEvent>| {
            events.iter().any(|event| matches!(event, ClientEvent::Told(_, Message::Admitted(_))))
        };
        let ticket = match &end.opening {
            Opening::Join(join) => join.ticket.clone(),
            Opening::SignOn(sign_on) => sign_on.ticket.clone(),
            Opening::Resume(_, ticket) => ticket.clone(),
        };
        if was_let_in(&end.events) {
            end.opening = Opening::Resume(end.side, ticket);
        }
        end.client = ClientSession::new(end.opening.clone(), Agent::new("pair").unwrap(), now);
        for (call, nonce, text) in lines {
            end.client.restore(call, nonce, text);
        }
        end.earlier.push(mem::take(&mut end.events));
        let old = end.conns.last_mut().unwrap();
        old.left = true;
        old.up.end(now);
        end.returns_at = None;
        end.conns.push(conn);
    }

    /// The server starts again: every connection breaks.
    pub(super) fn restart_server(&mut self) {
        for end in 0..self.ends.len() {
            self.cut(end);
        }
    }

    /// The grace of somebody who is away is over.
    pub(super) fn forget(&mut self, end: usize) {
        let seat = |party: &Party| party.seat.is_none();
        let ticket = Ticket([u8::try_from(end + 1).unwrap(); 32]);
        let away = self.parties.iter().position(|party| party.ticket == ticket && seat(party));
        let Some(party) = away else { return };
        self.parties[party].ticket = Ticket([0; 32]);
        for call in 0..self.calls.len() {
            match self.calls[call].side(party) {
                _ if self.calls[call].ended => {}
                Some(Side::Caller) => self.end_call(call, By::Server, Why::TIMED_OUT),
                Some(Side::Operator) => self.put_back(call),
                None => {}
            }
        }
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.pass_ms(seconds * 1000);
    }

    pub(super) fn pass_ms(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.settle();
        while let Some(next) = self.next().filter(|next| *next <= until) {
            assert!(next > self.now, "time passes");
            self.now = next;
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    fn next(&self) -> Option<Moment> {
        let clients = self.ends.iter().flat_map(|end| {
            let down = end.conns.last().filter(|conn| !conn.left);
            [down.and_then(|conn| conn.down.next()), end.client.poll_timeout(), end.returns_at]
        });
        let conns = self.ends.iter().flat_map(|end| &end.conns).filter(|conn| !conn.gone);
        let served = conns.flat_map(|conn| {
            let paused = (!conn.up.rest.is_empty()).then(|| conn.server.paused_until(self.now));
            [conn.up.next(), conn.server.poll_timeout(), paused.flatten()]
        });
        clients.chain(served).flatten().filter(|at| *at > self.now).min()
    }

    /// Everything that happens at this moment.
    fn settle(&mut self) {
        // Messages take their time on the way, so a moment has an end; callers and operators in
        // turn see what the other did.
        for _ in 0..3 {
            for end in 0..self.ends.len() {
                for conn in 0..self.ends[end].conns.len() {
                    if !self.ends[end].conns[conn].gone {
                        self.serve((end, conn));
                    }
                }
                self.use_client(end);
            }
        }
    }

    fn use_client(&mut self, at: usize) {
        if self.ends[at].returns_at.is_some_and(|at| at <= self.now) {
            self.reconnect(at);
        }
        let (now, end) = (self.now, &mut self.ends[at]);
        let conn = end.conns.last_mut().unwrap();
        if !conn.left {
            for bytes in conn.down.read(now) {
                conn.down.rest.extend(bytes);
                let mut used = 0;
                loop {
                    match frame::split(&conn.down.rest[used..], limits::FRAME) {
                        Ok(Some(frame)) => {
                            used += frame.size();
                            end.client.handle(frame, now);
                        }
                        Ok(None) => break,
                        Err(error) => {
                            end.client.handle_garbage(error);
                            break;
                        }
                    }
                }
                conn.down.rest.drain(..used);
            }
            if conn.down.has_ended(now) {
                end.client.handle_end();
            }
        }
        if end.client.poll_timeout().is_some_and(|at| at <= now) {
            end.client.handle_timeout(now);
        }
        while let Some(event) = end.client.poll_event() {
            if let (true, ClientEvent::Told(_, message)) = (end.shows, &event)
                && let Some((call, seq)) = entry(message)
            {
                end.client.shown(call, seq);
            }
            if let ClientEvent::Over(_) | ClientEvent::Offline(_) = event {
                conn.left = true;
                conn.up.end(now);
                let may_return = matches!(event, ClientEvent::Offline(_)) && end.returns;
                end.returns_at = may_return.then(|| now + limits::RECONNECT_SOONEST);
            }
            end.events.push(event);
        }
        if !conn.up.full && !conn.left {
            while let Some(frame) = end.client.poll_transmit(now) {
                let kind = frame::split(&frame, limits::FRAME).unwrap().unwrap().kind;
                end.sent.push((now, kind));
                conn.up.write(&frame, now);
            }
        }
    }

    fn serve(&mut self, seat: (usize, usize)) {
        let now = self.now;
        let conn = &mut self.ends[seat.0].conns[seat.1];
        for bytes in conn.up.read(now) {
            self.ends[seat.0].conns[seat.1].up.rest.extend(bytes);
            self.serve_frames(seat);
        }
        self.serve_frames(seat);
        let conn = &mut self.ends[seat.0].conns[seat.1];
        if conn.server.poll_timeout().is_some_and(|at| at <= now) {
            conn.server.handle_timeout(now);
        }
        if conn.down.full {
            if conn.server.waiting() > 0 {
                conn.server.stuck(now);
            }
        } else {
            while let Some(frame) = conn.server.poll_transmit() {
                conn.down.write(&frame, now);
            }
            assert_eq!(conn.server.waiting(), 0);
            conn.server.progressed();
        }
        let closed = conn.server.is_closing() && (conn.server.waiting() == 0 || conn.down.full);
        // Whoever has said its last words is heard to the end of them.
        let ended = conn.up.has_ended(now) && conn.server.paused_until(now).is_none();
        if closed || ended {
            conn.down.end(now);
            conn.gone = true;
            self.lose(seat);
        }
    }

    fn serve_frames(&mut self, seat: (usize, usize)) {
        let now = self.now;
        loop {
            let conn = &mut self.ends[seat.0].conns[seat.1];
            if conn.server.is_closing() || conn.gone {
                conn.up.rest.clear();
                return;
            }
            if conn.server.paused_until(now).is_some() {
                return;
            }
            match frame::split(&conn.up.rest, conn.server.frame_limit()) {
                Ok(Some(frame)) => {
                    let size = frame.size();
                    conn.server.handle(frame, now);
                    conn.up.rest.drain(..size);
                }
                Ok(None) => {
                    if !conn.up.rest.is_empty() {
                        conn.server.frame_begun(now);
                    }
                    return;
                }
                Err(error) => conn.server.handle_garbage(error),
            }
            while let Some(event) = self.ends[seat.0].conns[seat.1].server.poll_event() {
                self.switch(seat, event);
            }
        }
    }

    // ---- the switchboard ----

    /// Tells a client something on the connection it uses.
    pub(super) fn tell(&mut self, end: usize, reference: Ref, message: impl Into<Message>) {
        let frame = message.into().to_frame(reference).unwrap();
        self.conn(end).server.tell(frame);
    }

    fn tell_seat(&mut self, seat: (usize, usize), reference: Ref, message: impl Into<Message>) {
        let frame = message.into().to_frame(reference).unwrap();
        self.ends[seat.0].conns[seat.1].server.tell(frame);
    }

    fn tell_party(&mut self, party: usize, message: impl Into<Message>) {
        if let Some(seat) = self.parties[party].seat {
            self.tell_seat(seat, Ref::NONE, message);
        }
    }

    fn refuse(&mut self, seat: (usize, usize), reference: Ref, code: Code) {
        self.tell_seat(seat, reference, Error { code, detail: Detail::cut("") });
    }

    fn record(&mut self, call: usize, entry: impl Into<Message>) {
        let entry = entry.into();
        self.calls[call].transcript.push(entry.clone());
        self.calls[call].hearers().for_each(|hearer| self.tell_party(hearer, entry.clone()));
    }

    fn switch(&mut self, seat: (usize, usize), event: ServerEvent) {
        match event {
            ServerEvent::Join(reference, join) => {
                if let Some(known) = self.known(&join.ticket, Side::Caller) {
                    return self.resume(seat, reference, known, &[]);
                }
                let party = self.seated(seat, join.ticket, Side::Caller, join.name.clone());
                let id = CallId([u8::try_from(self.calls.len()).unwrap(); 16]);
                self.calls.push(Call {
                    id,
                    caller: party,
                    operator: None,
                    transcript: vec![],
                    next: [Nonce::FIRST; 2],
                    ended: false,
                    seen: [false; 2],
                });
                self.tell_seat(seat, reference, admitted(join.name.clone()));
                let call = self.calls.len() - 1;
                self.tell_state(call, party);
                let joined =
                    Joined { call: id, seq: Seq(1), at: AT, from: Side::Caller, name: join.name };
                self.record(call, joined);
            }
            ServerEvent::SignOn(reference, sign_on) => {
                if let Some(known) = self.known(&sign_on.ticket, Side::Operator) {
                    return self.resume(seat, reference, known, &[]);
                }
                self.seated(seat, sign_on.ticket, Side::Operator, sign_on.name.clone());
                self.tell_seat(seat, reference, admitted(sign_on.name));
            }
            ServerEvent::Resume(reference, resume) => match self.known(&resume.ticket, resume.side)
            {
                Some(known) => self.resume(seat, reference, known, &resume.shown),
                None => {
                    self.tell_seat(seat, reference, goodbye(Code::NO_SUCH_TICKET, Resumable::No))
                }
            },
            event => {
                // Nothing that was superseded is heard any more.
                let party = self.parties.iter().position(|party| party.seat == Some(seat));
                if let Some(party) = party {
                    self.ask(seat, party, event);
                }
            }
        }
    }

    fn ask(&mut self, seat: (usize, usize), party: usize, event: ServerEvent) {
        let of = |world: &Self, id: CallId| {
            let call = world.calls.iter().position(|call| call.id == id)?;
            Some((call, world.calls[call].side(party)?))
        };
        match event {
            ServerEvent::Next(reference) => self.answer(seat, party, reference),
            ServerEvent::Say(reference, say) => {
                let place = of(self, say.call);
                let Err(code) = place
                    .ok_or(Code::NO_SUCH_CALL)
                    .and_then(|(call, from)| self.add(call, from, say))
                else {
                    return;
                };
                self.refuse(seat, reference, code);
                if code == Code::DISK_FULL {
                    let seats: Vec<_> =
                        self.parties.iter().filter_map(|party| party.seat).collect();
                    for seat in seats {
                        self.tell_seat(seat, Ref::NONE, goodbye(code, Resumable::Yes));
                    }
                }
            }
            ServerEvent::HangUp(reference, hang_up) => match of(self, hang_up.call) {
                Some((call, side)) if !self.calls[call].ended => {
                    self.end_call(call, side.into(), Why::BYE);
                }
                Some(_) => self.refuse(seat, reference, Code::CALL_ENDED),
                None => self.refuse(seat, reference, Code::NO_SUCH_CALL),
            },
            ServerEvent::Typing(typing) => {
                let Some((call, from)) = of(self, typing.call) else { return };
                if !self.calls[call].ended {
                    for hearer in self.calls[call].hearers().filter(|hearer| *hearer != party) {
                        self.tell_party(hearer, IsTyping { call: typing.call, from });
                    }
                }
            }
            ServerEvent::Ban(reference, _) => self.refuse(seat, reference, Code::NO_ADDRESS),
            ServerEvent::Invite(reference, _) => self.refuse(seat, reference, Code::NOT_ALLOWED),
            ServerEvent::SignOff(reference) => {
                self.tell_seat(seat, reference, goodbye(Code::DONE, Resumable::No));
                self.parties[party].ticket = Ticket([0; 32]);
                for call in 0..self.calls.len() {
                    if self.calls[call].operator == Some(party) && !self.calls[call].ended {
                        self.put_back(call);
                    }
                }
            }
            ServerEvent::Answer(reference, _) => self.refuse(seat, reference, Code::NOT_OFFERED),
            ServerEvent::EndSeen(end_seen) => {
                if let Some((call, side)) = of(self, end_seen.call) {
                    assert!(self.calls[call].ended, "only an end is answered");
                    self.calls[call].seen[at(side)] = true;
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, call: usize, from: Side, say: Say) -> Result<(), Code> {
        if self.calls[call].ended {
            return Err(Code::CALL_ENDED);
        }
        let next = self.calls[call].next[at(from)];
        if next != say.nonce {
            return Err(Code::NONCE);
        }
        if mem::take(&mut self.disk_full) {
            return Err(Code::DISK_FULL);
        }
        self.calls[call].next[at(from)] = next.next().unwrap();
        let party = match from {
            Side::Caller => self.calls[call].caller,
            Side::Operator => self.calls[call].operator.unwrap(),
        };
        let said = Said {
            call: say.call,
            seq: self.calls[call].seq(),
            from,
            name: self.parties[party].name.clone(),
            at: AT,
            text: say.text,
            nonce: say.nonce,
        };
        self.record(call, said);
        Ok(())
    }

    fn answer(&mut self, seat: (usize, usize), party: usize, reference: Ref) {
        let is_there = |world: &Self, call: &Call| world.parties[call.caller].seat.is_some();
        let mine = |call: &Call| call.operator == Some(party) && !call.ended;
        if let Some(call) = self.calls.iter().position(mine) {
            if is_there(self, &self.calls[call]) {
                return self.refuse(seat, reference, Code::OCCUPIED);
            }
            self.put_back(call);
        }
        let waits = |call: &&Call| call.operator.is_none() && !call.ended && is_there(self, call);
        let Some(id) = self.calls.iter().find(waits).map(|call| call.id) else {
            return self.refuse(seat, reference, Code::NOBODY_WAITING);
        };
        let call = self.calls.iter().position(|call| call.id == id).unwrap();
        self.calls[call].operator = Some(party);
        let (caller, next_nonce) = (self.calls[call].caller, self.calls[call].next[1]);
        let peer = self.parties[caller].name.clone();
        self.tell_seat(seat, reference, Connected { call: id, peer, next_nonce });
        for entry in self.calls[call].transcript.clone() {
            self.tell_party(party, entry);
        }
        self.tell_state(call, caller);
        let name = self.parties[party].name.clone();
        let seq = self.calls[call].seq();
        self.record(call, Joined { call: id, seq, at: AT, from: Side::Operator, name });
    }

    /// The call waits again.
    pub(super) fn put_back(&mut self, call: usize) {
        let Some(operator) = self.calls[call].operator.filter(|_| !self.calls[call].ended) else {
            return;
        };
        let (id, seq) = (self.calls[call].id, self.calls[call].seq());
        let name = self.parties[operator].name.clone();
        self.record(call, Left { call: id, seq, at: AT, from: Side::Operator, name });
        self.tell_party(operator, PutBack { call: id });
        self.calls[call].operator = None;
        self.tell_state(call, self.calls[call].caller);
    }

    fn end_call(&mut self, call: usize, by: By, why: Why) {
        let ended =
            Ended { call: self.calls[call].id, seq: self.calls[call].seq(), at: AT, by, why };
        self.record(call, ended);
        self.calls[call].ended = true;
    }

    fn known(&self, ticket: &Ticket, side: Side) -> Option<usize> {
        self.parties.iter().position(|party| party.ticket == *ticket && party.side == side)
    }

    fn seated(&mut self, seat: (usize, usize), ticket: Ticket, side: Side, name: Name) -> usize {
        self.parties.push(Party { ticket, side, name, seat: Some(seat) });
        self.parties.len() - 1
    }

    /// Tells who is in a call how things are.
    fn tell_state(&mut self, call: usize, party: usize) {
        let Some(side) = self.calls[call].side(party) else { return };
        let (id, next_nonce) = (self.calls[call].id, self.calls[call].next[at(side)]);
        let other = match side {
            Side::Caller => self.calls[call].operator,
            Side::Operator => Some(self.calls[call].caller),
        };
        let Some(other) = other else {
            let place = Place { call: id, position: 1, waiting: 1, wait_s: None, next_nonce };
            return self.tell_party(party, place);
        };
        let peer = self.parties[other].name.clone();
        self.tell_party(party, Connected { call: id, peer, next_nonce });
        if self.parties[other].seat.is_none() {
            self.tell_party(party, Away { call: id, from: self.parties[other].side });
        }
    }

    fn resume(&mut self, seat: (usize, usize), reference: Ref, party: usize, shown: &[Shown]) {
        match self.parties[party].seat.replace(seat) {
            Some(older) => {
                self.tell_seat(older, Ref::NONE, goodbye(Code::SUPERSEDED, Resumable::No));
            }
            None => self.tell_others(party, |call, from| Back { call, from }.into()),
        }
        let (side, name) = (self.parties[party].side, self.parties[party].name.clone());
        self.tell_seat(seat, reference, admitted(name));
        let mine: Vec<usize> = (0..self.calls.len())
            .filter(|call| self.calls[*call].side(party) == Some(side))
            .filter(|call| !self.calls[*call].seen[at(side)])
            .collect();
        let listed = mine.iter().map(|call| {
            let call = &self.calls[*call];
            let last = Seq(u32::try_from(call.transcript.len()).unwrap());
            Listed { call: call.id, next_nonce: call.next[at(side)], last }
        });
        let calls = listed.collect();
        self.tell_party(party, Resumed { calls });
        for call in mine {
            if !self.calls[call].ended {
                self.tell_state(call, party);
            }
            let shown = shown.iter().find(|shown| shown.call == self.calls[call].id);
            let shown = shown.map_or(0, |shown| usize::try_from(shown.seq.0).unwrap());
            for entry in self.calls[call].transcript.iter().skip(shown).cloned().collect::<Vec<_>>()
            {
                self.tell_party(party, entry);
            }
        }
    }

    /// Tells whoever is in a call with somebody.
    fn tell_others(&mut self, party: usize, what: impl Fn(CallId, Side) -> Message) {
        for call in 0..self.calls.len() {
            let Some(side) = self.calls[call].side(party) else { continue };
            if !self.calls[call].ended {
                for hearer in self.calls[call].hearers().filter(|hearer| *hearer != party) {
                    self.tell_party(hearer, what(self.calls[call].id, side));
                }
            }
        }
    }

    /// A connection is gone: whoever was at its other end is away.
    fn lose(&mut self, seat: (usize, usize)) {
        let party = self.parties.iter().position(|party| party.seat == Some(seat));
        if let Some(party) = party {
            self.parties[party].seat = None;
            self.tell_others(party, |call, from| Away { call, from }.into());
        }
    }

    /// Whether a client is in a call, as the switchboard sees it.
    pub(super) fn is_in(&self, end: usize, call: usize) -> bool {
        let party = self.parties.iter().position(|party| {
            party.seat.is_some_and(|(at, _)| at == end) && party.side == self.ends[end].side
        });
        party.is_some_and(|party| self.calls[call].side(party).is_some())
    }
}

fn admitted(name: Name) -> Admitted {
    Admitted { line: LineName::new("main").unwrap(), name, greeting: None }
}

pub(super) fn goodbye(code: Code, resumable: Resumable) -> Goodbye {
    Goodbye { code, detail: Detail::cut(""), retry_after_s: None, resumable }
}

/// A server's session whose peer was let in.
pub(super) fn seated(role: Role) -> ServerSession {
    let mut server = ServerSession::new(Settings::default(), Moment(0));
    let (_, hello) = first("hello");
    server.handle_message(Ref::NONE, hello, Moment(0));
    let (_, opening) = first(match role {
        Role::Caller => "join",
        Role::Operator => "sign_on",
    });
    server.handle_message(Ref(1), opening, Moment(0));
    let (_, admitted) = first("admitted");
    server.tell(admitted.to_frame(Ref(1)).unwrap());
    assert_eq!(server.role(), Some(role));
    drain(&mut server);
    while server.poll_event().is_some() {}
    server
}

/// The first sample of a kind, and its frame.
pub(super) fn first(name: &str) -> (Bytes, Message) {
    let samples = Message::samples();
    let (_, samples) = samples.into_iter().find(|(kind, _)| kind.name == name).unwrap();
    (samples[0].to_frame(Ref(1)).unwrap(), samples[0].clone())
}

/// What a server's session has to say.
pub(super) fn drain(server: &mut ServerSession) -> Vec<(Ref, Message)> {
    let frames = std::iter::from_fn(|| server.poll_transmit());
    let messages = frames.map(|bytes| {
        let frame = frame::split(&bytes, limits::FRAME).unwrap().unwrap();
        (frame.reference, Message::decode(frame).unwrap())
    });
    messages.collect()
}

/// The code of the goodbye that a session ends with.
pub(super) fn parting(server: &mut ServerSession) -> Option<Code> {
    assert!(server.is_closing());
    match drain(server).pop() {
        Some((Ref::NONE, Message::Goodbye(goodbye))) => Some(goodbye.code),
        _ => None,
    }
}

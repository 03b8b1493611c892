//! A small world: clients and the server's sessions, joined by byte pipes, one clock, and a
//! switchboard of the plainest kind.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::{
    code::{Code, Why},
    frame,
    ids::{Answering, By, CallId, Nonce, Resumable, Seq, Side, Ticket},
    limits,
    message::{
        Admitted, Connected, Ended, Error, Goodbye, IsTyping, Join, Joined, Message, Place, Ref,
        Said, SignOn, samples::name,
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
        last.max(now + self.delay)
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

    fn has_ended(&self, now: Moment) -> bool {
        self.on_the_way.is_empty() && self.ended.is_some_and(|at| at <= now)
    }

    fn next(&self) -> Option<Moment> {
        self.on_the_way.front().map(|(at, _)| *at).or(self.ended)
    }
}

/// One client, its connection, and the session that serves it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) client: ClientSession,
    pub(super) server: ServerSession,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// What the client has learnt, in order.
    pub(super) events: Vec<ClientEvent>,
    /// Whether entries are shown as soon as they come.
    pub(super) shows: bool,
    side: Side,
    name: Name,
    /// The server has closed the connection, or seen it end.
    gone: bool,
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

    /// The code of the goodbye that ended it.
    pub(super) fn goodbye(&self) -> Option<Code> {
        match self.lost() {
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

    pub(super) fn not_said(&self) -> Vec<(String, Ref, Option<Code>)> {
        let lines = self.events.iter().filter_map(|event| match event {
            ClientEvent::NotSaid { text, reference, why, .. } => {
                Some((text.to_string(), *reference, *why))
            }
            _ => None,
        });
        lines.collect()
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

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    caller: usize,
    operator: Option<usize>,
    pub(super) transcript: Vec<Message>,
    next: [Nonce; 2],
    pub(super) ended: bool,
}

impl Call {
    fn side(&self, end: usize) -> Option<Side> {
        if self.caller == end {
            Some(Side::Caller)
        } else {
            (self.operator == Some(end)).then_some(Side::Operator)
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
}

const AT: UnixMillis = UnixMillis(0);

impl World {
    pub(super) fn new() -> Self {
        Self { now: Moment(1_000), ends: vec![], calls: vec![], settings: Settings::default() }
    }

    fn connect(&mut self, opening: Opening, side: Side, name: Name) -> usize {
        let agent = Agent::new("pair").unwrap();
        self.ends.push(End {
            client: ClientSession::new(opening, agent, self.now),
            server: ServerSession::new(self.settings, self.now),
            up: Pipe::new(),
            down: Pipe::new(),
            events: vec![],
            shows: true,
            side,
            name,
            gone: false,
            sent: vec![],
        });
        self.ends.len() - 1
    }

    pub(super) fn caller(&mut self) -> usize {
        let join = Join { ticket: Ticket([1; 32]), line: None, name: name("Wei"), invite: None };
        self.connect(Opening::Join(join), Side::Caller, name("Wei"))
    }

    pub(super) fn operator(&mut self) -> usize {
        let sign_on = SignOn {
            ticket: Ticket([2; 32]),
            name: name("Ada"),
            answering: Answering::ByHand,
            token: None,
        };
        self.connect(Opening::SignOn(sign_on), Side::Operator, name("Ada"))
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
        let broken = &mut self.ends[end];
        for pipe in [&mut broken.up, &mut broken.down] {
            pipe.on_the_way.clear();
            pipe.end(self.now);
            pipe.dead = true;
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
        let moments = self.ends.iter().flat_map(|end| {
            let paused = (!end.up.rest.is_empty()).then(|| end.server.paused_until(self.now));
            [
                end.up.next().filter(|_| !end.gone),
                end.down.next().filter(|_| !end.is_over()),
                end.client.poll_timeout(),
                end.server.poll_timeout().filter(|_| !end.gone),
                paused.flatten(),
            ]
        });
        moments.flatten().filter(|at| *at > self.now).min()
    }

    /// Everything that happens at this moment.
    fn settle(&mut self) {
        // Messages take their time on the way, so a moment has an end; callers and operators in
        // turn see what the other did.
        for _ in 0..3 {
            for end in 0..self.ends.len() {
                self.serve(end);
                self.use_client(end);
            }
        }
    }

    fn use_client(&mut self, at: usize) {
        let (now, end) = (self.now, &mut self.ends[at]);
        for bytes in end.down.read(now) {
            end.down.rest.extend(bytes);
            let mut used = 0;
            loop {
                match frame::split(&end.down.rest[used..], limits::FRAME) {
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
            end.down.rest.drain(..used);
        }
        if end.down.has_ended(now) {
            end.client.handle_end();
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
            end.events.push(event);
        }
        if !end.up.full {
            while let Some(frame) = end.client.poll_transmit(now) {
                let kind = frame::split(&frame, limits::FRAME).unwrap().unwrap().kind;
                end.sent.push((now, kind));
                end.up.write(&frame, now);
            }
        }
        if end.is_over() {
            end.up.end(now);
        }
    }

    fn serve(&mut self, at: usize) {
        let now = self.now;
        for bytes in self.ends[at].up.read(now) {
            self.ends[at].up.rest.extend(bytes);
            self.serve_frames(at);
        }
        self.serve_frames(at);
        let end = &mut self.ends[at];
        if end.gone {
            return;
        }
        if end.server.poll_timeout().is_some_and(|at| at <= now) {
            end.server.handle_timeout(now);
        }
        if end.down.full {
            if end.server.waiting() > 0 {
                end.server.stuck(now);
            }
        } else {
            while let Some(frame) = end.server.poll_transmit() {
                end.down.write(&frame, now);
            }
            assert_eq!(end.server.waiting(), 0);
            end.server.progressed();
        }
        let closed = end.server.is_closing() && (end.server.waiting() == 0 || end.down.full);
        if closed || end.up.has_ended(now) {
            end.down.end(now);
            end.gone = true;
            self.lose(at);
        }
    }

    fn serve_frames(&mut self, at: usize) {
        let now = self.now;
        loop {
            let end = &mut self.ends[at];
            if end.server.is_closing() || end.gone {
                end.up.rest.clear();
                return;
            }
            if end.server.paused_until(now).is_some() {
                return;
            }
            match frame::split(&end.up.rest, end.server.frame_limit()) {
                Ok(Some(frame)) => {
                    let size = frame.size();
                    end.server.handle(frame, now);
                    end.up.rest.drain(..size);
                }
                Ok(None) => {
                    if !end.up.rest.is_empty() {
                        end.server.frame_begun(now);
                    }
                    return;
                }
                Err(error) => end.server.handle_garbage(error),
            }
            while let Some(event) = self.ends[at].server.poll_event() {
                self.switch(at, event);
            }
        }
    }

    // ---- the switchboard ----

    pub(super) fn tell(&mut self, end: usize, reference: Ref, message: impl Into<Message>) {
        self.ends[end].server.tell(message.into().to_frame(reference).unwrap());
    }

    fn refuse(&mut self, end: usize, reference: Ref, code: Code) {
        self.tell(end, reference, Error { code, detail: Detail::cut("") });
    }

    fn record(&mut self, call: usize, entry: Message) {
        let hearers = self.calls[call].hearers();
        self.calls[call].transcript.push(entry.clone());
        hearers.for_each(|hearer| self.tell(hearer, Ref::NONE, entry.clone()));
    }

    fn switch(&mut self, at: usize, event: ServerEvent) {
        let admitted =
            |name| Admitted { line: LineName::new("main").unwrap(), name, greeting: None };
        match event {
            ServerEvent::Join(reference, join) => {
                let number = u8::try_from(self.calls.len()).unwrap();
                let id = CallId([number; 16]);
                let next = [Nonce::FIRST; 2];
                let call =
                    Call { id, caller: at, operator: None, transcript: vec![], next, ended: false };
                self.calls.push(call);
                self.tell(at, reference, admitted(join.name.clone()));
                let place = Place {
                    call: id,
                    position: 1,
                    waiting: 1,
                    wait_s: None,
                    next_nonce: Nonce::FIRST,
                };
                self.tell(at, Ref::NONE, place);
                let joined =
                    Joined { call: id, seq: Seq(1), at: AT, from: Side::Caller, name: join.name };
                self.record(self.calls.len() - 1, joined.into());
            }
            ServerEvent::SignOn(reference, sign_on) => {
                self.tell(at, reference, admitted(sign_on.name));
            }
            ServerEvent::Next(reference) => self.answer(at, reference),
            ServerEvent::Say(reference, say) => {
                let call = self.calls.iter().position(|call| call.id == say.call);
                let place = call.and_then(|call| Some((call, self.calls[call].side(at)?)));
                let Some((call, from)) = place else {
                    return self.refuse(at, reference, Code::NO_SUCH_CALL);
                };
                if self.calls[call].ended {
                    return self.refuse(at, reference, Code::CALL_ENDED);
                }
                let next = &mut self.calls[call].next[usize::from(from == Side::Operator)];
                if *next != say.nonce {
                    return self.refuse(at, reference, Code::NONCE);
                }
                *next = next.next().unwrap();
                let said = Said {
                    call: say.call,
                    seq: self.calls[call].seq(),
                    from,
                    name: self.ends[at].name.clone(),
                    at: AT,
                    text: say.text,
                    nonce: say.nonce,
                };
                self.record(call, said.into());
            }
            ServerEvent::HangUp(reference, hang_up) => {
                let open = self.calls.iter().position(|call| {
                    call.id == hang_up.call && !call.ended && call.side(at).is_some()
                });
                match open {
                    Some(call) => self.end_call(call, self.ends[at].side.into(), Why::BYE),
                    None => self.refuse(at, reference, Code::CALL_ENDED),
                }
            }
            ServerEvent::Typing(typing) => {
                let call = self.calls.iter().find(|call| call.id == typing.call && !call.ended);
                let Some(call) = call else { return };
                let from = self.ends[at].side;
                for hearer in call.hearers().filter(|hearer| *hearer != at).collect::<Vec<_>>() {
                    self.tell(hearer, Ref::NONE, IsTyping { call: typing.call, from });
                }
            }
            ServerEvent::SignOff(reference) => {
                let goodbye = Goodbye {
                    code: Code::DONE,
                    detail: Detail::cut("signed off"),
                    retry_after_s: None,
                    resumable: Resumable::No,
                };
                self.tell(at, reference, goodbye);
            }
            ServerEvent::Answer(reference, _) => self.refuse(at, reference, Code::NOT_OFFERED),
            ServerEvent::EndSeen(_) | ServerEvent::Ready(_) | ServerEvent::Pause(_) => {}
        }
    }

    fn answer(&mut self, at: usize, reference: Ref) {
        if self.calls.iter().any(|call| call.operator == Some(at) && !call.ended) {
            return self.refuse(at, reference, Code::OCCUPIED);
        }
        let waiting = self.calls.iter().position(|call| call.operator.is_none() && !call.ended);
        let Some(call) = waiting else {
            return self.refuse(at, reference, Code::NOBODY_WAITING);
        };
        let (id, caller) = (self.calls[call].id, self.calls[call].caller);
        let connected = |peer, next_nonce| Connected { call: id, peer, next_nonce };
        self.tell(at, reference, connected(self.ends[caller].name.clone(), Nonce::FIRST));
        for entry in self.calls[call].transcript.clone() {
            self.tell(at, Ref::NONE, entry);
        }
        let next = self.calls[call].next[0];
        self.tell(caller, Ref::NONE, connected(self.ends[at].name.clone(), next));
        self.calls[call].operator = Some(at);
        let joined = Joined {
            call: id,
            seq: self.calls[call].seq(),
            at: AT,
            from: Side::Operator,
            name: self.ends[at].name.clone(),
        };
        self.record(call, joined.into());
    }

    fn end_call(&mut self, call: usize, by: By, why: Why) {
        let ended =
            Ended { call: self.calls[call].id, seq: self.calls[call].seq(), at: AT, by, why };
        self.record(call, ended.into());
        self.calls[call].ended = true;
    }

    /// A connection is gone, and with it whoever was at its other end.
    fn lose(&mut self, at: usize) {
        for call in 0..self.calls.len() {
            if !self.calls[call].ended
                && let Some(side) = self.calls[call].side(at)
            {
                self.end_call(call, side.into(), Why::LOST);
            }
        }
    }
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

//! From bytes to what is asked for, and from what is told to bytes.

use std::hint::black_box;

use helpline_proto::{
    frame,
    ids::{CallId, Nonce, Seq, Side, Ticket},
    message::{Admitted, Hello, Join, Message, Ref, Said, Say},
    session::{ServerEvent, ServerSession, Settings},
    text::{Agent, LineName, Name, Text},
    time::{Moment, UnixMillis},
    version,
};

/// What is said: as long as most lines are.
pub(crate) const LINE: &str = "It says that the disk is full, but I have deleted everything.";

const CALL: CallId = CallId(*b"sixteen  letters");

/// Milliseconds between two lines: as fast as a connection may go on for ever.
const APART: u64 = 50;

/// Reads a line as a connection does: it may be read now, is a frame, and is asked for.
pub(crate) fn decode(repetitions: usize) -> Option<()> {
    let mut session = seated()?;
    let say = Say { call: CALL, nonce: Nonce(7), text: Text::new(LINE).ok()? };
    let bytes = Message::from(say).to_frame(Ref(7)).ok()?;
    let mut now = Moment(0);
    let mut asked = 0;
    for _ in 0..repetitions {
        now = Moment(now.0 + APART);
        if session.paused_until(now).is_some() {
            return None;
        }
        let frame = frame::split(black_box(&bytes), session.frame_limit()).ok()??;
        session.handle(frame, now);
        while let Some(event) = session.poll_event() {
            asked += usize::from(matches!(black_box(event), ServerEvent::Say(..)));
        }
    }
    (asked == repetitions).then_some(())
}

/// A session whose caller is let in.
fn seated() -> Option<ServerSession> {
    let mut session = ServerSession::new(Settings::default(), Moment(0));
    let hello = Hello { versions: version::SPOKEN, agent: Agent::new("").ok()?, features: 0 };
    let line = LineName::new("main").ok()?;
    let (ticket, name) = (Ticket([7; 32]), Name::new("Ada").ok()?);
    let join = Join { line: Some(line.clone()), name: name.clone(), ticket, invite: None };
    session.handle_message(Ref(1), hello.into(), Moment(0));
    session.handle_message(Ref(2), join.into(), Moment(0));
    let admitted = Admitted { line, name, greeting: None };
    session.tell(Message::from(admitted).to_frame(Ref(2)).ok()?);
    while session.poll_event().is_some() {}
    session.role().map(|_| session)
}

/// Makes the bytes of a line that both sides are told.
pub(crate) fn encode(repetitions: usize) -> Option<()> {
    let said = Message::from(Said {
        call: CALL,
        seq: Seq(7),
        from: Side::Caller,
        name: Name::new("Ada").ok()?,
        at: UnixMillis(1_800_000_000_000),
        text: Text::new(LINE).ok()?,
        nonce: Nonce(5),
    });
    for _ in 0..repetitions {
        black_box(black_box(&said).to_frame(Ref::NONE).ok()?);
    }
    Some(())
}

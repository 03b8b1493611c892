//! Carries out what a part decides: the loop between a link and a screen.

use std::{
    collections::VecDeque,
    future::pending,
    io::{self, Write},
    time::Duration,
};

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::Code,
    ids::{CallId, Seq},
    limits,
    message::{self, Message, Ref},
    text::Detail,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::Signal,
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use crate::{Event, link::Link};

use super::{
    act::{Act, Entered, Listens, Mode, Part, Show, Standing, note, problem},
    input,
    screen::{Happened, Screen},
    sending::{Sending, Tell},
    words,
};

/// How often the other side is told that somebody types.
const TYPING_EVERY: Duration = Duration::from_secs(3);

/// Lines under way past which no input is read, as past [`limits::UNSAID`] bytes: a million lines of
/// one byte are not worth the memory.
const UNSAID_LINES: usize = 1024;

/// Whose business ^C is.
#[derive(Debug)]
pub(crate) enum Interrupts {
    /// The part's: keys and these signals.
    Ours(Signal),
    /// Somebody else's, who is told.
    Theirs(mpsc::Sender<()>),
}

enum Woken {
    Event(Option<Event>),
    Happened(Happened),
    Interrupt,
    Timer,
}

/// Plays a part until it is over.
pub(crate) async fn run<S, P>(
    mut link: Link<S>,
    mut part: P,
    screen: Screen,
    mut interrupts: Interrupts,
) -> Result<Exit, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Part,
{
    let mut left_behind = LeftBehind::default();
    // So that the terminal is given back before these last words.
    let mut screen = screen;
    let mut between = Between::default();
    let mut is_hurried = false;
    loop {
        left_behind.0 =
            Some(link.unsaid()).filter(|unsaid| *unsaid > 0).and_then(|unsaid| part.kept(unsaid));
        let listens = part.listens();
        if listens != Listens::No {
            screen.begin_to_read().await?;
        }
        // What a person types is little, and ^C comes the same way.
        let has_room = screen.mode() == Mode::Terminal
            || (link.unsaid() < UNSAID_LINES && link.unsaid_bytes() < limits::UNSAID);
        let acts = if let Some(held) = between.held.take_if(|_| listens == Listens::Yes && has_room)
        {
            part.entered(held)
        } else {
            let reads = listens != Listens::No && between.held.is_none() && has_room;
            match wait(&mut link, &mut screen, &mut interrupts, reads, between.sending.due()).await
            {
                Woken::Event(Some(event)) => {
                    match &event {
                        Event::NotSaid { .. } => between.sending.not_said(),
                        Event::Told(_, Message::Ended(_) | Message::PutBack(_)) => {
                            screen.outdate_draft();
                        }
                        _ => {}
                    }
                    screen.mark_prompt(link.attempt() > 0);
                    part.told(event, standing(&link))
                }
                // Its last event made the part leave.
                Woken::Event(None) => vec![Act::Leave],
                Woken::Interrupt => {
                    let acts = part.entered(Entered::Interrupt { draft: String::new() });
                    is_hurried = acts.contains(&Act::Leave);
                    acts
                }
                Woken::Happened(Happened::Entered(entered)) => {
                    between.entered(entered, listens, &interrupts, &mut part)
                }
                Woken::Happened(Happened::Outdated(line))
                    if line.starts_with('/') && !input::is_about_call(&line) =>
                {
                    part.entered(Entered::Line(line))
                }
                Woken::Happened(Happened::Outdated(line)) => {
                    vec![problem(words::not_said(&line))]
                }
                Woken::Happened(Happened::Draft(draft)) => between.typing(&draft, &part),
                Woken::Happened(Happened::Room) | Woken::Timer => Vec::new(),
            }
        };
        let leaves = between.carry_out(acts, &mut link, &mut part, &mut screen);
        if screen.mode().is_person() {
            let tell = between.sending.update(link.unsaid(), Instant::now());
            let note = match tell.filter(|_| !leaves) {
                Some(Tell::Sending) if link.attempt() > 0 => {
                    Some("kept until there is a connection")
                }
                Some(Tell::Sending) => Some("sending…"),
                // On an edited terminal the line itself has appeared.
                Some(Tell::Said) if screen.mode() == Mode::Plain => Some("said"),
                Some(Tell::Said) | None => None,
            };
            if let Some(note) = note {
                screen.show(&Show::Note(note.to_owned()));
            }
        }
        if leaves {
            break;
        }
        if !screen.is_behind() {
            between.note_shown(&mut link);
        }
    }
    left_behind.0 = None;
    // Lines that were entered, but came too late.
    if !screen.mode().is_person() && part.listens() == Listens::Yes {
        let late = match between.held.take() {
            Some(held) => Some(held),
            None => screen.entered_already().await,
        };
        if let Some(late) = late {
            let acts = part.entered(late);
            between.carry_out(acts, &mut link, &mut part, &mut screen);
        }
    }
    if !link.is_kept() {
        // Nobody can say them later.
        let unsaid: Vec<_> =
            link.unsaid_lines().map(|(call, _, text)| (call, text.clone())).collect();
        for (call, text) in unsaid {
            let event = Event::NotSaid { call, text, reference: Ref::NONE, why: None };
            let acts = part.told(event, standing(&link));
            between.carry_out(acts, &mut link, &mut part, &mut screen);
        }
    }
    let finished = async {
        screen.finish().await;
        between.note_shown(&mut link);
        link.close().await;
    };
    // To leave on ^C alone means that something doesn't go on: nobody reads, or nobody answers.
    let patience = async { if is_hurried { sleep(limits::LINGER).await } else { pending().await } };
    tokio::select! {
        () = finished => {}
        () = patience => {}
        // Whoever presses ^C now doesn't want to wait for what nobody reads.
        () = interrupted(&mut interrupts) => {}
    }
    if !part.keeps() {
        link.forget();
    }
    part.end()
}

fn standing<S: AsyncRead + AsyncWrite + Unpin>(link: &Link<S>) -> Standing {
    Standing { unsaid: link.unsaid(), attempt: link.attempt() }
}

async fn wait<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    screen: &mut Screen,
    interrupts: &mut Interrupts,
    reads: bool,
    due: Option<Instant>,
) -> Woken {
    let is_behind = screen.is_behind();
    let news = async {
        if is_behind {
            link.keep().await;
            pending().await
        } else {
            link.next().await
        }
    };
    let timer = async {
        match due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    };
    tokio::select! {
        event = news => Woken::Event(event),
        happened = screen.next(reads) => Woken::Happened(happened),
        () = interrupted(interrupts) => Woken::Interrupt,
        () = timer => Woken::Timer,
    }
}

/// Returns on SIGINT, if that is our business.
async fn interrupted(interrupts: &mut Interrupts) {
    match interrupts {
        Interrupts::Ours(signal) => {
            if signal.recv().await.is_none() {
                pending::<()>().await;
            }
        }
        Interrupts::Theirs(_) => pending().await,
    }
}

/// What there is to say if the program is killed: lines that are not said yet.
#[derive(Debug, Default)]
struct LeftBehind(Option<String>);

impl Drop for LeftBehind {
    fn drop(&mut self) {
        if let Some(words) = &self.0 {
            let _stderr_is_gone = writeln!(io::stderr(), "helpline: {words}");
        }
    }
}

/// What lies between a link and a screen.
#[derive(Debug, Default)]
struct Between {
    /// A line for which it is too early.
    held: Option<Entered>,
    /// Entries whose showing is under way.
    shown: Vec<(CallId, Seq)>,
    sending: Sending,
    typed: Option<Instant>,
}

impl Between {
    fn entered<P: Part>(
        &mut self,
        entered: Entered,
        listens: Listens,
        interrupts: &Interrupts,
        part: &mut P,
    ) -> Vec<Act> {
        match (entered, interrupts) {
            (line @ (Entered::Line(_) | Entered::TooLong), _) if listens != Listens::Yes => {
                self.held = Some(line);
                Vec::new()
            }
            (Entered::Interrupt { draft }, Interrupts::Theirs(whose)) => {
                // No room: they have been told, and think about it.
                let _told_already = whose.try_send(());
                let is_blank = draft.trim().is_empty();
                if is_blank { Vec::new() } else { vec![note(words::not_said(&draft))] }
            }
            (entered, _) => part.entered(entered),
        }
    }

    fn typing<P: Part>(&mut self, draft: &str, part: &P) -> Vec<Act> {
        let now = Instant::now();
        let is_text = !draft.trim().is_empty() && !draft.starts_with('/');
        let is_due = self.typed.is_none_or(|at| now >= at + TYPING_EVERY);
        let Some(call) = part.talks_in().filter(|_| is_text && is_due) else { return Vec::new() };
        self.typed = Some(now);
        vec![Act::Typing(call)]
    }

    /// Does what is to be done; true if that is to leave.
    fn carry_out<S, P>(
        &mut self,
        acts: Vec<Act>,
        link: &mut Link<S>,
        part: &mut P,
        screen: &mut Screen,
    ) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
        P: Part,
    {
        let mut leaves = false;
        let mut acts = VecDeque::from(acts);
        while let Some(act) = acts.pop_front() {
            match act {
                Act::Show(show) => screen.show(&show),
                Act::Say { call, text, reference } => {
                    // The call has ended, which the part is about to hear.
                    if link.say(call, text.clone(), reference).is_err() {
                        let why = Some(Code::CALL_ENDED);
                        let event = Event::NotSaid { call, text, reference, why };
                        acts.extend(part.told(event, standing(link)));
                    }
                }
                Act::HangUp { call, reference } => {
                    if link.hang_up(call, reference).is_err() && reference != Ref::NONE {
                        let detail = Detail::cut("the call has ended");
                        let error = message::Error { code: Code::CALL_ENDED, detail };
                        let event = Event::Told(reference, error.into());
                        acts.extend(part.told(event, standing(link)));
                    }
                }
                Act::Typing(call) => link.typing(call),
                Act::Request(request, reference) => link.request(request, reference),
                Act::Shown(call, seq) => self.shown.push((call, seq)),
                Act::Leave => leaves = true,
            }
        }
        leaves
    }

    /// Everything shown so far is on the screen.
    fn note_shown<S: AsyncRead + AsyncWrite + Unpin>(&mut self, link: &mut Link<S>) {
        for (call, seq) in self.shown.drain(..) {
            link.shown(call, seq);
        }
    }
}

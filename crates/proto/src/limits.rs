//! Every number of the protocol, and why it is that number.

use std::time::Duration;

/// Bytes of one text: a page and a half of prose, or a stack trace; still four to a frame of the largest size.
pub const TEXT: usize = 16 * 1024;

/// Bytes of a name: the longest personal names fit, and a board of 120 people stays under a frame.
pub const NAME: usize = 64;

/// Bytes of a remark beside a code: one sentence, shown on one or two lines.
pub const DETAIL: usize = 256;

/// Bytes of a program's own name and version.
pub const AGENT: usize = 64;

/// Bytes of a token or an invitation: twice what 32 random bytes need in hexadecimal.
pub const SECRET: usize = 128;

/// Bytes that a frame's length may claim before the peer has joined, signed on or resumed: the longest
/// `Resume` has under 700, and a stranger is given nothing to make the server allocate.
pub const FRAME_BEFORE: u32 = 1024;

/// Bytes that a frame's length may claim afterwards: a text of the largest size, a page of a board,
/// and room for what later versions add.
pub const FRAME: u32 = 64 * 1024;

/// Bytes of one message as JSON: 16 KiB of control characters escape to 96 KiB.
pub const JSON: usize = 128 * 1024;

/// From accepting a connection to answering its `Join`, `SignOn` or `Resume`: a person on a bad link
/// manages in a second or two, a port scanner holds nothing for longer.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// For the rest of a frame once its first byte has come: 64 KiB at 7 KB/s.
pub const REST_OF_FRAME: Duration = Duration::from_secs(10);

/// A client that has sent nothing for this long sends a `Ping`: often enough for the strictest
/// address translators in use (30 s).
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// Silence after which the other side counts as gone: two keepalives may be lost.
pub const SILENCE: Duration = Duration::from_secs(45);

/// Bytes waiting at the server for one peer; past this, it is told from the store instead.
pub const OUTBOX: usize = 256 * 1024;

/// A peer that has taken nothing off a full connection for this long is cut.
pub const NO_PROGRESS: Duration = Duration::from_secs(10);

/// How long a closed connection is read and thrown away, so that the last words sent on it arrive.
pub const LINGER: Duration = Duration::from_secs(2);

/// For a connected operator's client to answer the end of a call with `EndSeen`.
pub const END_SEEN: Duration = Duration::from_secs(10);

/// Says a client has under way at once; further ones wait in its outbox.
pub const UNANSWERED: usize = 64;

/// Bytes of unsaid text past which a client stops reading its input.
pub const UNSAID: usize = 1024 * 1024;

/// Says a second that a connection may keep up, by default: a fast typist sends one every two seconds.
pub const SAYS_A_SECOND: u32 = 20;

/// Says that may come at once before the rate applies: a pasted list.
pub const SAYS_AT_ONCE: u32 = 50;

/// The least time between two `Typing` passed on for one connection: faster than anyone's screen changes.
pub const TYPING_EVERY: Duration = Duration::from_secs(1);

/// The waiting callers a board lists.
pub const BOARD_FIRST: usize = 20;

/// The calls a board lists.
pub const BOARD_TALKING: usize = 100;

/// The least time between two boards told to an operator.
pub const BOARD_EVERY: Duration = Duration::from_secs(1);

/// Bytes of entries the server reads from its store at once, for a peer that is behind.
pub const PAGE: usize = 64 * 1024;

/// How long a caller who is away is kept whom nobody has answered yet: a tunnel, a router that restarts.
pub const WAITING_GRACE: Duration = Duration::from_secs(120);

/// The same once the call has been answered: there is something to come back to.
pub const CALL_GRACE: Duration = Duration::from_secs(600);

/// How long an operator who is away is kept: their caller is being kept waiting by it.
pub const OPERATOR_GRACE: Duration = Duration::from_secs(60);

/// The first in line is waited for this long when away, before the next one who is there is answered: most
/// broken connections are back sooner.
pub const PASSED_OVER: Duration = Duration::from_secs(20);

/// A caller who is away for this long in a call no longer keeps the operator who asks for the next one.
pub const LET_GO: Duration = Duration::from_secs(20);

/// The same for an operator who answers by itself, and asks for nobody.
pub const LET_GO_BY_ITSELF: Duration = Duration::from_secs(60);

/// How long a caller's address may be banned from a desk: thirty days, as addresses change hands.
pub const BAN_LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Calls a client may list when it resumes: an operator's, with room to spare.
pub const RESUMED_CALLS: usize = 32;

/// The first pause before a client tries to come back, give or take: most breaks are shorter than a breath.
pub const RECONNECT_SOONEST: Duration = Duration::from_millis(200);

/// The longest such pause, so that a server that is back is noticed within seconds.
pub const RECONNECT_LATEST: Duration = Duration::from_secs(2);

/// One try to come back, from dialling to being let in: a try that hangs must not outlast the reason for it.
pub const RECONNECT_TRY: Duration = Duration::from_secs(3);

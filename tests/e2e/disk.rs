//! The disk is full, or fails: what is told then, and how the line goes on.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use helpline_proto::{
    code::Code,
    ids::Resumable,
    message::{Message, Say},
    text::Text,
};
use helpline_tests::{Got, Peer, Server, ServerSetup, have, linux, small_disk, tool};

/// Bytes of the small disk.
const DISK: u64 = 16 << 20;

/// A file that takes all the room there is on a server's disk.
struct Ballast(PathBuf);

impl Ballast {
    fn new(server: &Server) -> Self {
        let path = server.data().join("ballast");
        let mut file = File::create(&path).unwrap();
        let (block, mut size) = ([0; 4096], 0);
        while file.write_all(&block).is_ok() {
            size += 4096;
        }
        // Room for a few lines more, not for many.
        file.set_len(size - (256 << 10)).unwrap();
        Self(path)
    }

    fn drop_it(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Says lines until one is refused because nothing can be recorded. Returns that one.
fn say_until_full(peer: &mut Peer, round: &str) -> String {
    let padding = "x".repeat(10_000);
    for n in 0..10_000 {
        let nonce = peer.next_nonce();
        let text = format!("{round}, line {n} {padding}");
        let call = peer.call();
        let reference = nonce.0 + 1000;
        let begun = Instant::now();
        let say = Say { call, nonce, text: Text::new(text.as_str()).unwrap() };
        peer.next_say(&text);
        peer.ask(reference, say);
        let refused = peer.expect("Said or Error", |message| match message {
            Message::Said(said) if said.nonce == nonce && said.text.as_str() == text => Some(None),
            Message::Error(error) => Some(Some(error.code)),
            _ => None,
        });
        if let Some(code) = refused {
            let took = begun.elapsed();
            println!("line {n} is refused after {took:?}");
            assert_eq!(code, Code::DISK_FULL);
            assert!(took < Duration::from_secs(50), "{took:?}");
            return text;
        }
    }
    panic!("the disk has no end");
}

/// The line goes back to what is recorded: everybody is asked to come back.
fn asked_to_come_back(peer: &mut Peer) {
    let goodbye = peer.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::DISK_FULL, Resumable::Yes), "{goodbye:?}");
    assert!(goodbye.retry_after_s.is_some(), "{goodbye:?}");
    assert_eq!(peer.expect_over(), Got::End);
}

#[test]
fn a_full_disk_is_told_in_time_and_the_line_goes_on_once_there_is_room() {
    if !have(small_disk()) {
        return;
    }
    let mut server = Server::with().says(0).on_a_disk_of(DISK).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut waiting = Peer::caller(server.address(), "Bea");
    waiting.expect_place();
    waiting.say("hello?");
    waiting.expect_text("hello?");
    let mut refused = Vec::new();
    for round in 0..3 {
        Peer::chat(&mut caller, &mut operator, &format!("there is room {round}"));
        let ballast = Ballast::new(&server);
        refused.push(say_until_full(&mut caller, &format!("round {round}")));
        let said: Vec<String> = caller.heard().iter().map(|text| (*text).to_owned()).collect();
        for peer in [&mut caller, &mut operator, &mut waiting] {
            asked_to_come_back(peer);
        }
        // On the full disk there is no room for anybody new, and everybody who was there is.
        let mut newcomer = Peer::joining(server.address(), "Cleo");
        let goodbye = newcomer.expect_goodbye();
        assert_eq!((goodbye.code, goodbye.resumable), (Code::DISK_FULL, Resumable::No));
        assert!(goodbye.retry_after_s.is_some_and(|after| after > 0), "{goodbye:?}");
        let last = said.last().unwrap();
        operator.come_back();
        operator.expect_text(last);
        assert_eq!(operator.heard(), said, "who hears it has what was said, and no more");
        waiting.come_back();
        assert_eq!(waiting.expect_place().position, 1);
        let resumed = caller.come_back();
        let next = resumed.calls[0].next_nonce;
        assert_eq!(next, caller.next_nonce());
        assert_eq!(usize::try_from(next.0).unwrap(), said_by_caller(&said) + 1);
        // What was refused isn't said, and its nonce is still to be had; but not yet.
        refused.push(say_until_full(&mut caller, &format!("round {round} again")));
        for peer in [&mut caller, &mut operator, &mut waiting] {
            asked_to_come_back(peer);
        }
        assert!(server.is_running());

        ballast.drop_it();
        for peer in [&mut operator, &mut caller, &mut waiting] {
            peer.come_back();
        }
        Peer::chat(&mut caller, &mut operator, "it goes on");
        assert_eq!(caller.entries(), operator.entries());
    }
    let mut newcomer = Peer::caller(server.address(), "Cleo");
    assert_eq!(newcomer.expect_place().position, 2);

    let kept = server.transcript(&caller.call().to_hex());
    let texts: Vec<_> = kept.iter().filter_map(|entry| entry["body"]["text"].as_str()).collect();
    assert_eq!(texts, caller.heard(), "nothing that was refused is kept");
    assert!(!texts.iter().any(|text| refused.iter().any(|refused| refused == text)));
    for (at, entry) in kept.iter().enumerate() {
        assert_eq!(entry["body"]["seq"], at + 1, "numbers are dense");
    }
    assert!(server.stderr().iter().any(|line| line.contains("nothing can be recorded")));
    assert_eq!(server.calls().len(), 3, "nothing is kept of who was refused");
}

/// How many of the texts are the caller's: those of the operator end in an exclamation mark.
fn said_by_caller(texts: &[String]) -> usize {
    texts.iter().filter(|text| !text.ends_with('!')).count()
}

/// A server whose files can't grow past 512 KiB; a write beyond that fails instead of killing the process, and
/// not in the way that a full disk does.
fn with_small_files() -> ServerSetup {
    let limited = r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#;
    let blocks = if limits_are_in_kib() { "512" } else { "1024" };
    Server::with().says(0).through(["sh", "-c", limited, "sh", blocks])
}

#[test]
fn exit_74_when_a_file_can_not_grow_and_nobody_was_told_what_is_not_kept() {
    if !have(tool("sh")) {
        return;
    }
    a_store_that_fails(with_small_files());
}

#[test]
fn when_the_store_fails_everybody_hears_that_the_server_did() {
    if !have(tool("sh")) {
        return;
    }
    let server = with_small_files().start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let text = "x".repeat(10_000);
    let mut over = false;
    while !over {
        let say = Peer::frame(&caller.next_say(&text));
        let _ = caller.try_send_raw(&say);
        // The last one is not answered.
        over = loop {
            match caller.next_within(Duration::from_secs(30)) {
                Got::Message(_, Message::Said(_)) => break false,
                Got::Message(_, Message::Goodbye(goodbye)) => {
                    assert_eq!((goodbye.code, goodbye.resumable), (Code::INTERNAL, Resumable::Yes));
                    break true;
                }
                Got::Message(..) => {}
                other => panic!("{other:?}"),
            }
        };
    }
    let goodbye = operator.expect_goodbye();
    assert_eq!((goodbye.code, goodbye.resumable), (Code::INTERNAL, Resumable::Yes));
}

#[test]
fn exit_74_when_a_sync_fails_and_what_was_said_is_there_after_the_next_start() {
    if !have(linux("strace")) || !have(tool("strace")) {
        return;
    }
    // With -D the server is this test's child, and strace only its observer. A thread's 20th sync
    // and all later ones fail: well behind the start, in the middle of the call.
    let injected = "inject=fsync,fdatasync:error=EIO:when=20+";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"];
    a_store_that_fails(Server::with().says(0).through(strace.into_iter().chain(["-e", injected])));
}

/// A call on a server whose store fails in the middle of it, and goes on with the next one.
fn a_store_that_fails(server: ServerSetup) {
    let mut server = server.start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let text = "x".repeat(10_000);
    let mut asked = Vec::new();
    let said = loop {
        assert!(asked.len() < 1000, "nothing fails");
        let say = caller.next_say(&format!("{} {text}", asked.len()));
        asked.push(say.clone());
        if caller.try_send_raw(&Peer::frame(&say)).is_err() {
            caller.expect_over();
            break caller.heard().len();
        }
        let before = caller.heard().len();
        let over = loop {
            match caller.next_within(Duration::from_secs(30)) {
                Got::Message(_, Message::Said(_)) => break false,
                Got::Message(_, Message::Error(error)) => panic!("nobody knows: {error:?}"),
                Got::Message(..) => {}
                Got::Nothing => panic!("neither said nor over: {}", caller.seen()),
                Got::End | Got::Broken(_) => break true,
            }
        };
        if over {
            break before;
        }
    };
    println!("{said} lines were said");
    let finished = server.wait();
    assert_eq!(finished.code, 74, "{}", finished.stderr);
    assert!(finished.stderr.contains("the store failed"), "{}", finished.stderr);
    assert!(said > 5);
    for peer in [&mut caller, &mut operator] {
        peer.expect_over();
    }

    let call = caller.call().to_hex();
    let kept = server.transcript(&call);
    let kept: Vec<&str> = kept.iter().filter_map(|entry| entry["body"]["text"].as_str()).collect();
    for peer in [&caller, &operator] {
        let heard = peer.heard();
        assert!(kept.len() >= heard.len(), "{} kept, {} heard", kept.len(), heard.len());
        assert_eq!(heard, kept[..heard.len()]);
    }
    assert!(kept.len() <= said + 1, "at most the line under way is kept without having been told");

    // The next one is started by whoever watches over it, on a disk that works.
    let server = server.again().through([""; 0]).start();
    let next = usize::try_from(caller.come_back().calls[0].next_nonce.0).unwrap();
    assert!(next == said + 1 || next == said + 2, "{next}, {said} said");
    caller.say_again(&asked);
    operator.come_back();
    Peer::chat(&mut caller, &mut operator, "it works again");
    assert_eq!(caller.entries(), operator.entries());
    let wanted: Vec<&str> = asked
        .iter()
        .map(|say| match say {
            Message::Say(say) => say.text.as_str(),
            other => panic!("{other:?}"),
        })
        .chain(["it works again?", "it works again!"])
        .collect();
    assert_eq!(caller.heard(), wanted, "what was under way is said once");
    let kept = server.transcript(&call);
    for (at, entry) in kept.iter().enumerate() {
        assert_eq!(entry["body"]["seq"], at + 1, "numbers are dense");
    }
}

/// Shells disagree about the unit of `ulimit -f`: dash counts 512 bytes, bash 1,024.
fn limits_are_in_kib() -> bool {
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        r#"trap "" XFSZ; ulimit -f 1; printf "%01000d" 0 > "$HOME/x" 2>&-; wc -c < "$HOME/x""#,
    ]);
    let home = helpline_tests::Home::new();
    let size = helpline_tests::Process::start(command, &home).wait().stdout;
    size.trim() == "1000"
}

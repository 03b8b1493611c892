//! What the stories told on terminals begin with.

use std::{net::SocketAddr, ops::Deref, time::Duration};

use helpline_tests::{Client, ClientSetup, Peer, Screen, Server, ServerSetup, accounts};

/// A server whose operator, `wei`, answers at its console.
pub(crate) struct Console {
    screen: Screen,
    pub(crate) address: SocketAddr,
}

impl Console {
    /// Starts one, on a terminal of 30 rows of 100 columns.
    pub(crate) fn start() -> Self {
        Self::with(Server::with())
    }

    /// Starts one as told.
    pub(crate) fn with(setup: ServerSetup) -> Self {
        Self::on(Screen::server(setup).size(30, 100).start())
    }

    /// One that has been started.
    pub(crate) fn on(screen: Screen) -> Self {
        let console = Self::without_a_prompt(screen);
        stands(&console, "you:", "there is a prompt");
        console
    }

    /// One on a terminal that can't edit lines.
    pub(crate) fn without_a_prompt(screen: Screen) -> Self {
        screen.wait_for("callers are connected one after another", "the console is signed on");
        let address = screen.wait_until("where it listens", |seen| {
            seen.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        });
        accounts::serve(address, &screen.home().data());
        Self { screen, address }
    }

    /// A caller on a wire, in a call with this console.
    pub(crate) fn talking_with(&self, name: &str) -> Peer {
        let mut caller = Peer::caller(self.address, name);
        caller.expect_connected();
        answered(&self.screen, name);
        caller
    }
}

impl Deref for Console {
    type Target = Screen;

    fn deref(&self) -> &Screen {
        &self.screen
    }
}

/// `helpline call` on a terminal of 24 rows of 80 columns.
pub(crate) fn calls(address: SocketAddr, name: &str) -> Screen {
    on_a_terminal(Client::call(address).name(name))
}

/// `helpline desk` on a terminal of 24 rows of 80 columns.
pub(crate) fn desk(address: SocketAddr, name: &str) -> Screen {
    let screen = on_a_terminal(Client::desk(address).name(name));
    screen.wait_for("/next answers a caller", "the desk is signed on");
    screen
}

pub(crate) fn on_a_terminal(setup: ClientSetup) -> Screen {
    Screen::client(&setup).start()
}

/// A caller on a terminal, in a call with an operator on a wire.
pub(crate) fn caller_and_peer(server: &Server, name: &str) -> (Screen, Peer) {
    let mut operator = Peer::operator(server.address(), "Wei");
    let caller = calls(server.address(), name);
    operator.expect_connected();
    answered(&caller, "Wei");
    (caller, operator)
}

/// Waits until a call is answered, and there is a prompt to type at.
pub(crate) fn answered(screen: &Screen, other: &str) {
    let told = format!("-- on the line with {other}\n");
    screen.wait_until("the call is answered, and there is a prompt", |seen| {
        (seen.contains(&told) && seen.lines().last()?.starts_with("you:")).then_some(())
    });
}

/// Waits for what is promised within a second or less: ten times as long.
pub(crate) fn soon(screen: &Screen, text: &str, why: &str) {
    screen.wait_within(Duration::from_secs(10), &format!("{text:?}: {why}"), |seen| {
        seen.contains(text).then_some(())
    });
}

/// The lines that begin so, on the screen and above it.
pub(crate) fn lines_of(screen: &Screen, beginning: &str) -> Vec<String> {
    let text = screen.text();
    text.lines().filter(|line| line.starts_with(beginning)).map(ToOwned::to_owned).collect()
}

/// Waits until the draft, which is the last line, is this.
pub(crate) fn stands(screen: &Screen, draft: &str, why: &str) {
    screen.wait_until(&format!("{draft:?} at the bottom: {why}"), |seen| {
        (seen.lines().last() == Some(draft)).then_some(())
    });
}

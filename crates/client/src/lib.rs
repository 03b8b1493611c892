//! A client of Helpline: call a line, or answer callers, from any program.
//!
//! A [`Link`] is a connection with everything the protocol asks of a client: the handshake, numbered
//! lines that can't be lost or doubled unnoticed, the keepalive. It gives [`Event`]s and takes
//! requests.
//!
//! ```no_run
//! use helpline_client::{Address, Event, Link, Security, Trust};
//! use helpline_client::proto::{message::{Message, Ref}, text::{Name, Text}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let address: Address = "helpline://127.0.0.1/main".parse()?;
//! let security = Security::Tls(Trust::FirstContact);
//! let mut link = Link::call(&address, Name::new("Ada")?, &security).await?;
//! while let Some(event) = link.next().await {
//!     match event {
//!         Event::Told(_, Message::Connected(connected)) => {
//!             link.say(connected.call, Text::new("hello")?, Ref::NONE)?;
//!         }
//!         Event::Told(_, Message::Said(said)) => println!("{}: {:?}", said.name, said.text),
//!         Event::Told(_, Message::Ended(ended)) => {
//!             link.shown(ended.call, ended.seq);
//!             break;
//!         }
//!         Event::Over(lost) => return Err(lost.into()),
//!         _ => {}
//!     }
//! }
//! link.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Whom to trust is for you to decide ([`Security`]): this library keeps no list of servers and reads no settings.
//! A program that calls the same server again should keep whom it has [`met`](Stream::met), and expect the same
//! [`Trust::Key`] or [`Trust::PublicRoots`] the next time.
//!
//! What others say may hold anything, escape sequences for a terminal too: clean it before it is shown.
//!
//! Beside that, the command line `helpline` ([`cli`]) and the operator's screen that a server shows as
//! its console ([`console`]) are here.

#![warn(missing_docs)]

pub use helpline_proto as proto;
pub use helpline_proto::{
    address::{Address, AddressError, Fingerprint, PORT},
    session::{ClientEvent as Event, Lost, NotOpen, Opening},
};

pub use self::{
    dial::{DialError, Dialler, PATIENCE},
    link::{Link, NoStream, ticket},
    stream::Stream,
    trust::{Met, Security, Trust},
};

mod begin;
pub mod cli;
pub mod console;
mod dial;
mod json;
pub mod kept;
mod known;
mod link;
mod own;
mod secret;
mod stream;
mod tokens;
mod trust;
mod ui;

//! Peers that attack the program as it is given away, in plaintext and under TLS, while one call goes on that must
//! not suffer and others dial in who must get in.
//!
//! - `siege`: the line, the call that goes on, and those who dial in, whatever the attack
//! - `wire`: a connection that does what no client does · `noise`: frames that are none
//! - `frames`: malformed frames, broken handshakes, lengths that lie. `HELPLINE_FRAMES` says how many.
//! - `silence`: connections that say nothing, or not enough, and an operator who never reads
//! - `floods`: more of what is allowed than anybody needs. `HELPLINE_FLOOD_SECONDS` and `HELPLINE_LEAVERS` say how
//!   much.
//! - `famine`: no descriptors, and a system that accepts nobody

#![cfg(test)]

mod famine;
mod floods;
mod frames;
mod noise;
mod siege;
mod silence;
mod wire;

//! Said means synced: whatever ends the server or a client, everything that anybody was told is kept, and
//! everybody goes on where they were.
//!
//! - `kills`: the server is killed with -9 while everybody talks, again and again on one data
//!   directory. `HELPLINE_ROUNDS` says how often.
//! - `clients`: the programs of callers and operators are killed with -9, and started again.
//!   `HELPLINE_CLIENT_KILLS` says how often.
//! - `cuts`: one run of the release program is recorded, system call by system call, and the power is cut at
//!   many instants of it; everybody comes back to what is left. `HELPLINE_CUTS` says how often.
//!
//! Each prints a seed to be given back in `HELPLINE_SEED`, and when it fails how to do the same again. How
//! threads and processes take turns isn't in it: the same seed gives the same talk and the same moments, not the
//! same run. A recording whose cuts found something is kept, and given back in `HELPLINE_TRACE` it
//! finds the same again.
//!
//! # What is on a disk after a power cut
//!
//! | asked of the disk | before it is synced | it is synced by |
//! |---|---|---|
//! | bytes written | any of the sectors of 512 bytes, in any order, or whole writes, or all up to one | `fsync` of the file |
//! | a size that grows | any, with zeros where nothing was written | the same |
//! | a file cut shorter | done or not, among the writes in order | the same |
//! | a file made or deleted | the first few such changes, in order, as in a journal | `fsync` of the directory, never of the file |
//!
//! A sync counts from its end, everything else from its beginning, a frame told from the beginning of
//! the write that completes it. A sector that is partly written keeps its other bytes: SQLite
//! relies on that (`SQLITE_POWERSAFE_OVERWRITE`). The `-shm` file is in memory only. The data directory
//! itself is taken to be there. Not modelled: a disk that lies about a sync, but to see that it
//! is found out; a sync that fails; bytes that rot.

#![cfg(test)]

mod clients;
mod cuts;
mod disk;
mod kills;
mod record;
mod resume;
mod told;

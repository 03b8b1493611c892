//! How long the disk takes to have something for good.

use std::{
    fs::File,
    io::{self, Write as _},
    time::Instant,
};

use tempfile::TempDir;

use crate::{rivals::Place, summary::median};

/// As many are tried.
const TRIES: usize = 200;

/// Bytes of each: a page of a file.
const PAGE: usize = 4096;

/// The median time, in milliseconds, of appending a page to a file and syncing that.
pub(crate) fn page(place: &Place) -> io::Result<f64> {
    let files = TempDir::new_in(&place.scratch)?;
    let mut file = File::create(files.path().join("pages"))?;
    let mut took = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let begun = Instant::now();
        file.write_all(&[0; PAGE])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    median(took).ok_or_else(|| io::Error::other("nothing was synced"))
}

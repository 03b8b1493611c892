//! A store in memory, for tests of the core that stand between its deciding and its telling.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use helpline_proto::ids::{CallId, Seq};
use helpline_switchboard::Entry;

use super::{Store, StoreError, Write, weight};

/// Everything committed, shared with the test that looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStore {
    pub(crate) commits: Arc<Mutex<Vec<Vec<Write>>>>,
    entries: HashMap<CallId, Vec<Entry>>,
    pub(crate) fails: bool,
}

impl Store for MemoryStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.fails {
            return Err(StoreError::Nonsense("told to fail"));
        }
        if writes.is_empty() {
            return Ok(());
        }
        for write in writes {
            if let Write::Entry(call, entry) = write {
                self.entries.entry(*call).or_default().push(entry.clone());
            }
        }
        self.commits.lock().unwrap().push(writes.to_vec());
        Ok(())
    }

    fn page(&mut self, call: CallId, after: Seq, bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = self.entries.get(&call).into_iter().flatten();
        let mut size = 0;
        let page = entries.filter(|entry| entry.seq > after).take_while(|entry| {
            let wanted = size < bytes;
            size += weight(entry);
            wanted
        });
        Ok(page.cloned().collect())
    }
}

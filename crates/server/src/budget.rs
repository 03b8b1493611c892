//! The bytes that wait for all peers together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that may wait for all peers together, by default: a thousand peers that take nothing.
pub const MEMORY: usize = 256 * 1024 * 1024;

/// How many bytes may wait for all peers together, and how many do.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    waiting: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl Budget {
    /// Of so many bytes.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self { most, waiting: AtomicUsize::new(0) }
    }

    /// Whether there is room for so many more.
    #[must_use]
    pub fn has_room_for(&self, size: usize) -> bool {
        self.waiting().saturating_add(size) <= self.most
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, size: usize) {
        self.waiting.fetch_add(size, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, size: usize) {
        self.waiting.fetch_sub(size, Ordering::Relaxed);
    }
}

/// What one connection holds beside its outbox, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    size: usize,
}

impl Held {
    pub(crate) fn nothing(budget: Arc<Budget>) -> Self {
        Self { budget, size: 0 }
    }

    /// It holds so much now.
    pub(crate) fn set(&mut self, size: usize) {
        if size > self.size {
            self.budget.add(size - self.size);
        } else if size < self.size {
            self.budget.remove(self.size - size);
        }
        self.size = size;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let budget = Arc::new(Budget::of(100));
        let mut held = Held::nothing(Arc::clone(&budget));
        held.set(60);
        assert!(budget.has_room_for(40) && !budget.has_room_for(41));
        held.set(10);
        assert!(budget.has_room_for(90));
        drop(held);
        assert!(budget.has_room_for(100) && !budget.has_room_for(101));
        assert!(Budget::default().has_room_for(usize::MAX));
    }
}

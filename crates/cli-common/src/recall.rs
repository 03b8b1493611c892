//! What was entered before, to be had back with the arrow keys.

use std::collections::VecDeque;

/// How many lines are kept; in memory only, as what people say here is nobody else's business.
const KEPT: usize = 200;

/// The lines entered so far, and which of them is shown in place of the draft.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    entered: VecDeque<String>,
    /// How far back the shown line is: 1 for the youngest, 0 for the draft itself.
    back: usize,
    /// What was being typed before looking back.
    draft: String,
}

impl Recall {
    /// Remembers a line that was entered. Empty ones and repetitions are not worth it.
    pub(crate) fn entered(&mut self, line: &str) {
        self.back = 0;
        if line.is_empty() || self.entered.back().is_some_and(|last| last == line) {
            return;
        }
        if self.entered.len() == KEPT {
            self.entered.pop_front();
        }
        self.entered.push_back(line.to_owned());
    }

    /// The line before the one shown, if there is one. `shown` is kept if it is the draft.
    pub(crate) fn older(&mut self, shown: &str) -> Option<String> {
        let older = self.at(self.back + 1)?.to_owned();
        if self.back == 0 {
            shown.clone_into(&mut self.draft);
        }
        self.back += 1;
        Some(older)
    }

    /// The line after the one shown, in the end the draft; nothing if the draft is shown.
    pub(crate) fn newer(&mut self) -> Option<String> {
        self.back = self.back.checked_sub(1)?;
        match self.back {
            0 => Some(std::mem::take(&mut self.draft)),
            back => self.at(back).map(str::to_owned),
        }
    }

    fn at(&self, back: usize) -> Option<&str> {
        let index = self.entered.len().checked_sub(back)?;
        self.entered.get(index).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recall(lines: &[&str]) -> Recall {
        let mut recall = Recall::default();
        for line in lines {
            recall.entered(line);
        }
        recall
    }

    #[test]
    fn the_draft_comes_back_after_looking_back() {
        let mut recall = recall(&["one", "two"]);
        assert_eq!(recall.newer(), None);
        assert_eq!(recall.older("dra").as_deref(), Some("two"));
        assert_eq!(recall.older("two").as_deref(), Some("one"));
        assert_eq!(recall.older("one"), None);
        assert_eq!(recall.newer().as_deref(), Some("two"));
        assert_eq!(recall.newer().as_deref(), Some("dra"));
        assert_eq!(recall.newer(), None);
    }

    #[test]
    fn entering_a_line_starts_from_the_youngest_again() {
        let mut recall = recall(&["one", "two"]);
        recall.older("");
        recall.older("two");
        recall.entered("three");
        assert_eq!(recall.older("").as_deref(), Some("three"));
    }

    #[test]
    fn empty_lines_and_repetitions_are_not_kept_and_the_rest_is_bounded() {
        let mut recall = recall(&["same", "same", ""]);
        assert_eq!(recall.older("").as_deref(), Some("same"));
        assert_eq!(recall.older("same"), None);
        for n in 0..2 * KEPT {
            recall.entered(&n.to_string());
        }
        assert_eq!(recall.entered.len(), KEPT);
    }
}

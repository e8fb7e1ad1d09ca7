//! Lanes: runs of one rule with the same key go one after another, different lanes in parallel.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::domain::{Mode, RunId};

/// A lane's name within a shop: the rule's id, the mode of its runs (a shadow does not stand in the way of the live
/// version), and the key.
pub(super) type LaneName = (Arc<str>, Mode, Arc<str>);

#[derive(Debug, Default)]
struct Lane {
    holder: Option<RunId>,
    queue: VecDeque<RunId>,
}

/// The lanes of one shop that somebody holds or wants.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneName, Lane>,
}

impl Lanes {
    /// `run` wants the lane; `true` where it holds it now.
    pub(super) fn enter(&mut self, name: &LaneName, run: RunId) -> bool {
        let lane = self.lanes.entry(name.clone()).or_default();
        match lane.holder {
            None => lane.holder = Some(run),
            Some(holder) if holder == run => {}
            Some(_) if lane.queue.contains(&run) => return false,
            Some(_) => {
                lane.queue.push_back(run);
                return false;
            }
        }
        true
    }

    /// `run` leaves the lane, or the queue for it. Returns who holds it from now on, where that changed.
    pub(super) fn leave(&mut self, name: &LaneName, run: RunId) -> Option<RunId> {
        let lane = self.lanes.get_mut(name)?;
        if lane.holder != Some(run) {
            lane.queue.retain(|&other| other != run);
            return None;
        }
        lane.holder = lane.queue.pop_front();
        let next = lane.holder;
        if next.is_none() {
            self.lanes.remove(name);
        }
        next
    }

    /// Those who hold or want the lane.
    pub(super) fn all_in(&self, name: &LaneName) -> Vec<RunId> {
        self.lanes.get(name).map_or_else(Vec::new, |lane| lane.holder.iter().chain(&lane.queue).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// One holder at a time, and nobody who entered is forgotten or overtaken.
        #[test]
        fn one_after_another(moves in proptest::collection::vec((0_i64..6, proptest::bool::ANY), 0..60)) {
            let name: LaneName = ("rule".into(), Mode::Live, "key".into());
            let mut lanes = Lanes::default();
            let mut order: Vec<RunId> = Vec::new();
            for (run, enter) in moves {
                let run = RunId(run);
                if enter {
                    let held = lanes.enter(&name, run);
                    if !order.contains(&run) {
                        order.push(run);
                    }
                    prop_assert_eq!(held, order[0] == run);
                } else {
                    let was_first = order.first() == Some(&run);
                    order.retain(|&other| other != run);
                    let next = lanes.leave(&name, run);
                    prop_assert_eq!(next, if was_first { order.first().copied() } else { None });
                }
                prop_assert_eq!(lanes.all_in(&name), order.clone());
                }
        }
    }
}

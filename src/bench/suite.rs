//! The suite: the comparisons that the manual has figures of, one after the other.

use super::options::{Options, Workload};

/// One comparison of the suite. What the options say counts first.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuiteRow {
    workload: Workload,
    rooms: Option<usize>,
    members: Option<usize>,
    /// Messages in flight in each room.
    window: Option<usize>,
    /// Messages a second, in all.
    rate: Option<u64>,
    connections: Option<usize>,
}

impl SuiteRow {
    /// A workload with its own defaults.
    const fn of(workload: Workload) -> Self {
        let (rooms, members, window, rate, connections) = (None, None, None, None, None);
        Self { workload, rooms, members, window, rate, connections }
    }

    /// Members who talk in rooms.
    const fn talk(workload: Workload, rooms: usize, members: usize) -> Self {
        Self { rooms: Some(rooms), members: Some(members), ..Self::of(workload) }
    }

    /// So many connections, pairs or sessions.
    const fn among(workload: Workload, connections: usize) -> Self {
        Self { connections: Some(connections), ..Self::of(workload) }
    }

    /// The options of a run of this comparison.
    pub(super) fn options(&self, asked: &Options) -> Options {
        Options {
            workload: self.workload,
            rooms: asked.rooms.or(self.rooms),
            members: asked.members.or(self.members),
            window: asked.window.or(self.window),
            rate: asked.rate.or(self.rate),
            connections: asked.connections.or(self.connections),
            ..asked.clone()
        }
    }
}

/// All of them, in their order.
pub(super) const SUITE: [SuiteRow; 12] = [
    SuiteRow::talk(Workload::Fanout, 10, 10),
    SuiteRow::talk(Workload::Fanout, 1, 100),
    SuiteRow::talk(Workload::Fanout, 1, 1_000),
    SuiteRow::talk(Workload::Fanout, 1, 5_000),
    SuiteRow::talk(Workload::Fanout, 100, 100),
    SuiteRow { window: Some(1), ..SuiteRow::talk(Workload::Fanout, 1, 100) },
    SuiteRow { rate: Some(1_000), ..SuiteRow::talk(Workload::Rate, 1, 100) },
    SuiteRow::among(Workload::Private, 100),
    SuiteRow::among(Workload::Private, 1_000),
    SuiteRow::among(Workload::Ping, 1),
    SuiteRow::among(Workload::Ping, 100),
    SuiteRow::of(Workload::Churn),
];

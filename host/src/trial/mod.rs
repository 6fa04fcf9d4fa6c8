//! Trials: a plugin over events without a host, without an effect on anything, and with the same
//! outcome at every run.
//!
//! `run` takes events through the very stages of the pipeline and the very border check of the
//! reactions; `story` is what became of them, `difference` what changed in their JSON, `snapshot`
//! the same as a file to compare with. `bench` measures a plugin beside an empty one (`empty.wat`),
//! over events that somebody has or that `sample` makes up.
//!
//! Knows `event`, `plugin`, `store::state`, and of `pipeline` and `reaction` what decides. May not
//! know who sends, who commits, or who asked for the trial.

mod bench;
mod difference;
mod run;
mod sample;
mod snapshot;
mod story;

pub use bench::{Bench, BenchError, Figure, Unit};
pub use difference::Difference;
pub use run::{Placed, Told, Trial, TrialError, id_of_line};
pub use snapshot::{Snapshot, SnapshotError};
pub use story::{Commanded, Cost, Emitted, Story, Totals};

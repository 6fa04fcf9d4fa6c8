//! Trials: a plugin over events without a host, without an effect on anything, and with the same
//! outcome at every run.
//!
//! `run` takes events through the very stages of the pipeline and the very border check of the
//! reactions; `story` is what became of them, `difference` what changed in their JSON, `snapshot`
//! the same as a file to compare with. `bench` measures a plugin beside an empty one (`empty.wat`),
//! over events that somebody has or that `sample` makes up.
//!
//! `backtest` takes events out of a log instead, and compares what a candidate makes of them with what
//! the log says became of them: `case` is one of them on its way, `restore` what it was when it was
//! sent, `answers` what the log's reactions emitted, `deviation` where the two part. `react` is a
//! reaction as a host runs it.
//!
//! Knows `event`, `plugin`, `store::history` and `store::state`, and of `pipeline` and `reaction` what
//! decides. May not know who sends, who commits, or who asked for the trial.

mod answers;
mod backtest;
mod bench;
mod case;
mod deviation;
mod difference;
mod react;
mod restore;
mod run;
mod sample;
mod snapshot;
mod story;

pub use backtest::{Backtest, BacktestError, Terms};
pub use bench::{Bench, BenchError, Figure, Unit};
pub use deviation::{AnswerDeviation, Deviation, Effects, Sides, Tally, Way, Ways};
pub use difference::Difference;
pub use run::{Placed, Told, Trial, TrialError, id_of_line};
pub use snapshot::{Snapshot, SnapshotError};
pub use story::{Commanded, Cost, Emitted, Story, Totals};

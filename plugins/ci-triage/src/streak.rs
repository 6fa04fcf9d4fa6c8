use ennio_plugin::kv::{Error, RecentMap};
use serde::{Deserialize, Serialize};

/// What the streaks may take of the plugin's state: room for 40,000 branches with names of usual
/// length. When there are more with failures, those whose last failure is longest ago begin anew.
const BYTES: usize = 4 << 20;

/// The failures in a row of each branch of each project.
pub(crate) struct Streaks(RecentMap<Streak>);

#[derive(Default, Serialize, Deserialize)]
struct Streak {
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_run: Option<String>,
}

impl Streaks {
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Streaks(RecentMap::open("streak", BYTES)?))
    }

    /// Counts a failure and returns how many in a row it makes. A run with several failed jobs
    /// sends an event for each: they count once. An event that names no run counts for itself.
    pub(crate) fn failed(
        &self,
        project: &str,
        branch: &str,
        run: Option<String>,
    ) -> Result<u32, Error> {
        self.0.update(&key(project, branch), |streak| {
            let streak = streak.get_or_insert_default();
            if run.is_none() || run != streak.last_run {
                streak.failures = streak.failures.saturating_add(1);
                streak.last_run = run;
            }
            streak.failures
        })
    }

    /// Ends the streak.
    pub(crate) fn passed(&self, project: &str, branch: &str) -> Result<(), Error> {
        self.0.update(&key(project, branch), |streak| *streak = None)
    }
}

/// A project has no blanks in its name.
fn key(project: &str, branch: &str) -> String {
    format!("{project} {branch}")
}

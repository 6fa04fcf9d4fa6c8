use ennio_plugin::RecentMap;

/// The most branches that are remembered, a few MiB. When there are more with failures, the one
/// whose last failure is longest ago begins anew.
const BRANCHES: usize = 10_000;

/// The failures in a row of each branch of each project.
pub(crate) struct Streaks {
    branches: RecentMap<(String, String), Streak>,
}

#[derive(Default)]
struct Streak {
    failures: u32,
    last_run: Option<String>,
}

impl Streaks {
    pub(crate) fn new() -> Self {
        Streaks { branches: RecentMap::new(BRANCHES) }
    }

    /// Counts a failure and returns how many in a row it makes. A run with several failed jobs
    /// sends an event for each: they count once. An event that names no run counts for itself.
    pub(crate) fn failed(&mut self, project: &str, branch: &str, run: Option<String>) -> u32 {
        let key = (project.to_owned(), branch.to_owned());
        let streak = self.branches.get_or_insert_with(key, Streak::default);
        if run.is_none() || run != streak.last_run {
            streak.failures = streak.failures.saturating_add(1);
            streak.last_run = run;
        }
        streak.failures
    }

    /// Ends the streak.
    pub(crate) fn passed(&mut self, project: &str, branch: &str) {
        self.branches.remove(&(project.to_owned(), branch.to_owned()));
    }
}

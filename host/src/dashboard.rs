//! What a dashboard shows: changes that the host makes by itself, or on somebody's word, told in the
//! process as they happen. A leaf: whoever decides a change tells it, and `nats/` publishes it.
//!
//! A [`Board`] holds the last 256 changes for whoever is slow or away. Who is slower misses the oldest,
//! and is told how many. Nothing waits for a listener.

use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::event::{PluginName, Seq, Timestamp};

/// Changes that a listener may be behind.
const CAPACITY: usize = 256;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Change {
    /// A plugin that did not run now does.
    PluginLoaded(Version),
    /// Another version of a plugin, or another sidecar, took over.
    PluginReloaded(Version),
    /// What lies in the plugin folder cannot run; what ran before still does.
    PluginFailed {
        /// The stem of the file, which need not be a good name.
        plugin: String,
        /// Where loading stopped.
        step: String,
        /// The file, the step, why, and the way out.
        reason: String,
    },
    /// The version before took over again.
    PluginRolledBack {
        /// The version that runs now.
        #[serde(flatten)]
        version: Version,
        /// Which version was left, and why.
        reason: String,
    },
    /// A plugin keeps failing, and is left alone for a while.
    PluginQuarantined {
        /// The version that runs.
        #[serde(flatten)]
        version: Version,
        /// How long, in seconds.
        seconds: f64,
        /// Its last failure.
        reason: Option<String>,
    },
    /// It answers again, and takes part.
    PluginRecovered(Version),
    /// The plugin's file is gone.
    PluginUnloaded {
        /// The plugin.
        plugin: PluginName,
    },
    /// Somebody has taken a plugin out of the flow.
    PluginDisabled {
        /// The plugin.
        plugin: PluginName,
        /// Who.
        by: String,
    },
    /// Somebody has let it back in.
    PluginEnabled {
        /// The plugin.
        plugin: PluginName,
        /// Who.
        by: String,
    },
    /// A sink has fallen far behind the log.
    CursorLagging(Lag),
    /// It has caught up.
    CursorCaughtUp(Lag),
    /// So many changes were missed by who reads this.
    ChangesMissed {
        /// How many.
        count: u64,
    },
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The plugin.
    pub plugin: PluginName,
    /// The plugin's own version.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub hash: String,
}

/// How far a sink is behind the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// The sink.
    pub cursor: String,
    /// Its place.
    pub seq: Seq,
    /// The last place in the log.
    pub head: Seq,
}

impl Change {
    /// The name of what happened, the last token of its subject.
    pub fn action(&self) -> &'static str {
        match self {
            Self::PluginLoaded(_) => "plugin_loaded",
            Self::PluginReloaded(_) => "plugin_reloaded",
            Self::PluginFailed { .. } => "plugin_failed",
            Self::PluginRolledBack { .. } => "plugin_rolled_back",
            Self::PluginQuarantined { .. } => "plugin_quarantined",
            Self::PluginRecovered(_) => "plugin_recovered",
            Self::PluginUnloaded { .. } => "plugin_unloaded",
            Self::PluginDisabled { .. } => "plugin_disabled",
            Self::PluginEnabled { .. } => "plugin_enabled",
            Self::CursorLagging(_) => "cursor_lagging",
            Self::CursorCaughtUp(_) => "cursor_caught_up",
            Self::ChangesMissed { .. } => "changes_missed",
        }
    }
}

/// A change, and when it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

impl Notice {
    fn now(change: Change) -> Self {
        Self { at: Timestamp::now(), change }
    }
}

/// Where changes are told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board(broadcast::Sender<Notice>);

impl Default for Board {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Board {
    /// Tells a change to whoever listens.
    pub fn tell(&self, change: Change) {
        // An error only says that nobody does.
        let _ = self.0.send(Notice::now(change));
    }

    /// Every change from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears changes in the order in which they were told.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Notice>);

impl Listener {
    /// The next change; `None` when there will be no more. Nothing is lost when the future is dropped
    /// before it is ready.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(count)) => Some(Notice::now(Change::ChangesMissed { count })),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next change, if one was told already.
    pub fn told(&mut self) -> Option<Notice> {
        match self.0.try_recv() {
            Ok(notice) => Some(notice),
            Err(TryRecvError::Lagged(count)) => Some(Notice::now(Change::ChangesMissed { count })),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lag(seq: Seq) -> Change {
        Change::CursorLagging(Lag { cursor: "nats".into(), seq, head: 20_000 })
    }

    #[test]
    fn a_change_says_its_action_beside_what_it_is_about() {
        let version =
            Version { plugin: "tag".parse().unwrap(), version: "2.0.0".into(), hash: "ab".into() };
        let reason = "it trapped".to_owned();
        let changes = [
            lag(7),
            Change::PluginLoaded(version.clone()),
            Change::PluginRolledBack { version: version.clone(), reason: reason.clone() },
            Change::PluginQuarantined { version, seconds: 1.0, reason: Some(reason) },
            Change::ChangesMissed { count: 3 },
        ];
        for change in changes {
            let shown = serde_json::to_value(Notice::now(change.clone())).unwrap();
            assert_eq!(shown["action"], change.action(), "{shown}");
            assert!(shown["at"].is_string());
        }
        let shown = serde_json::to_value(lag(7)).unwrap();
        let said = json!({"action": "cursor_lagging", "cursor": "nats", "seq": 7, "head": 20_000});
        assert_eq!(shown, said);
    }

    #[tokio::test]
    async fn who_is_slow_misses_the_oldest_and_is_told_how_many() {
        let board = Board::default();
        board.tell(lag(0));
        let mut listener = board.listen();
        (1..=CAPACITY as Seq + 3).for_each(|seq| board.tell(lag(seq)));
        let first = listener.next().await.unwrap();
        assert_eq!(first.change, Change::ChangesMissed { count: 3 });
        assert_eq!(listener.told().unwrap().change, lag(4));
        drop(board);
        let rest = std::iter::from_fn(|| listener.told()).count();
        assert_eq!(rest, CAPACITY - 1);
        assert_eq!(listener.next().await, None);
    }
}

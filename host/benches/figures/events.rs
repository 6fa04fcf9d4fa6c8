//! Events as a busy fleet sends them: 101 projects, 2,003 sessions, 30 types, some of each far more
//! often than others; about 420 bytes of JSON each.

use ennio::event::{Draft, EventPriority, EventType, LogEntry, ProjectId, SessionId, Timestamp};
use ennio::store::{NewEntry, Passage};

pub const PROJECTS: u64 = 101;
pub const SESSIONS: u64 = 2003;

/// The same sequence in each run.
pub struct Source {
    state: u64,
    number: u64,
    projects: Vec<ProjectId>,
    sessions: Vec<SessionId>,
    data_bytes: usize,
}

impl Source {
    pub fn new() -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            number: 0,
            projects: (0..PROJECTS).map(|n| format!("project-{n}").parse().unwrap()).collect(),
            sessions: (0..SESSIONS).map(|n| format!("session-{n:05}").parse().unwrap()).collect(),
            data_bytes: 0,
        }
    }

    /// With `data` of at least so many bytes.
    pub fn sized(data_bytes: usize) -> Self {
        Self { data_bytes, ..Self::new() }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Small numbers are far more frequent.
    fn skewed(&mut self, below: u64) -> u64 {
        let share = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        (share * share * share * below as f64) as u64
    }

    pub fn draft(&mut self) -> Draft {
        let session = self.skewed(SESSIONS);
        let project = (session * 31 % PROJECTS) as usize;
        let event_type = EventType::BUILT_IN[self.skewed(30) as usize].clone();
        let (project, session) =
            (self.projects[project].clone(), self.sessions[session as usize].clone());
        let mut draft = Draft::new(event_type, project, session);
        self.number += 1;
        let number = self.number;
        draft.id = Some(uuid::Uuid::now_v7().to_string().parse().unwrap());
        draft.timestamp = Some(Timestamp::now());
        draft.priority = Some(EventPriority::ALL[self.skewed(4) as usize]);
        draft.message = Some(
            format!("step {number} of the agent's work is done, all checks ran").parse().unwrap(),
        );
        let mut data = format!(
            r#"{{"n":{number},"branch":"feature/{:x}","commit":"{:016x}{:016x}","pr":{},"duration_ms":{}}}"#,
            self.random() % 4096,
            self.random(),
            self.random(),
            self.random() % 900,
            self.random() % 100_000
        );
        // An excerpt of a log, as a failing check sends it.
        if data.len() < self.data_bytes {
            const LINE: &str = "error[E0308]: mismatched types --> src/lib.rs ";
            let wanted = self.data_bytes - data.len() - 9;
            let log: String = LINE.chars().cycle().take(wanted).collect();
            data.truncate(data.len() - 1);
            data = format!(r#"{data},"log":"{log}"}}"#);
        }
        draft.data = Some(data.parse().unwrap());
        draft
    }

    pub fn drafts(&mut self, count: usize) -> Vec<Draft> {
        (0..count).map(|_| self.draft()).collect()
    }

    /// As the pipeline hands it to the store.
    pub fn entry(&mut self) -> NewEntry {
        let draft = self.draft();
        let digest = draft.digest();
        let event = draft.into_event(Timestamp::now());
        let subject = event.subject();
        NewEntry {
            event,
            subject,
            digest,
            caused_by: None,
            hops: 0,
            dropped: None,
            passage: Passage::default(),
        }
    }

    /// As a sender writes it.
    pub fn json(&mut self) -> String {
        let event = self.draft().into_event(Timestamp::now());
        serde_json::to_string(&event).unwrap()
    }
}

/// Fails unless these are all places from 1 on.
pub fn check_places<'a>(entries: impl Iterator<Item = &'a LogEntry>, count: u64) {
    let mut expected = 1;
    for entry in entries {
        assert_eq!(entry.seq, expected, "the order of the log");
        expected += 1;
    }
    assert_eq!(expected - 1, count, "events that came");
}

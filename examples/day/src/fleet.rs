//! The cast: projects with their characters, agents, and who starts which session when.
//!
//! No real people, companies or products: reviewers are handles, models are birds of no vendor.

use crate::clock::{self, Moment};
use crate::dice::{Dice, stream};
use crate::topics::{self, Topic};

/// A team's repository, and how life goes in it.
pub(crate) struct Project {
    pub(crate) name: &'static str,
    pub(crate) sessions: usize,
    /// Numbers of `billing` and `infra` overlap on purpose: a PR is known by project *and* number.
    pub(crate) first_pr: i64,
    pub(crate) first_session: usize,
    /// None: the forge's own check says when a PR may be merged.
    pub(crate) ci: Option<Ci>,
    /// Percent of first reviews that end in changes requested.
    pub(crate) strictness: i64,
    pub(crate) reviewers: &'static [&'static str],
    pub(crate) language: Language,
    pub(crate) topics: &'static [Topic],
}

/// A project's CI.
pub(crate) struct Ci {
    /// Percent of first runs that fail.
    pub(crate) failing: i64,
    /// Percent of runs after a fix that fail again.
    pub(crate) stubborn: i64,
    pub(crate) jobs: Jobs,
    /// Seconds that a run takes, from and to.
    pub(crate) takes: (i64, i64),
    /// Weights of timeout, out of memory, network, compile error, failing test, lint.
    pub(crate) ailments: [i64; 6],
}

/// The jobs of one run, by what breaks in them.
pub(crate) struct Jobs {
    pub(crate) build: &'static str,
    pub(crate) unit: &'static str,
    /// Tests with a browser, a device, a database: the ones that time out.
    pub(crate) slow: &'static str,
    pub(crate) lint: &'static str,
}

impl Jobs {
    pub(crate) const COUNT: usize = 4;
}

/// What its logs look like.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    Rust,
    TypeScript,
    Kotlin,
    Terraform,
    Prose,
}

pub(crate) static PROJECTS: [Project; 6] = [
    // Big, well tested, brisk.
    Project {
        name: "atlas-api",
        sessions: 26,
        first_pr: 1841,
        first_session: 412,
        ci: Some(Ci {
            failing: 44,
            stubborn: 49,
            jobs: Jobs {
                build: "build-release",
                unit: "unit",
                slow: "integration",
                lint: "clippy",
            },
            takes: (140, 520),
            ailments: [1, 1, 2, 3, 6, 3],
        }),
        strictness: 22,
        reviewers: &["kestrel", "marlow", "basalt"],
        language: Language::Rust,
        topics: &topics::ATLAS_API,
    },
    // Slow browser tests that time out.
    Project {
        name: "web-checkout",
        sessions: 24,
        first_pr: 912,
        first_session: 230,
        ci: Some(Ci {
            failing: 58,
            stubborn: 64,
            jobs: Jobs { build: "bundle", unit: "unit", slow: "e2e-chromium", lint: "eslint" },
            takes: (260, 900),
            ailments: [5, 2, 3, 2, 5, 2],
        }),
        strictness: 18,
        reviewers: &["juniper", "tamarind"],
        language: Language::TypeScript,
        topics: &topics::WEB_CHECKOUT,
    },
    // Money: few sessions, hard reviews.
    Project {
        name: "billing",
        sessions: 18,
        first_pr: 641,
        first_session: 88,
        ci: Some(Ci {
            failing: 40,
            stubborn: 54,
            jobs: Jobs {
                build: "build-release",
                unit: "unit",
                slow: "ledger-replay",
                lint: "clippy",
            },
            takes: (200, 640),
            ailments: [1, 2, 1, 2, 7, 1],
        }),
        strictness: 55,
        reviewers: &["orrery", "basalt", "quince"],
        language: Language::Rust,
        topics: &topics::BILLING,
    },
    // Networks and quotas: fails for reasons that no diff explains.
    Project {
        name: "infra",
        sessions: 15,
        first_pr: 655,
        first_session: 141,
        ci: Some(Ci {
            failing: 51,
            stubborn: 59,
            jobs: Jobs { build: "validate", unit: "policy", slow: "plan-staging", lint: "fmt" },
            takes: (60, 420),
            ailments: [3, 1, 7, 3, 1, 2],
        }),
        strictness: 30,
        reviewers: &["halyard", "sextant"],
        language: Language::Terraform,
        topics: &topics::INFRA,
    },
    // Builds that eat the runner's memory.
    Project {
        name: "mobile-app",
        sessions: 16,
        first_pr: 1207,
        first_session: 305,
        ci: Some(Ci {
            failing: 48,
            stubborn: 59,
            jobs: Jobs { build: "assemble", unit: "unit", slow: "instrumented", lint: "detekt" },
            takes: (420, 1300),
            ailments: [2, 5, 2, 3, 3, 2],
        }),
        strictness: 25,
        reviewers: &["pippin", "saffron"],
        language: Language::Kotlin,
        topics: &topics::MOBILE_APP,
    },
    // No CI at all.
    Project {
        name: "docs",
        sessions: 14,
        first_pr: 203,
        first_session: 61,
        ci: None,
        strictness: 20,
        reviewers: &["vellum", "juniper"],
        language: Language::Prose,
        topics: &topics::DOCS,
    },
];

/// An agent as configured: several sessions may run it at once.
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    /// None: the orchestrator's default.
    pub(crate) model: Option<&'static str>,
    /// How often it is chosen.
    weight: i64,
}

/// Talks while it thinks; see `Session::chatter`.
const CHATTY_AGENT: &str = "magpie";
/// After this many such sessions somebody has turned its reports down.
const CHATTY_SESSIONS: usize = 2;

static AGENTS: [Agent; 6] = [
    Agent { name: "heron", model: Some("quill-4"), weight: 6 },
    Agent { name: "otter", model: Some("quill-4"), weight: 5 },
    Agent { name: "lynx", model: Some("tern-2-large"), weight: 4 },
    Agent { name: "badger", model: None, weight: 3 },
    Agent { name: "finch", model: Some("quill-4-mini"), weight: 3 },
    Agent { name: CHATTY_AGENT, model: Some("tern-2"), weight: 3 },
];

/// What kind of work: the branch prefix, and the title around the topic.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) prefix: &'static str,
    verb: &'static str,
    suffix: &'static str,
}

const WORKS: [Work; 6] = [
    Work { prefix: "fix", verb: "Fix", suffix: "" },
    Work { prefix: "feat", verb: "Extend", suffix: "" },
    Work { prefix: "perf", verb: "Speed up", suffix: "" },
    Work { prefix: "refactor", verb: "Simplify", suffix: "" },
    Work { prefix: "test", verb: "Cover", suffix: " with tests" },
    Work { prefix: "chore", verb: "Tidy up", suffix: " after the July release" },
];

/// In a project of words nobody speeds anything up.
const WORKS_ON_PROSE: [Work; 3] = [
    Work { prefix: "docs", verb: "Rewrite", suffix: "" },
    Work { prefix: "fix", verb: "Correct", suffix: "" },
    Work { prefix: "feat", verb: "Illustrate", suffix: "" },
];

/// One session before it starts.
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) project: &'static Project,
    pub(crate) agent: &'static Agent,
    pub(crate) topic: Topic,
    pub(crate) branch: String,
    pub(crate) title: String,
    pub(crate) start: Moment,
    pub(crate) chatty: bool,
}

/// All sessions of the day, by start.
pub(crate) fn roster(seed: u64) -> Vec<Plan> {
    let mut dice = Dice::new(seed, stream::ROSTER);
    let mut plans = Vec::new();
    for project in &PROJECTS {
        let mut starts: Vec<_> =
            (0..project.sessions).map(|_| clock::start_of_work(&mut dice)).collect();
        starts.sort();
        let works: &[Work] = match project.language {
            Language::Prose => &WORKS_ON_PROSE,
            _ => &WORKS,
        };
        // Every (topic, work) at most once a day, so that a branch belongs to one session.
        let mut tasks: Vec<_> = project
            .topics
            .iter()
            .flat_map(|topic| works.iter().map(move |work| (*topic, *work)))
            .collect();
        for (number, start) in starts.into_iter().enumerate() {
            if tasks.is_empty() {
                break;
            }
            let (topic, work) = tasks.swap_remove(dice.index(tasks.len()));
            let chosen = dice.weighted(AGENTS.iter().map(|agent| agent.weight));
            let Some(agent) = AGENTS.get(chosen) else {
                break;
            };
            plans.push(Plan {
                id: format!("{}-{}", project.name, project.first_session + number),
                project,
                agent,
                topic,
                branch: format!("{}/{}", work.prefix, topic.slug),
                title: format!("{} {}{}", work.verb, topic.phrase, work.suffix),
                start,
                chatty: false,
            });
        }
    }
    plans.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
    plans
        .iter_mut()
        .filter(|plan| plan.agent.name == CHATTY_AGENT && plan.start.in_office_hours())
        .take(CHATTY_SESSIONS)
        .for_each(|plan| plan.chatty = true);
    plans
}

//! How a failed CI job ends: the last lines of its log, and the reason in a few words.
//!
//! The classes are those that a triage plugin should tell apart from the text alone, so no tail
//! names its class.

use crate::dice::Dice;
use crate::fleet::{Jobs, Language};
use crate::topics::Topic;

/// Why a job failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ailment {
    Timeout,
    OutOfMemory,
    Network,
    Compile,
    Test,
    Lint,
}

impl Ailment {
    const ALL: [Self; 6] =
        [Self::Timeout, Self::OutOfMemory, Self::Network, Self::Compile, Self::Test, Self::Lint];

    /// One by these weights, which stand in the order of `ALL`.
    pub(crate) fn some(dice: &mut Dice, weights: &[i64; 6]) -> Self {
        let chosen = dice.weighted(weights.iter().copied());
        Self::ALL.get(chosen).copied().unwrap_or(Self::Test)
    }

    /// The job in which this shows.
    pub(crate) fn job(self, jobs: &Jobs, dice: &mut Dice) -> &'static str {
        match self {
            Self::Timeout => jobs.slow,
            Self::OutOfMemory | Self::Compile => jobs.build,
            Self::Network => dice.word(&[jobs.build, jobs.unit, jobs.slow, jobs.lint]),
            Self::Test => dice.word(&[jobs.unit, jobs.slow]),
            Self::Lint => jobs.lint,
        }
    }
}

pub(crate) struct Tail {
    pub(crate) log: String,
    pub(crate) reason: String,
}

pub(crate) fn tail(ailment: Ailment, language: Language, topic: Topic, dice: &mut Dice) -> Tail {
    match ailment {
        Ailment::Timeout => timeout(topic, dice),
        Ailment::OutOfMemory => out_of_memory(language, dice),
        Ailment::Network => network(dice),
        Ailment::Compile => compile(language, topic, dice),
        Ailment::Test => test(language, topic, dice),
        Ailment::Lint => lint(language, topic, dice),
    }
}

fn timeout(topic: Topic, dice: &mut Dice) -> Tail {
    let minutes = dice.word(&["15", "20", "30"]);
    Tail {
        log: format!(
            "still running: {} ({minutes}m 00s)\nError: the operation was canceled.\n\
             The job has exceeded the maximum execution time of {minutes}m0s\nexit code 124",
            topic.test
        ),
        reason: format!("timed out after {minutes} minutes"),
    }
}

fn out_of_memory(language: Language, dice: &mut Dice) -> Tail {
    let pid = dice.between(1_200, 32_000);
    let mb = dice.between(7_100, 15_900);
    let log = match language {
        Language::TypeScript => format!(
            "<--- Last few GCs --->\n[{pid}] Mark-Compact {mb}.2 ({mb}.9) MB, 1811 ms\n\
             FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n\
             Aborted (core dumped), exit code 134"
        ),
        Language::Kotlin => format!(
            "> Task :app:mergeDexRelease FAILED\njava.lang.OutOfMemoryError: Java heap space\n\
             The Gradle daemon (pid {pid}) disappeared unexpectedly\nexit code 1"
        ),
        Language::Terraform => format!(
            "Out of memory: Killed process {pid} (terraform) total-vm:{mb}000kB\n\
             /build/plan.sh: line 41: {pid} Killed\nexit code 137"
        ),
        _ => format!(
            "Out of memory: Killed process {pid} (ld) total-vm:{mb}000kB\n\
             collect2: fatal error: ld terminated with signal 9 [Killed]\nexit code 137"
        ),
    };
    Tail { log, reason: "the runner ran out of memory".to_owned() }
}

fn network(dice: &mut Dice) -> Tail {
    let host =
        dice.word(&["packages.build.example", "mirror.build.example", "state.infra.example"]);
    let (error, reason) = match dice.index(3) {
        0 => (
            format!("curl: (56) Recv failure: Connection reset by peer ({host}:443)"),
            "connection reset by peer",
        ),
        1 => (
            format!("dial tcp: lookup {host}: temporary failure in name resolution"),
            "name resolution failed",
        ),
        _ => (
            format!("error: read tcp 10.20.3.7:51122->{host}:443: connection reset by peer"),
            "connection reset by peer",
        ),
    };
    let percent = dice.between(8, 93);
    Tail {
        log: format!(
            "fetching dependencies from {host} … {percent} %\n{error}\n\
             warning: spurious network error (0 tries left)\nexit code 56"
        ),
        reason: format!("{reason} ({host})"),
    }
}

fn compile(language: Language, topic: Topic, dice: &mut Dice) -> Tail {
    let line = dice.between(12, 380);
    let file = topic.file;
    let log = match language {
        Language::TypeScript => format!(
            "{file}({line},17): error TS2345: Argument of type 'string | undefined' is not \
             assignable to parameter of type 'string'.\nFound 1 error.\nexit code 2"
        ),
        Language::Kotlin => format!(
            "e: {file}:{line}:9 Unresolved reference 'remember'\n\
             > Task :app:compileDebugKotlin FAILED\nBUILD FAILED in 1m 52s"
        ),
        Language::Terraform => format!(
            "Error: Unsupported argument\n\n  on {file} line {line}:\n\
             An argument named \"retention\" is not expected here.\nexit code 1"
        ),
        _ => format!(
            "error[E0308]: mismatched types\n  --> {file}:{line}:24\n   |\n\
             {line} |     total.checked_add(part)\n   |     ^^^ expected `i64`, found \
             `Option<i64>`\nerror: could not compile due to 1 previous error"
        ),
    };
    Tail { log, reason: format!("does not compile at {file}:{line}") }
}

fn test(language: Language, topic: Topic, dice: &mut Dice) -> Tail {
    let test = topic.test;
    let expected = dice.between(2, 900);
    let got = expected + dice.between(1, 3);
    let passed = dice.between(40, 900);
    let log = match language {
        Language::TypeScript => format!(
            " FAIL  {}\n  ✕ {test} (41 ms)\n    Expected: {expected}\n    Received: {got}\n\
             Tests: 1 failed, {passed} passed, {} total",
            topic.file,
            passed + 1
        ),
        Language::Kotlin => format!(
            "{test} FAILED\n    java.lang.AssertionError: expected:<{expected}> but was:<{got}>\n\
             {} tests completed, 1 failed",
            passed + 1
        ),
        Language::Terraform => format!(
            "run \"{test}\"... fail\nError: Test assertion failed: want {expected}, have {got}\n\
             Failure! {} passed, 1 failed.",
            passed.min(30)
        ),
        _ => format!(
            "---- {test} stdout ----\nassertion `left == right` failed\n  left: {got}\n \
             right: {expected}\ntest result: FAILED. {passed} passed; 1 failed; 0 ignored"
        ),
    };
    Tail { log, reason: format!("test {test}") }
}

fn lint(language: Language, topic: Topic, dice: &mut Dice) -> Tail {
    let line = dice.between(8, 320);
    let file = topic.file;
    let (rule, log) = match language {
        Language::TypeScript => (
            "no-floating-promises",
            format!(
                "{file}\n  {line}:5  error  Promises must be awaited  no-floating-promises\n\
                 ✖ 1 problem (1 error, 0 warnings)"
            ),
        ),
        Language::Kotlin => (
            "LongMethod",
            format!(
                "{file}:{line}:5: The function is too long (74 lines). [LongMethod]\n\
                 detekt: analysis failed with 1 weighted issue"
            ),
        ),
        Language::Terraform => (
            "formatting",
            format!(
                "{file}\n--- old/{file}\n+++ new/{file}\n@@ -{line},3 +{line},3 @@\nexit code 3"
            ),
        ),
        _ => (
            "needless_collect",
            format!(
                "error: avoid using `collect()` when not needed\n  --> {file}:{line}:14\n   = note: \
                 `-D clippy::needless-collect` implied by `-D warnings`\nerror: aborting"
            ),
        ),
    };
    Tail { log, reason: format!("lint {rule} in {file}") }
}

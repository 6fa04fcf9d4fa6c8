//! Reads off the texts of a failure what kind it is.
//!
//! In two rounds. First phrases that only one kind of failure writes, looked for in what went wrong
//! (the log, the error, the message); the classes are asked in an order in which an earlier one
//! explains a later one: a compiler that ran out of memory also says that it could not compile.
//! Then single words, which may stand in a test's name as well, and so only count when no phrase
//! was found; here the job's and step's name have their say too.

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    OutOfMemory,
    FlakyNetwork,
    Timeout,
    Lint,
    Compile,
    Test,
    Unknown,
}

impl Class {
    /// As it stands in `data.triage.class`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::OutOfMemory => "out-of-memory",
            Class::FlakyNetwork => "flaky-network",
            Class::Timeout => "timeout",
            Class::Lint => "lint",
            Class::Compile => "compile",
            Class::Test => "test",
            Class::Unknown => "unknown",
        }
    }
}

/// In lower case, as is the text in which they are looked for.
const PHRASES: &[(Class, &[&str])] = &[
    (
        Class::OutOfMemory,
        &[
            "out of memory",
            "out-of-memory",
            "oomkilled",
            "oom-kill",
            "oom killer",
            "cannot allocate memory",
            "memory exhausted",
            "bad_alloc",
            "exit code 137",
            "exit status 137",
            "signal: 9",
        ],
    ),
    (
        Class::FlakyNetwork,
        &[
            "connection reset",
            "connection refused",
            "connection timed out",
            "connection closed before",
            "could not resolve host",
            "temporary failure in name resolution",
            "name or service not known",
            "network is unreachable",
            "no route to host",
            "tls handshake",
            "i/o timeout",
            "econnreset",
            "econnrefused",
            "etimedout",
            "enotfound",
            "eai_again",
            "bad gateway",
            "service unavailable",
            "gateway timeout",
            "gateway time-out",
            "socket hang up",
            "unexpected eof while reading",
        ],
    ),
    (
        Class::Timeout,
        &[
            "timed out",
            "deadline exceeded",
            "time limit",
            "exceeded the maximum execution time",
            "timeout of ",
            "timeout after",
            "timeout exceeded",
            "exit code 124",
        ],
    ),
    (
        Class::Lint,
        &[
            "clippy::",
            "cargo clippy",
            "cargo fmt",
            "rustfmt",
            "eslint",
            "prettier",
            "stylelint",
            "golangci",
            "gofmt",
            "flake8",
            "pylint",
            "ruff check",
            "rubocop",
            "shellcheck",
            "lint error",
            "linting failed",
            "would reformat",
        ],
    ),
    (
        Class::Compile,
        &[
            "could not compile",
            "compilation failed",
            "compilation error",
            "compile error",
            "failed to compile",
            "error[e0",
            "error ts",
            "syntaxerror",
            "syntax error",
            "cannot find symbol",
            "undefined reference",
            "unresolved import",
            "cannot find module",
            "linker `",
            "linking with",
            "undeclared",
            "build failed",
        ],
    ),
    (
        Class::Test,
        &[
            "test failed",
            "tests failed",
            "test result: failed",
            "failing test",
            "failed test",
            "test failure",
            "assertion",
            "assertionerror",
            "panicked at",
            "--- fail",
            "expected:",
        ],
    ),
];

/// Weaker than any phrase.
const WORDS: &[(Class, &[&str])] = &[
    (Class::OutOfMemory, &["oom", "sigkill"]),
    (Class::Timeout, &["timeout"]),
    (Class::FlakyNetwork, &["network", "dns"]),
    (Class::Lint, &["lint", "clippy", "fmt", "format", "style"]),
    (Class::Compile, &["compile", "compilation", "compiler", "build", "typecheck"]),
    (Class::Test, &["test", "tests", "spec", "e2e"]),
];

/// The kind of a failure, from what went wrong and what was being done.
pub(crate) fn classify<'a>(
    evidence: impl Iterator<Item = &'a str>,
    circumstances: impl Iterator<Item = &'a str>,
) -> Class {
    let evidence: Vec<String> = evidence.map(str::to_ascii_lowercase).collect();
    let by_phrase =
        first_class(PHRASES, |phrase| evidence.iter().any(|text| text.contains(phrase)));
    if let Some(class) = by_phrase {
        return class;
    }

    let circumstances: Vec<String> = circumstances.map(str::to_ascii_lowercase).collect();
    let has_word = |texts: &[String], word: &str| {
        texts
            .iter()
            .flat_map(|text| text.split(|letter: char| !letter.is_ascii_alphanumeric()))
            .any(|found| found == word)
    };
    first_class(WORDS, |word| has_word(&evidence, word))
        .or_else(|| first_class(WORDS, |word| has_word(&circumstances, word)))
        .unwrap_or(Class::Unknown)
}

fn first_class(table: &[(Class, &[&str])], holds: impl Fn(&str) -> bool) -> Option<Class> {
    table.iter().find(|(_, signs)| signs.iter().any(|sign| holds(sign))).map(|(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(log: &str, job: &str) -> &'static str {
        classify([log].into_iter(), [job].into_iter()).name()
    }

    #[test]
    fn a_log_tells_the_class() {
        for (log, expected) in [
            ("curl: (6) Could not resolve host: mirror.example", "flaky-network"),
            ("npm ERR! code ECONNRESET", "flaky-network"),
            ("received HTTP 502 Bad Gateway from the mirror", "flaky-network"),
            ("dial tcp 10.0.0.1:443: i/o timeout", "flaky-network"),
            ("The job timed out after 60 minutes", "timeout"),
            ("context deadline exceeded", "timeout"),
            ("rustc: signal: 9, SIGKILL: kill", "out-of-memory"),
            ("FATAL ERROR: JavaScript heap out of memory", "out-of-memory"),
            ("error[E0308]: mismatched types", "compile"),
            ("src/app.ts(3,1): error TS2304: cannot find name", "compile"),
            ("error: this `if` can be collapsed\n= note: `-D clippy::collapsible_if`", "lint"),
            ("1 file would reformat", "lint"),
            ("thread 'main' panicked at src/lib.rs:3", "test"),
            ("test result: FAILED. 3 passed; 1 failed", "test"),
            ("AssertionError: 1 != 2", "test"),
            ("something else", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(class(log, ""), expected, "{log}");
        }
    }

    #[test]
    fn an_earlier_cause_wins_over_what_it_leads_to() {
        let log = "error: could not compile `web`\nrustc was killed: out of memory";
        assert_eq!(class(log, "build"), "out-of-memory");
        let log = "error: could not compile `web`\nnote: clippy::unwrap_used";
        assert_eq!(class(log, "build"), "lint");
    }

    #[test]
    fn a_word_in_a_tests_name_does_not_win_over_a_phrase() {
        let log = "test a_timeout_is_kept ... FAILED\ntest result: FAILED";
        assert_eq!(class(log, "network tests"), "test");
    }

    #[test]
    fn without_evidence_the_job_tells_the_class() {
        assert_eq!(class("failed", "lint / web"), "lint");
        assert_eq!(class("failed", "unit-test"), "test");
        assert_eq!(class("failed", "build"), "compile");
        assert_eq!(class("failed", "latest"), "unknown", "no word of its own");
    }
}

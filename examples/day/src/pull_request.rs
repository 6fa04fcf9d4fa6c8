//! The second half of a session: CI, review and merge of its pull request.
//!
//! Most PRs get both `review_approved` and `ci_passing`, in either order, and a `merge_completed`
//! some minutes later; between them stands the gap that a merge-ready plugin fills. Only a project
//! without CI has `merge_ready` in the day itself, from the forge's own check.

use crate::clock::Span;
use crate::event::{Data, Kind, Priority};
use crate::fleet::{Ci, Jobs};
use crate::log_tails::{self, Ailment};
use crate::session::Session;

/// After this many failed fixes a person is asked.
const FIXES: i64 = 3;

#[derive(Default)]
pub(crate) struct PullRequest {
    number: i64,
    commit: String,
    run: i64,
    additions: i64,
    deletions: i64,
    /// CI passed on the newest commit.
    passing: bool,
}

impl Session {
    pub(crate) fn open_pr(&mut self, number: i64) {
        self.pr = PullRequest {
            number,
            commit: self.dice.commit(),
            run: 0,
            additions: self.dice.between(6, 420),
            deletions: self.dice.between(0, 180),
            passing: false,
        };
        let message = format!("#{number} opened: {}", self.plan.title);
        let data = self.diff();
        self.emit(Kind::PrCreated, message, data);
        self.wait(Span::seconds(1), Span::seconds(8));
        self.become_status("pr_open");
    }

    pub(crate) fn see_through(&mut self) {
        // One team in four starts reading before the machines are done.
        let review_first = self.dice.chance(25);
        if !review_first && !self.verify() {
            return self.give_up("CI could not be fixed");
        }
        match self.review(review_first) {
            Verdict::Approved => {}
            Verdict::CiHopeless => return self.give_up("CI could not be fixed"),
            Verdict::NobodyCame => return self.end("pr_left_open", "no reviewer today"),
        }
        if !self.verify() {
            return self.give_up("CI could not be fixed");
        }
        if self.dice.chance(6) {
            return self.give_up("superseded by another change");
        }
        if self.merge() {
            self.end("merged", "merged, nothing left to do");
        } else {
            self.give_up("could not be rebased");
        }
    }

    /// Runs CI on the newest commit until it passes; false when people gave up on it.
    fn verify(&mut self) -> bool {
        let Some(ci) = &self.plan.project.ci else {
            self.pr.passing = true;
            return true;
        };
        let mut fixes = 0;
        let mut last = None;
        while !self.pr.passing {
            let takes =
                Span::between(&mut self.dice, Span::seconds(ci.takes.0), Span::seconds(ci.takes.1));
            self.wait(takes, takes);
            self.pr.run += 1;
            let odds = match last {
                Some(_) => ci.stubborn,
                None if self.pr.run == 1 => ci.failing,
                // What passed before the review's small changes mostly passes after them.
                None => ci.failing / 3,
            };
            if !self.dice.chance(odds) {
                self.ci_passes(takes);
                return true;
            }
            // What failed once mostly fails the same way again.
            let ailment = match last {
                Some(ailment) if self.dice.chance(75) => ailment,
                _ => Ailment::some(&mut self.dice, &ci.ailments),
            };
            let failed_before = last.is_some();
            last = Some(ailment);
            self.ci_fails(ci, ailment, takes);
            if ailment == Ailment::Network && !failed_before {
                // The forge runs it again by itself: nothing for an agent to fix.
                self.wait(Span::seconds(20), Span::minutes(2));
                continue;
            }
            if fixes > 0 {
                self.fix_failed(fixes);
            }
            if fixes == FIXES {
                return self.ask_a_person(ci);
            }
            fixes += 1;
            self.fix(fixes);
        }
        true
    }

    fn ci_passes(&mut self, takes: Span) {
        let message = format!(
            "CI passing on {}: {} jobs in {} s",
            self.plan.branch,
            Jobs::COUNT,
            takes.in_seconds()
        );
        let data = self.ci_run("all").with("duration_s", self.duration(takes));
        self.emit(Kind::CiPassing, message, data);
        self.pr.passing = true;
        self.wait(Span::seconds(1), Span::seconds(8));
    }

    fn ci_fails(&mut self, ci: &Ci, ailment: Ailment, takes: Span) {
        let project = self.plan.project;
        let topic = self.plan.topic;
        let tail = log_tails::tail(ailment, project.language, topic, &mut self.dice);
        let job = ailment.job(&ci.jobs, &mut self.dice);
        let message = format!("CI failing on {}: {}", self.plan.branch, tail.reason);
        let data = self.ci_run(job).with("log", tail.log).with("duration_s", self.duration(takes));
        self.emit(Kind::CiFailing, message, data);
        self.wait(Span::seconds(1), Span::seconds(5));
        self.become_status("ci_failed");
    }

    fn fix(&mut self, attempt: i64) {
        if attempt == 1 {
            let data = self.pr_ref().with("run", self.pr.run);
            self.react("ci-failed", "send the log to the agent", data);
        }
        let message = format!(
            "log of run {} sent to {} (attempt {attempt})",
            self.pr.run, self.plan.agent.name
        );
        let data = self
            .pr_ref()
            .with("run", self.pr.run)
            .with("attempt", attempt)
            .with("agent", self.plan.agent.name);
        self.emit(Kind::CiFixSent, message, data);
        self.become_status("working");
        self.stir();
        self.push("fix CI");
    }

    fn fix_failed(&mut self, attempt: i64) {
        self.wait(Span::seconds(1), Span::seconds(4));
        let message = format!("fix {attempt} of {} did not help", self.plan.branch);
        let data = self
            .pr_ref()
            .with("run", self.pr.run)
            .with("attempt", attempt)
            .with("agent", self.plan.agent.name);
        let priority = if attempt == FIXES { Priority::Urgent } else { Priority::Action };
        self.emit_as(priority, Kind::CiFixFailed, message, data);
        self.wait(Span::seconds(1), Span::seconds(6));
    }

    /// The last resort: a person pushes the fix, or says that it is not worth it.
    fn ask_a_person(&mut self, ci: &Ci) -> bool {
        let data = self.pr_ref().with("fixes", FIXES);
        self.escalate("ci-failed", data);
        self.wait_for_people(Span::minutes(5), Span::minutes(45));
        if self.dice.chance(40) {
            return false;
        }
        self.push("a person's fix for CI");
        let takes = Span::seconds(self.dice.between(ci.takes.0, ci.takes.1));
        self.wait(takes, takes);
        self.pr.run += 1;
        self.ci_passes(takes);
        true
    }

    fn review(&mut self, ci_can_wait: bool) -> Verdict {
        self.ask_for_review();
        self.wait_for_people(Span::minutes(4), Span::minutes(75));
        if self.dice.chance(4) {
            let data = self.pr_ref();
            self.react("review-overdue", "remind the reviewers", data.clone());
            self.wait(Span::minutes(30), Span::minutes(50));
            self.escalate("review-overdue", data);
            return Verdict::NobodyCame;
        }
        let reviewer = self.dice.word(self.plan.project.reviewers);
        if self.dice.chance(25) {
            self.comments_come(reviewer);
            if !ci_can_wait && !self.verify() {
                return Verdict::CiHopeless;
            }
            self.wait_for_people(Span::minutes(5), Span::minutes(40));
        }
        if self.dice.chance(self.plan.project.strictness) {
            self.changes_are_wanted(reviewer);
            if !ci_can_wait && !self.verify() {
                return Verdict::CiHopeless;
            }
            self.ask_for_review();
            self.wait_for_people(Span::minutes(5), Span::minutes(50));
        }
        self.approve(reviewer);
        if self.dice.chance(12) {
            let second = self.dice.word(self.plan.project.reviewers);
            if second != reviewer {
                self.wait(Span::minutes(1), Span::minutes(9));
                self.approve(second);
            }
        }
        self.become_status("approved");
        Verdict::Approved
    }

    fn ask_for_review(&mut self) {
        let reviewer = self.dice.word(self.plan.project.reviewers);
        let message = format!("#{} waits for {reviewer}", self.pr.number);
        let data = self.pr_ref().with("reviewer", reviewer);
        self.emit(Kind::ReviewPending, message, data);
        self.wait(Span::seconds(1), Span::seconds(5));
    }

    fn comments_come(&mut self, reviewer: &'static str) {
        let comments = self.dice.between(1, 6);
        let message = format!("{reviewer} left {comments} comments on #{}", self.pr.number);
        let data = self.pr_ref().with("reviewer", reviewer).with("comments", comments);
        self.emit(Kind::ReviewCommentsSent, message, data);
        self.stir();
        self.push("answer the comments");
    }

    fn changes_are_wanted(&mut self, reviewer: &'static str) {
        let comments = self.dice.between(1, 9);
        let wish = self.dice.word(&[
            "the error is swallowed",
            "needs a test for the empty case",
            "too much in one function",
            "the name says the opposite",
            "breaks callers that pass zero",
        ]);
        let message = format!("{reviewer} wants changes in #{}: {wish}", self.pr.number);
        let data = self.pr_ref().with("reviewer", reviewer).with("comments", comments);
        self.emit(Kind::ReviewChangesRequested, message, data);
        self.become_status("changes_requested");
        let data = self.pr_ref();
        self.react("changes-requested", "send the comments to the agent", data);
        self.stir();
        self.push("do what the review asked");
    }

    fn approve(&mut self, reviewer: &'static str) {
        let message = format!("{reviewer} approved #{}", self.pr.number);
        let data = self.pr_ref().with("reviewer", reviewer);
        self.emit(Kind::ReviewApproved, message, data);
        self.wait(Span::seconds(1), Span::seconds(6));
    }

    fn merge(&mut self) -> bool {
        self.forge_says_ready();
        self.wait(Span::minutes(2), Span::minutes(25));
        if self.dice.chance(14) {
            let message = format!("#{} conflicts with main", self.pr.number);
            let data = self.pr_ref().with("base", "main").with("files", vec![self.plan.topic.file]);
            self.emit(Kind::MergeConflicts, message, data);
            self.become_status("working");
            self.stir();
            self.push("rebase on main");
            if !self.verify() {
                return false;
            }
            self.forge_says_ready();
            self.wait(Span::minutes(1), Span::minutes(12));
        }
        let message = format!("#{} merged into main by the queue", self.pr.number);
        let queued = self.dice.seconds(2, 240);
        let data = self.pr_ref().with("method", "squash").with("queued_s", queued);
        self.emit(Kind::MergeCompleted, message, data);
        self.wait(Span::seconds(1), Span::seconds(5));
        let message = format!("#{} closed as merged: {}", self.pr.number, self.plan.title);
        let data = self.diff();
        self.emit(Kind::PrMerged, message, data);
        self.become_status("merged");
        true
    }

    /// Where no CI could tell a plugin, the forge says itself that a PR may be merged.
    fn forge_says_ready(&mut self) {
        if self.plan.project.ci.is_some() {
            return;
        }
        let message = format!("#{} may be merged: approved, no checks needed", self.pr.number);
        let data = self.pr_ref().with("source", "forge").with("checks_required", 0);
        self.emit(Kind::MergeReady, message, data);
        self.wait(Span::seconds(1), Span::seconds(5));
    }

    fn push(&mut self, why: &str) {
        self.pr.commit = self.dice.commit();
        self.pr.additions += self.dice.between(1, 40);
        self.pr.deletions += self.dice.between(0, 20);
        self.pr.passing = false;
        let message = format!("#{} updated: {why}", self.pr.number);
        let data = self.diff();
        self.emit(Kind::PrUpdated, message, data);
        self.wait(Span::seconds(1), Span::seconds(8));
    }

    fn give_up(&mut self, why: &'static str) {
        self.wait(Span::minutes(1), Span::minutes(10));
        let message = format!("#{} closed without merging: {why}", self.pr.number);
        let data = self.diff().with("reason", why);
        self.emit(Kind::PrClosed, message, data);
        self.wait(Span::seconds(5), Span::minutes(1));
        if self.dice.chance(50) {
            self.kill("its pull request was closed");
            self.clean();
        } else {
            self.end("pr_closed", why);
        }
    }

    fn pr_ref(&self) -> Data {
        Data::default().with("pr", self.pr.number).with("branch", self.plan.branch.clone())
    }

    fn diff(&self) -> Data {
        self.pr_ref()
            .with("title", self.plan.title.clone())
            .with("commit", self.pr.commit.clone())
            .with("additions", self.pr.additions)
            .with("deletions", self.pr.deletions)
    }

    fn ci_run(&self, job: &'static str) -> Data {
        self.pr_ref()
            .with("job", job)
            .with("run", self.pr.run)
            .with("commit", self.pr.commit.clone())
    }

    /// What CI reports is what passed, give or take its own start-up.
    fn duration(&mut self, takes: Span) -> f64 {
        let seconds = takes.in_seconds();
        self.dice.seconds((seconds - 9).max(1), (seconds - 1).max(2))
    }
}

enum Verdict {
    Approved,
    CiHopeless,
    NobodyCame,
}

//! One agent's life: spawned, at work, perhaps stuck, a pull request, exited, cleaned.
//!
//! A session tells its own story on its own clock and knows no other session; the day merges the
//! stories. It is told in two halves, [`Session::work`] and [`Session::see_through`] (in
//! `pull_request`), because PR numbers are given out by the project in the order in which its
//! sessions get that far.
//!
//! What must hold: a session that has ended says nothing more but `restored` or `cleaned`.

use crate::clock::{Moment, Span};
use crate::dice::{Dice, stream};
use crate::event::{Data, Draft, Kind, Priority};
use crate::fleet::Plan;
use crate::nodes;
use crate::pull_request::PullRequest;

pub(crate) struct Session {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) now: Moment,
    pub(crate) pr: PullRequest,
    pub(crate) drafts: Vec<Draft>,
    node: &'static str,
    status: &'static str,
    activity: &'static str,
    turn: i64,
    alive: bool,
}

/// What becomes of a session's work.
#[derive(Clone, Copy)]
enum Fate {
    PullRequest,
    /// A question answered: nothing to merge.
    Research,
    Stuck,
}

impl Session {
    pub(crate) fn new(plan: Plan, seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed, stream::SESSIONS + number);
        Self {
            now: plan.start,
            node: nodes::choose(&mut dice, plan.start),
            pr: PullRequest::default(),
            drafts: Vec::new(),
            status: "spawning",
            activity: "starting",
            turn: 0,
            alive: true,
            plan,
            dice,
        }
    }

    /// The first half: everything before a PR. True when there will be one.
    pub(crate) fn work(&mut self) -> bool {
        self.spawn();
        self.get_going();
        if self.plan.chatty {
            self.chatter();
        }
        match self.fate() {
            Fate::PullRequest => true,
            Fate::Research => {
                self.end("answered", "answered the question, nothing to change");
                false
            }
            Fate::Stuck => self.get_stuck(),
        }
    }

    fn fate(&mut self) -> Fate {
        match self.dice.between(1, 100) {
            1..=84 => Fate::PullRequest,
            85..=90 => Fate::Research,
            _ => Fate::Stuck,
        }
    }

    fn spawn(&mut self) {
        let message = format!("{} spawned for \"{}\"", self.plan.agent.name, self.plan.title);
        let data = self.about().with("branch", self.plan.branch.clone());
        self.emit(Kind::SessionSpawned, message, data);
        self.wait(Span::seconds(2), Span::seconds(20));
    }

    fn get_going(&mut self) {
        self.become_status("working");
        let message = format!("{} is working on {}", self.plan.agent.name, self.plan.topic.phrase);
        let data = self.about();
        self.emit(Kind::SessionWorking, message, data);
        for _ in 0..self.dice.between(1, 4) {
            self.stir();
        }
    }

    /// A stretch of work: a busy agent goes quiet, a quiet one gets busy.
    pub(crate) fn stir(&mut self) {
        self.wait(Span::minutes(1), Span::minutes(11));
        if self.activity == "active" {
            let resting = self.dice.word(&[
                "waiting for a command to finish",
                "end of turn",
                "summarising what changed",
                "waiting for the file watcher",
            ]);
            let state = self.dice.word(&["idle", "ready"]);
            self.act(state, resting);
        } else {
            let doing = self.something_to_do();
            self.act("active", doing);
        }
        self.wait(Span::seconds(30), Span::minutes(6));
    }

    fn something_to_do(&mut self) -> String {
        let topic = self.plan.topic;
        match self.dice.index(6) {
            0 => format!("reading {}", topic.file),
            1 => format!("editing {}", topic.file),
            2 if !topic.test.is_empty() => format!("running {}", topic.test),
            3 => format!("searching for what refers to {}", topic.file),
            4 => "thinking about a smaller change".to_owned(),
            _ => format!("comparing {} with the description", topic.file),
        }
    }

    /// The chatty agent reports each thought, every few seconds, for minutes.
    fn chatter(&mut self) {
        for _ in 0..self.dice.between(45, 60) {
            self.wait(Span::seconds(1), Span::seconds(5));
            let thought = self.dice.word(&[
                "thinking…",
                "thinking about the next step…",
                "reading one more file",
                "hm, let me look again",
                "almost there",
                "running a quick check",
            ]);
            self.act("active", thought);
        }
    }

    /// Waits for an answer that may not come. True when a restored session got to a PR after all.
    fn get_stuck(&mut self) -> bool {
        self.wait(Span::seconds(30), Span::minutes(4));
        let question = self.dice.word(&[
            "asks: may I change the public interface?",
            "asks: which of the two behaviours is wanted?",
            "waits for a permission prompt",
            "loops between two failing edits",
        ]);
        self.act("waiting_input", question);
        self.become_status("stuck");
        self.wait(Span::minutes(14), Span::minutes(18));
        self.react("agent-stuck", "notify", Data::default());
        if self.dice.chance(60) {
            self.wait(Span::minutes(10), Span::minutes(15));
            self.escalate("agent-stuck", Data::default());
        }
        self.wait(Span::minutes(1), Span::minutes(12));
        let reason = self.dice.word(&["stuck", "over budget", "by its owner", "out of memory"]);
        self.kill(reason);
        if self.dice.chance(55) {
            self.wait(Span::minutes(2), Span::minutes(25));
            self.restore("with a clearer task");
            self.get_going();
            true
        } else {
            self.clean();
            false
        }
    }

    /// Exits, and is tidied up after.
    pub(crate) fn end(&mut self, outcome: &'static str, why: &str) {
        self.exit(outcome, why);
        if self.dice.chance(6) {
            self.wait(Span::minutes(4), Span::minutes(30));
            self.restore("for a late question");
            self.become_status("working");
            self.stir();
            self.exit(outcome, "answered the late question");
        }
        self.clean();
    }

    fn exit(&mut self, outcome: &'static str, why: &str) {
        self.wait(Span::seconds(20), Span::minutes(4));
        let message = format!("{} exited: {why}", self.plan.agent.name);
        let data = self
            .about()
            .with("outcome", outcome)
            .with("turns", self.turn)
            .with("alive_s", (self.now - self.plan.start).in_seconds());
        self.emit(Kind::SessionExited, message, data);
        self.alive = false;
    }

    pub(crate) fn kill(&mut self, reason: &'static str) {
        let message = format!("{} killed: {reason}", self.plan.agent.name);
        let data = self.about().with("reason", reason);
        let priority = match reason {
            "out of memory" | "node lost" => Priority::Urgent,
            _ => Kind::SessionKilled.usual_priority(),
        };
        self.emit_as(priority, Kind::SessionKilled, message, data);
        self.alive = false;
    }

    fn restore(&mut self, how: &str) {
        self.alive = true;
        self.node = nodes::choose(&mut self.dice, self.now);
        let message = format!("{} restored on {} {how}", self.plan.agent.name, self.node);
        let data = self.about().with("checkpoint_turn", self.turn);
        self.emit(Kind::SessionRestored, message, data);
        self.wait(Span::seconds(3), Span::seconds(15));
    }

    pub(crate) fn clean(&mut self) {
        // Some worktrees are left for the next day's cleaner.
        if self.dice.chance(12) {
            return;
        }
        self.wait(Span::minutes(1), Span::minutes(30));
        let freed = self.dice.between(40, 2_400);
        let message = format!("worktree of {} removed, {freed} MB freed", self.plan.branch);
        let data = Data::default()
            .with("agent", self.plan.agent.name)
            .with("node", self.node)
            .with("branch", self.plan.branch.clone())
            .with("freed_mb", freed);
        self.emit(Kind::SessionCleaned, message, data);
    }

    pub(crate) fn become_status(&mut self, to: &'static str) {
        if self.status == to {
            return;
        }
        self.wait(Span::milliseconds(40), Span::seconds(1));
        let message = format!("status: {} → {to}", self.status);
        let data = Data::default().with("from", self.status).with("to", to);
        self.emit(Kind::StatusChanged, message, data);
        self.status = to;
        self.wait(Span::seconds(1), Span::seconds(6));
    }

    fn act(&mut self, to: &'static str, message: impl Into<String>) {
        self.turn += 1;
        let data = Data::default()
            .with("from", self.activity)
            .with("to", to)
            .with("agent", self.plan.agent.name)
            .with("turn", self.turn);
        self.emit(Kind::ActivityChanged, message.into(), data);
        self.activity = to;
    }

    /// The orchestrator's rule fires. `data` says on what.
    pub(crate) fn react(&mut self, rule: &'static str, action: &'static str, about: Data) {
        let message = format!("rule {rule} fired for {}: {action}", self.plan.id);
        let mut data = Data::default().with("rule", rule).with("action", action);
        data.0.extend(about.0);
        self.emit(Kind::ReactionTriggered, message, data);
        self.wait(Span::seconds(1), Span::seconds(9));
    }

    pub(crate) fn escalate(&mut self, rule: &'static str, about: Data) {
        let to = self.dice.word(&["on-call", "project channel", "owner"]);
        let message = format!("rule {rule} was not answered for {}: told {to}", self.plan.id);
        let mut data = Data::default().with("rule", rule).with("escalated_to", to);
        data.0.extend(about.0);
        self.emit(Kind::ReactionEscalated, message, data);
        self.wait(Span::seconds(1), Span::seconds(9));
    }

    /// What every session event says of the session.
    fn about(&self) -> Data {
        let data = Data::default().with("agent", self.plan.agent.name);
        let data = match self.plan.agent.model {
            Some(model) => data.with("model", model),
            None => data,
        };
        data.with("task", self.plan.title.clone()).with("node", self.node)
    }

    pub(crate) fn emit(&mut self, kind: Kind, message: String, data: Data) {
        self.emit_as(kind.usual_priority(), kind, message, data);
    }

    pub(crate) fn emit_as(&mut self, priority: Priority, kind: Kind, message: String, data: Data) {
        self.drafts.push(Draft {
            at: self.now,
            kind,
            priority,
            session: self.plan.id.clone(),
            project: self.plan.project.name,
            message,
            data,
        });
    }

    pub(crate) fn wait(&mut self, low: Span, high: Span) {
        let span = Span::between(&mut self.dice, low, high);
        self.advance(self.now.after(span));
    }

    /// Waits until a person has time.
    pub(crate) fn wait_for_people(&mut self, low: Span, high: Span) {
        self.wait(low, high);
        let then = self.now.when_people_work(&mut self.dice);
        self.advance(then);
    }

    /// Time passes; a session whose node goes away meanwhile is killed and restored elsewhere.
    fn advance(&mut self, to: Moment) {
        let outage = nodes::outage(self.node, self.now, to).filter(|_| self.alive);
        if let Some(outage) = outage {
            self.now =
                outage.at + Span::between(&mut self.dice, Span::seconds(5), Span::seconds(40));
            self.kill(outage.reason);
            self.now =
                outage.back + Span::between(&mut self.dice, Span::seconds(10), Span::minutes(4));
            self.restore("after the node went away");
        }
        self.now = self.now.max(to);
    }
}

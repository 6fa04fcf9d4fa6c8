//! What is told about the fleet by others than the agents: the orchestrator's `all_complete` for
//! each project, and `custom.*` events of the teams' own tools.
//!
//! It reads the finished stories and adds to them; it changes none.

use crate::clock::{Moment, Span};
use crate::dice::{Dice, stream};
use crate::event::{Data, Draft, Kind, Priority};
use crate::fleet::{PROJECTS, Project};

pub(crate) fn events(seed: u64, stories: &[Draft]) -> Vec<Draft> {
    let mut dice = Dice::new(seed, stream::TOOLS);
    let mut drafts = Vec::new();
    for project in &PROJECTS {
        let of_project = || stories.iter().filter(|draft| draft.project == project.name);
        drafts.extend(all_complete(project, of_project(), &mut dice));
        drafts.extend(cost_reports(project, of_project(), &mut dice));
        drafts.extend(match project.ci {
            Some(_) => deploys(project, of_project(), &mut dice),
            None => link_checks(project, &mut dice),
        });
    }
    drafts
}

/// After the last session of the project has ended.
fn all_complete<'a>(
    project: &Project,
    stories: impl Iterator<Item = &'a Draft> + Clone,
    dice: &mut Dice,
) -> Option<Draft> {
    let count = |kind| {
        let of_kind = stories.clone().filter(|draft| draft.kind == kind).count();
        i64::try_from(of_kind).unwrap_or(0)
    };
    let ended = |draft: &&Draft| matches!(draft.kind, Kind::SessionExited | Kind::SessionKilled);
    let last = stories.clone().filter(ended).map(|draft| draft.at).max()?;
    let (sessions, merged) = (count(Kind::SessionSpawned), count(Kind::PrMerged));
    Some(Draft {
        at: last + Span::between(dice, Span::seconds(2), Span::seconds(15)),
        kind: Kind::AllComplete,
        priority: Kind::AllComplete.usual_priority(),
        session: "orchestrator".to_owned(),
        project: project.name,
        message: format!("all {sessions} sessions of {} are done", project.name),
        data: Data::default()
            .with("sessions", sessions)
            .with("merged", merged)
            .with("closed", count(Kind::PrClosed)),
    })
}

/// Two a day, so that somebody notices before the evening.
fn cost_reports<'a>(
    project: &Project,
    stories: impl Iterator<Item = &'a Draft> + Clone,
    dice: &mut Dice,
) -> Vec<Draft> {
    [Moment::at(12, 0), Moment::at(18, 0)]
        .into_iter()
        .map(|at| {
            let turns = stories
                .clone()
                .filter(|draft| draft.at < at && draft.kind == Kind::ActivityChanged)
                .count();
            let turns = i64::try_from(turns).unwrap_or(0);
            let tokens = turns * dice.between(9_000, 14_000);
            Draft {
                at: at + Span::between(dice, Span::seconds(1), Span::seconds(20)),
                kind: Kind::CostReport,
                priority: Priority::Info,
                session: "cost-meter".to_owned(),
                project: project.name,
                message: format!("{} used {} k tokens so far", project.name, tokens / 1_000),
                data: Data::default()
                    .with("tokens", tokens)
                    .with("turns", turns)
                    .with("budget_tokens", 6_000_000),
            }
        })
        .collect()
}

/// Every third merge is rolled out, minutes later.
fn deploys<'a>(
    project: &Project,
    stories: impl Iterator<Item = &'a Draft>,
    dice: &mut Dice,
) -> Vec<Draft> {
    let merged = stories.filter(|draft| draft.kind == Kind::PrMerged);
    let mut drafts = Vec::new();
    for merge in merged.step_by(3) {
        let commit = merge.data.text("commit").unwrap_or_default();
        let started = merge.at + Span::between(dice, Span::seconds(20), Span::minutes(4));
        let took = Span::between(dice, Span::seconds(90), Span::minutes(9));
        let good = dice.chance(85);
        let data = Data::default().with("environment", "staging").with("commit", commit);
        let deploy = |at, kind, priority, message, data| Draft {
            at,
            kind,
            priority,
            session: "deploy-bot".to_owned(),
            project: project.name,
            message,
            data,
        };
        drafts.push(deploy(
            started,
            Kind::DeployStarted,
            Priority::Info,
            format!("rolling out {commit} to staging"),
            data.clone(),
        ));
        let (priority, result) =
            if good { (Priority::Info, "rolled out") } else { (Priority::Urgent, "rolled back") };
        drafts.push(deploy(
            started + took,
            Kind::DeployFinished,
            priority,
            format!("{commit} {result} on staging after {} s", took.in_seconds()),
            data.with("result", result).with("took_s", took.in_seconds()),
        ));
    }
    drafts
}

/// Every two hours over the published pages.
fn link_checks(project: &Project, dice: &mut Dice) -> Vec<Draft> {
    (0..12)
        .map(|turn| {
            let links = dice.between(1_380, 1_420);
            let broken = dice.between(0, 3);
            Draft {
                at: Moment::at(turn * 2, 7)
                    + Span::between(dice, Span::seconds(0), Span::seconds(50)),
                kind: Kind::LinkCheck,
                priority: if broken > 0 { Priority::Action } else { Priority::Info },
                session: "link-checker".to_owned(),
                project: project.name,
                message: format!("{broken} of {links} links are broken"),
                data: Data::default().with("links", links).with("broken", broken),
            }
        })
        .collect()
}

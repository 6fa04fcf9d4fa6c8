//! A history in figures: what `summary` counts, and the page that it makes of that.
//!
//! Counting holds names and numbers only, never events, so a history of any length fits.

use std::collections::BTreeMap;

use super::{
    answers::{Entry, Plugin, Status},
    output::{Colours, plain},
    table::{Cell, Table, figures, text},
    times::date_and_clock,
};
use crate::event::{Category, EventPriority};

/// Projects that are shown.
const PROJECTS: usize = 10;
/// Reasons that are shown of each plugin.
const REASONS: usize = 5;
/// A reason is known by its first words.
const WORDS: usize = 12;
/// Reasons that are told apart for each plugin; what comes later counts as one.
const DISTINCT: usize = 1000;

/// How often each.
type Counts = BTreeMap<String, u64>;

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: u64,
    /// Plugin, reason.
    dropped: BTreeMap<String, Counts>,
    categories: Counts,
    priorities: Counts,
    projects: Counts,
    /// Plugin, type.
    reactions: BTreeMap<String, Counts>,
    first: Option<String>,
    last: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, entry: &Entry) {
        // RFC 3339 in UTC with six decimals sorts as text.
        let time = &entry.timestamp;
        if self.first.as_ref().is_none_or(|first| time < first) {
            self.first = Some(time.clone());
        }
        if self.last.as_ref().is_none_or(|last| time > last) {
            self.last = Some(time.clone());
        }
        if let Some(by) = &entry.dropped_by {
            let reasons = self.dropped.entry(by.clone()).or_default();
            let mut reason = shape(entry.drop_reason.as_deref().unwrap_or("no reason given"));
            if reasons.len() >= DISTINCT && !reasons.contains_key(&reason) {
                reason = "other reasons".into();
            }
            *reasons.entry(reason).or_default() += 1;
            return;
        }
        self.accepted += 1;
        let category = entry.category().map_or("unknown", Category::token);
        count(&mut self.categories, category);
        count(&mut self.priorities, &entry.priority);
        count(&mut self.projects, &entry.project_id);
        // That a reaction acted is told by the host.
        let told = entry.event_type.starts_with("reaction_");
        if let Some(cause) = entry.caused_by.as_ref().filter(|_| !told) {
            count(self.reactions.entry(cause.plugin.clone()).or_default(), &entry.event_type);
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped.values().flat_map(BTreeMap::values).sum()
    }

    /// The page. `client` is how commands reach this host: "" or " --url ...".
    pub(super) fn page(
        &self,
        url: &str,
        client: &str,
        plugins: &[Plugin],
        status: &Status,
        colours: Colours,
    ) -> Vec<String> {
        let mut page = Page { lines: Vec::new(), colours };
        let total = self.accepted + self.dropped();
        page.lines.push(match (&self.first, &self.last) {
            (Some(first), Some(last)) => format!(
                "{} at {url}, happened from {} to {} (local time)",
                events(total),
                date_and_clock(first),
                date_and_clock(last)
            ),
            _ => format!("no events at {url} yet"),
        });
        page.section(
            "Fate",
            vec![
                ("accepted".into(), self.accepted, String::new()),
                ("dropped".into(), self.dropped(), "kept in the log, hidden by a filter".into()),
                ("dead letters".into(), status.dead_letters, "reactions that were given up".into()),
            ],
        );
        for (plugin, reasons) in &self.dropped {
            let reasons = top(reasons, REASONS, "other reasons");
            page.section(&format!("Dropped by {}", plain(plugin)), reasons);
        }
        page.section(
            "Accepted, by category",
            in_order(&self.categories, Category::ALL.map(Category::token)),
        );
        page.section(
            "Accepted, by priority",
            in_order(&self.priorities, EventPriority::ALL.map(EventPriority::as_str)),
        );
        let heading =
            format!("Accepted, by project ({} in all)", thousands(self.projects.len() as u64));
        page.section(&heading, top(&self.projects, PROJECTS, "other projects"));
        page.section("Enriched, since the plugin was loaded", enriched(plugins));
        let reactions = self.reactions.iter().flat_map(|(plugin, types)| {
            types.iter().map(move |(event_type, count)| {
                (format!("{plugin} emitted {event_type}"), *count, String::new())
            })
        });
        page.section("Reactions", reactions.collect());
        page.lines.push(String::new());
        page.heading("Where to look next");
        for line in self.pointers(url, client) {
            page.lines.push(format!("  {line}"));
        }
        page.lines
    }

    /// Commands that show more of what is there.
    fn pointers(&self, url: &str, client: &str) -> Vec<String> {
        let mut pointers = Vec::new();
        let mut point = |command: &str, what: String| {
            pointers.push(format!("{:<48} {what}", format!("{command}{client}")));
        };
        let of = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or(0);
        point("ennio tail 'ennio.ci.>'", "follow CI of all projects".into());
        let urgent = of(&self.priorities, "urgent") + of(&self.priorities, "critical");
        if urgent > 0 {
            point(
                "ennio events --min-priority urgent",
                format!("what needs a person at once ({})", thousands(urgent)),
            );
        }
        if let Some(plugin) = self.reactions.keys().next() {
            let what = format!("what plugins did ({} and others)", plain(plugin));
            point("ennio events --subject 'ennio.merge.*.ready'", what);
        }
        if self.dropped() > 0 {
            point(
                "ennio events --include-dropped",
                format!("also what was dropped ({})", thousands(self.dropped())),
            );
        }
        point("ennio plugin list", "the plugins and what they cost".into());
        pointers.push(format!("{url}/v1/events?order=desc as JSON"));
        pointers
    }
}

/// The page while it is written.
struct Page {
    lines: Vec<String>,
    colours: Colours,
}

impl Page {
    fn heading(&mut self, text: &str) {
        self.lines.push(self.colours.heading().style(text).to_string());
    }

    /// A heading and figures; nothing where there are none.
    fn section(&mut self, heading: &str, rows: Vec<(String, u64, String)>) {
        if rows.is_empty() {
            return;
        }
        self.lines.push(String::new());
        self.heading(heading);
        let mut table = Table::new([figures(""), text(""), text("")]);
        for (name, count, remark) in rows {
            let remark = Cell::styled(remark, self.colours.faint());
            table.row([Cell::new(thousands(count)), Cell::new(name), remark]);
        }
        let lines = table.lines(None, None);
        self.lines.extend(lines.iter().map(|line| format!("  {}", line.trim_end())));
    }
}

fn enriched(plugins: &[Plugin]) -> Vec<(String, u64, String)> {
    let is_enricher = |plugin: &&Plugin| plugin.roles.iter().any(|role| role == "enricher");
    let row = |plugin: &Plugin| {
        (
            plugin.name.clone(),
            plugin.events_changed,
            format!("changed, of {} seen", thousands(plugin.events)),
        )
    };
    plugins.iter().filter(is_enricher).map(row).collect()
}

/// The names that there are, in the given order, and then what else was counted.
fn in_order<const N: usize>(counts: &Counts, names: [&str; N]) -> Vec<(String, u64, String)> {
    let known = names.iter().filter_map(|name| counts.get_key_value(*name));
    let other = counts.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    known.chain(other).map(|(name, count)| (name.clone(), *count, String::new())).collect()
}

/// The most frequent ones first, the others as one.
fn top(counts: &Counts, most: usize, others: &str) -> Vec<(String, u64, String)> {
    let mut rows: Vec<_> =
        counts.iter().map(|(name, count)| (name.clone(), *count, String::new())).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    if rows.len() > most + 1 {
        let rest = rows.split_off(most);
        let sum = rest.iter().map(|row| row.1).sum();
        rows.push((format!("{} {others}", rest.len()), sum, String::new()));
    }
    rows
}

fn count(counts: &mut Counts, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// What a reason has in common with others: its first words, without ids and numbers.
pub(super) fn shape(reason: &str) -> String {
    let words: Vec<String> = reason.split_whitespace().take(WORDS).map(shape_of_word).collect();
    let mut shape = words.join(" ");
    if reason.split_whitespace().nth(WORDS).is_some() {
        shape.push_str(" …");
    }
    shape
}

/// `…` for a word that is an id or a number, and for the part of a name from its first digit on.
fn shape_of_word(word: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ',' | ':');
    let mut shape = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        shape.push_str(&shape_of_name(name));
        let end = after.find(is_name).unwrap_or(after.len());
        let (between, next) = after.split_at(end);
        shape.push_str(between);
        rest = next;
    }
    shape
}

fn shape_of_name(name: &str) -> String {
    let core = name.trim_end_matches(['.', ',', ':', '-']);
    let tail = name.get(core.len()..).unwrap_or_default();
    // An id may begin with a letter.
    let first = match core.len() == 36 && core.matches('-').count() == 4 {
        true => Some(0),
        false => core.find(|c: char| c.is_ascii_digit()),
    };
    match first {
        Some(at) => format!("{}…{tail}", core.get(..at).unwrap_or_default()),
        None => name.to_owned(),
    }
}

fn events(count: u64) -> String {
    format!("{} {}", thousands(count), if count == 1 { "event" } else { "events" })
}

/// `1,234,567`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! From a question to the places of one segment that answer it, without a look at the events.
//!
//! Exact but for what stands in message and data: what comes out is what [`Selection::matches`] would
//! choose among the rest, so a page reads only events that it returns.

use roaring::RoaringBitmap;

use super::keys::{DROPPED, Dimension};
use crate::event::{Category, EventPriority, EventType, ROOT, Selection, SubjectPattern};

/// A segment, in memory or in the file.
pub(super) trait Postings {
    type Error;

    /// How many events it has.
    fn len(&self) -> u32;

    /// The places that have this value.
    fn get(&self, dimension: Dimension, value: &str) -> Result<Option<RoaringBitmap>, Self::Error>;

    /// Every value of a dimension with the places that have it.
    fn values(&self, dimension: Dimension) -> Result<Vec<(String, RoaringBitmap)>, Self::Error>;

    /// When the events at these places happened, in microseconds.
    fn times(&self, places: &RoaringBitmap) -> Result<Vec<i64>, Self::Error>;

    /// The places whose time is at least `since` and before `until`, in microseconds.
    fn within(&self, since: i64, until: i64) -> Result<RoaringBitmap, Self::Error>;
}

/// Whether the index helps: a question for nearly everything is answered faster by reading on.
pub(in crate::store) fn helps(selection: &Selection) -> bool {
    !selection.types.is_empty()
        || selection.project.is_some()
        || selection.session.is_some()
        || selection.min_priority > EventPriority::Info
        || selection.since.is_some()
        || selection.until.is_some()
        || selection.text.is_some()
        || (!selection.patterns.is_empty()
            && !selection.patterns.contains(&SubjectPattern::everything()))
}

/// The places of `segment` that are chosen.
pub(super) fn choose<P: Postings>(
    segment: &P,
    selection: &Selection,
) -> Result<RoaringBitmap, P::Error> {
    let mut chosen = Chosen(None);
    let found = |dimension, value: &str| Ok(segment.get(dimension, value)?.unwrap_or_default());
    // The rarest first: most segments are done after one look.
    if let Some(session) = &selection.session {
        chosen.and(found(Dimension::Session, session.as_str())?);
    }
    if let Some(project) = &selection.project
        && !chosen.is_empty()
    {
        chosen.and(found(Dimension::Project, project.as_str())?);
    }
    if !selection.types.is_empty() && !chosen.is_empty() {
        let mut any = RoaringBitmap::new();
        for event_type in &selection.types {
            any |= found(Dimension::Type, event_type.as_str())?;
        }
        chosen.and(any);
    }
    if !selection.patterns.is_empty() && !chosen.is_empty() {
        let mut any = RoaringBitmap::new();
        for pattern in &selection.patterns {
            any |= matching(segment, pattern)?;
        }
        chosen.and(any);
    }
    if selection.min_priority > EventPriority::Info && !chosen.is_empty() {
        let mut any = RoaringBitmap::new();
        for priority in EventPriority::ALL.into_iter().filter(|p| *p >= selection.min_priority) {
            any |= found(Dimension::Priority, priority.as_str())?;
        }
        chosen.and(any);
    }
    if (selection.since.is_some() || selection.until.is_some()) && !chosen.is_empty() {
        let since = selection.since.map_or(i64::MIN, |since| since.micros());
        let until = selection.until.map_or(i64::MAX, |until| until.micros());
        chosen.and(segment.within(since, until)?);
    }
    let mut chosen = chosen.0.unwrap_or_else(|| all(segment));
    if !selection.include_dropped && !chosen.is_empty() {
        chosen -= found(Dimension::Dropped, DROPPED)?;
    }
    Ok(chosen)
}

/// `None` is every place.
struct Chosen(Option<RoaringBitmap>);

impl Chosen {
    fn and(&mut self, places: RoaringBitmap) {
        match &mut self.0 {
            Some(chosen) => *chosen &= places,
            none => *none = Some(places),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(RoaringBitmap::is_empty)
    }
}

fn all<P: Postings>(segment: &P) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..segment.len());
    all
}

/// The places whose subject matches: the shape of a subject says which tokens decide.
fn matching<P: Postings>(segment: &P, pattern: &SubjectPattern) -> Result<RoaringBitmap, P::Error> {
    let tokens: Vec<&str> = pattern.as_str().split('.').collect();
    let found = |dimension, value: &str| Ok(segment.get(dimension, value)?.unwrap_or_default());
    let mut any = RoaringBitmap::new();
    let (second, rest) = match tokens.as_slice() {
        [">"] => return Ok(all(segment)),
        [first, second, rest @ ..] if *first == ROOT || *first == "*" => (*second, rest),
        _ => return Ok(any),
    };
    if second == ">" {
        return Ok(all(segment));
    }
    // Whose tokens they are; looked up once for all categories.
    let owners = match rest {
        [owner, _] if !is_wild(owner) => {
            let owners = found(Dimension::Owner, owner)?;
            if owners.is_empty() {
                return Ok(any);
            }
            Some(owners)
        }
        _ => None,
    };
    for category in Category::ALL.into_iter().filter(|c| second == "*" || second == c.token()) {
        let wanted = match (category, rest) {
            (_, [">"]) => Wanted::Category,
            (Category::Lifecycle, [action]) => Wanted::action(action),
            (Category::Lifecycle, _) => Wanted::Nothing,
            (_, [_, action]) => Wanted::action(action),
            _ => Wanted::Nothing,
        };
        let mut places = match wanted {
            Wanted::Nothing => continue,
            Wanted::Category => found(Dimension::Category, category.token())?,
            Wanted::Action(action) => match type_of(category, action) {
                Some(name) => found(Dimension::Type, &name)?,
                None => continue,
            },
        };
        if let Some(owners) = &owners {
            places &= owners;
        }
        any |= places;
    }
    Ok(any)
}

enum Wanted<'a> {
    Nothing,
    Category,
    Action(&'a str),
}

impl<'a> Wanted<'a> {
    fn action(token: &'a str) -> Self {
        if is_wild(token) { Self::Category } else { Self::Action(token) }
    }
}

fn is_wild(token: &str) -> bool {
    matches!(token, "*" | ">")
}

/// The name of the type that has this action.
fn type_of(category: Category, action: &str) -> Option<String> {
    if category == Category::Custom {
        return Some(format!("custom.{action}"));
    }
    let mut types = EventType::BUILT_IN.iter();
    let found = types.find(|t| t.category() == category && t.action() == action)?;
    Some(found.as_str().to_owned())
}

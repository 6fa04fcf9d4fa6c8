//! The rows, as a table for people and as JSON for programs.

use std::{fs, path::Path};

use serde::Serialize;

/// One figure beside the bare thing.
#[derive(Debug, Serialize)]
pub struct Row {
    pub row: String,
    pub bare: Option<f64>,
    pub ennio: f64,
    pub unit: &'static str,
    pub ratio: Option<f64>,
    pub goal: String,
    pub holds: bool,
}

pub enum Goal {
    /// Ennio's figure is at least this share of the bare one.
    Share(f64),
    /// Ennio's figure is at most this multiple of the bare one.
    Multiple(f64),
    /// Ennio's figure is at least this.
    AtLeast(f64),
    /// Ennio's figure is at most this.
    AtMost(f64),
    /// Only told.
    None,
}

pub struct Table(Vec<Row>);

impl Table {
    pub fn new() -> Self {
        println!(
            "{:<58} {:>12} {:>12} {:<9} {:>7}  {:<12} holds",
            "row", "bare", "ennio", "unit", "ratio", "goal"
        );
        Self(Vec::new())
    }

    pub fn row(
        &mut self,
        row: &str,
        bare: Option<f64>,
        ennio: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        let ratio = bare.map(|bare| ennio / bare);
        let share = ratio.unwrap_or(f64::NAN);
        let (goal, holds) = match goal {
            Goal::Share(least) => (format!(">= {least} x"), share >= least),
            Goal::Multiple(most) => (format!("<= {most} x"), share <= most),
            Goal::AtLeast(least) => (format!(">= {least}"), ennio >= least),
            Goal::AtMost(most) => (format!("<= {most}"), ennio <= most),
            Goal::None => ("-".into(), true),
        };
        let text = |value: Option<f64>| value.map_or("-".into(), figure);
        println!(
            "{row:<58} {:>12} {:>12} {unit:<9} {:>7}  {goal:<12} {}",
            text(bare),
            figure(ennio),
            ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
            if holds { "yes" } else { "NO" }
        );
        self.0.push(Row { row: row.into(), bare, ennio, unit, ratio, goal, holds });
    }

    pub fn finish(self) {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench.json");
        fs::write(&target, serde_json::to_vec_pretty(&self.0).unwrap()).unwrap();
        println!("written to target/bench.json");
    }
}

fn figure(value: f64) -> String {
    match value {
        value if value >= 100_000.0 => format!("{:.0} k", value / 1000.0),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// The medians of two things measured three times, in turns, so that both see the same machine.
pub fn in_turns(mut bare: impl FnMut() -> f64, mut ennio: impl FnMut() -> f64) -> (f64, f64) {
    let mut figures = (Vec::new(), Vec::new());
    for _ in 0..3 {
        figures.0.push(bare());
        figures.1.push(ennio());
    }
    (quantile(&mut figures.0, 0.5), quantile(&mut figures.1, 0.5))
}

/// The `share`-th of values, which are sorted for it.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = ((values.len() as f64 * share) as usize).min(values.len() - 1);
    values[at]
}

//! How two states of something differ, in lines for people.

use serde_json::value::RawValue;

use super::{
    output::{Colours, json_line, plain},
    table::cut,
};
use crate::trial::Difference;

/// The longest value or text that is shown, in columns.
pub(super) const SHOWN: usize = 400;

/// A line with `-` and one with `+` for each place where two states part, which begins with `root`.
pub(super) fn difference_lines(
    root: &str,
    differences: &[Difference],
    colours: Colours,
) -> Vec<String> {
    let mut lines = Vec::new();
    for Difference { path, from, to } in differences {
        for (sign, style, side) in [('-', colours.bad(), from), ('+', colours.good(), to)] {
            if let Some(value) = side.as_deref().map(RawValue::get) {
                let line = format!("{sign} {root}{path} {}", json_line(value));
                let line = format!("    {}", cut(&plain(line.trim()), SHOWN));
                lines.push(style.style(line).to_string());
            }
        }
    }
    lines
}

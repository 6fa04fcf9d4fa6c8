//! Aligned columns.

use owo_colors::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::output::plain;

/// Columns stand this far apart.
const GAP: usize = 2;
/// A column is made no narrower than this to fit a window.
const NARROWEST: usize = 8;

/// One column: how it begins, which way it leans, and whether it may be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    right: bool,
    whole: bool,
}

/// A column of text.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, right: false, whole: false }
}

/// A column of text that says nothing when it is cut.
pub(super) const fn whole(name: &'static str) -> Column {
    Column { name, right: false, whole: true }
}

/// A column of figures; never cut.
pub(super) const fn figures(name: &'static str) -> Column {
    Column { name, right: true, whole: true }
}

/// What stands in one place; escaped already.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(content: impl ToString) -> Self {
        Self { text: plain(&content.to_string()).into_owned(), style: Style::new() }
    }

    pub(super) fn styled(content: impl ToString, style: Style) -> Self {
        Self { style, ..Self::new(content) }
    }
}

/// Rows under a heading; a row may be followed by lines of its own.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Vec<Cell>, Vec<Cell>)>,
}

impl Table {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push((cells.into(), Vec::new()));
    }

    /// A line under the last row, over all columns.
    pub(super) fn under(&mut self, line: Cell) {
        if let Some((_, lines)) = self.rows.last_mut() {
            lines.push(line);
        }
    }

    /// The lines, at most `width` columns wide where that can be had by cutting the widest columns.
    pub(super) fn lines(&self, heading: Option<Style>, width: Option<usize>) -> Vec<String> {
        let widths = self.widths(width);
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if let Some(style) = heading {
            let names = self.columns.iter().map(|column| Cell::styled(column.name, style));
            lines.push(self.line(&names.collect::<Vec<_>>(), &widths));
        }
        for (cells, under) in &self.rows {
            lines.push(self.line(cells, &widths));
            lines.extend(under.iter().map(|cell| {
                let text =
                    cut(&cell.text, width.map_or(usize::MAX, |width| width.saturating_sub(4)));
                format!("    {}", cell.style.style(text))
            }));
        }
        lines
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let natural = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(at));
            cells.map(|cell| cell.text.width()).chain([column.name.width()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let Some(limit) = limit else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            // Of equally wide ones the last: it holds the longest text.
            let widest = widths.iter_mut().zip(&self.columns).filter(|(_, column)| !column.whole);
            match widest.map(|(width, _)| width).max() {
                Some(width) if *width > NARROWEST => *width -= 1,
                _ => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        let last = widths.len().saturating_sub(1);
        for (at, ((column, cell), width)) in self.columns.iter().zip(cells).zip(widths).enumerate()
        {
            let text = cut(&cell.text, *width);
            let pad = " ".repeat(width - text.width().min(*width));
            let styled = cell.style.style(&text);
            let gap = " ".repeat(GAP);
            match (column.right, at == last) {
                (true, true) => line += &format!("{pad}{styled}"),
                (true, false) => line += &format!("{pad}{styled}{gap}"),
                (false, true) => line += &format!("{styled}"),
                (false, false) => line += &format!("{styled}{pad}{gap}"),
            }
        }
        line
    }
}

/// `text`, cut to `width` columns, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect();
    short.push('…');
    short
}

//! Draws the curves: for each figure one SVG, the rates above, the memory below.

use std::{collections::BTreeSet, fs, path::Path};

use plotters::prelude::*;

use crate::scale::Point;

const LINES: [RGBColor; 3] = [RGBColor(31, 90, 166), RGBColor(200, 90, 20), RGBColor(40, 130, 70)];
const SIZE: (u32, u32) = (760, 520);

/// What is along the figure's horizontal axis, which is logarithmic.
const FIGURES: [(&str, &str); 5] = [
    ("stored", "events in the log"),
    ("plugins", "plugins loaded, and one"),
    ("streams", "live SSE streams"),
    ("size", "bytes of data in each event"),
    ("producers", "connections, one event a request"),
];

/// One picture for each figure.
pub fn draw(points: &[Point], folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (figure, axis) in FIGURES {
        let points: Vec<&Point> = points.iter().filter(|point| point.figure == figure).collect();
        let units: BTreeSet<&str> = points.iter().map(|point| point.unit).collect();
        let path = folder.join(format!("{figure}.svg"));
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let areas = root.split_evenly((units.len() + 1, 1));
        for (area, unit) in areas.iter().zip(&units) {
            let of_unit = points.iter().filter(|point| point.unit == *unit);
            let lines = of_unit.map(|point| (point.line, x(point), point.y)).collect();
            panel(area, axis, unit, lines);
        }
        panel(areas.last().unwrap(), axis, "MB", memory(&points));
        root.present().unwrap();
    }
}

/// The most that any line of the figure took, at each place of the axis.
fn memory(points: &[&Point]) -> Vec<(&'static str, f64, f64)> {
    let mut most: Vec<(f64, f64)> = Vec::new();
    for point in points {
        match most.iter_mut().find(|(at, _)| *at == x(point)) {
            Some((_, memory)) => *memory = memory.max(point.memory),
            None => most.push((x(point), point.memory)),
        }
    }
    most.into_iter().map(|(x, memory)| ("the host's memory at most", x, memory)).collect()
}

/// No plugin has a place on a logarithmic axis as well.
fn x(point: &Point) -> f64 {
    if point.figure == "plugins" { point.x + 1.0 } else { point.x }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, axis: &str, unit: &str, points: Vec<(&str, f64, f64)>) {
    let xs = || points.iter().map(|(_, x, _)| *x);
    let (low, high) = (xs().fold(f64::MAX, f64::min), xs().fold(0.0, f64::max));
    let top = points.iter().map(|(_, _, y)| *y).fold(0.0, f64::max) * 1.5;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(78)
        .build_cartesian_2d((low * 0.9..high * 1.1).log_scale(), 0.0..top)
        .unwrap();
    let number = |value: &f64| match *value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    };
    chart
        .configure_mesh()
        .x_desc(axis)
        .y_desc(unit)
        .y_labels(5)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .light_line_style(WHITE)
        .draw()
        .unwrap();
    let names: Vec<&str> =
        points.iter().map(|(line, ..)| *line).fold(Vec::new(), |mut seen, line| {
            if !seen.contains(&line) {
                seen.push(line);
            }
            seen
        });
    for (name, color) in names.iter().zip(LINES) {
        let mine = points.iter().filter(|(line, ..)| line == name);
        let mine: Vec<(f64, f64)> = mine.map(|(_, x, y)| (*x, *y)).collect();
        let dots = mine.iter().map(|at| Circle::new(*at, 3, color.filled()));
        chart.draw_series(dots).unwrap();
        chart
            .draw_series(LineSeries::new(mine.clone(), color.stroke_width(2)))
            .unwrap()
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()
        .unwrap();
}

//! SVG charts that are readable in a light and in a dark page.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const WIDTH: u32 = 860;
const FONT: &str = "sans-serif";

/// Each colour in a light and in a dark page. The charts are drawn in the light ones; see [`themed`].
const PAPER: (RGBColor, &str) = (RGBColor(0xff, 0xff, 0xff), "#0d1117");
const INK: (RGBColor, &str) = (RGBColor(0x1f, 0x23, 0x28), "#e6edf3");
const FAINT: (RGBColor, &str) = (RGBColor(0xd0, 0xd7, 0xde), "#30363d");
/// The colours of the series: Okabe and Ito's, which colour-blind readers can tell apart.
const SERIES: [(RGBColor, &str); 7] = [
    (RGBColor(0x00, 0x72, 0xb2), "#56b4e9"),
    (RGBColor(0xe6, 0x9f, 0x00), "#e69f00"),
    (RGBColor(0x00, 0x9e, 0x73), "#2bb58d"),
    (RGBColor(0xcc, 0x79, 0xa7), "#cc79a7"),
    (RGBColor(0x7a, 0x7f, 0x87), "#9aa1a9"),
    (RGBColor(0xd5, 0x5e, 0x00), "#f0793a"),
    (RGBColor(0x56, 0x3a, 0x9c), "#a68be0"),
];

/// A chart's texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The heading.
    pub title: &'a str,
    /// The horizontal axis, with its unit.
    pub x: &'a str,
    /// The vertical axis, with its unit.
    pub y: &'a str,
}

/// One line: its name and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// Draws lines over two logarithmic axes.
///
/// # Errors
///
/// Fails if there are no points, or if a value is not positive.
pub fn lines(
    texts: Texts<'_>,
    lines: &[Line],
    x_label: fn(f64) -> String,
    y_label: fn(f64) -> String,
) -> Drawn<String> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let range = |values: &mut dyn Iterator<Item = f64>| -> Drawn<(f64, f64)> {
        let (least, most) = values.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        match least > 0.0 && least <= most {
            true => Ok((10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))),
            false => Err("a logarithmic axis needs positive values".into()),
        }
    };
    let (x_least, x_most) = range(&mut points().map(|(x, _)| *x))?;
    let (y_least, y_most) = range(&mut points().map(|(_, y)| *y))?;

    themed((WIDTH, 476), |root| {
        let body = heading(root, texts.title, lines.iter().map(|(name, _)| name.as_str()))?;
        let mut chart = ChartBuilder::on(&body)
            .margin_left(14)
            .margin_right(36)
            .margin_bottom(8)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d((x_least..x_most).log_scale(), (y_least..y_most).log_scale())?;
        chart
            .configure_mesh()
            .axis_style(FAINT.0)
            .bold_line_style(FAINT.0)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&INK.0))
            .x_desc(texts.x)
            .y_desc(texts.y)
            .axis_desc_style((FONT, 14).into_font().color(&INK.0))
            .x_label_formatter(&|x| x_label(*x))
            .y_label_formatter(&|y| y_label(*y))
            .draw()?;
        // The first, which is this crate, lies on top.
        for (n, (_, points)) in lines.iter().enumerate().rev() {
            let colour = colour(n);
            let width = if n == 0 { 3 } else { 2 };
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(width)))?;
            chart.draw_series(
                points
                    .iter()
                    .map(|point| Circle::new(*point, width + 1, colour.filled())),
            )?;
        }
        Ok(())
    })
}

/// One group of bars: its label, and each series' value with what is written beside it.
pub type Group = (String, Vec<(f64, String)>);

/// Draws groups of horizontal bars, one bar for each series.
///
/// # Errors
///
/// Fails if there is nothing to draw.
pub fn bars(title: &str, x: &str, series: &[&str], groups: &[Group]) -> Drawn<String> {
    const BAR: f64 = 12.0;
    const GAP: f64 = 14.0;
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.0);
    let most = most.fold(0.0, f64::max);
    if most <= 0.0 {
        return Err("there are no bars to draw".into());
    }
    let group_height = BAR * series.len() as f64 + GAP;
    let height = group_height * groups.len() as f64;

    themed((WIDTH, height as u32 + 138), |root| {
        let body = heading(root, title, series.iter().copied())?;
        let mut chart = ChartBuilder::on(&body)
            .margin_right(20)
            .margin_bottom(8)
            .x_label_area_size(50)
            .y_label_area_size(214)
            // Room for what is written beside the longest bar.
            .build_cartesian_2d(0.0..most * 1.1, height..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .axis_style(FAINT.0)
            .bold_line_style(FAINT.0)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&INK.0))
            .x_desc(x)
            .axis_desc_style((FONT, 14).into_font().color(&INK.0))
            .x_label_formatter(&|x| short(*x))
            .draw()?;
        let beside = (FONT, 11).into_font().color(&INK.0);
        let beside = beside.pos(Pos::new(HPos::Left, VPos::Center));
        let label = (FONT, 13).into_font().color(&INK.0);
        let label = label.pos(Pos::new(HPos::Right, VPos::Center));
        for (n, (name, bars)) in groups.iter().enumerate() {
            let top = group_height * n as f64 + GAP / 2.0;
            for (n, (value, text)) in bars.iter().enumerate() {
                let top = top + BAR * n as f64;
                let bar = Rectangle::new([(0.0, top), (*value, top + BAR - 1.0)], colour(n).filled());
                chart.draw_series([bar])?;
                let (x, y) = chart.backend_coord(&(*value, top + BAR / 2.0));
                let (left, width) = (x + 4, 7 * text.chars().count() as i32);
                root.draw(&Rectangle::new(
                    [(left, y - 5), (left + width, y + 5)],
                    PAPER.0.filled(),
                ))?;
                root.draw(&Text::new(text.as_str(), (left + 1, y), beside.clone()))?;
            }
            let middle = top + BAR * series.len() as f64 / 2.0;
            let (x, y) = chart.backend_coord(&(0.0, middle));
            let lines = wrap(name, 32);
            let first = y - 8 * (lines.len() as i32 - 1);
            for (line, y) in lines.into_iter().zip((first..).step_by(16)) {
                root.draw(&Text::new(line, (x - 10, y), label.clone()))?;
            }
        }
        Ok(())
    })
}

fn colour(series: usize) -> RGBColor {
    SERIES[series % SERIES.len()].0
}

/// Draws the title and the legend, and returns the area below them.
fn heading<'a, 'b>(root: &Area<'a>, title: &str, series: impl Iterator<Item = &'b str>) -> Drawn<Area<'a>> {
    let bold = (FONT, 17, FontStyle::Bold).into_font().color(&INK.0);
    root.draw(&Text::new(title, (16, 14), bold))?;
    let style = (FONT, 14).into_font().color(&INK.0);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, mut y) = (16, 48);
    for (n, name) in series.enumerate() {
        // The font is the reader's, so this is an estimate.
        let width = 48 + 8 * name.chars().count() as i32;
        if x + width > WIDTH as i32 {
            (x, y) = (16, y + 20);
        }
        root.draw(&Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour(n).filled()))?;
        root.draw(&Text::new(name, (x + 20, y), style.clone()))?;
        x += width;
    }
    Ok(root.split_vertically(y + 28).1)
}

/// Breaks a label after its commas into lines of that many characters at most, if its parts are not longer.
fn wrap(label: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in label.split_inclusive(", ") {
        match lines.last_mut() {
            Some(line) if (line.chars().count() + part.trim_end().chars().count()) <= width => line.push_str(part),
            _ => lines.push(part.to_owned()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A number without needless decimals.
fn short(number: f64) -> String {
    format!("{}", (number * 100.0).round() / 100.0)
}

/// Draws on a fresh background, and lets the picture follow the reader's light or dark theme.
fn themed(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER.0)?;
        draw(&root)?;
        root.present()?;
    }
    // A style sheet wins over the attributes that hold the light colours.
    let mut style = String::from("\n<style>@media (prefers-color-scheme: dark) {\n");
    for (RGBColor(red, green, blue), dark) in [PAPER, INK, FAINT].into_iter().chain(SERIES) {
        for attribute in ["fill", "stroke"] {
            let light = format!("#{red:02X}{green:02X}{blue:02X}");
            style.push_str(&format!("[{attribute}=\"{light}\"] {{ {attribute}: {dark}; }}\n"));
        }
    }
    style.push_str("}</style>");
    let end = svg.find('>').ok_or("no SVG was drawn")? + 1;
    svg.insert_str(end, &style);
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::{Texts, bars, lines, wrap};

    #[test]
    fn charts_name_what_they_show_and_have_a_dark_theme() {
        let texts = Texts {
            title: "time",
            x: "entries",
            y: "ns",
        };
        let line = ("ours".to_owned(), vec![(1.0, 40.0), (10_000.0, 60.0)]);
        let svg = lines(texts, &[line], |x| x.to_string(), |y| y.to_string()).expect("a chart");
        for text in ["time", "entries", "ns", "ours", "prefers-color-scheme: dark"] {
            assert!(svg.contains(text), "{text}");
        }
        let group = ("one row".to_owned(), vec![(1.0, "12k".to_owned())]);
        let svg = bars("rate", "requests per second", &["ours"], &[group]).expect("a chart");
        for text in ["rate", "requests per second", "ours", "one row", "12k"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn every_colour_has_its_dark_counterpart() {
        let group = ("row".to_owned(), vec![(1.0, String::new()); 7]);
        let svg = bars("t", "x", &["a", "b", "c", "d", "e", "f", "g"], &[group]).expect("a chart");
        for attribute in ["fill", "stroke"] {
            for part in svg.split(&format!(" {attribute}=\"")).skip(1) {
                let colour = part.split('"').next().unwrap_or_default();
                let styled = format!("[{attribute}=\"{colour}\"]");
                assert!(colour == "none" || svg.contains(&styled), "{attribute} {colour}");
            }
        }
    }

    #[test]
    fn without_values_there_is_no_chart() {
        assert!(bars("t", "x", &[], &[]).is_err());
        let texts = Texts {
            title: "",
            x: "",
            y: "",
        };
        assert!(lines(texts, &[], |x| x.to_string(), |y| y.to_string()).is_err());
    }

    #[test]
    fn labels_are_wrapped_after_commas() {
        assert_eq!(wrap("one, two, three", 9), ["one, two,", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two three"]);
    }
}

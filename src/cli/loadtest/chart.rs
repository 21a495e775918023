//! Charts as SVG text: lines over an axis, and bars. No fonts, no scripts, no network.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 46.0;
const COLOURS: [&str; 6] = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];
/// About as many marks as an axis gets.
const MARKS: f64 = 5.0;

/// What a chart is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) across: Across<'a>,
}

/// How the x axis of lines counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Across<'a> {
    /// In even steps.
    Even,
    /// In powers of two, as connections do.
    Doubling,
    /// 0, 1, … stand for these.
    Named(&'a [&'a str]),
}

/// One line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws lines; axes begin at zero, but a doubling one at its first point.
pub(super) fn lines(chart: &Chart<'_>, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|line| &line.points);
    let doubling = chart.across == Across::Doubling;
    let across = |x: f64| if doubling { x.max(1.0).log2() } else { x };
    let least = points().map(|point| across(point.0)).fold(f64::INFINITY, f64::min);
    let left = if doubling && least.is_finite() { least } else { 0.0 };
    let right = points().map(|point| across(point.0) - left).fold(0.0, f64::max).max(1e-9);
    let top = ceiling_of(points().map(|point| point.1).fold(0.0, f64::max));
    let place = |(x, y): (f64, f64)| {
        let x = LEFT + (across(x) - left) / right * (WIDTH - LEFT - RIGHT);
        (x, HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM))
    };
    let mut svg = frame(chart, top);
    for x in x_marks(points().map(|point| point.0), chart.across) {
        let at = place((x, 0.0)).0;
        let name = match chart.across {
            Across::Named(names) => names.get(x as usize).copied().unwrap_or_default().to_owned(),
            Across::Even | Across::Doubling => short(x),
        };
        label(&mut svg, (at, HEIGHT - BOTTOM + 16.0), "middle", &name);
    }
    for (number, line) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        polyline(&mut svg, colour, line.points.iter().map(|point| place(*point)));
        legend(&mut svg, number, colour, &line.name);
    }
    svg + "</svg>"
}

/// Draws one bar for each named value.
pub(super) fn bars(chart: &Chart<'_>, bars: &[(String, f64)]) -> String {
    let top = ceiling_of(bars.iter().map(|bar| bar.1).fold(0.0, f64::max));
    let room = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
    let mut svg = frame(chart, top);
    for (number, (name, value)) in bars.iter().enumerate() {
        let height = value / top * (HEIGHT - TOP - BOTTOM);
        let (x, y) = (LEFT + room * number as f64, HEIGHT - BOTTOM - height);
        let (inset, width) = (x + room * 0.1, room * 0.8);
        let fill = COLOURS[0];
        push(
            &mut svg,
            format_args!(
                "<rect x=\"{inset:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
                 height=\"{height:.1}\" fill=\"{fill}\"/>"
            ),
        );
        label(&mut svg, (x + room / 2.0, HEIGHT - BOTTOM + 16.0), "middle", name);
    }
    svg + "</svg>"
}

/// Text that may stand in SVG and HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as short as a chart needs it: 12.5k, 1M, 0.25.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        large if large >= 1e6 => (number / 1e6, "M"),
        large if large >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = match scaled.abs() {
        size if size >= 100.0 => format!("{scaled:.0}"),
        size if size >= 10.0 => format!("{scaled:.1}"),
        size if size >= 1.0 => format!("{scaled:.2}"),
        _ => format!("{scaled:.3}"),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

/// Title, axes and the marks of the y axis.
fn frame(chart: &Chart<'_>, top: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#334155\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
    );
    let title = escaped(chart.title);
    push(
        &mut svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"18\" font-size=\"14\" font-weight=\"600\">{title}</text>"
        ),
    );
    let mut value = 0.0;
    while value <= top * 1.001 {
        let y = HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let end = WIDTH - RIGHT;
        push(
            &mut svg,
            format_args!("<path d=\"M{LEFT} {y:.1}H{end}\" stroke=\"#e2e8f0\" fill=\"none\"/>"),
        );
        label(&mut svg, (LEFT - 6.0, y + 4.0), "end", &short(value));
        value += step(top);
    }
    label(&mut svg, (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 8.0), "middle", chart.x);
    let middle = TOP + (HEIGHT - TOP - BOTTOM) / 2.0;
    let y = escaped(chart.y);
    push(
        &mut svg,
        format_args!(
            "<text transform=\"translate(14 {middle}) rotate(-90)\" \
             text-anchor=\"middle\">{y}</text>"
        ),
    );
    svg
}

fn x_marks(all: impl Iterator<Item = f64>, across: Across<'_>) -> Vec<f64> {
    let mut found: Vec<f64> = all.collect();
    found.sort_by(f64::total_cmp);
    found.dedup();
    if across != Across::Even || found.len() <= 8 {
        return found;
    }
    let most = found.last().copied().unwrap_or(1.0);
    let step = step(most);
    (0..).map(|count| f64::from(count) * step).take_while(|mark| *mark <= most).collect()
}

fn polyline(svg: &mut String, colour: &str, points: impl Iterator<Item = (f64, f64)>) {
    let mut path = String::new();
    let mut dots = String::new();
    for (x, y) in points {
        push(&mut path, format_args!("{x:.1},{y:.1} "));
        push(&mut dots, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"));
    }
    push(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <g fill=\"{colour}\">{dots}</g>",
            path.trim_end()
        ),
    );
}

fn legend(svg: &mut String, number: usize, colour: &str, name: &str) {
    let x = LEFT + 130.0 * number as f64;
    push(
        svg,
        format_args!("<rect x=\"{x}\" y=\"28\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"),
    );
    label(svg, (x + 15.0, 37.0), "start", name);
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = escaped(text);
    push(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"),
    );
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}

/// The distance between marks: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let rough = (most / MARKS).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The upper end of an axis: the next mark above everything.
fn ceiling_of(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    (most / step(most)).ceil() * step(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: Chart<'_> = Chart { title: "a < b", x: "x", y: "y", across: Across::Doubling };

    #[test]
    fn an_axis_ends_on_a_round_mark() {
        assert_eq!((step(47.0), ceiling_of(47.0)), (10.0, 50.0));
        assert_eq!(ceiling_of(0.0), 1.0);
        assert_eq!(ceiling_of(37_000.0), 40_000.0);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.25, 3.0, 12.5, 100.0, 40_000.0, 12_345.0, 1e6].map(short);
        assert_eq!(shown, ["0.25", "3", "12.5", "100", "40k", "12.3k", "1M"]);
    }

    #[test]
    fn lines_are_well_formed_and_scaled() {
        let series = [Series { name: "n&m".into(), points: vec![(1.0, 0.0), (1024.0, 10.0)] }];
        let svg = lines(&CHART, &series);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
        assert!(svg.contains("a &lt; b") && svg.contains("n&amp;m"));
        assert!(svg.contains("points=\"70.0,274.0 700.0,52.0\""), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_still_a_chart() {
        for svg in [lines(&CHART, &[]), bars(&CHART, &[])] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn the_highest_bar_reaches_its_value() {
        let svg = bars(&CHART, &[("a".into(), 5.0), ("b".into(), 10.0)]);
        assert!(svg.contains("height=\"222.0\"") && svg.contains("height=\"111.0\""), "{svg}");
    }
}

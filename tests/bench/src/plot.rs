//! Lines over two logarithmic axes, as SVG that can be read on light and on dark ground.

use std::fmt::Write as _;

/// A picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) lines: Vec<Line>,
}

/// One of its lines.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) stroke: Stroke,
    /// Rising, and larger than nothing.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stroke {
    pub(crate) colour: &'static str,
    pub(crate) wide: u32,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
/// Room for the names of the lines.
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// From one name to the next.
const ROW: f64 = 16.0;

const STYLE: &str = "<style>\
    text { font: 13px sans-serif; fill: #222 } .title { font-size: 15px; font-weight: bold } \
    .ground { fill: #fff } .grid { stroke: #ddd } .axis { stroke: #666 } \
    @media (prefers-color-scheme: dark) { text { fill: #ddd } .ground { fill: #161b22 } \
    .grid { stroke: #333 } .axis { stroke: #999 } }</style>";

/// A logarithmic axis: which values it spans, and where on the picture these are.
#[derive(Clone, Copy, Debug)]
struct Axis {
    values: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    /// One on which all of these have a place.
    fn over(values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(v), most.max(v)));
        // A little room at both ends.
        Self { values: (least / 1.3, most * 1.3), places }
    }

    fn place(self, value: f64) -> f64 {
        let part = (value / self.values.0).ln() / (self.values.1 / self.values.0).ln();
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    /// Round values on it: powers of ten, and what is between them if there are few.
    fn marks(self) -> Vec<f64> {
        let decades = (self.values.1 / self.values.0).log10();
        let steps: &[f64] = if decades > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut marks = Vec::new();
        let mut decade = 10_f64.powf(self.values.0.log10().floor());
        while decade <= self.values.1 {
            marks.extend(steps.iter().map(|step| step * decade));
            decade *= 10.0;
        }
        marks.retain(|mark| *mark >= self.values.0 && *mark <= self.values.1);
        marks
    }
}

/// A value as short as it gets.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v if v >= 1.0 => format!("{v}"),
        v => {
            let text = format!("{v:.6}");
            text.trim_end_matches('0').to_owned()
        }
    }
}

impl Plot {
    /// The picture; none if there is no line in it.
    pub(crate) fn to_svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        if !self.lines.iter().any(|line| line.points.len() > 1) {
            return None;
        }
        let x = Axis::over(points().map(|(x, _)| *x), (LEFT, WIDTH - RIGHT));
        let y = Axis::over(points().map(|(_, y)| *y), (HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
             <title>{}</title>\n{STYLE}\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
            self.title
        );
        self.frame(&mut svg, x, y);
        self.draw(&mut svg, x, y);
        svg += "</svg>\n";
        Some(svg)
    }

    fn frame(&self, svg: &mut String, x: Axis, y: Axis) {
        let (left, right) = x.places;
        let (bottom, top) = y.places;
        for value in x.marks() {
            let at = x.place(value);
            put(svg, &line("grid", (at, bottom), (at, top)));
            put(svg, &text("middle", at, bottom + 18.0, &short(value)));
        }
        for value in y.marks() {
            let at = y.place(value);
            put(svg, &line("grid", (left, at), (right, at)));
            put(svg, &text("end", left - 8.0, at + 4.0, &short(value)));
        }
        put(svg, &line("axis", (left, bottom), (right, bottom)));
        put(svg, &line("axis", (left, bottom), (left, top)));
        put(svg, &text("middle", f64::midpoint(left, right), HEIGHT - 12.0, &self.x));
        let title = format!("{}: {}", self.title, self.y);
        put(svg, &format!("<text class=\"title\" x=\"12\" y=\"22\">{title}</text>"));
    }

    fn draw(&self, svg: &mut String, x: Axis, y: Axis) {
        let mut names = Vec::new();
        for line in &self.lines {
            let Stroke { colour, wide } = line.stroke;
            let places: Vec<_> =
                line.points.iter().map(|(a, b)| (x.place(*a), y.place(*b))).collect();
            let path: Vec<_> = places.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            put(
                svg,
                &format!(
                    "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{wide}\" points=\"{}\"/>",
                    path.join(" ")
                ),
            );
            for (a, b) in &places {
                put(
                    svg,
                    &format!("<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3.5\" fill=\"{colour}\"/>"),
                );
            }
            if let Some((a, b)) = places.last() {
                names.push((*b, *a, colour, line.name.as_str()));
            }
        }
        // Each name beside the end of its line, or below the name above it.
        names.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut above = TOP - ROW;
        for (end, from, colour, name) in names {
            let at = end.max(above + ROW);
            above = at;
            let begin = WIDTH - RIGHT + 14.0;
            put(
                svg,
                &format!(
                    "<line stroke=\"{colour}\" stroke-dasharray=\"2 3\" x1=\"{:.1}\" y1=\"{end:.1}\" x2=\"{begin}\" y2=\"{at:.1}\"/>",
                    from + 5.0
                ),
            );
            put(svg, &text("start", begin + 4.0, at + 4.0, name));
        }
    }
}

fn put(svg: &mut String, what: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{what}");
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

fn text(anchor: &str, x: f64, y: f64, what: &str) -> String {
    format!("<text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_has_a_place_for_each_value() {
        let axis = Axis::over([1.0, 100.0].into_iter(), (0.0, 10.0));
        assert!((axis.place(10.0) - 5.0).abs() < 1e-9);
        assert!(axis.place(1.0) > 0.0 && axis.place(100.0) < 10.0);
        assert_eq!(axis.marks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn a_picture_without_a_line_is_none() {
        let line = Line {
            name: "one".to_owned(),
            stroke: Stroke { colour: "#888", wide: 1 },
            points: vec![(1.0, 1.0)],
        };
        let plot = Plot { title: "t".into(), x: "x".into(), y: "y".into(), lines: vec![line] };
        assert_eq!(plot.to_svg(), None);
    }
}

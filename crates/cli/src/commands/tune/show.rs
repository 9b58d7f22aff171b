//! Cost against latency, for people, for programs, and as a picture.

use super::{
    copy::Copy,
    measure::{Measured, Point},
};
use crate::{
    args::Book,
    output::{Paint, table},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What keeps the run times from being those of a busy node or of another platform.
const CAVEAT: &str = "unless the node's sandbox.hard_cpu_quota is set, a function may use processors that nobody else wants: \
                      small sizes then look faster than on a busy node or elsewhere";
/// Characters of the longest bar.
const BAR: usize = 24;

/// Memory sizes worth naming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Best {
    cheapest: u32,
    fastest: u32,
    /// Least product of cost and time.
    balanced: u32,
}

fn dollars(measured: &Measured, book: Book) -> f64 {
    let text = measured.cost_per_million.get(book.as_str());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn best(points: &[Point], book: Book) -> Option<Best> {
    let least = |value: &dyn Fn(&Measured) -> f64| {
        let known =
            points.iter().filter_map(|point| Some((point.memory_mb, value(point.measured.as_ref()?))));
        known.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(memory, _)| memory)
    };
    Some(Best {
        cheapest: least(&|measured| dollars(measured, book))?,
        fastest: least(&|measured| measured.mean_ms)?,
        balanced: least(&|measured| dollars(measured, book) * measured.mean_ms)?,
    })
}

/// One memory size as it is measured.
pub(super) fn line(point: &Point, book: Book) -> String {
    match &point.measured {
        Some(measured) => {
            format!("{:.1} ms, $ {:.4} a million calls", measured.mean_ms, dollars(measured, book))
        }
        None => "no call succeeded".to_owned(),
    }
}

/// All of it in a terminal.
pub(super) fn report(name: &str, points: &[Point], book: Book, paint: Paint) -> String {
    let measured = || points.iter().filter_map(|point| point.measured.as_ref());
    let slowest = measured().map(|measured| measured.mean_ms).fold(0.0, f64::max);
    let dearest = measured().map(|measured| dollars(measured, book)).fold(0.0, f64::max);
    let rows = points.iter().map(|point| {
        let mut row = vec![point.memory_mb.to_string()];
        match &point.measured {
            Some(measured) => row.extend([
                format!("{:.1}", measured.mean_ms),
                bar(measured.mean_ms, slowest),
                format!("{:.4}", dollars(measured, book)),
                bar(dollars(measured, book), dearest),
                measured.memory_used_mb.to_string(),
                point.failures.to_string(),
            ]),
            None => row.extend(
                ["-", "", "-", "", "-"].map(str::to_owned).into_iter().chain([point.failures.to_string()]),
            ),
        }
        row
    });
    let header = ["MB", "MEAN MS", "", "$/MILLION", "", "MB USED", "FAILED"];
    let text = table(&header, &[0, 1, 3, 5, 6], rows.collect());
    let Some(best) = best(points, book) else { return text };
    let verdict = format!(
        "{name}: cheapest at {} MB, fastest at {} MB, best of both at {} MB",
        best.cheapest, best.fastest, best.balanced
    );
    format!("{text}\n\n{}\nprices of {}, without free tier; {CAVEAT}", paint.bold(&verdict), book.as_str())
}

fn bar(value: f64, most: f64) -> String {
    let share = if most > 0.0 { value / most } else { 0.0 };
    "█".repeat((share * BAR as f64).round().clamp(0.0, BAR as f64) as usize)
}

/// The JSON form.
pub(super) fn document(copy: &Copy, calls: u32, points: &[Point], book: Book) -> Value {
    let best = best(points, book);
    json!({
        "function": copy.original,
        "architecture": if copy.arm { "arm64" } else { "x86_64" },
        "calls": calls,
        "book": book.as_str(),
        "points": points,
        "caveat": CAVEAT,
        "cheapest": best.map(|best| best.cheapest),
        "fastest": best.map(|best| best.fastest),
        "balanced": best.map(|best| best.balanced),
    })
}

/// Width, height and margin of the picture.
const SIZE: (f64, f64) = (720.0, 400.0);
const MARGIN: f64 = 70.0;
const TIME_COLOUR: &str = "#1f6feb";
const COST_COLOUR: &str = "#d1242f";

/// Two curves over the memory sizes: mean run time and cost, each on its own axis from zero.
pub(super) fn svg(name: &str, points: &[Point], book: Book) -> String {
    let known: Vec<(u32, &Measured)> =
        points.iter().filter_map(|point| Some((point.memory_mb, point.measured.as_ref()?))).collect();
    let (width, height) = SIZE;
    let x = |index: usize| {
        let steps = known.len().saturating_sub(1).max(1) as f64;
        MARGIN + (width - 2.0 * MARGIN) * index as f64 / steps
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"24\" text-anchor=\"middle\" font-size=\"15\">{}: run time and cost by memory</text>\n",
        width / 2.0,
        escaped(name)
    );
    let times: Vec<f64> = known.iter().map(|(_, measured)| measured.mean_ms).collect();
    let costs: Vec<f64> = known.iter().map(|(_, measured)| dollars(measured, book)).collect();
    let cost_title = format!("$ a million calls ({})", book.as_str());
    for (values, colour, title, at, anchor) in [
        (&times, TIME_COLOUR, "mean ms", MARGIN, "start"),
        (&costs, COST_COLOUR, cost_title.as_str(), width - MARGIN, "end"),
    ] {
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let y = |value: f64| height - MARGIN - (height - 2.0 * MARGIN) * value / most;
        let path: Vec<_> =
            values.iter().enumerate().map(|(i, value)| format!("{:.1},{:.1}", x(i), y(*value))).collect();
        let _ = writeln!(
            text,
            "<text x=\"{at}\" y=\"48\" text-anchor=\"{anchor}\" fill=\"{colour}\">{title}</text>\n\
             <polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        for (i, value) in values.iter().enumerate() {
            let _ = writeln!(
                text,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\
                 <text x=\"{0:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
                x(i),
                y(*value),
                y(*value) - 8.0,
                short(*value)
            );
        }
    }
    for (i, (memory, _)) in known.iter().enumerate() {
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{memory} MB</text>",
            x(i),
            height - MARGIN + 24.0
        );
    }
    text.push_str("</svg>\n");
    text
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    fn point(memory_mb: u32, mean_ms: f64, cost: &str) -> Point {
        let measured = Measured {
            calls: 3,
            mean_ms,
            cost_per_million: [("aws", cost.to_owned())].into(),
            ..Measured::default()
        };
        Point { memory_mb, failures: 0, failure: None, init_ms: None, measured: Some(measured) }
    }

    fn points() -> Vec<Point> {
        let failed = Point { measured: None, failures: 4, ..point(128, 0.0, "0") };
        vec![failed, point(256, 100.0, "2.00"), point(512, 40.0, "2.10"), point(1024, 39.0, "4.00")]
    }

    #[test]
    fn the_best_sizes_are_named() {
        let best = best(&points(), Book::Aws);
        assert_eq!(best, Some(Best { cheapest: 256, fastest: 1024, balanced: 512 }));
        assert_eq!(super::best(&points()[..1], Book::Aws), None);
        let output = Output { json: false, colour_out: false, colour_err: false, live: false };
        let text = report("f", &points(), Book::Aws, output.paint());
        assert!(text.contains("f: cheapest at 256 MB, fastest at 1024 MB, best of both at 512 MB"), "{text}");
        assert!(text.lines().nth(1).unwrap().trim_start().starts_with("128"), "{text}");
    }

    #[test]
    fn a_picture_shows_every_measured_size() {
        let text = svg("a<b", &points(), Book::Aws);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n") && text.contains("a&lt;b"), "{text}");
        assert_eq!((text.matches("<circle").count(), text.matches("<polyline").count()), (6, 2));
        assert!(!text.contains("128 MB") && text.contains("512 MB") && !text.contains("NaN"), "{text}");
        // One size has a picture too.
        assert!(!svg("f", &points()[1..2], Book::Aws).contains("NaN"));
    }
}

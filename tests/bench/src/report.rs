//! The figures as a page, with tables and pictures.

use std::{fmt::Write as _, fs, io, path::Path};

use crate::{
    figures::{Figures, Of, keys},
    plot::{Line, Plot, Stroke},
};

use self::section::{Curve, RELAY, SECTIONS, Section, Shows, recorded};

mod bars;
mod section;

/// The page, in Markdown.
pub(crate) fn page(figures: &Figures) -> String {
    let mut page = String::from(INTRODUCTION);
    page += &machine(figures);
    for section in SECTIONS {
        let Some(size) = main_size(figures, section.work) else { continue };
        page += &format!("\n## {}\n\n{}\n", section.title, section.what);
        page += &table(figures, section, size);
        if section.work == "turns" {
            page += &format!(
                "\nAppending a page of 4 KiB to a file and syncing that took {} ms, just before and after Helpline was measured.\n",
                shown(figures.median(sync()))
            );
        }
        page += &curves(figures, section);
        for (who, size, why) in figures.missing(section.work) {
            page +=
                &format!("\n{who}, {} {}: not run: {why}\n", figure(size as f64), section.counts);
        }
    }
    page += "\n## The bars\n\nWhat Helpline is to reach, and what it reached in this run. Ratios are to what was \
             measured in the same rounds.\n\n";
    page += &bars::table(figures);
    page
}

/// Writes the page, and its pictures into a directory beside it.
pub(crate) fn write(figures: &Figures, page_file: &Path) -> io::Result<()> {
    let directory = page_file.with_extension("");
    fs::create_dir_all(&directory)?;
    for section in SECTIONS {
        for curve in section.curves {
            if let Some(svg) = plot(figures, section, curve).to_svg() {
                fs::write(directory.join(curve.name).with_extension("svg"), svg)?;
            }
        }
    }
    fs::write(page_file, page(figures))
}

/// The size at which most have done this work.
fn main_size(figures: &Figures, work: &str) -> Option<u64> {
    let who = figures.who(work);
    let mut sizes: Vec<u64> = who.iter().flat_map(|who| figures.sizes(work, who)).collect();
    sizes.sort_unstable();
    let times = |size: &u64| sizes.iter().filter(|other| *other == size).count();
    sizes.iter().max_by_key(|size| (times(size), **size)).copied()
}

fn sync() -> Of<'static> {
    Of { work: "turns", who: section::HELPLINE, size: 1, key: keys::SYNC }
}

fn machine(figures: &Figures) -> String {
    let mut table = String::from("\n| | |\n|---|---|\n");
    for (what, is) in figures.facts() {
        // Writing to a string does not fail.
        let _ = writeln!(table, "| {what} | {is} |");
    }
    let _ = writeln!(table, "| rounds | {} |", figures.rounds());
    table
}

fn table(figures: &Figures, section: &Section, size: u64) -> String {
    let mut table = String::new();
    if size > 0 {
        table += &format!("\n{} {}:\n", figure(size as f64), section.counts);
    }
    let headings: Vec<_> = section.columns.iter().map(|column| column.heading).collect();
    table += &format!("\n| | {} |\n|---|{}\n", headings.join(" | "), "---|".repeat(headings.len()));
    for who in figures.who(section.work) {
        if !figures.sizes(section.work, who).contains(&size) {
            continue;
        }
        let of = |key| Of { work: section.work, who, size, key };
        let cells = section.columns.iter().map(|column| match column.shows {
            Shows::Recorded => recorded(who).to_owned(),
            Shows::Figure(key) => shown(figures.median(of(key))),
            Shows::Percent(key) => shown(figures.median(of(key)).map(|part| part * 100.0)),
            Shows::Millions(key) => shown(figures.median(of(key)).map(|number| number / 1e6)),
            Shows::Ratio(key, to) => shown(figures.ratio(of(key), Of { who: to, ..of(key) })),
        });
        let name = if who.starts_with("Helpline") { format!("**{who}**") } else { who.to_owned() };
        table += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    table
}

fn curves(figures: &Figures, section: &Section) -> String {
    let mut all = String::new();
    for curve in section.curves {
        let plot = plot(figures, section, curve);
        let mut sizes: Vec<u64> = Vec::new();
        for who in figures.who(section.work) {
            sizes.extend(figures.sizes(section.work, who));
        }
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < 2 {
            continue;
        }
        let names: Vec<_> = plot.lines.iter().map(|line| line.name.as_str()).collect();
        all += &format!("\n{}, by {}:\n\n", curve.unit, section.counts);
        all += &format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
        for size in sizes {
            let of = |who| Of { work: section.work, who, size, key: curve.key };
            let cells = names.iter().map(|who| shown(figures.median(of(who))));
            let cells: Vec<_> = cells.collect();
            all += &format!("| {} | {} |\n", figure(size as f64), cells.join(" | "));
        }
        if plot.to_svg().is_some() {
            let name = curve.name;
            all += &format!("\n![{}, by {}](performance/{name}.svg)\n", curve.unit, section.counts);
        }
    }
    all
}

/// What those did who did it at several sizes.
fn plot(figures: &Figures, section: &Section, curve: &Curve) -> Plot {
    let mut lines = Vec::new();
    for who in figures.who(section.work) {
        let sizes = figures.sizes(section.work, who);
        if sizes.len() < 2 {
            continue;
        }
        let point = |size: u64| {
            let of = Of { work: section.work, who, size, key: curve.key };
            Some((size as f64, figures.median(of)?))
        };
        let points = sizes.into_iter().filter_map(point);
        let points = points.filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        lines.push(Line { name: who.to_owned(), stroke: stroke(who), points });
    }
    Plot {
        title: section.title.to_owned(),
        x: section.counts.to_owned(),
        y: curve.unit.to_owned(),
        lines,
    }
}

/// The same on all pictures, in colours far enough from white and from black.
fn stroke(who: &str) -> Stroke {
    let (colour, wide) = match who {
        section::HELPLINE => ("#d9480f", 3),
        section::HELPLINE_TLS => ("#9c36b5", 3),
        RELAY | section::BARE => ("#868e96", 2),
        section::LOG => ("#1c7ed6", 2),
        section::BARE_TLS => ("#0c8599", 2),
        "NATS" => ("#e8a100", 2),
        _ => ("#2f9e44", 2),
    };
    Stroke { colour, wide }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(String::new, figure)
}

/// A number with three digits that count, and its thousands apart.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 || v == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let mut apart = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    let part = part.trim_end_matches('0');
    if part.is_empty() { apart } else { format!("{apart}.{part}") }
}

const INTRODUCTION: &str = "# What it costs, in figures

This page is made by `scripts/bench`, which does the same work with Helpline, with other servers, and with programs \
that do the least that can be done, and takes the figures from that; nothing here is written by hand.

```sh
scripts/bench             # the whole
scripts/bench --quick     # the same with less of everything, in about two minutes
scripts/bench --write     # writes this page
```

**What to trust.** The processor time of the server process for each message, connection or call, and ratios within one \
run. How many messages a second there are, and how long they take, depends on the machine, on its disk, and on what else \
it does; it may be twice or half as much tomorrow. So in each round everybody is measured in turn, ratios are \
taken within a round, and what is shown is the median of all rounds. A difference of less than a fifth is a tie.

**How it is measured.** The release program is measured from outside, over loopback, with its defaults, except that as many \
lines as somebody likes may be said a second (`--says 0`) and as many callers may wait (`--places 20000`). Who \
talks and who serves are different processes on the same machine; processor time is that of all threads of the server, as \
the system counts it. A text has 64 bytes. What is shown for *Helpline* is in plaintext, as are all the others; *Helpline, \
TLS* is the same under TLS 1.3.

**Who is measured.** *L1 raw relay* copies bytes from one connection to the other, in one thread, and does nothing else: \
nothing can cost less. *L5 raw synced log* appends everything that one look at its connections brings to one file, syncs that once, then \
sends it to the other end, and back as the acknowledgement: nothing can promise as much and cost less. The others are \
programs that people use to send each other messages. Only those that are *synced* promise what Helpline does: that \
what is acknowledged, and what anybody heard, is on the disk.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_that_count() {
        let all = [0.0, 0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, 2.0];
        let shown = all.map(figure);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "2"]);
    }

    #[test]
    fn a_page_has_what_was_measured_and_says_what_was_not() {
        let mut figures = Figures::default();
        for (round, rate) in [(0, 100.0), (1, 300.0)] {
            let values = |rate| crate::figures::Values::from([(keys::RATE, rate)]);
            figures.add("stream", RELAY, 50, round, &values(rate));
            figures.add("stream", section::LOG, 50, round, &values(rate / 2.0));
        }
        figures.not_run("stream", "ngircd", 50, "it isn't installed");
        let page = page(&Figures::from_json(&figures.to_json()).unwrap());
        assert!(page.contains("| L1 raw relay | no | 200 | 2 |"), "{page}");
        assert!(page.contains("ngircd, 50 pairs: not run: it isn't installed"), "{page}");
        assert!(page.contains("| not measured |"), "{page}");
    }
}

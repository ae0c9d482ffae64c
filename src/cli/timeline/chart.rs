//! The timeline on a terminal: a row of bars an instance, its typing below, and what blocks it in words.

use std::collections::BTreeMap;

use crate::cli::out::{counted, safe};
use crate::cli::timeline::axis::ticks;
use crate::cli::timeline::{LanePicture, Picture};
use crate::domain::time::{Millis, Timestamp};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Names longer than this are cut.
const LONGEST_NAME: usize = 16;

/// Wider charts are hard to follow.
const WIDEST: usize = 240;

/// Sends told one by one below each instance.
const NEXT: usize = 3;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const GREY: &str = "\u{1b}[90m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// Columns of a chart.
struct Grid {
    from: Timestamp,
    span: i64,
    columns: usize,
}

impl Grid {
    fn column(&self, at: Timestamp) -> usize {
        let place = i128::from(at.since(self.from).0) * i128::try_from(self.columns).unwrap_or(1);
        let place = place / i128::from(self.span);
        usize::try_from(place).unwrap_or(0).min(self.columns - 1)
    }

    /// How much of each column stretches cover, in ms.
    fn covered(&self, stretches: impl Iterator<Item = (Timestamp, Timestamp)>) -> Vec<i64> {
        let mut covered = vec![0; self.columns];
        let edge = |column: usize| {
            let part = i128::from(self.span) * i128::try_from(column).unwrap_or(0);
            self.from + Millis(i64::try_from(part / i128::try_from(self.columns).unwrap_or(1)).unwrap_or(0))
        };
        for (from, until) in stretches {
            for (column, sum) in covered.iter_mut().enumerate().take(self.column(until) + 1).skip(self.column(from)) {
                *sum += until.min(edge(column + 1)).since(from.max(edge(column))).0.max(0);
            }
        }
        covered
    }

    fn width(&self) -> i64 {
        (self.span / i64::try_from(self.columns).unwrap_or(1)).max(1)
    }
}

/// Draws a picture within so many columns.
pub(super) fn draw(picture: &Picture, columns: usize, coloured: bool) -> String {
    let longest = picture.lanes.iter().map(|l| l.name.chars().count()).max().unwrap_or(4);
    let label = longest.clamp(6, LONGEST_NAME) + 2;
    let grid = Grid {
        from: picture.from,
        span: picture.until.since(picture.from).0.max(1),
        columns: columns.min(WIDEST).saturating_sub(label + 1).max(24),
    };
    let paint = |style: &str, text: &str| {
        if coloured && !text.trim().is_empty() { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    };
    let day = |t: Timestamp| t.in_zone(&picture.zone.zone).strftime("%a %Y-%m-%d %H:%M:%S").to_string();
    let mut lines = vec![
        paint(BOLD, &format!("{} to {}", day(picture.from), day(picture.until))),
        paint(GREY, &format!("{}; a column is {}", picture.zone.name, coarse(Millis(grid.width())))),
        String::new(),
    ];
    let (labels, marks) = scale(picture, &grid);
    lines.push(format!("{:label$}{}", "", paint(GREY, &labels)));
    lines.push(format!("{:label$}{}", "", paint(GREY, &marks)));
    let counts: Vec<Vec<u64>> = picture.lanes.iter().map(|l| sends(l, &grid)).collect();
    let most = counts.iter().flatten().max().copied().unwrap_or(0).max(1);
    for (lane, counts) in picture.lanes.iter().zip(&counts) {
        let name: String = safe(&lane.name).chars().take(LONGEST_NAME).collect();
        let name = format!("{}{:space$}", paint(BOLD, &name), "", space = label.saturating_sub(name.chars().count()));
        lines.push(format!("{name}{}", bars(lane, &grid, counts, most, &paint)).trim_end().to_owned());
        let typed = grid.covered(lane.typing(picture.until).into_iter());
        if typed.iter().any(|ms| *ms > 0) {
            let dots: String = typed.iter().map(|ms| dot(*ms, grid.width())).collect();
            lines.push(format!("{:label$}{}", "typing", paint(YELLOW, dots.trim_end())));
        }
        lines.extend(words(lane, picture).into_iter().map(|l| format!("{:label$}{}", "", cut(&l, grid.columns))));
        lines.push(String::new());
    }
    if picture.lanes.is_empty() {
        lines.push("the database knows no instances; `onthedot run JOBS.yaml` applies a file".to_owned());
    } else {
        lines.push(paint(GREY, &format!("▁…█ sends (█ = {most} a column)   · • ● typing   ░ blocked")));
    }
    lines.join("\n")
}

/// The row of bars, and of what is blocked between them; runs of one kind are painted at once.
fn bars(lane: &LanePicture, grid: &Grid, counts: &[u64], most: u64, paint: &dyn Fn(&str, &str) -> String) -> String {
    let closed = grid.covered(joined(lane).into_iter());
    let cell = |column: usize| match counts[column] {
        0 if closed[column] * 2 >= grid.width() => (GREY, '░'),
        0 => ("", ' '),
        n => (GREEN, bar(n, most)),
    };
    let cells: Vec<(&str, char)> = (0..grid.columns).map(cell).collect();
    let runs = cells.chunk_by(|a, b| a.0 == b.0);
    runs.map(|run| paint(run[0].0, &run.iter().map(|(_, c)| *c).collect::<String>())).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn bar(n: u64, most: u64) -> char {
    // By the root, so that one beside a thousand is seen and three beside one are seen as more.
    let height = (n * 64).div_ceil(most).isqrt().clamp(1, 8);
    BARS[usize::try_from(height - 1).unwrap_or(0)]
}

fn dot(typed: i64, width: i64) -> char {
    match typed * 100 / width {
        _ if typed == 0 => ' ',
        0..10 => '·',
        10..60 => '•',
        _ => '●',
    }
}

/// Labels of the axis, and its line.
fn scale(picture: &Picture, grid: &Grid) -> (String, String) {
    let mut labels = vec![' '; grid.columns];
    let mut marks = vec!['─'; grid.columns];
    let mut free = 0;
    for tick in ticks(picture.from, picture.until, &picture.zone.zone, grid.columns / 10) {
        let column = grid.column(tick.at);
        marks[column] = '┬';
        let text: Vec<char> = tick.label.chars().collect();
        if column >= free && column + text.len() <= grid.columns {
            labels[column..column + text.len()].copy_from_slice(&text);
            free = column + text.len() + 2;
        }
    }
    (labels.into_iter().collect::<String>().trim_end().to_owned(), marks.into_iter().collect())
}

fn sends(lane: &LanePicture, grid: &Grid) -> Vec<u64> {
    let mut counts = vec![0; grid.columns];
    for (at, _) in lane.sends() {
        counts[grid.column(at)] += 1;
    }
    counts
}

/// Blocked stretches, those that touch joined.
fn joined(lane: &LanePicture) -> Vec<(Timestamp, Timestamp)> {
    let mut all: Vec<(Timestamp, Timestamp)> = Vec::new();
    for block in &lane.blocked {
        match all.last_mut().filter(|last| block.from <= last.1) {
            Some(last) => last.1 = last.1.max(block.until),
            None => all.push((block.from, block.until)),
        }
    }
    all
}

/// What one instance does and what blocks it, in words.
fn words(lane: &LanePicture, picture: &Picture) -> Vec<String> {
    let clock = |t: Timestamp| {
        let format = if picture.until.since(picture.from) > Millis(86_400_000) { "%a %d %H:%M:%S" } else { "%H:%M:%S" };
        t.in_zone(&picture.zone.zone).strftime(format).to_string()
    };
    let count = lane.sends().count();
    let late = lane.sends().filter(|(at, f)| *at > f.due_at).count();
    let mut lines = vec![match (count, late) {
        (0, _) => "nothing leaves".to_owned(),
        (n, 0) => format!("{}, each on its instant", counted(n, "send")),
        (n, late) => format!("{}, {late} later than due", counted(n, "send")),
    }];
    let mut by_why: BTreeMap<&str, (Timestamp, Timestamp, u64, Millis)> = BTreeMap::new();
    for b in &lane.blocked {
        let entry = by_why.entry(&b.why).or_insert((b.from, b.until, 0, Millis::ZERO));
        entry.2 += 1;
        entry.3 = entry.3 + b.until.since(b.from);
    }
    for (why, (from, until, times, sum)) in by_why {
        let more = match times {
            1 => String::new(),
            n => format!(", {n} times, {} in all", coarse(sum)),
        };
        lines.push(format!("░ {} {} to {}{more}", safe(why), clock(from), clock(until)));
    }
    for (at, f) in lane.sends().take(NEXT) {
        let job = f.job.as_deref().map_or(String::new(), |j| format!("  {}", safe(j)));
        lines.push(format!("→ {} {}{job}", clock(at), safe(f.to.as_str())));
    }
    if count > NEXT {
        lines.push(format!("  and {} more; --json lists all", count - NEXT));
    }
    lines
}

/// A length of time to the second, or to the minute where it is long.
fn coarse(length: Millis) -> Millis {
    match length.0 {
        0..10_000 => length,
        10_000..3_600_000 => Millis(length.0 / 1_000 * 1_000),
        _ => Millis(length.0 / 60_000 * 60_000),
    }
}

//! The line of a campaign that is under way: a bar and what goes with it, in the room there is.

use ratatui::text::Span;

use crate::domain::campaign::CampaignState;

/// Cells of the bar where there is room, and where there is little.
const WIDE: usize = 16;
const SMALL: usize = 8;

/// The widest and the narrowest that a name is shown.
const NAME: usize = 24;
const SHORT_NAME: usize = 8;

/// Between the parts of a line.
const DOT: &str = " · ";

/// What is known of a campaign, in numbers and ready words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Figures {
    /// What it is called, safe for a terminal.
    pub name: String,
    /// How it stands.
    pub state: CampaignState,
    /// Messages that were sent, of so many.
    pub sent: (u64, u64),
    /// Messages that failed.
    pub failed: u64,
    /// Sends of the last minute, and per minute of the last five where that is known; `None` while nothing was sent.
    pub rates: Option<(u64, Option<u64>)>,
    /// When it is foreseen to end.
    pub ends: Option<Ends>,
    /// Messages that reached a device, and those of them that were read.
    pub acks: (u64, u64),
    /// What it waits for, safe for a terminal.
    pub waits: Option<Waits>,
}

/// When a campaign is foreseen to end, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Ends {
    /// The instant.
    pub at: String,
    /// Before which instant nine of ten plays end.
    pub late: Option<String>,
    /// As of when; `None` = as the pace of the last five minutes leads, now.
    pub made_at: Option<String>,
}

/// What a campaign waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Waits {
    /// In words: the gate, and until when it holds.
    pub words: String,
    /// Whether it is more than the pace it goes at: nothing leaves meanwhile.
    pub stops: bool,
}

/// What a piece of a line is, for its colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) enum Piece {
    /// Words.
    Plain,
    /// What is done of the bar.
    Done,
    /// What is not.
    Open,
    /// What asks for somebody's eye.
    Alarming,
    /// What goes between, or is of little weight.
    Faint,
}

/// A part of the line: its text, what it is, and how early it gives way.
struct Part {
    text: String,
    piece: Piece,
    /// The lowest goes first.
    weight: u8,
}

/// Columns that a text takes on a terminal.
pub(in crate::cli) fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in at most so many columns.
pub(in crate::cli) fn within(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if columns(&short) > width.saturating_sub(1) {
            short.pop();
            break;
        }
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// The text, filled up with spaces to so many columns.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The bar in so many cells. It is full only when everything was sent, and has something as soon as anything was.
pub(in crate::cli) fn bar((sent, all): (u64, u64), cells: usize) -> (String, String) {
    let wide = u64::try_from(cells).unwrap_or(0);
    let full = u128::from(sent.min(all)) * u128::from(wide);
    let full = usize::try_from(full.checked_div(u128::from(all)).unwrap_or(0)).unwrap_or(0);
    let full = if sent > 0 && all > 0 { full.max(1.min(cells)) } else { 0 };
    ("█".repeat(full), "░".repeat(cells - full))
}

/// A number with its thousands parted.
pub(in crate::cli) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The whole of a campaign that was sent, in percent, rounded down.
fn percent((sent, all): (u64, u64)) -> u64 {
    u64::try_from((u128::from(sent) * 100).checked_div(u128::from(all)).unwrap_or(0)).unwrap_or(100).min(100)
}

/// What may follow the count, the least important parts with the lowest weight.
fn parts(f: &Figures) -> Vec<Part> {
    let mut all = Vec::new();
    let mut part = |text: String, piece, weight| all.push(Part { text, piece, weight });
    if f.failed > 0 {
        part(format!("{DOT}{} failed", grouped(f.failed)), Piece::Alarming, 45);
    }
    if f.state != CampaignState::Running {
        part(format!("{DOT}{}", f.state.name()), Piece::Plain, 90);
    }
    if let Some((one, five)) = f.rates.filter(|_| f.state == CampaignState::Running) {
        part(format!("{DOT}{}/min", grouped(one)), Piece::Plain, 60);
        five.iter().for_each(|five| part(format!(" (5 min: {})", grouped(*five)), Piece::Plain, 10));
    }
    if let Some(Ends { at, late, made_at }) = &f.ends {
        part(format!("{DOT}done ≈ {at}"), Piece::Plain, 70);
        match made_at {
            Some(made_at) => {
                late.iter().for_each(|late| part(format!(" (p90 {late})"), Piece::Plain, 25));
                part(format!(" as of {made_at}"), Piece::Faint, 5);
            }
            None => part(" at this pace".to_owned(), Piece::Faint, 30),
        }
    }
    if f.acks.0 > 0 {
        let (delivered, read) = (grouped(f.acks.0), grouped(f.acks.1));
        part(format!("{DOT}{delivered} delivered, {read} read"), Piece::Plain, 40);
    }
    if let Some(Waits { words, stops }) = &f.waits {
        let (piece, weight) = if *stops { (Piece::Alarming, 80) } else { (Piece::Plain, 35) };
        part(format!("{DOT}waits: {words}"), piece, weight);
    }
    all
}

/// The lines of campaigns in at most `width` columns: their names, bars and counts stand above each other.
pub(in crate::cli) fn lines(all: &[Figures], width: usize) -> Vec<Vec<(Piece, String)>> {
    let name = all.iter().map(|f| columns(&f.name)).max().unwrap_or(0).min(NAME);
    let fitted: Vec<Fitted> = all.iter().map(|f| fit(f, name, WIDE, width)).collect();
    let (name, cells) = fitted.iter().fold((name, WIDE), |(n, c), f| (n.min(f.name), c.min(f.cells)));
    all.iter().map(|f| drawn(f, fit(f, name, cells, width))).collect()
}

/// What of a line there is room for.
struct Fitted {
    /// Columns of the name.
    name: usize,
    /// Cells of the bar.
    cells: usize,
    /// The count, where there is room for it.
    count: Option<String>,
    rest: Vec<Part>,
}

impl Fitted {
    fn columns(&self) -> usize {
        let bar = if self.cells > 0 { self.cells + 2 } else { 0 };
        let count = self.count.as_ref().map_or(0, |c| 2 + columns(c));
        self.name + 2 + bar + "100 %".len() + count + self.rest.iter().map(|p| columns(&p.text)).sum::<usize>()
    }
}

fn fit(f: &Figures, name: usize, cells: usize, width: usize) -> Fitted {
    let short = format!("{} of {}", grouped(f.sent.0), grouped(f.sent.1));
    let mut fitted = Fitted { name, cells, count: Some(format!("{short} sent")), rest: parts(f) };
    while fitted.columns() > width {
        let least = fitted.rest.iter().enumerate().min_by_key(|(_, p)| p.weight).map(|(at, p)| (at, p.weight));
        match least {
            Some((at, ..30)) => drop(fitted.rest.remove(at)),
            _ if fitted.cells > SMALL => fitted.cells = SMALL,
            Some((at, _)) => drop(fitted.rest.remove(at)),
            None if fitted.name > SHORT_NAME => fitted.name = SHORT_NAME,
            None if fitted.count.as_ref().is_some_and(|c| *c != short) => fitted.count = Some(short.clone()),
            None if fitted.count.is_some() => fitted.count = None,
            None if fitted.cells > 0 => fitted.cells = 0,
            None => break,
        }
    }
    // What gave way after the bar may have left room for it.
    if fitted.cells == SMALL && fitted.columns() + cells.saturating_sub(SMALL) <= width {
        fitted.cells = cells.max(SMALL);
    }
    fitted
}

fn drawn(f: &Figures, Fitted { name, cells, count, rest }: Fitted) -> Vec<(Piece, String)> {
    let (done, open) = bar(f.sent, cells);
    let mut pieces = vec![(Piece::Plain, format!("{}  ", padded(&within(&f.name, name), name)))];
    if cells > 0 {
        pieces.extend([(Piece::Done, done), (Piece::Open, open), (Piece::Plain, "  ".to_owned())]);
    }
    pieces.push((Piece::Plain, format!("{:>3} %", percent(f.sent))));
    pieces.extend(count.map(|count| (Piece::Plain, format!("  {count}"))));
    pieces.extend(rest.into_iter().map(|p| (p.piece, p.text)));
    pieces
}

/// The line for a log: everything, without the bar.
pub(in crate::cli) fn plain(f: &Figures) -> String {
    let rest: String = parts(f).into_iter().map(|p| p.text).collect();
    let (sent, all) = (grouped(f.sent.0), grouped(f.sent.1));
    format!("{}  {} %  {sent} of {all} sent{rest}", f.name, percent(f.sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(name: &str) -> Figures {
        Figures {
            name: name.to_owned(),
            state: CampaignState::Running,
            sent: (4_102, 10_000),
            failed: 0,
            rates: Some((58, Some(56))),
            ends: Some(Ends {
                at: "Sat 14:20".to_owned(),
                late: Some("15:05".to_owned()),
                made_at: Some("12:03:40".to_owned()),
            }),
            acks: (3_877, 1_201),
            waits: Some(Waits { words: "gap until 12:04:07".to_owned(), stops: false }),
        }
    }

    fn drawn(f: &Figures, width: usize) -> String {
        lines(std::slice::from_ref(f), width).remove(0).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn with_room_for_all_the_line_says_all() {
        assert_eq!(
            drawn(&figures("sale"), 200),
            "sale  ██████░░░░░░░░░░   41 %  4,102 of 10,000 sent · 58/min (5 min: 56) · done ≈ Sat 14:20 (p90 15:05) as of 12:03:40 · \
             3,877 delivered, 1,201 read · waits: gap until 12:04:07"
        );
        assert_eq!(
            plain(&figures("sale")),
            "sale  41 %  4,102 of 10,000 sent · 58/min (5 min: 56) · done ≈ Sat 14:20 (p90 15:05) as of 12:03:40 · \
             3,877 delivered, 1,201 read · waits: gap until 12:04:07"
        );
    }

    #[test]
    fn the_least_important_parts_give_way_first() {
        assert_eq!(
            drawn(&figures("sale"), 120),
            "sale  ██████░░░░░░░░░░   41 %  4,102 of 10,000 sent · 58/min · done ≈ Sat 14:20 · 3,877 delivered, 1,201 read"
        );
        assert_eq!(
            drawn(&figures("sale"), 80),
            "sale  ██████░░░░░░░░░░   41 %  4,102 of 10,000 sent · 58/min · done ≈ Sat 14:20"
        );
        assert_eq!(drawn(&figures("sale"), 40), "sale  ███░░░░░   41 %  4,102 of 10,000");
    }

    #[test]
    fn every_width_is_kept_by_every_name() {
        let names = [
            "a",
            "sale",
            "a-campaign-with-a-name-that-goes-on-and-on",
            "新年のご挨拶と大売り出しのお知らせ",
            "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉",
        ];
        for name in names {
            for stops in [false, true] {
                let mut f = Figures { failed: 12_345, ..figures(name) };
                f.waits = Some(Waits { words: "pause: 価格が違う".to_owned(), stops });
                for width in 20..=220 {
                    let text = drawn(&f, width);
                    assert!(columns(&text) <= width, "{width}: {text}");
                    assert!(text.contains(" 41 %"), "{width}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_stops_a_campaign_stays_when_the_pace_gives_way() {
        let mut f = figures("sale");
        f.waits = Some(Waits { words: "daemon".to_owned(), stops: true });
        let text = drawn(&f, 80);
        assert!(text.contains("waits: daemon") && !text.contains("delivered"), "{text}");
    }

    #[test]
    fn names_and_bars_stand_above_each_other_also_beside_wide_names() {
        let all = [figures("sale"), Figures { rates: None, ends: None, waits: None, ..figures("新年") }];
        for width in [60, 80, 100, 120, 160] {
            let lines = lines(&all, width);
            let starts = |line: &[(Piece, String)]| (columns(&line[0].1), columns(&line[1].1) + columns(&line[2].1));
            assert_eq!(starts(&lines[0]), starts(&lines[1]), "{width}");
            assert_eq!(starts(&lines[0]).0, 6);
        }
        assert_eq!(within("新年の", 4), "新…", "half a character is none");
        assert_eq!(within("sale", 4), "sale");
    }

    #[test]
    fn a_bar_is_empty_only_before_the_first_send_and_full_only_after_the_last() {
        let full = |sent, all| bar((sent, all), 8).0.chars().count();
        assert_eq!((full(0, 10), full(1, 10_000), full(9_999, 10_000), full(10, 10)), (0, 1, 7, 8));
        assert_eq!(
            (full(0, 0), percent((0, 0)), percent((9_999, 10_000)), percent((u64::MAX, u64::MAX))),
            (0, 0, 99, 100)
        );
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_000), grouped(12_345_678)),
            ("0".to_owned(), "999".to_owned(), "1,000".to_owned(), "12,345,678".to_owned())
        );
    }
}

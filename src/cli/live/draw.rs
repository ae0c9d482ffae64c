//! The live view as a picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::cli::live::model::{Landed, Model, Typing};
use crate::cli::out::safe;
use crate::cli::progress::bar::{self, Piece};
use crate::cli::progress::watch::UnderWay;
use crate::clock;
use crate::domain::ack::Ack;
use crate::domain::time::{Millis, Timestamp};
use crate::store::Pause;
use crate::store::view::{Coming, LaneView};

/// Cells of the track along which the three dots move toward the mark.
const TRACK: usize = 18;

/// Campaigns that have a line each.
const CAMPAIGNS: usize = 3;

/// Colours, or none of them.
#[derive(Clone, Copy)]
struct Paint {
    coloured: bool,
}

impl Paint {
    fn of(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn faint(self) -> Style {
        if self.coloured { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// Draws everything that fits. Sections shrink from the least to the most important one as the terminal does.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, coloured: bool) {
    let paint = Paint { coloured };
    let area = frame.area();
    let height = usize::from(area.height);
    let lanes = model.lanes.len().clamp(1, (height / 6).max(1));
    let log = model.log.len().min((height / 8).max(1));
    let campaigns = model.under_way.campaigns.len().min(CAMPAIGNS).min((height / 8).max(1));
    // A section that is there only where campaigns are.
    let above = if campaigns == 0 { 0 } else { campaigns + 1 };
    let rest = height.saturating_sub(2 + 4 + above + lanes + log);
    let typing = (rest * 2 / 5).clamp(1, model.typing.len().max(3));
    let coming = (rest.saturating_sub(typing) / 2).clamp(1, model.coming.len().max(2));
    let size = |n: usize| Constraint::Length(u16::try_from(n + 1).unwrap_or(u16::MAX));
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::try_from(above).unwrap_or(0)),
        size(typing),
        size(coming),
        Constraint::Min(2),
        size(lanes),
        Constraint::Length(u16::try_from(log).unwrap_or(1)),
        Constraint::Length(1),
    ])
    .split(area);
    let zone = clock::zone(&clock::system_zone_name()).unwrap_or(jiff::tz::TimeZone::UTC);
    let time = |t: Timestamp| t.in_zone(&zone).strftime("%H:%M:%S").to_string();
    line(frame, parts[0], header(model, &time, paint));
    let width = usize::from(area.width);
    if campaigns > 0 {
        campaigns_section(frame, parts[1], &model.under_way, width, paint);
    }
    let mut typed: Vec<&Typing> = model.typing.iter().collect();
    typed.sort_by_key(|t| t.slot);
    let lines = typed.iter().map(|t| typing_line(t, model.now, width, paint)).collect();
    section(frame, parts[2], ("typing", model.typing.len()), lines, "nobody is being typed to", paint);
    let lines = model.coming.iter().map(|c| coming_line(c, model.now, &time, width, paint)).collect();
    section(frame, parts[3], ("next", 0), lines, "nothing waits", paint);
    let precise = |t: Timestamp| t.in_zone(&zone).strftime("%H:%M:%S%.3f").to_string();
    let lines = model.landed.iter().map(|l| landed_line(l, &precise, width, paint)).collect();
    section(frame, parts[4], ("landed", 0), lines, "nothing yet", paint);
    let lines = model.lanes.iter().map(|l| lane_line(l, &model.pauses, model.now, width, paint)).collect();
    section(frame, parts[5], ("lanes", 0), lines, "no instance yet", paint);
    let from = model.log.len().saturating_sub(log);
    let tail: Vec<Line<'_>> = model.log[from..].iter().map(|l| Line::styled(cut(l, width), paint.faint())).collect();
    frame.render_widget(Paragraph::new(tail), parts[6]);
    line(frame, parts[7], footer(model, paint));
}

fn line(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(Paragraph::new(line), area);
}

fn section(
    frame: &mut Frame<'_>,
    area: Rect,
    (title, count): (&str, usize),
    lines: Vec<Line<'_>>,
    empty: &str,
    paint: Paint,
) {
    let room = usize::from(area.height).saturating_sub(1);
    let hidden = lines.len().saturating_sub(room);
    let mut head = format!("── {title} ");
    if count > 0 {
        head.push_str(&format!("{count} "));
    }
    let more = if hidden > 0 && count > 0 { format!(" {hidden} more ──") } else { String::new() };
    let fill = usize::from(area.width).saturating_sub(head.chars().count() + more.chars().count());
    let mut all = vec![Line::styled(format!("{head}{}{more}", "─".repeat(fill)), paint.faint())];
    if lines.is_empty() {
        all.push(Line::styled(format!("  {empty}"), paint.faint()));
    }
    all.extend(lines.into_iter().take(room));
    frame.render_widget(Paragraph::new(all), area);
}

fn campaigns_section(frame: &mut Frame<'_>, area: Rect, under_way: &UnderWay, width: usize, paint: Paint) {
    let room = usize::from(area.height).saturating_sub(1);
    let shown = &under_way.campaigns[..under_way.campaigns.len().min(room)];
    let more = under_way.campaigns.len() - shown.len() + under_way.more;
    let tail = if more > 0 { format!(" and {more} more ──") } else { String::new() };
    let head = "── campaigns ";
    let fill = width.saturating_sub(head.chars().count() + tail.chars().count());
    let mut all = vec![Line::styled(format!("{head}{}{tail}", "─".repeat(fill)), paint.faint())];
    all.extend(bar::lines(shown, width.saturating_sub(2)).into_iter().map(|pieces| {
        let spans = pieces.into_iter().map(|(piece, text)| Span::styled(text, piece_style(piece, paint)));
        Line::from_iter(std::iter::once(Span::raw("  ")).chain(spans))
    }));
    frame.render_widget(Paragraph::new(all), area);
}

fn piece_style(piece: Piece, paint: Paint) -> Style {
    match piece {
        Piece::Plain => Style::new(),
        Piece::Done => paint.of(Color::Green),
        Piece::Open | Piece::Faint => paint.faint(),
        Piece::Alarming => paint.of(Color::Yellow),
    }
}

fn header(model: &Model, time: &impl Fn(Timestamp) -> String, paint: Paint) -> Line<'static> {
    let up = Millis(model.now.since(model.started_at).0 / 1_000 * 1_000);
    let mode = if model.sandbox { "  sandbox: nothing leaves this machine" } else { "" };
    let state = if model.ready { "" } else { "  starting" };
    Line::from(vec![
        Span::styled(" onthedot ", paint.strong()),
        Span::raw(format!(" {}  up {up}{state}", time(model.now))),
        Span::styled(mode, paint.of(Color::Yellow)),
    ])
}

fn typing_line(t: &Typing, now: Timestamp, width: usize, paint: Paint) -> Line<'static> {
    let whole = t.slot.since(t.began_at).0.max(1);
    let gone = now.since(t.began_at).0.clamp(0, whole);
    let at = usize::try_from(gone * i64::try_from(TRACK - 3).unwrap_or(0) / whole).unwrap_or(0);
    let track = format!("{}●●●{}│", "·".repeat(at), " ".repeat(TRACK - 3 - at));
    let left = t.slot.since(now);
    Line::from(vec![
        Span::styled(format!("  {track}"), paint.of(Color::Cyan)),
        Span::raw(format!(" {:>7}  {}", seconds(left), who(&t.chat, &t.job, width.saturating_sub(TRACK + 14)))),
    ])
}

fn coming_line(
    c: &Coming,
    now: Timestamp,
    time: &impl Fn(Timestamp) -> String,
    width: usize,
    paint: Paint,
) -> Line<'static> {
    let left = c.leaves_at.since(now);
    let wait = if left <= Millis::ZERO { "waiting".to_owned() } else { format!("in {}", countdown(left)) };
    let when = if left.0 < 86_400_000 { time(c.leaves_at) } else { c.leaves_at.to_rfc3339()[..10].to_owned() };
    let rest = who(&c.chat, c.job.as_deref().unwrap_or(""), width.saturating_sub(30 + c.instance.chars().count()));
    Line::from(vec![
        Span::styled(format!("  {when:<10}  {wait:<12}"), paint.faint()),
        Span::raw(format!("  {rest}  ")),
        Span::styled(safe(&c.instance), paint.faint()),
    ])
}

fn landed_line(l: &Landed, precise: &impl Fn(Timestamp) -> String, width: usize, paint: Paint) -> Line<'static> {
    let (word, style) = match l.outcome {
        "accepted" => (ack_word(l.ack), paint.of(ack_colour(l.ack))),
        "in_doubt" => ("in doubt".to_owned(), paint.of(Color::Magenta)),
        other => (format!("{}: {}", other.replace('_', " "), safe(&l.why)), paint.of(Color::Red)),
    };
    let space = (width * 45 / 100).clamp(12, 44);
    Line::from(vec![
        Span::raw(format!("  {} {:>+7} ms  ", precise(l.at), l.late.0)),
        Span::raw(format!("{:<space$} ", who(&l.chat, &l.job, space))),
        Span::styled(cut(&word, width.saturating_sub(28 + space)), style),
    ])
}

fn ack_word(ack: Option<Ack>) -> String {
    match ack {
        None | Some(Ack::Pending) => "·".to_owned(),
        Some(Ack::Server) => "✓ server".to_owned(),
        Some(Ack::Device) => "✓✓ device".to_owned(),
        Some(Ack::Read) => "✓✓ read".to_owned(),
        Some(Ack::Played) => "✓✓ played".to_owned(),
        Some(Ack::Error) => "✗ error".to_owned(),
    }
}

fn ack_colour(ack: Option<Ack>) -> Color {
    match ack {
        Some(Ack::Read | Ack::Played) => Color::Blue,
        Some(Ack::Error) => Color::Red,
        _ => Color::Green,
    }
}

fn lane_line(l: &LaneView, pauses: &[Pause], now: Timestamp, width: usize, paint: Paint) -> Line<'static> {
    // A person's pause goes before what the gateway says.
    let pause = pauses.iter().find(|p| p.scope.stops(&l.name, None, None));
    let (state, reason, until) = match pause {
        Some(p) => ("paused".to_owned(), p.note.clone(), p.until),
        None => (l.state.clone(), l.reason.clone(), l.until),
    };
    let style = if state == "working" { paint.of(Color::Green) } else { paint.of(Color::Red) };
    let until = until.filter(|u| *u > now).map_or(String::new(), |u| format!(" for {}", countdown(u.since(now))));
    let why = reason.as_deref().map_or(String::new(), |r| format!(": {}", safe(r)));
    let waiting = match l.waiting {
        0 => String::new(),
        10_000.. => "  10000+ wait for it".to_owned(),
        n => format!("  {n} wait for it"),
    };
    let rest = cut(&format!("{until}{why}{waiting}"), width.saturating_sub(28));
    Line::from(vec![
        Span::raw(format!("  {:<16} ", cut(&safe(&l.name), 16))),
        Span::styled(state, style),
        Span::raw(rest),
    ])
}

fn footer(model: &Model, paint: Paint) -> Line<'static> {
    let doubts = if model.doubts > 0 { paint.of(Color::Magenta) } else { Style::new() };
    let failed = if model.failed > 0 { paint.of(Color::Red) } else { Style::new() };
    Line::from(vec![
        Span::raw(format!(" {} sent, {} read  ", model.sent, model.read)),
        Span::styled(format!("{} failed  ", model.failed), failed),
        Span::styled(format!("{} in doubt  ", model.doubts), doubts),
        Span::styled("q ends", paint.faint()),
    ])
}

fn who(chat: &str, job: &str, width: usize) -> String {
    let text = if job.is_empty() { safe(chat) } else { format!("{}  {}", safe(chat), safe(job)) };
    cut(&text, width)
}

/// The text in at most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn seconds(left: Millis) -> String {
    let tenths = left.0.max(0) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// Whole seconds up to a minute, then minutes, hours, days.
fn countdown(left: Millis) -> String {
    let s = (left.0.max(0) + 999) / 1_000;
    match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s / 60),
        6_000..=35_999 => format!("{} h {} m", s / 3_600, s % 3_600 / 60),
        36_000..=172_799 => format!("{} h", s / 3_600),
        172_800..=63_071_999 => format!("{} d", s / 86_400),
        _ => format!("{} y", s / 31_557_600),
    }
}

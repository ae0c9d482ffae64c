//! The timeline as a picture that stands by itself: SVG, written by hand, at home on light and on dark pages.

use std::fmt::Write as _;

use crate::cli::timeline::axis::ticks;
use crate::cli::timeline::{LanePicture, Picture};
use crate::domain::time::Timestamp;

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 92.0;
const LANE: f64 = 64.0;
const BETWEEN: f64 = 14.0;
const BOTTOM: f64 = 56.0;

const STYLE: &str = "
    :root { color-scheme: light dark }
    text { font: 13px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2933 }
    .title { font-size: 17px; font-weight: 600 } .name { font-weight: 600 } .faint { fill: #66737f; font-size: 12px }
    .page { fill: #ffffff } .lane { fill: #f1f4f7 } .grid { stroke: #dde3e8 } .day { stroke: #aab4be }
    .typing { fill: #f2b134 } .send { stroke: #0b8f6a } .drop { fill: #0b8f6a }
    .hatch { stroke: #98a4b0 } .wash { fill: #e3e8ed }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4e9ee } .faint { fill: #93a1ae }
      .page { fill: #14191e } .lane { fill: #1e252c } .grid { stroke: #2c353e } .day { stroke: #56636f }
      .typing { fill: #e0a030 } .send { stroke: #3ecf9f } .drop { fill: #3ecf9f }
      .hatch { stroke: #5d6a77 } .wash { fill: #252d35 }
    }";

/// Draws a picture. Its size depends on its width in points, never on the messages.
pub(super) fn draw(picture: &Picture) -> String {
    let lanes = f64::from(u32::try_from(picture.lanes.len()).unwrap_or(0)).max(1.0);
    let height = TOP + lanes * (LANE + BETWEEN) + BOTTOM;
    let day = |t: Timestamp| t.in_zone(&picture.zone.zone).strftime("%a %Y-%m-%d %H:%M").to_string();
    let title = format!("{} to {}", day(picture.from), day(picture.until));
    let mut svg = String::new();
    let mut put = |line: String| {
        svg.push_str(&line);
        svg.push('\n');
    };
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">",
        escape(&format!("What is typed and sent, {title}"))
    ));
    put(format!("<title>{}</title>", escape(&title)));
    put(format!("<style>{STYLE}\n</style>"));
    put("<defs><pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"wash\" width=\"7\" height=\"7\"/><path class=\"hatch\" d=\"M0 0V7\" stroke-width=\"2.2\"/></pattern></defs>".to_owned());
    put(format!("<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>"));
    put(format!("<text class=\"title\" x=\"24\" y=\"34\">{}</text>", escape(&title)));
    let sends: usize = picture.lanes.iter().map(|l| l.sends().count()).sum();
    put(format!("<text class=\"faint\" x=\"24\" y=\"54\">{}, {sends} sends</text>", escape(&picture.zone.name)));
    put(legend());
    put(axis(picture, height));
    for (n, lane) in picture.lanes.iter().enumerate() {
        let top = TOP + f64::from(u32::try_from(n).unwrap_or(0)) * (LANE + BETWEEN);
        put(draw_lane(lane, picture, top));
    }
    if picture.lanes.is_empty() {
        put(format!("<text class=\"faint\" x=\"24\" y=\"{}\">the database knows no instances</text>", TOP + 20.0));
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend() -> String {
    "<g transform=\"translate(870 30)\"><rect class=\"typing\" x=\"0\" y=\"-8\" width=\"26\" height=\"8\" rx=\"4\"/>\
     <text class=\"faint\" x=\"34\" y=\"0\">typing</text><path class=\"send\" d=\"M98 2V-12\" stroke-width=\"2\"/>\
     <circle class=\"drop\" cx=\"98\" cy=\"-12\" r=\"3\"/><text class=\"faint\" x=\"108\" y=\"0\">send</text>\
     <rect x=\"156\" y=\"-12\" width=\"26\" height=\"14\" fill=\"url(#hatch)\"/><text class=\"faint\" x=\"190\" y=\"0\">blocked</text></g>"
        .to_owned()
}

/// Where an instant stands.
#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
fn x(picture: &Picture, at: Timestamp) -> f64 {
    let span = picture.until.since(picture.from).0.max(1) as f64;
    let share = at.since(picture.from).0 as f64 / span;
    LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

fn axis(picture: &Picture, height: f64) -> String {
    let mut svg = String::new();
    let bottom = height - BOTTOM;
    for tick in ticks(picture.from, picture.until, &picture.zone.zone, 13) {
        let at = x(picture, tick.at);
        let class = if tick.day { "day" } else { "grid" };
        let style = if tick.day { "name" } else { "faint" };
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"M{at:.1} {}V{bottom:.1}\"/><text class=\"{style}\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            TOP - 8.0,
            bottom + 18.0,
            escape(&tick.label)
        );
    }
    svg
}

fn draw_lane(lane: &LanePicture, picture: &Picture, top: f64) -> String {
    let mut svg = String::new();
    let name: String = lane.name.chars().take(18).collect();
    let count = lane.sends().count();
    let _ = write!(
        svg,
        "<g><text class=\"name\" x=\"24\" y=\"{:.1}\">{}</text><text class=\"faint\" x=\"24\" y=\"{:.1}\">{}</text>",
        top + 28.0,
        escape(&name),
        top + 46.0,
        if count == 1 { "1 send".to_owned() } else { format!("{count} sends") }
    );
    let width = WIDTH - LEFT - RIGHT;
    let _ =
        write!(svg, "<rect class=\"lane\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width}\" height=\"{LANE}\" rx=\"6\"/>");
    svg.push_str(&draw_blocks(lane, picture, top));
    // What falls on one point is one bar.
    let mut bars: Vec<(f64, f64)> = Vec::new();
    for (from, until) in lane.typing(picture.until) {
        let (a, b) = (x(picture, from), x(picture, until));
        match bars.last_mut().filter(|(_, end)| a <= *end + 0.5) {
            Some(last) => last.1 = last.1.max(b),
            None => bars.push((a, b)),
        }
    }
    for (a, b) in bars {
        let _ = write!(
            svg,
            "<rect class=\"typing\" x=\"{a:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"9\" rx=\"{}\"/>",
            top + LANE - 17.0,
            (b - a).max(1.5),
            if b - a > 9.0 { 4.5 } else { 0.7 }
        );
    }
    svg.push_str(&draw_sends(lane, picture, top));
    svg.push_str("</g>");
    svg
}

fn draw_blocks(lane: &LanePicture, picture: &Picture, top: f64) -> String {
    let mut svg = String::new();
    let clock = |t: Timestamp| t.in_zone(&picture.zone.zone).strftime("%a %H:%M:%S").to_string();
    let mut end = f64::MIN;
    for b in &lane.blocked {
        let (from, until) = (x(picture, b.from), x(picture, b.until));
        // Slivers on one point are drawn once.
        if until - end < 0.4 {
            continue;
        }
        end = until;
        let _ = write!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{LANE}\" fill=\"url(#hatch)\"><title>{}</title></rect>",
            (until - from).max(0.8),
            escape(&format!("{}: {} to {}", b.why, clock(b.from), clock(b.until)))
        );
        let why: String = b.why.chars().take(40).collect();
        let room = f64::from(u32::try_from(why.chars().count()).unwrap_or(0)) * 7.0 + 20.0;
        if until - from > room {
            let (middle, y) = (f64::midpoint(from, until), top + 21.0);
            let _ = write!(
                svg,
                "<rect class=\"wash\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"20\" rx=\"10\"/><text class=\"faint\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                middle - room / 2.0,
                y - 14.0,
                room,
                escape(&why)
            );
        }
    }
    svg
}

fn draw_sends(lane: &LanePicture, picture: &Picture, top: f64) -> String {
    let mut svg = String::new();
    let clock = |t: Timestamp| t.in_zone(&picture.zone.zone).strftime("%a %H:%M:%S%.3f").to_string();
    // By point: where it stands, the first of it, how many there are.
    let mut points: Vec<(f64, String, u32)> = Vec::new();
    for (at, f) in lane.sends() {
        let place = x(picture, at);
        match points.last_mut().filter(|(last, ..)| place - *last < 1.0) {
            Some(last) => last.2 += 1,
            None => {
                let job = f.job.as_deref().map_or(String::new(), |j| format!(", {j}"));
                points.push((place, format!("{} to {}{job}", clock(at), f.to), 1));
            }
        }
    }
    let most = points.iter().map(|p| p.2).max().unwrap_or(1);
    for (place, words, n) in points {
        // The higher, the more of them.
        let share = f64::from(n) / f64::from(most);
        let high = if most == 1 { 24.0 } else { 10.0 + 22.0 * share.sqrt() };
        let (foot, head) = (top + LANE - 20.0, top + LANE - 20.0 - high);
        let more = if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
        let _ = write!(
            svg,
            "<g><title>{}</title><path class=\"send\" d=\"M{place:.1} {foot:.1}V{head:.1}\" stroke-width=\"1.6\"/><circle class=\"drop\" cx=\"{place:.1}\" cy=\"{head:.1}\" r=\"2.6\"/></g>",
            escape(&format!("{words}{more}"))
        );
    }
    svg
}

/// A text of unknown origin inside a picture: nothing of it is markup, and what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let bad = "<script>alert('1')</script> & \"\u{1}\"";
        assert_eq!(escape(bad), "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;\u{fffd}&quot;");
    }
}

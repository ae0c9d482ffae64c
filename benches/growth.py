#!/usr/bin/env python3
"""How the program behaves as things grow: messages due another day, messages in flight, instances. Draws docs/growth.svg.

    benches/growth.py                  # measures all of it, some quarter of an hour and 6 GB of disk, and draws
    benches/growth.py --runs 3         # medians of three
    benches/growth.py --most 1000000   # no point beyond a million
    benches/growth.py --draw FILE      # draws anew what an earlier run wrote to FILE with --json

Everything is measured by `onthedot bench`; the command of each point stands in the file written with --json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "release" / "onthedot"
PICTURE = ROOT / "docs" / "growth.svg"


def drain(*more):
    return ["drain", *more]


def curves(most):
    """By what grows: its points, and for each the commands that measure rate and memory, and lateness."""
    tens = [10**n for n in range(8) if 10**n <= most]
    several = lambda n: str(min(20_000, max(64, 1_000 * n)))
    return {
        "messages due another day": [
            (n, drain("--behind", str(n)), ["late-2000", "--behind", str(n)]) for n in tens if n >= 1_000
        ],
        "messages in flight": [
            (n, drain("--in-flight", str(n), "--messages", several(n)), ["burst", "--messages", str(max(64, n))])
            for n in tens if n <= 10_000
        ],
        "instances": [
            (n, drain("--instances", str(n), "--in-flight", str(max(1, 256 // n)), "--messages", "40000"),
             ["late-2000", "--instances", str(n)])
            for n in tens if n <= 10_000
        ],
    }


def bench(arguments, runs, folder):
    command = [str(PROGRAM), "--json", "bench", *arguments, "--runs", str(runs), "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)["scenarios"][0]["median"]


def measure(arguments):
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=ROOT, check=True)
    found = {}
    with tempfile.TemporaryDirectory(prefix="onthedot-growth-", dir=arguments.folder) as folder:
        for what, points in curves(arguments.most).items():
            for n, rate, late in points:
                print(f"{n:,} {what} …", file=sys.stderr, flush=True)
                one, other = bench(rate, arguments.runs, folder), bench(late, arguments.runs, folder)
                found.setdefault(what, []).append({
                    "n": n, "commands": [" ".join(["onthedot", "bench", *rate]), " ".join(["onthedot", "bench", *late])],
                    "rate": one["per_second"], "memory": (one["memory_kib"] or 0) / 1024, "first_ms": one["first_send_ms"],
                    "p50": other["late_us"]["p50"] / 1000, "p99": other["late_us"]["p99"] / 1000,
                })
    return found


WIDE, HIGH, LEFT, TOP = 250, 130, 70, 46
ROWS = [
    ("messages a second", lambda p: [p["rate"]], ["#1a7f5a"], []),
    ("ms late", lambda p: [p["p50"], p["p99"]], ["#1a7f5a", "#c2571a"], ["half of them", "99 of 100"]),
    ("MiB", lambda p: [p["memory"]], ["#1a7f5a"], []),
]


def nice(most):
    """The end of an axis."""
    step = 10 ** (len(str(int(most))) - 1) if most >= 1 else 0.1
    return next(step * k for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20) if step * k >= most)


def power(n):
    exponent = len(str(n)) - 1
    return "1" if n == 1 else f"10{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(d)] for d in str(exponent))}"


def panel(points, of, colours, end, x0, y0):
    """One picture: a line for each figure over the powers of ten."""
    place = lambda i: x0 + WIDE * i / max(1, len(points) - 1)
    height = lambda value: y0 + HIGH - HIGH * value / end
    text = f'<rect x="{x0}" y="{y0}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#ccc"/>'
    for part in (0, 0.5, 1):
        value = end * part
        label = f"{value:,.0f}" if end >= 10 else f"{value:.1f}"
        text += f'<text x="{x0 - 6}" y="{height(value) + 4:.0f}" text-anchor="end">{label}</text>'
    text += f'<line x1="{x0}" x2="{x0 + WIDE}" y1="{height(end / 2)}" y2="{height(end / 2)}" stroke="#eee"/>'
    for i, point in enumerate(points):
        text += f'<text x="{place(i):.0f}" y="{y0 + HIGH + 15}" text-anchor="middle">{power(point["n"])}</text>'
    for line, colour in enumerate(colours):
        at = [(place(i), height(of(point)[line])) for i, point in enumerate(points)]
        text += f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>'
        text += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at)
    return text


def draw(found):
    across, down = WIDE + 80, HIGH + 72
    wide, high = LEFT + across * len(found), TOP + down * len(ROWS)
    text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11" fill="#333">'
    text += f'<rect width="{wide}" height="{high}" fill="#fff"/>'
    for row, (name, of, colours, legend) in enumerate(ROWS):
        end = nice(max(max(of(point)) for points in found.values() for point in points))
        y0 = TOP + down * row
        for column, (what, points) in enumerate(found.items()):
            x0 = LEFT + across * column
            text += panel(points, of, colours, end, x0, y0)
            text += f'<text x="{x0}" y="{y0 - 8}" font-weight="bold">{name}</text>'
            text += f'<text x="{x0 + WIDE / 2}" y="{y0 + HIGH + 32}" text-anchor="middle" fill="#777">{what}</text>'
            for line, label in enumerate(legend):
                text += f'<text x="{x0 + 8}" y="{y0 + 16 + 14 * line}" fill="{colours[line]}">{label}</text>'
    PICTURE.write_text(text + "</svg>\n")


def table(found):
    for what, points in found.items():
        print(f"| {what} | messages a second | late, half | 99 of 100 | MiB | first send |\n|---|---|---|---|---|---|")
        for p in points:
            print(f"| {p['n']:,} | {p['rate']:,} | {p['p50']:.2f} ms | {p['p99']:.2f} ms | {p['memory']:.0f} | {p['first_ms']:,} ms |")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--most", type=int, default=10_000_000, help="no point beyond this")
    parser.add_argument("--folder", help="where it runs, and so which disk is measured")
    parser.add_argument("--json", help="a file for what was measured")
    parser.add_argument("--draw", help="a file of an earlier run")
    arguments = parser.parse_args()
    found = json.loads(Path(arguments.draw).read_text()) if arguments.draw else measure(arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")
    draw(found)
    table(found)


if __name__ == "__main__":
    main()

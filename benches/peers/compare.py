#!/usr/bin/env python3
"""onthedot and its peers, side by side: one server for all of them, taken in turns, medians of several rounds.

    benches/peers/compare.py --rounds 5            # everything
    benches/peers/compare.py --only onthedot,floor # what begins so
    benches/peers/compare.py drain                 # drain, typing, parts, backlog, late or inserts

It builds what is written in Rust, fetches the packages of the others, starts PostgreSQL and Redis of its own in a
temporary folder, and names what it has to leave out. Tables are Markdown, on standard output.
"""

import argparse
import glob
import json
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
TARGET = CACHE / "onthedot-peers-target"
OWN_TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PACKAGES = CACHE / "onthedot-peers-packages"
LONGEST_S = 180
# Of one answer of the server.
ANSWER_BYTES = "1402"


@dataclass
class Contestant:
    """One way to send messages."""

    name: str
    command: list
    durable: str
    keeps: str
    messages: int = 50_000
    environment: dict = field(default_factory=dict)
    needs: str = ""


def say(text):
    print(text, file=sys.stderr, flush=True)


def own(*arguments):
    return ["onthedot", *arguments]


FULL, NORMAL = "every commit (FULL)", "not before a checkpoint (NORMAL)"
ANSWER, BOTH, NOTHING = "the answer", "both answers", "nothing of the answer"


def rust(name):
    return [str(TARGET / "release" / name)]


def node(name):
    return ["node", str(PACKAGES / "node" / f"{name}.mjs")]


def python(name):
    return [str(PACKAGES / "python" / "bin" / "python"), str(HERE / "python" / f"{name}.py")]


def contestants():
    floor, effectum, apalis = rust("floor"), rust("effectum_peer"), rust("apalis_peer")
    drain = [
        Contestant("onthedot", own("drain"), FULL, ANSWER),
        Contestant("onthedot, 1,024 in flight", own("drain"), FULL, ANSWER, environment={"IN_FLIGHT": "1024"}),
        Contestant("floor, reqwest", floor, FULL, ANSWER),
        Contestant("floor, hyper-util, 1,024 in flight", floor, FULL, ANSWER,
                   environment={"CLIENT": "hyper", "IN_FLIGHT": "1024"}),
        Contestant("effectum, its file made WAL", effectum, NORMAL, NOTHING, environment={"TUNED": "1", "IN_FLIGHT": "64"}),
        Contestant("effectum", effectum, "rollback journal, NORMAL", NOTHING, 20_000, {"IN_FLIGHT": "64"}),
        Contestant("apalis, its slow index dropped", apalis, NORMAL, NOTHING),
        Contestant("apalis", apalis, NORMAL, NOTHING, messages=3_000, environment={"SHIPPED": "1", "IN_FLIGHT": "64"}),
        Contestant("plainjob", node("plainjob"), NORMAL, NOTHING, 20_000, {"IN_FLIGHT": "8"}),
        Contestant("graphile-worker", node("graphile"), "PostgreSQL, every commit", NOTHING,
                   environment={"IN_FLIGHT": "64"}, needs="postgres"),
        Contestant("pg-boss", node("pgboss"), "PostgreSQL, every commit", NOTHING, messages=10_000, needs="postgres"),
        Contestant("BullMQ, flushed once a second", node("bullmq"), "Redis, the last second may be lost", NOTHING, 20_000, {"IN_FLIGHT": "64"}, "redis"),
        Contestant("BullMQ, flushed always", node("bullmq"), "Redis, every write", NOTHING, 20_000,
                   {"IN_FLIGHT": "64", "FLUSH": "always"}, "redis"),
        Contestant("huey", python("huey_peer"), "not flushed", NOTHING, messages=8_000, environment={"IN_FLIGHT": "8"}),
        Contestant("APScheduler", python("apscheduler_peer"), NORMAL, "no record at all", messages=2_000,
                   environment={"IN_FLIGHT": "64"}),
    ]
    typing = [
        Contestant("onthedot", own("drain-typing"), FULL, BOTH),
        Contestant("onthedot, 1,024 in flight", own("drain-typing"), FULL, BOTH, environment={"IN_FLIGHT": "1024"}),
        Contestant("floor, reqwest", floor, FULL, BOTH, environment={"TYPING": "1"}),
        Contestant("floor, hyper-util, 1,024 in flight", floor, FULL, BOTH,
                   environment={"TYPING": "1", "CLIENT": "hyper", "IN_FLIGHT": "1024"}),
    ]
    one, two = {"ANSWER_BYTES": ANSWER_BYTES}, {"ANSWER_BYTES": ANSWER_BYTES, "TYPING": "1"}
    parts = [
        Contestant("onthedot", own("drain"), FULL, ANSWER),
        Contestant("floor, reqwest", floor, FULL, ANSWER),
        Contestant("its requests alone", floor, "nothing is written", "nothing", environment={"WRITER": "none"}),
        Contestant("its records alone", floor, FULL, ANSWER, environment={"CLIENT": "none", **one}),
        Contestant("neither", floor, "nothing is written", "nothing", environment={"CLIENT": "none", "WRITER": "none", **one}),
        Contestant("onthedot, typing", own("drain-typing"), FULL, BOTH),
        Contestant("floor, reqwest, typing", floor, FULL, BOTH, environment={"TYPING": "1"}),
        Contestant("its requests alone, typing", floor, "nothing is written", "nothing", environment={"WRITER": "none", "TYPING": "1"}),
        Contestant("its records alone, typing", floor, FULL, BOTH, environment={"CLIENT": "none", **two}),
    ]
    far = {"BACKLOG": "1000000"}
    backlog = [
        Contestant("onthedot", own("drain-behind-1m"), FULL, ANSWER),
        Contestant("floor, reqwest", floor, FULL, ANSWER, environment=far),
        Contestant("effectum, its file made WAL", effectum, NORMAL, NOTHING,
                   environment={"TUNED": "1", "IN_FLIGHT": "64", **far}),
    ]
    fifty = {"MODE": "late", "SPAN_S": "20"}
    late = [
        Contestant("onthedot, typing 2 s before", own("late-50"), FULL, BOTH, 1_000),
        Contestant("onthedot, without typing", own("late-50-plain"), FULL, ANSWER, 1_000),
        Contestant("floor, typing 2 s before", floor, FULL, BOTH, 1_000, {**fifty, "TYPING": "1", "LEAD_MS": "2000"}),
        Contestant("onthedot, 2,000 a second, typing 2 s before", own("late-2000"), FULL, BOTH, 20_000),
        Contestant("floor, 2,000 a second, typing 2 s before", floor, FULL, BOTH, 20_000,
                   {"MODE": "late", "SPAN_S": "10", "TYPING": "1", "LEAD_MS": "2000", "IN_FLIGHT": "100000"}),
        Contestant("APScheduler", python("apscheduler_peer"), NORMAL, "no record at all", 1_000, {**fifty, "IN_FLIGHT": "64"}),
        Contestant("effectum, its file made WAL", effectum, NORMAL, NOTHING, 1_000, {**fifty, "TUNED": "1", "IN_FLIGHT": "64"}),
        Contestant("plainjob, polling every 50 ms", node("plainjob"), NORMAL, NOTHING, 1_000, {**fifty, "IN_FLIGHT": "16"}),
        Contestant("graphile-worker, polling every 100 ms", node("graphile"), "PostgreSQL, every commit", NOTHING, 1_000,
                   {**fifty, "IN_FLIGHT": "64"}, "postgres"),
        Contestant("BullMQ", node("bullmq"), "Redis, the last second may be lost", NOTHING, 1_000,
                   {**fifty, "IN_FLIGHT": "64"}, "redis"),
        Contestant("pg-boss, polling twice a second", node("pgboss"), "PostgreSQL, every commit", NOTHING, 1_000, fifty, "postgres"),
        Contestant("huey, looking once a second", python("huey_peer"), "not flushed", NOTHING, 1_000, {**fifty, "IN_FLIGHT": "8"}),
    ]
    inserts = [
        Contestant("a bare insert through sqlx", floor, FULL, "", 10_000, {"INSERTS": "1"}),
        Contestant("a bare insert, Python's sqlite3", ["bare"], FULL, "", 10_000),
        Contestant("onthedot, one caller", own("enqueue"), FULL, "", 20_000),
        Contestant("onthedot, 64 callers", own("enqueue-64"), FULL, "", 20_000),
        Contestant("onthedot, a thousand at a time", own("enqueue-bulk"), FULL, "", 100_000),
    ]
    return {"drain": drain, "typing": typing, "parts": parts, "backlog": backlog, "late": late, "inserts": inserts}


class Stage:
    """The server, the databases and the folder in which everything runs."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="onthedot-peers-", dir=os.environ.get("PEERS_FOLDER")))
        self.left_out, self.running, self.given = [], [], {}

    def start(self, command, **more):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
        self.running.append(child)

    def server(self):
        port = free_port()
        cores = sorted(os.sched_getaffinity(0))
        pinned = ["taskset", "-c", str(cores[-1])] if shutil.which("taskset") else []
        self.start([*pinned, *rust("server"), str(port)])
        self.given["SERVER"] = f"http://127.0.0.1:{port}"
        wait_for(lambda: self.ask("reset") == "ok", "the server")

    def ask(self, path):
        with urllib.request.urlopen(f"{self.given['SERVER']}/{path}", timeout=10) as answer:
            return answer.read().decode()

    def postgres(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            return "there is no PostgreSQL (apt-get install postgresql)"
        tools, data, port = Path(found[-1]).parent, self.folder / "postgres", free_port()
        data.mkdir()
        user = []
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            shutil.chown(data, "postgres")
            user = ["runuser", "-u", "postgres", "--"]
        made = subprocess.run([*user, tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust"],
                              capture_output=True, text=True)
        if made.returncode:
            return f"initdb failed: {made.stderr.strip().splitlines()[-1]}"
        self.start([*user, tools / "postgres", "-D", data, "-p", str(port), "-k", str(data), "-c", "shared_buffers=1GB"])
        self.given["POSTGRES"] = f"postgres://postgres@127.0.0.1:{port}/postgres"
        wait_for(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "PostgreSQL")
        time.sleep(1)
        return ""

    def redis(self):
        if not shutil.which("redis-server"):
            return "there is no Redis (apt-get install redis-server)"
        folder, port = self.folder / "redis", free_port()
        folder.mkdir()
        self.start(["redis-server", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "yes"])
        self.given["REDIS_PORT"] = str(port)
        wait_for(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "Redis")
        return ""

    def end(self):
        for child in reversed(self.running):
            child.send_signal(signal.SIGINT)
        for child in self.running:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def wait_for(is_so, what):
    end = time.monotonic() + 20
    while True:
        try:
            if is_so():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            sys.exit(f"{what} did not start within 20 s")
        time.sleep(0.05)


def build(chosen):
    """Builds and fetches what is needed; the reasons of those that cannot be had."""
    say("building …")
    target = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=HERE, env=target, check=True)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=HERE / "effectum", env=target, check=True)
    missing = {}
    commands = {c.command[0] for c in chosen}
    if "node" in commands:
        missing["node"] = packages_of_node()
    for command in commands:
        if "onthedot-peers-packages/python" in command:
            missing[command] = packages_of_python()
    return missing


def packages_of_node():
    if not shutil.which("npm"):
        return "there is no Node.js with npm"
    folder = PACKAGES / "node"
    shutil.copytree(HERE / "node", folder, dirs_exist_ok=True)
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder)
    return "npm install failed" if done.returncode else ""


def packages_of_python():
    folder = PACKAGES / "python"
    if not (folder / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = HERE / "python" / "requirements.txt"
    done = subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted])
    return "pip install failed" if done.returncode else ""


def bare(stage, rows):
    """One row of 200 bytes after the other, each durable before the next."""
    database = sqlite3.connect(stage.folder / "bare", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE bare(id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    began = time.monotonic()
    for _ in range(rows):
        database.execute("INSERT INTO bare(text) VALUES (?)", ("m" * 200,))
    rate = rows / (time.monotonic() - began)
    database.close()
    for end in ("", "-wal", "-shm"):
        (stage.folder / f"bare{end}").unlink(missing_ok=True)
    return {"enqueue_one": rate}


def onthedot(stage, contestant):
    command = [OWN_TARGET / "release" / "onthedot", "--json", "bench", contestant.command[1], "--folder", stage.folder]
    in_flight = contestant.environment.get("IN_FLIGHT", "256")
    command += ["--messages", str(contestant.messages), "--in-flight", in_flight]
    drains = contestant.command[1].startswith("drain")
    if drains:
        command += ["--gateway", stage.given["SERVER"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    if done.returncode:
        return None, done.stderr
    told = json.loads(done.stdout)["scenarios"][0]["median"]
    figures = {"cpu_us": told["cpu_us_per_message"], "memory_mib": (told["memory_kib"] or 0) // 1024}
    enqueues = {"enqueue": "enqueue_one", "enqueue-64": "enqueue_64", "enqueue-bulk": "enqueue_bulk"}
    figures[enqueues.get(contestant.command[1], "per_second")] = told["per_second"]
    figures["late_us"] = told["late_us"]
    return figures, check(stage, contestant) if drains else ""


def check(stage, contestant):
    """What the server saw that may not be."""
    stats = json.loads(stage.ask("stats"))
    if stats["distinct"] != contestant.messages or stats["doubles"]:
        return f"the server got {stats['distinct']} of {contestant.messages} messages, {stats['doubles']} of them more than once"
    if stats["typing_after_message"]:
        return f"typing came after the message {stats['typing_after_message']} times"
    return ""


def run(stage, contestant):
    """The figures of one run, or why there are none."""
    stage.ask("reset")
    if contestant.command[0] == "bare":
        return bare(stage, contestant.messages), ""
    if contestant.command[0] == "onthedot":
        return onthedot(stage, contestant)
    environment = {**os.environ, **stage.given, "MESSAGES": str(contestant.messages),
                   "DATABASE": str(stage.folder / "peer.db"), **contestant.environment}
    done = subprocess.run(contestant.command, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return None, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it said nothing"
    figures = json.loads(lines[-1])
    if "INSERTS" in contestant.environment:
        return figures, ""
    if contestant.environment.get("WRITER") != "none" and figures["recorded"] != contestant.messages:
        return None, f"{figures['recorded']} of {contestant.messages} recorded"
    if contestant.environment.get("CLIENT") == "none":
        return figures, ""
    figures["late_us"] = json.loads(stage.ask("stats"))["late_us"]
    return figures, check(stage, contestant)


def middle(runs, figure):
    values = [r[figure] for r in runs if r.get(figure) is not None]
    return statistics.median(values) if values else None


def spread(runs, figure):
    values = [r[figure] for r in runs if r.get(figure) is not None]
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}–{max(values):,.0f}]" if values else "–"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def ratio(own_rate, other):
    return f"{own_rate / other:.2f}" if own_rate and other else "–"


def rates(title, results):
    print(f"### {title}\n")
    rate_of = {c.name: middle(runs, "per_second") for c, runs in results}
    typing = ", typing"
    own_rate = lambda name: rate_of.get(f"onthedot{typing}" if name.endswith(typing) else "onthedot")
    table(
        ["", "messages a second", "onthedot / this", "CPU µs each", "MiB", "on the disk", "kept of the answer"],
        [[c.name, spread(runs, "per_second"), ratio(own_rate(c.name), middle(runs, "per_second")), spread(runs, "cpu_us"),
          f"{middle(runs, 'memory_mib') or 0:,.0f}", c.durable, c.keeps] for c, runs in results],
    )


def parts_sum(results):
    """What requests and records cost alone, together, beside what onthedot costs."""
    cost = {c.name: middle(runs, "cpu_us") for c, runs in results}
    for typing in ("", ", typing"):
        parts = [cost.get(f"its {part} alone{typing}") for part in ("requests", "records")]
        whole = cost.get(f"onthedot{typing}")
        if whole and all(parts):
            print(f"Requests and records{typing}: {sum(parts):.0f} µs; onthedot: {whole:.0f} µs, {whole / sum(parts):.2f} times that.\n")


def stored(results):
    print("### Storing messages, a second\n")
    figures = ["enqueue_one", "enqueue_64", "enqueue_bulk"]
    table(
        ["", "one after the other", "64 callers", "a thousand at a time", "on the disk"],
        [[c.name, *(spread(runs, f) for f in figures), c.durable] for c, runs in results
         if any(middle(runs, f) for f in figures)],
    )


def lateness(results):
    print("### How late, in ms (negative is early)\n")

    def of(runs, which):
        values = [r["late_us"][which] / 1000 for r in runs if r.get("late_us")]
        return f"{statistics.median(values):,.2f}" if values else "–"

    table(["", "earliest", "p50", "p99", "latest"],
          [[c.name, *(of(runs, which) for which in ("min", "p50", "p99", "max"))] for c, runs in results])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="drain, typing, parts, backlog, late, inserts; all if absent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names begin with one of these, by commas")
    parser.add_argument("--json", help="a file for every single run")
    arguments = parser.parse_args()
    everything = contestants()
    if unknown := [w for w in arguments.what if w not in everything]:
        parser.error(f"{unknown[0]}: one of {', '.join(everything)}")
    starts = tuple(arguments.only.split(","))
    chosen = {what: [c for c in all_of if c.name.startswith(starts)] for what, all_of in everything.items()
              if not arguments.what or what in arguments.what}
    flat = [c for all_of in chosen.values() for c in all_of]
    missing = build(flat)
    stage = Stage()
    try:
        stage.server()
        for need in {c.needs for c in flat if c.needs}:
            missing[need] = getattr(stage, need)()
        compare(stage, chosen, missing, arguments)
    finally:
        stage.end()


def compare(stage, chosen, missing, arguments):
    runs = {(what, c.name): [] for what, all_of in chosen.items() for c in all_of}
    for turn in range(1, arguments.rounds + 1):
        for what, all_of in chosen.items():
            for contestant in all_of:
                why = missing.get(contestant.command[0]) or missing.get(contestant.needs)
                if why:
                    stage.left_out.append(f"{contestant.name}: {why}")
                    continue
                say(f"round {turn} of {arguments.rounds}: {what}: {contestant.name}")
                try:
                    figures, trouble = run(stage, contestant)
                except subprocess.TimeoutExpired:
                    figures, trouble = None, f"not done within {LONGEST_S} s"
                if trouble:
                    stage.left_out.append(f"{contestant.name}, {what}, round {turn}: {trouble}")
                if figures:
                    runs[what, contestant.name].append(figures)
                if arguments.json:
                    with open(arguments.json, "a") as file:
                        file.write(json.dumps({"what": what, "name": contestant.name, "turn": turn, "figures": figures,
                                               "trouble": trouble}) + "\n")
    for what, all_of in chosen.items():
        results = [(c, runs[what, c.name]) for c in all_of]
        titles = {"drain": "One request each", "typing": "Typing and message: two requests each",
                  "parts": "The parts alone", "backlog": "Beside a million messages of another day"}
        if what in titles:
            rates(titles[what], results)
        if what == "parts":
            parts_sum(results)
        if what == "late":
            lateness(results)
        if what in ("drain", "inserts"):
            stored(results)
    for line in dict.fromkeys(stage.left_out):
        print(f"- Left out: {line}")


if __name__ == "__main__":
    main()

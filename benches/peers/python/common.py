"""What every peer is given, and what it says at its end."""

import http.client
import json
import os
import sys
import threading
import time
from urllib.parse import urlparse

LATE = os.environ.get("MODE") == "late"
MESSAGES = int(os.environ.get("MESSAGES", 2_000))
IN_FLIGHT = int(os.environ.get("IN_FLIGHT", 8))
SPAN_S = int(os.environ.get("SPAN_S", 20))
DATABASE = os.environ.get("DATABASE", "peer.db")
SERVER = urlparse(os.environ.get("SERVER", "http://127.0.0.1:9700"))

_own = threading.local()


def _request(method, path, body=None):
    if not hasattr(_own, "connection"):
        _own.connection = http.client.HTTPConnection(SERVER.hostname, SERVER.port)
    _own.connection.request(method, path, body, {"content-type": "application/json"})
    answer = _own.connection.getresponse()
    text = answer.read()
    assert answer.status == 200, answer.status
    return text


def post(message):
    _request("POST", "/m", json.dumps(message, separators=(",", ":")).encode())


def message(number, due_us=0):
    return {"id": number, "due_us": due_us, "chat_id": -1001234567890, "text": "m" * 215}


def due_instants(begins):
    """Due instants in seconds since 1970."""
    return [begins + n * SPAN_S / MESSAGES for n in range(MESSAGES)]


def until_posted():
    last, moved = -1, time.monotonic()
    while (count := int(_request("GET", "/count"))) < MESSAGES:
        if count != last:
            last, moved = count, time.monotonic()
        if time.monotonic() - moved > 40:
            sys.exit(f"nothing has moved for 40 s at {count}")
        time.sleep(0.01)


def finish(began, cpu, recorded, figures):
    """Waits until all is recorded, says so and ends."""
    until_posted()
    waited = time.monotonic()
    while (done := recorded()) < MESSAGES and time.monotonic() - waited < 15:
        time.sleep(0.003)
    took = time.monotonic() - began
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({
        **figures,
        "per_second": MESSAGES / took,
        "recorded": done,
        "cpu_us": (time.process_time() - cpu) * 1e6 / MESSAGES,
        "memory_mib": memory // 1024,
    }))
    sys.stdout.flush()
    os._exit(0)

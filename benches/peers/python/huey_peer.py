"""huey on SQLite with eight threads; its file is not flushed (`fsync=False`), as it is shipped."""

import datetime
import time

from huey import SqliteHuey

from common import DATABASE, IN_FLIGHT, LATE, MESSAGES, due_instants, finish, message, post

huey = SqliteHuey("queue", filename=DATABASE, fsync=False, journal_mode="wal", cache_mb=64, results=True)


@huey.task()
def send(body):
    post(body)
    return True


figures = {}
if LATE:
    for number, due in enumerate(due_instants(time.time() + 3)):
        send.schedule((message(number, int(due * 1e6)),), eta=datetime.datetime.fromtimestamp(due))
else:
    began = time.monotonic()
    for number in range(MESSAGES):
        send(message(number))
    figures["enqueue_one"] = MESSAGES / (time.monotonic() - began)
consumer = huey.create_consumer(
    workers=IN_FLIGHT, worker_type="thread", scheduler_interval=1, initial_delay=0.01, max_delay=0.05, periodic=False,
    check_worker_health=False,
)
began, cpu = time.monotonic(), time.process_time()
consumer.start()
finish(began, cpu, huey.result_count, figures)

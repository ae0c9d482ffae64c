"""APScheduler with its jobs in SQLite (WAL, NORMAL). A job's row is deleted when it has run: nothing is recorded."""

import datetime
import time

import sqlalchemy
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from common import DATABASE, IN_FLIGHT, LATE, MESSAGES, due_instants, finish, message, post

engine = sqlalchemy.create_engine("sqlite:///" + DATABASE)


@sqlalchemy.event.listens_for(engine, "connect")
def write_ahead(connection, _):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def send(body):
    post(body)


if __name__ == "__main__":
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(engine=engine)},
        executors={"default": ThreadPoolExecutor(IN_FLIGHT)},
        job_defaults={"misfire_grace_time": None},
        timezone="UTC",
    )
    scheduler.start(paused=True)
    # Storing takes its time: the first is due after the last is stored.
    dues = due_instants(time.time() + 3 + MESSAGES / 300)
    began = time.monotonic()
    for number in range(MESSAGES):
        due = dues[number] if LATE else time.time()
        at = datetime.datetime.fromtimestamp(due, datetime.timezone.utc)
        body = message(number, int(due * 1e6) if LATE else 0)
        scheduler.add_job(send, "date", run_date=at, args=[body])
    figures = {"enqueue_one": MESSAGES / (time.monotonic() - began)}
    began, cpu = time.monotonic(), time.process_time()
    scheduler.resume()

    def gone():
        with engine.connect() as connection:
            left = connection.execute(sqlalchemy.text("SELECT count(*) FROM apscheduler_jobs")).scalar()
        return MESSAGES - left

    finish(began, cpu, gone, figures)

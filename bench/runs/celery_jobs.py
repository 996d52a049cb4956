"""Jobs for Celery, and who asks for them: `celery_jobs.py PORT drain N | latency N | chain N | fan N` prints milliseconds."""

import sys
import time

from celery import Celery, chain, chord

port = sys.argv[1] if __name__ == "__main__" else __import__("os").environ["BENCH_REDIS_PORT"]
url = f"redis://127.0.0.1:{port}/0"
app = Celery("celery_jobs", broker=url, backend=url)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(*_):
    return None


@app.task(name="clock", ignore_result=False)
def clock(*_):
    return time.time()


def drain(count):
    import redis

    client = redis.Redis(port=int(port))
    began = time.time()
    for _ in range(count):
        noop.delay()
    while client.llen("celery") > 0 or client.hlen("unacked") > 0:
        time.sleep(0.002)
    return [(time.time() - began) * 1000]


def latency(count):
    found = []
    for _ in range(count):
        began = time.time()
        found.append((clock.delay().get(interval=0.001) - began) * 1000)
    return found


def whole(work):
    began = time.time()
    work.apply_async().get(interval=0.001)
    return [(time.time() - began) * 1000]


if __name__ == "__main__":
    what, count = sys.argv[2], int(sys.argv[3])
    if what == "drain":
        result = drain(count)
    elif what == "latency":
        result = latency(count)
    elif what == "chain":
        result = whole(chain(clock.s() for _ in range(count)))
    else:
        result = whole(chord((clock.s() for _ in range(count)), clock.s()))
    print(" ".join(f"{ms:.3f}" for ms in result))

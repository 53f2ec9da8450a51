"""A worker for the tests of workers: what it does is in its job."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, BinaryIO

from server.base import workers
from server.base.errors import Unavailable


def work(job: dict[str, Any], source: BinaryIO, output: BinaryIO) -> None:
    match job["do"]:
        case "count":
            for done in range(job["to"]):
                workers.progress(done + 1, job["to"])
                output.write(b"%d\n" % done)
                output.flush()
        case "answer":
            for line in source:
                output.write(line.upper())
                output.flush()
        case "fail":
            raise Unavailable("the store is away")
        case "crash":
            raise AssertionError("a bug")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            signal.pause()


if __name__ == "__main__":
    sys.exit(workers.main(work))

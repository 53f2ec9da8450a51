"""The process in which risk is computed. One job, then it ends."""

from __future__ import annotations

import base64
import pickle
import sys
from typing import Any, BinaryIO

from server.base import workers
from server.base.errors import FailedPrecondition, InvalidRequest, NotFound
from server.risk.jobs import FUNCTIONS


def _work(job: dict[str, Any], _: BinaryIO, output: BinaryIO) -> None:
    arguments = pickle.loads(base64.b64decode(job["arguments"]))  # of the server that started it
    try:
        answer: tuple[Any, Any] = FUNCTIONS[job["kind"]](*arguments), None
    except InvalidRequest as error:
        answer = None, ("InvalidRequest", error.message, error.specific_reason, error.violations)
    except (NotFound, FailedPrecondition) as error:
        answer = None, (type(error).__name__, error.message, error.specific_reason, error.metadata)
    output.write(pickle.dumps(answer))


if __name__ == "__main__":
    sys.exit(workers.main(_work))

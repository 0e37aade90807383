"""The gate alone: `python -m benchmarks.scan SCRIPT` reads a script as a restore does, and throws away what may be sent.

Prints the seconds of CPU that took, without the start of Python, as one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dbtasks.engines.postgres.script.gate import Gate
from dbtasks.engines.postgres.script.needless import Needless


def main() -> None:
    leave_out = Needless()
    started = time.process_time()
    with Path(sys.argv[1]).open("rb") as script:
        for _ in Gate(script, leave_out=leave_out):
            pass
    print(json.dumps({"seconds": time.process_time() - started}))


if __name__ == "__main__":
    main()

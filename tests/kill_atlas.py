"""Run by test_atlas: `zfkeras atlas` is killed at random moments, then left to finish.

The runs are forks of this process, which has imported everything but not started TensorFlow: so
they begin at once.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from zfkeras import atlas
from zfkeras.cli import main
from zfkeras.models import loading

IMPORTED = (atlas, loading)  # what the command would import in each fork

HERE, DATA, KILLS = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])


def start(output):
    """Starts the command in a process of its own."""
    child = os.fork()
    if child:
        return child
    sys.argv[1:] = ["atlas", str(HERE / "net.keras"), "--data", str(DATA), "--output", str(output)]
    sys.argv += ["--k", "4", "--batch-size", "2", "--save-every", "1", "--json"]
    main()
    os._exit(0)  # typer has left with an exception unless it went well


begin = time.monotonic()
assert os.waitpid(start(HERE / "whole"), 0)[1] == 0
seconds = time.monotonic() - begin
chance, kills, moments = random.Random(), 0, []
for _ in range(10 * KILLS):
    child, moment = start(HERE / "killed"), chance.uniform(0.2, 1) * seconds
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] == signal.SIGKILL:
        kills, moments = kills + 1, [*moments, round(moment / seconds, 2)]
    else:  # it had finished: the next one begins anew
        shutil.rmtree(HERE / "killed")
    if kills == KILLS:
        break
assert os.waitpid(start(HERE / "killed"), 0)[1] == 0
print(json.dumps({"kills": kills, "moments": moments}))

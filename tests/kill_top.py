"""Run by test_top_activations: `zfkeras top` is killed again and again, then left to finish.

The searches are forks of this process, which has imported everything but not started TensorFlow:
so they begin at once.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from zfkeras.analysis import top_activations
from zfkeras.cli import main
from zfkeras.models import loading

IMPORTED = (top_activations, loading)  # what the command would import in each fork

HERE, KILLS = Path(sys.argv[1]), int(sys.argv[2])


def search(output):
    """Starts a search in a process of its own."""
    child = os.fork()
    if child:
        return child
    arguments = "top --k 3 --batch-size 2 --save-every 1 --layers conv2,conv1,scores --json"
    places = ["--model", HERE / "net.keras", "--data", HERE / "data", "--output", output]
    sys.argv[1:] = [*arguments.split(), *map(str, places)]
    main()
    os._exit(0)  # typer has left with an exception unless it went well


def saved(output):
    """What the search has saved so far, by its time."""
    path = output / "top.npz"
    return path.stat().st_mtime_ns if path.exists() else 0


def wait_for_savings(child, output, count):
    """Waits until the search has saved so often; fails if it ends before."""
    last = saved(output)
    while count:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it could be killed"
        time.sleep(0.0005)
        now = saved(output)
        last, count = now, count - (now != last)


whole = search(HERE / "whole")
assert os.waitpid(whole, 0)[1] == 0
chance, kills = random.Random(), 0
for _ in range(KILLS):
    killed = search(HERE / "killed")
    wait_for_savings(killed, HERE / "killed", 1)
    time.sleep(chance.uniform(0, 0.02))  # anywhere in or between computing and saving
    os.kill(killed, signal.SIGKILL)
    kills += os.waitpid(killed, 0)[1] == signal.SIGKILL
last = search(HERE / "killed")
assert os.waitpid(last, 0)[1] == 0
print(json.dumps({"kills": kills}))

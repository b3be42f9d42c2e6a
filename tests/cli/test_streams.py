"""What is printed is printed once, whenever Ctrl-C arrives."""

import subprocess
import sys

MANY = """
import os, signal, sys
from robot_assets.cli import streams

for _ in range(300):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 2)
        streams.prepare()
        try:
            print("once", file=sys.stderr)
            signal.pause()
        except KeyboardInterrupt:
            sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        first = lines.readline()
        os.kill(child, signal.SIGINT)
        rest = lines.read()
    os.waitpid(child, 0)
    assert (first, rest) == ("once\\n", ""), (first, rest)
"""


def test_a_line_is_not_printed_again_after_an_interruption() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

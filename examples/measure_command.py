"""Run a command and print, as TSV, the time and memory of it and of all its child processes, by step.

    python examples/measure_command.py -- labo prepare files --source de --target en ...

A step begins where a line of standard error ends in ": NAME", as `labo prepare` says what it does; what comes before
the first one is `start`. cpu_s is user and system time of the whole tree: on a shared machine it means more than
wall_s. rss_mb is the largest sum of resident memory over the tree, looked at ten times a second (pages that processes
share count for each of them). Linux only.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_STEP = re.compile(r": ([a-z]+)$")


def tree(root):
    """(CPU seconds, bytes of resident memory) of a process and all below it; children that ended count for the CPU."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15])), int(fields[21])
    cpu = memory = 0
    for process, (_, ticks, pages) in found.items():
        above = process
        while above in found and above != root:
            above = found[above][0]
        if above == root:
            cpu, memory = cpu + ticks / _TICKS, memory + pages * _PAGE
    return cpu, memory


class Meter:
    """Time, CPU and memory of a running process, by step."""

    def __init__(self, process):
        self._process, self.rows = process, []
        self._name, self._wall, self._cpu, self._peak = "start", time.perf_counter(), 0.0, 0

    def sample(self):
        """Look at the memory until the process ends."""
        while self._process.returncode is None:
            self._peak = max(self._peak, tree(self._process.pid)[1])
            time.sleep(0.1)

    def step(self, name, cpu):
        """Close the row of a step and begin the next; cpu: of the tree so far, in seconds."""
        now = time.perf_counter()
        self.rows.append((self._name, now - self._wall, cpu - self._cpu, self._peak / 1e6))
        self._name, self._wall, self._cpu, self._peak = name, now, cpu, 0


def main():
    """Run the command; its exit code is ours."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("command", nargs="+")
    command = parser.parse_args().command
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    meter = Meter(process)
    threading.Thread(target=meter.sample, daemon=True).start()
    for line in process.stderr:
        sys.stderr.write(line)
        step = _STEP.search(line.rstrip())
        if step:
            meter.step(step[1], tree(process.pid)[0])
    process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    meter.step("", used.ru_utime + used.ru_stime)
    print("step", "wall_s", "cpu_s", "rss_mb", sep="\t")
    for name, wall, cpu, memory in meter.rows:
        print(name, f"{wall:.1f}", f"{cpu:.1f}", f"{memory:.0f}", sep="\t")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())

"""What the Python peers share: a case as espalier.cpp wrote it, and measuring a step as measure.hpp does."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


class Case:
    """trunk: a list of (weight [out, in], bias [out]); heads: the same, one a task; x [batch, in]; targets [tasks, batch, 1]."""

    def __init__(self, folder, name):
        base = Path(folder) / name.replace("/", "-")
        text = dict(line.split(" ", 1) for line in base.with_suffix(".txt").read_text().splitlines())
        self.tasks, self.batch, self.upgrad = int(text["heads"]), int(text["batch"]), int(text["upgrad"]) == 1
        sizes = [int(s) for s in text["trunk"].split()]
        values, at = np.fromfile(base.with_suffix(".bin"), dtype="<f4"), 0

        def take(*shape):
            nonlocal at
            at += int(np.prod(shape))
            return values[at - int(np.prod(shape)) : at].reshape(shape).copy()

        self.trunk = [(take(o, i), take(o)) for i, o in zip(sizes, sizes[1:])]
        self.heads = [(take(1, sizes[-1]), take(1)) for _ in range(self.tasks)]
        self.x = take(self.batch, sizes[0])
        self.targets = take(self.tasks, self.batch, 1)
        assert at == values.size, f"{base}: {values.size} numbers, {at} of them read"


def threads():
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def run(make, version):
    """make(case) gives step(), which returns something that `float` makes the loss before the step, and wait(), which
    returns when all that was begun is done."""
    case = Case(sys.argv[1], sys.argv[2])
    step, wait = make(case)
    for _ in range(10):
        step()
    loss = float(step())
    calls = 1
    while measure(step, wait, calls)[0] * calls < 0.005:
        calls *= 2
    rounds, end = [], time.perf_counter() + 2
    while len(rounds) < 5 or time.perf_counter() < end:
        rounds.append(measure(step, wait, calls))
    clock, cpu = (sorted(r[i] * 1e6 for r in rounds) for i in range(2))
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(json.dumps({"loss": loss, "us": clock[len(clock) // 2], "best_us": clock[0], "cpu_us": cpu[len(cpu) // 2],
                      "mb": int(peak.split()[1]) / 1024, "version": version}))


def measure(step, wait, calls):
    """Seconds of a step by the clock, and of computing."""
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        step()
    wait()
    return (time.perf_counter() - start) / calls, (time.process_time() - cpu) / calls

"""Runs our training steps beside those of every peer that is installed; benchmarks/run --peers calls it.

    compare.py --ours PROGRAM --build FOLDER [--threads N] [--only PREFIX] [--json FILE] [--rounds N] [--cpu]

A line is `<case>/<peer>`: the peer's microseconds a step, ours, and the peer's in ours (above 1: we are faster); one
`memory/<case>/<peer>` follows for the largest case. Ours and the peers run in turn, --rounds times; the median counts. A peer
whose loss after 10 steps is not ours to 1e-4 is refused. --cpu compares what the programs computed instead of the clock: for
machines that others use at the same time (its sum over all threads, so read it for one)."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = ["train/seed", "train/mid", "train/wide", "train/big", "upgrad/mid", "upgrad/big32"]


def python_peer(script, *modules):
    """A peer in Python: there when the modules can be imported."""

    def find(build, python):
        code = ";".join(f"import {m}" for m in modules)
        if subprocess.run([python, "-c", code], capture_output=True).returncode != 0:
            return None, f"no {' and no '.join(modules)} for {python}"
        return [python, str(HERE / script)], None

    return find


def libtorch(build, python):
    """The C++ frontend of the installed PyTorch, compiled when its source or PyTorch is newer than the program."""
    found = subprocess.run([python, "-c", "import torch; print(torch.__path__[0])"], capture_output=True, text=True)
    if found.returncode != 0:
        return None, f"no torch for {python}"
    root, program, source = Path(found.stdout.strip()), build / "peer_libtorch", HERE / "libtorch.cpp"
    newest = max(source.stat().st_mtime, (HERE.parent / "measure.hpp").stat().st_mtime, root.stat().st_mtime)
    if not program.exists() or program.stat().st_mtime < newest:
        compiled = subprocess.run(
            [os.environ.get("CXX", "g++"), "-std=c++20", "-O3", "-march=native", "-w", source, "-o", program,
             "-isystem", root / "include", "-isystem", root / "include/torch/csrc/api/include",
             "-L", root / "lib", f"-Wl,-rpath,{root / 'lib'}", "-ltorch_cpu", "-lc10"],  # nothing of a GPU's
            capture_output=True, text=True)
        if compiled.returncode != 0:
            return None, "its program does not compile: " + (compiled.stderr.strip().splitlines() or ["?"])[0]
    return [str(program)], None


PEERS = {
    "torch": (python_peer("torch_eager.py", "torch"), "train"),
    "torch-compile": (python_peer("torch_compile.py", "torch"), "train"),
    "libtorch": (libtorch, "train"),
    "jax": (python_peer("jax_jit.py", "jax"), "train"),
    "keras": (python_peer("keras_graph.py", "tensorflow", "keras"), "train"),
    "torchjd": (python_peer("torchjd_upgrad.py", "torch", "torchjd", "qpsolvers", "quadprog"), "upgrad"),
}


def run(command, threads):
    """What a program says of itself, or the reason why it says nothing."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(variable, None)
    if shutil.which("taskset"):  # as many cores as threads: no library may take more
        command = ["taskset", "-c", f"0-{threads - 1}", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
        return json.loads(done.stdout.strip().splitlines()[-1]), None
    except (IndexError, json.JSONDecodeError):
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        return None, "takes more than 15 minutes"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    folder = options.build / "cases"
    subprocess.run([options.ours, "export", folder], check=True)
    python = str(options.build.parent / "peers" / "bin" / "python")  # where benchmarks/peers.sh installs
    if not os.path.exists(python):
        python = sys.executable

    commands = {}
    for name, (find, _) in PEERS.items():
        command, missing = find(options.build, python)
        if command:
            commands[name] = command
        else:
            print(f"{name}: not here ({missing})")
    key, lines, versions = "cpu_us" if options.cpu else "us", [], {}
    unit = "us" if not options.cpu else "us CPU"

    def line(name, value, baseline, unit):
        print(f"{name:28} {value:12.2f} {unit:6}  espalier {baseline:12.2f}   ratio {value / baseline:8.3f}", flush=True)
        lines.append({"name": name, "unit": unit, "value": value, "baseline": baseline, "baseline_name": "espalier",
                      "ratio": value / baseline})

    for case in CASES:
        peers = [p for p in commands if PEERS[p][1] == case.split("/")[0] and f"{case}/{p}".startswith(options.only)]
        ours, theirs = [], {p: [] for p in peers}
        for _ in range(options.rounds if peers else 0):
            mine, wrong = run([options.ours, str(folder), case], options.threads)
            if wrong:
                sys.exit(f"{case}: {wrong}")
            ours.append(mine)
            for peer in list(peers):
                result, wrong = run([*commands[peer], str(folder), case], options.threads)
                if not wrong and not abs(result["loss"] - mine["loss"]) <= 1e-4 * max(1, abs(mine["loss"])):
                    wrong = f"refused: loss {result['loss']:.7g} after 10 steps, ours {mine['loss']:.7g}; this is other work"
                if wrong:
                    print(f"{case}/{peer}: {wrong}", flush=True)
                    peers.remove(peer)
                else:
                    theirs[peer].append(result)
        for peer in peers:
            line(f"{case}/{peer}", statistics.median(r[key] for r in theirs[peer]), statistics.median(r[key] for r in ours), unit)
            versions[peer] = theirs[peer][0]["version"]
            if case == "train/big":
                line(f"memory/{case}/{peer}", statistics.median(r["mb"] for r in theirs[peer]), statistics.median(r["mb"] for r in ours), "MB")
    for peer, version in versions.items():
        print(f"{peer}: {version}")
    if options.json:
        options.json.write_text(json.dumps(lines, indent=2) + "\n")


if __name__ == "__main__":
    main()

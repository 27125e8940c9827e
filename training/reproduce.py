"""Makes the model folder from nothing: train, export, draw the loss curve. `cargo xtask eval` measures it then.

`python -m training.reproduce --run FOLDER --model models/lede-nano`
"""

import argparse
import subprocess
import sys
from pathlib import Path

# The run behind the committed weights: its schedule was shortened on the way. (length of the schedule, step at which it was left)
SCHEDULES = ((3400, 450), (3000, 3000))


def step(module, *arguments):
    """Runs one module of this package and stops if it fails."""
    command = [sys.executable, "-m", f"training.{module}", *map(str, arguments)]
    print("::", " ".join(command[1:]), flush=True)
    ran = subprocess.run(command)
    if ran.returncode != 0:
        raise SystemExit(f"training.{module} failed")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoint, tokenizer and loss.csv; a started run is resumed")
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--steps", type=int, help="one schedule of this length, instead of the recorded ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run, model = arguments.run, arguments.model
    for steps, until in ((arguments.steps, arguments.steps),) if arguments.steps else SCHEDULES:
        length = ["--steps", steps, "--until", until]
        step("train", "--preset", arguments.preset, "--threads", arguments.threads, "--seed", arguments.seed, "--out", run, *length)
    step("export", "--checkpoint", run / "checkpoint.pt", "--tokenizer", run / "tokenizer.json", "--out", model)
    step("plot", run / "loss.csv", model / "loss.png")


if __name__ == "__main__":
    main()

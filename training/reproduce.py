"""Makes the model folder from nothing: train, export, draw the loss curve, evaluate into the model card.

`python -m training.reproduce --run FOLDER --model models/lede-nano`
"""

import argparse
import subprocess
import sys
from pathlib import Path

# The run behind the committed weights: its machine was shared, so the length of the schedule was set anew on the way, and
# plain words were added for the last part. (length of the schedule, step at which it was left, plain words)
SCHEDULES = ((2700, 1350, False), (2050, 2050, False), (2700, 2250, False), (3150, 3150, True))


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
    parser.add_argument("--model", type=Path, required=True, help="model folder, with the model card that evaluate completes")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--steps", type=int, help="one schedule of this length, instead of the recorded ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run, model = arguments.run, arguments.model
    for steps, until, plain in ((arguments.steps, arguments.steps, True),) if arguments.steps else SCHEDULES:
        length = ["--steps", steps, "--until", until, *(["--plain"] if plain else [])]
        step("train", "--preset", arguments.preset, "--threads", arguments.threads, "--seed", arguments.seed, "--out", run, *length)
    step("export", "--checkpoint", run / "checkpoint.pt", "--tokenizer", run / "tokenizer.json", "--out", model)
    step("plot", run / "loss.csv", model / "loss.png")
    step("evaluate", "--model", model, "--write")


if __name__ == "__main__":
    main()

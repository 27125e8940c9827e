"""Draws the loss curve of a run. `python -m training.plot RUN/loss.csv models/lede-nano/loss.png`"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

WARM_UP_ROWS = 3


def read(path):
    """Millions of tokens and losses; held-out loss only where it was measured."""
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = rows[WARM_UP_ROWS:] or rows
    train = [(int(row["tokens"]) / 1e6, float(row["train_loss"])) for row in rows]
    heldout = [(int(row["tokens"]) / 1e6, float(row["heldout_loss"])) for row in rows if row["heldout_loss"]]
    return train, heldout


def draw(source, target):
    """Writes a small PNG."""
    train, heldout = read(source)
    figure, axes = plt.subplots(figsize=(6, 3.4), dpi=100)
    axes.plot(*zip(*train), label="training", linewidth=1, color="#7a9cc6")
    axes.plot(*zip(*heldout), label="held-out scenes and words", linewidth=1.6, marker="o", markersize=3, color="#b5452c")
    axes.set_xlabel("million tokens seen")
    axes.set_ylabel("loss per answer token (nats)")
    axes.grid(alpha=0.25)
    axes.legend()
    figure.tight_layout()
    figure.savefig(target, metadata={"Software": None})


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    draw(arguments.source, arguments.target)


if __name__ == "__main__":
    main()

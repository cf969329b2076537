"""The picture: the learning curve beside a grid of digits with what the models take them for."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from typedfilter.demo.digits import SIDE, Digits

ROWS, COLUMNS = 5, 6


def open_picture(path: Path) -> BinaryIO:
    """The file that a picture will go into: opened before training, so that a mistake costs none.

    Raises:
        ValueError: the name does not say which kind of picture.
        OSError: it can't be written.
    """
    kinds = Figure().canvas.get_supported_filetypes()
    if _kind(path) not in kinds:
        raise ValueError(f"the name must end in one of .{', .'.join(sorted(kinds))}")
    return path.open("wb")


def _kind(path: Path) -> str:
    return path.suffix[1:].lower()


def save(file: BinaryIO, losses: np.ndarray, digits: Digits, predicted: np.ndarray) -> None:
    """Draw `losses` [steps, ensemble] and the first `digits` with what was `predicted`, mistakes first."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False).flat
    _draw_curve(left.subplots(), losses)
    labels = np.asarray(digits.labels)
    right.suptitle(f"{(predicted != labels).sum()} of {len(labels)} test digits misread")
    order = np.argsort(predicted == labels, kind="stable")
    for axes, index in zip(right.subplots(ROWS, COLUMNS).flat, order, strict=False):
        _draw_digit(axes, np.asarray(digits.images[index]), int(labels[index]), int(predicted[index]))
    figure.savefig(file, format=_kind(Path(file.name)), dpi=150)


def _draw_curve(axes: Axes, losses: np.ndarray) -> None:
    steps = np.arange(1, len(losses) + 1)
    axes.set_yscale("log")
    if losses.shape[1] > 1:  # of an ensemble the median, and where the middle half of the models is
        low, high = np.quantile(losses, (0.25, 0.75), axis=1)
        axes.fill_between(steps, low, high, alpha=0.3, linewidth=0, label="middle half of the models")
    axes.plot(steps, np.median(losses, axis=1), linewidth=0.8, label="median")
    axes.legend()
    axes.set(title="Learning curve", xlabel="step", ylabel="cross-entropy of the batch")
    axes.grid(alpha=0.3)


def _draw_digit(axes: Axes, image: np.ndarray, label: int, predicted: int) -> None:
    right = label == predicted
    axes.imshow(image.reshape(SIDE, SIDE), cmap="gray_r")
    axes.set_title(
        f"{predicted}" if right else f"{predicted}, not {label}", color="k" if right else "r", fontsize=9
    )
    axes.set_axis_off()

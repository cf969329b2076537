"""The run from beginning to end: data, training, and what is printed on the way."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from typedfilter import ShapeError, explain, optimiser
from typedfilter.demo.digits import Digits, batches, load_digits
from typedfilter.demo.training import TRACES, TrainState, init_state, predict, train_step

SIZES = (64, 128, 64, 10)
BATCH = 64
LEARNING_RATE = 3e-3
OPTIMISER = optimiser(optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-2)))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run leaves behind."""

    state: TrainState
    losses: np.ndarray  # [steps, ensemble]
    first_step: float  # seconds, compilation included
    steps_per_second: float | None  # of all others, if there are any


def run(steps: int, ensemble: int, seed: int, picture: BinaryIO | None = None) -> None:
    """Train `ensemble` models for `steps` steps and print what the annotations did for them."""
    TRACES.clear()
    console = Console(highlight=False)
    train, test = load_digits(seed)
    console.print(f"Handwritten digits: {len(train.labels)} to train on, {len(test.labels)} to test on.\n")
    console.print("[bold]What the annotations of train_step decide[/]")
    _plain(console, str(explain(train_step)))

    console.print(f"\n[bold]Training {ensemble} model{'s' * (ensemble > 1)} for {steps} steps[/]")
    with progress(console, steps) as report:
        outcome = fit(train, steps, ensemble, seed, report)
    scores = np.asarray(predict(outcome.state.model, test.images))
    _tell(console, outcome, scores, np.asarray(test.labels))

    console.print("\n[bold]One label too few, on purpose[/]")
    _plain(console, provoke(outcome.state, train))
    if picture is not None:
        from typedfilter.demo import plot

        plot.save(picture, outcome.losses, test, scores.mean(axis=0).argmax(axis=-1))
        _plain(console, f"\nPlot: {picture.name}")


def fit(data: Digits, steps: int, ensemble: int, seed: int, report: Callable[[int, Array], None]) -> Outcome:
    """Train from scratch. Steps are queued, not waited for: the loss is looked at only to report it."""
    state = init_state(jax.random.split(jax.random.key(seed), ensemble), SIZES, OPTIMISER)
    losses: list[Array] = []
    start = compiled = time.perf_counter()
    for step, batch in enumerate(batches(data, BATCH, steps, seed)):
        # A Python float, a new one for every step: `Traced` keeps it from compiling anew.
        rate = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        state, loss = train_step(state, *batch, rate, OPTIMISER)
        losses.append(loss)
        if step == 0:
            compiled = time.perf_counter()
        report(step + 1, loss)
    history = np.asarray(jax.block_until_ready(jnp.stack(losses)))
    speed = (steps - 1) / (time.perf_counter() - compiled) if steps > 1 else None
    return Outcome(state, history, compiled - start, speed)


def provoke(state: TrainState, data: Digits) -> str:
    """Call `train_step` with one label too few, and return what the error says."""
    try:
        train_step(state, data.images[:BATCH], data.labels[: BATCH - 1], LEARNING_RATE, OPTIMISER)
    except ShapeError as error:
        return f"ShapeError: {error}"
    raise AssertionError("the wrong number of labels went unnoticed")


def _tell(console: Console, outcome: Outcome, scores: np.ndarray, labels: np.ndarray) -> None:
    voted = (scores.mean(axis=0).argmax(axis=-1) == labels).mean()
    console.print(f"\ntest accuracy  {voted:.1%}")
    if len(scores) > 1:
        single = (scores.argmax(axis=-1) == labels).mean(axis=1)
        console.print(f"each alone     {single.min():.1%} to {single.max():.1%}")
    counts = ", ".join(f"{name} {count}" for name, count in TRACES.items())
    console.print(f"compilations   {counts}")
    if outcome.steps_per_second is None:
        console.print("speed          only the step that compiles was run")
    else:
        seconds = f"after {outcome.first_step:.1f} s to compile"
        console.print(f"speed          {outcome.steps_per_second:,.0f} steps/s {seconds}")


def _plain(console: Console, text: str) -> None:
    """Print `text` as it is: brackets are not markup, and a long line is not folded."""
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def progress(console: Console, steps: int) -> Generator[Callable[[int, Array], None], None, None]:
    """A bar on a terminal, and a line for every tenth of the way anywhere else."""
    every = max(1, steps // (100 if console.is_terminal else 10))
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps, loss="")

        def report(step: int, loss: Array) -> None:
            if step % every and step != steps:
                return
            text = f"{float(loss.mean()):.4f}"
            bar.update(task, completed=step, loss=text)
            if not console.is_terminal:
                console.print(f"step {step:>{len(str(steps))}}/{steps}  loss {text}")

        yield report

"""The demo learns, repeats itself for a seed, compiles once, and shows what it promises to show."""

from __future__ import annotations

import io
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from typedfilter import explain
from typedfilter.cli import main
from typedfilter.demo import plot, session
from typedfilter.demo.digits import Digits, batches, load_digits
from typedfilter.demo.training import init_state, predict, train_step


def shown(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What `typedfilter demo` prints."""
    assert main(["demo", *flags]) == 0
    return capsys.readouterr().out


def forget_compilations() -> None:
    """As if each run were a process of its own, as it is from the command line."""
    for function in (init_state, train_step, predict):
        function.clear_cache()


def accuracy(out: str) -> float:
    found = re.search(r"^test accuracy +([\d.]+)%$", out, re.MULTILINE)
    assert found, out
    return float(found[1])


def without_speed(out: str) -> str:
    return re.sub(r"(?m)^(speed|compilations) .*$", "", out)


@pytest.mark.parametrize("seed", ["0", "5"])
def test_it_learns_95_percent_of_the_digits(seed: str, capsys: pytest.CaptureFixture[str]):
    assert accuracy(shown(capsys, "--seed", seed)) >= 95


def test_the_same_seed_prints_the_same_and_another_does_not(capsys: pytest.CaptureFixture[str]):
    first, again, other = (
        without_speed(shown(capsys, "--steps", "20", "--seed", seed)) for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_every_function_compiles_once_though_the_learning_rate_changes(capsys: pytest.CaptureFixture[str]):
    forget_compilations()
    out = shown(capsys, "--steps", "20")
    assert "\ncompilations   init_state 1, train_step 1, predict 1\n" in out


def test_it_prints_the_table_of_the_training_step(capsys: pytest.CaptureFixture[str]):
    assert f"\n{explain(train_step)}\n" in shown(capsys, "--steps", "1")


def test_it_counts_steps_per_second(capsys: pytest.CaptureFixture[str]):
    out = shown(capsys, "--steps", "20")
    assert re.search(r"^speed +[\d,]+ steps/s after \d+\.\d s to compile$", out, re.MULTILINE)


def test_a_single_step_has_no_speed_to_show(capsys: pytest.CaptureFixture[str]):
    assert "\nspeed          only the step that compiles was run\n" in shown(capsys, "--steps", "1")


def test_it_shows_a_shape_error(capsys: pytest.CaptureFixture[str]):
    assert shown(capsys, "--steps", "1").endswith(
        "\nOne label too few, on purpose\n"
        "ShapeError: train_step(): argument `labels` is i32[63], but "
        "Annotated[Int[Array, 'batch'], VmapAxis[None]] needs batch=64, bound by `images`\n"
        "  expected: Annotated[Int[Array, 'batch'], VmapAxis[None]] with batch=64\n"
        "  found: i32[63]\n"
        "  fix: make axis 0 of `labels` 64 long, or rename the dimension in one of the annotations\n"
    )


def test_away_from_a_terminal_progress_is_ten_plain_lines(capsys: pytest.CaptureFixture[str]):
    out = shown(capsys, "--steps", "20")
    steps = re.findall(r"(?m)^step (.+)/20  loss \d\.\d{4}$", out)
    assert steps == [f"{step:2}" for step in range(2, 21, 2)]
    assert "\x1b" not in out


def test_on_a_terminal_progress_is_a_bar():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with session.progress(terminal, 4) as report:
        for step in range(1, 5):
            report(step, jnp.array(0.5))
    drawn = terminal.file.getvalue()
    assert "━" in drawn
    assert "4/4" in drawn
    assert "loss 0.5000" in drawn
    assert "step 4/4" not in drawn


def test_an_ensemble_trains_as_many_models_that_differ_at_once(capsys: pytest.CaptureFixture[str]):
    train, _ = load_digits(seed=0)
    outcome = session.fit(train, steps=5, ensemble=3, seed=0, report=lambda step, loss: None)
    assert outcome.losses.shape == (5, 3)
    assert len(np.unique(outcome.losses[0])) == 3
    for layer in outcome.state.model.layers:
        assert layer.weight.shape[0] == 3

    forget_compilations()
    out = shown(capsys, "--steps", "20", "--ensemble", "3")
    assert re.search(r"^each alone +[\d.]+% to [\d.]+%$", out, re.MULTILINE)
    assert "\ncompilations   init_state 1, train_step 1, predict 1\n" in out


def test_batches_are_of_one_size_and_each_pass_shows_every_digit_once():
    data = Digits(jnp.arange(12.0).reshape(6, 2), jnp.arange(6))
    labels = [np.asarray(batch.labels) for batch in batches(data, size=2, steps=6, seed=0)]
    first, second = np.concatenate(labels[:3]), np.concatenate(labels[3:])
    assert sorted(first) == sorted(second) == list(range(6))
    assert list(first) != list(second)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_saves_a_picture(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / f"digits.{suffix}"
    out = shown(capsys, "--steps", "3", "--ensemble", "2", "--plot", str(path))
    assert out.endswith(f"\nPlot: {path}\n")
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[suffix])


def test_the_picture_shows_mistakes_first_and_the_median_and_the_middle_half_of_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    figures = []
    monkeypatch.setattr(plot.Figure, "savefig", lambda self, *_, **__: figures.append(self))
    digits = Digits(jnp.zeros((40, 64)), jnp.arange(40) % 10)
    predicted = np.arange(40) % 10
    predicted[39] = 3
    with plot.open_picture(tmp_path / "x.png") as file:
        plot.save(file, np.tile(np.arange(1.0, 6.0), (5, 1)), digits, predicted)  # 5 steps of 5 models

    curve, *grid = figures[0].axes
    assert [set(line.get_ydata()) for line in curve.lines] == [{3.0}]
    (band,) = curve.collections
    extent = band.get_paths()[0].get_extents()
    assert (extent.ymin, extent.ymax) == (2.0, 4.0)
    assert [text.get_text() for text in curve.get_legend().get_texts()] == [
        "middle half of the models",
        "median",
    ]
    titles = [axes.get_title() for axes in grid]
    assert titles[:3] == ["3, not 9", "0", "1"]
    assert len(titles) == plot.ROWS * plot.COLUMNS


@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("--steps", "0", "argument --steps: must be a whole number from 1 to 1000000, not '0'"),
        ("--steps", "many", "argument --steps: must be a whole number from 1 to 1000000, not 'many'"),
        ("--ensemble", "-1", "argument --ensemble: must be a whole number from 1 to 1000, not '-1'"),
        ("--ensemble", "2.5", "argument --ensemble: must be a whole number from 1 to 1000, not '2.5'"),
        ("--seed", "-3", "argument --seed: must be a whole number from 0 to 4294967295, not '-3'"),
    ],
)
def test_a_bad_flag_says_what_would_be_good(
    flag: str, value: str, complaint: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(["demo", f"{flag}={value}"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"typedfilter demo: error: {complaint}"


def test_a_picture_that_can_not_be_saved_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "taken.png").mkdir()
    kinds = ", .".join(sorted(plot.Figure().canvas.get_supported_filetypes()))
    for path, problem in {
        tmp_path / "digits": f"the name must end in one of .{kinds}",
        tmp_path / "digits.docx": f"the name must end in one of .{kinds}",
        tmp_path / "nowhere" / "digits.png": "No such file or directory",
        tmp_path / "taken.png": "Is a directory",
        Path(
            "/proc/digits.png"
        ): "No such file or directory",  # a folder that lets nobody write, root neither
    }.items():
        assert main(["demo", "--plot", str(path)]) == 2
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"typedfilter demo: --plot {path}: {problem}\n")

"""tinygrad-rnn forecast makes a report and a model from a CSV file; predict makes predictions with the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn import datasets
from tinygrad_rnn.cli import main
from tinygrad_rnn.errors import DataError

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
from tinygrad_rnn import estimators  # noqa: E402 (it needs scikit-learn)

ROWS = 240


@pytest.fixture(scope="module")
def plant() -> list[str]:
    """Lines of a plant's table, with a gap in time after row 100."""
    u, y = datasets.two_tanks(ROWS, rng=3)
    times = pandas.date_range("2026-03-02", periods=2 * ROWS, freq="16s")[[t + 50 * (t >= 100) for t in range(ROWS)]]
    return ["time,pump,level", *[f"{time},{a:.4f},{b:.4f}" for time, a, b in zip(times, u, y, strict=True)]]


@pytest.fixture(scope="module")
def made(plant: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plant.csv, in which the command was run; the last five rows of the file have no level."""
    folder = tmp_path_factory.mktemp("plant")
    lines = [*plant[:-5], *[line.rpartition(",")[0] + "," for line in plant[-5:]]]
    (folder / "plant.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--target", "level", "--inputs", "pump", "--delays", "1-2", "--horizon", "12", "--hidden", "2"]
    assert main(["forecast", str(folder / "plant.csv"), *arguments, "--out", str(folder / "out")]) == 0
    return folder


def test_the_folder_has_a_page_a_model_and_a_forecast(made: Path) -> None:
    assert sorted(path.name for path in (made / "out").iterdir()) == ["forecast.csv", "model.safetensors", "report.html"]
    page = (made / "out/report.html").read_text("utf-8")
    assert not re.search(r"<script|(?:src|href)=[\"']?https?:", page)
    assert page.count("<svg") == 6, "data, two forecasts, residuals, folded and unrolled network"
    found = pandas.read_csv(made / "out/forecast.csv")
    assert len(found) == 5, "the rows whose input is known"
    assert (found.lower < found["mean"]).all()


def test_the_page_has_the_errors_that_the_model_makes(made: Path) -> None:
    series = estimators.read_csv_series(made / "plant.csv", "level", ["pump"])
    model = estimators.load(made / "out/model.safetensors")
    m = series.measured
    start = m - round(0.2 * m)
    X, y = series.inputs.iloc[start:m], series.target.iloc[start:m]
    own = (made / "out/report.html").read_text("utf-8").partition('class="own">')[2].partition("</tr>")[0]
    shown = [float(cell) for cell in re.findall(r'"number">([^<]+)<', own)]
    # the histories of the AR model and of the last value differ by one row; all models are judged in the same rows
    for horizon, error in zip((1, 12, None), shown, strict=True):
        residuals = model.residuals(X, y, horizon=horizon).dropna()
        assert error == pytest.approx(float(np.sqrt(np.square(residuals).mean())), rel=1e-3)


def test_predictions_are_those_of_the_model(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = made / "predicted.csv"
    assert main(["predict", str(made / "out/model.safetensors"), str(made / "plant.csv"), "--out", str(out)]) == 0
    found = pandas.read_csv(out, index_col="time", parse_dates=True)
    series = estimators.read_csv_series(made / "plant.csv", "level", ["pump"])
    model, m = estimators.load(made / "out/model.safetensors"), series.measured
    expected = model.predict(series.inputs, y_past=series.target)
    np.testing.assert_allclose(found.predicted, expected, rtol=1e-12)
    assert found.level.isna().sum() == len(series.target) - m == 5


def test_rows_that_lack_a_value_are_left_out_of_predictions(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (made / "plant.csv").read_text(encoding="utf-8").splitlines()
    lines[50] = lines[50].rpartition(",")[0] + ","
    (made / "holes.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["predict", str(made / "out/model.safetensors"), str(made / "holes.csv"), "--out", str(made / "some.csv")]
    assert main(arguments) == 2
    assert re.search(r"'level' in 1 row, first in row 49.*leave these rows out by --drop-missing", capsys.readouterr().err)
    with pytest.raises(DataError, match="leave these rows out by drop_missing=True"):
        estimators.predict_csv(estimators.load(made / "out/model.safetensors"), made / "holes.csv")
    assert main([*arguments, "--drop-missing"]) == 0
    assert list(pandas.read_csv(made / "some.csv").time) == [
        line.partition(",")[0] for k, line in enumerate(lines) if k not in (0, 50)
    ]


def other(separator: str, decimal: str, quote: str = "") -> Callable[[str], str]:
    return lambda row: separator.join(quote + cell.replace(".", decimal) + quote for cell in row.split(","))


FORMS: dict[str, Callable[[list[str]], list[str]]] = {
    "decimal commas": lambda rows: [*map(other(";", ","), rows)],
    "decimal commas in quotes": lambda rows: [*map(other(";", ",", '"'), rows)],
    "decimal commas between tabs": lambda rows: [*map(other("\t", ","), rows)],
    "a line for Excel": lambda rows: ["sep=;", *map(other(";", "."), rows)],
    "a separator at the end of rows": lambda rows: [rows[0], *(row + "," for row in rows[1:])],
    "a name with separators": lambda rows: ['time;pump;level;"a, b, c"', *(row.replace(",", ";") + ";1" for row in rows[1:])],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_table(form: str, plant: list[str], tmp_path: Path) -> None:
    (tmp_path / "plant.csv").write_text("\n".join(plant), encoding="utf-8")
    (tmp_path / "comma.csv").write_text("\n".join(FORMS[form](plant)), encoding="utf-8")
    tables = [estimators.read_csv_series(tmp_path / name, "level", ["pump"]) for name in ("plant.csv", "comma.csv")]
    pandas.testing.assert_frame_equal(tables[0].inputs, tables[1].inputs)
    pandas.testing.assert_series_equal(tables[0].target, tables[1].target)


def test_without_inputs_the_next_steps_are_forecast(tmp_path: Path) -> None:
    path = tmp_path / "spots.csv"
    path.write_text("\n".join(["spots", *map(str, datasets.sunspots()[1][:150])]), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["--target", "spots", "--delays", "1-2", "--horizon", "4", "--hidden", "1", "--out", str(out)]
    assert main(["forecast", str(path), *arguments]) == 0
    assert list(pandas.read_csv(out / "forecast.csv").iloc[:, 0]) == [150, 151, 152, 153]


def quarters(zone: str | None = None, start: str = "2024-03-01") -> object:
    return pandas.date_range(start, periods=8, freq="15min", tz=zone)


TIMES = {
    "numbers": ("time (s)", [f"{0.1 * k:.1f}" for k in range(8)], [0.1 * k for k in range(8)]),
    "day first": ("Datum", [f"{t:%d.%m.%Y %H:%M}" for t in quarters()], quarters()),
    "of one day in each month": ("date", [f"0{k}/03/2024" for k in range(1, 9)], pandas.date_range("2024-03-01", periods=8)),
    "month first": ("Date", [f"{t:%m/%d/%Y %I:%M %p}" for t in quarters()], quarters()),
    "of fractions": ("t", [t.isoformat() for t in quarters() + pandas.to_timedelta([0.5] + [0] * 7, "s")], None),
    "set forward": ("time", [t.isoformat() for t in quarters("Europe/Berlin", "2024-03-31 01:00")], None),
    "apart": ("date,time", [f"{t:%Y-%m-%d,%H:%M:%S}" for t in quarters(start="2024-03-01 23:00")], None),
    "of a table by pandas": ("", [str(t) for t in quarters()], quarters()),
}


@pytest.mark.parametrize("what", TIMES)
def test_times(what: str, tmp_path: Path) -> None:
    header, texts, times = TIMES[what]
    rows = [f"{text},{k},{k % 3}" for k, text in enumerate(texts)]
    (tmp_path / "plant.csv").write_text("\n".join([f"{header},T,u", *rows]), encoding="utf-8")
    found = estimators.read_csv_series(tmp_path / "plant.csv", "T", ["u"])
    assert not any("not used" in line for line in found.found)
    if times is None:
        steps = np.diff(found.inputs.index) / pandas.Timedelta("15min")
        np.testing.assert_allclose(steps, 1, atol=1e-3)
    else:
        assert (
            list(found.inputs.index) == pytest.approx(list(times)) if what == "numbers" else (found.inputs.index == times).all()
        )


def test_times_that_are_numbers_and_names_with_all_signs(tmp_path: Path) -> None:
    """The temperature T is no time; a comma is part of a quoted name; a dollar begins no formula."""
    u, y = datasets.two_tanks(120, rng=3)
    rows = [f"{0.1 * k:.1f},{b:.4f},{a:.4f}" for k, (a, b) in enumerate(zip(u, y, strict=True))]
    (tmp_path / "plant.csv").write_text("\n".join(['time (s),T,"flow, $ per $"', *rows]), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["--target", "T", "--inputs", '"flow, $ per $"', "--hidden", "1", "--horizon", "4", "--out", str(out)]
    assert main(["forecast", str(tmp_path / "plant.csv"), *arguments]) == 0
    assert list(pandas.read_csv(out / "forecast.csv")["time (s)"]) == [11.6, 11.7, 11.8, 11.9]
    table = str(tmp_path / "plant.csv")
    assert main(["predict", str(out / "model.safetensors"), table, "--out", str(out / "predicted.csv")]) == 0
    found = pandas.read_csv(out / "predicted.csv")
    assert list(found.columns) == ["time (s)", "T", "predicted"] and list(found["time (s)"])[:3] == [0, 0.1, 0.2]


BAD = {
    "no such column": (lambda rows: rows, ["--target", "levl"], r"no column 'levl'; there are .*did you mean 'level'"),
    "text": (lambda rows: [*rows[:7], rows[7].rpartition(",")[0] + ",high", *rows[8:]], [], r"'level' .* row 6.* has 'high'"),
    "missing": (lambda rows: [*rows[:7], rows[7].rpartition(",")[0] + ",", *rows[8:]], [], r"'level' in 1 row, first in row 6"),
    "twice": (lambda rows: [*rows[:7], rows[6], *rows[7:]], [], r"two rows have the time"),
    "unsorted": (lambda rows: [rows[0], *rows[:0:-1]], [], r"not in order"),
    "no times": (lambda rows: [rows[0], "soon" + rows[1][19:], *rows[2:]], [], r"'time' .* 'soon' in row 0, which is no time"),
    "short": (lambda rows: rows[:12], ["--delays", "1-9"], r"too few to forecast 10 steps from the 9 rows before"),
    "constant": (lambda rows: [re.sub(r",[^,]*,", ",1,", row) if k else row for k, row in enumerate(rows)], [], r"'pump'"),
    "far": (lambda rows: rows, ["--horizon", "900"], r"horizon"),
    "no steps": (lambda rows: rows, ["--horizon", "0"], r"--horizon: '0' must be a whole number, at least 1"),
    "no delay": (lambda rows: rows, ["--delays", "0"], r"must have a delay of at least 1"),
    "names apart": (lambda rows: rows, ["valve"], r"valve; names are separated by commas: --inputs pump,valve"),
    "no number": (lambda rows: rows, ["--delays", "1-x"], r"'1-x' must be a number of steps"),
    "too many values": (lambda rows: [rows[0], *(f"{k},{row}" for k, row in enumerate(rows[1:]))], [], r"more values than"),
    "seed": (lambda rows: rows, ["--seed", "-1"], r"--seed: '-1' must be a whole number from 0"),
    "no inputs ahead": (
        lambda rows: [*rows[:-5], *[row[:20] + "," for row in rows[-5:]]],
        [],
        r"'pump' in 5 rows, first in row 235",
    ),
    "empty": (lambda rows: [], [], r"cannot read .* as a table"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_error_and_writes_nothing(
    what: str, plant: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, arguments, words = BAD[what]
    path = tmp_path / "plant.csv"
    path.write_text("\n".join(change(plant)), encoding="utf-8")
    given = ["--target", "level", "--inputs", "pump", "--hidden", "1", *arguments]
    assert main(["forecast", str(path), *given, "--out", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("tinygrad-rnn: ")
    assert re.search(words, last), last
    assert [p.name for p in tmp_path.iterdir()] == ["plant.csv"]


def test_a_folder_that_cannot_be_written_ends_the_command_before_the_training(
    plant: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plant.csv"
    path.write_text("\n".join(plant), encoding="utf-8")
    monkeypatch.setattr(estimators, "forecast_report", None)  # calling it would be a TypeError
    assert main(["forecast", str(path), "--target", "level", "--out", str(path)]) == 2
    assert "cannot write to the folder of the report" in capsys.readouterr().err


def test_predictions_of_classes_and_of_several_targets(tmp_path: Path) -> None:
    """Models that were fitted in Python to tables: a target in text, and two targets, of which one is unknown at the end."""
    u, y = datasets.two_tanks(60, rng=3)
    table = pandas.DataFrame({"T": y, "valve": u, "state": np.where(u > u.mean(), "on", "off")})
    model = estimators.RecurrentClassifier("rnn", 2, max_iter=2, random_state=0).fit(table[["valve"]], table["state"])
    both = estimators.NARXRegressor(hidden_size=1, max_iter=2, restarts=1, random_state=0).fit(
        table[["valve"]], table[["T", "valve"]]
    )
    model.save(tmp_path / "classes.safetensors")
    both.save(tmp_path / "two.safetensors")
    table.assign(T=table["T"].where(table.index < 58)).to_csv(tmp_path / "plant.csv", index=False)
    found = estimators.predict_csv(estimators.load(tmp_path / "classes.safetensors"), tmp_path / "plant.csv")
    assert found["state"].equals(table["state"]) and (found["predicted"] == model.predict(table[["valve"]])).all()
    with pytest.raises(DataError, match=r"'T' in 2 rows, first in row 58"):
        estimators.predict_csv(both, tmp_path / "plant.csv")
    table.to_csv(tmp_path / "plant.csv", index=False)
    found = estimators.predict_csv(both, tmp_path / "plant.csv")
    assert list(found.columns) == ["T", "valve", "T predicted", "valve predicted"] and found.notna().all(axis=None)


def test_other_columns_at_predicting(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.csv"
    path.write_text("pomp\n1\n2\n", encoding="utf-8")
    out = tmp_path / "predicted.csv"
    assert main(["predict", str(made / "out/model.safetensors"), str(path), "--out", str(out)]) == 2
    assert "no column 'pump'; there is 'pomp'; did you mean 'pomp'?" in capsys.readouterr().err
    assert not out.exists()

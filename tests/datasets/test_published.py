"""Published problems, read from files in the published layout; the tests write such files, because nothing is downloaded."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn import datasets
from tinygrad_rnn.errors import DataError

RNG = np.random.default_rng(0)
TANKS = {name: RNG.normal(size=1024) for name in ("uEst", "uVal", "yEst", "yVal")}
SITE = "https://www.nonlinearbenchmark.org/benchmarks/"


def write_csv(path, columns, once=None, end=""):
    """A header, rows that end with `end`, and a further number in the first row only."""
    names = [*columns, *(once or {})]
    lines = [",".join(names) + end]
    for n, row in enumerate(zip(*columns.values(), strict=True)):
        rest = [str(value) if n == 0 else "" for value in (once or {}).values()]
        lines.append(",".join([*map(repr, map(float, row)), *rest]) + end)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\r\n".join([*lines, ",".join("" for _ in names) + end, ""]), encoding="utf-8")


def write_mat(path, arrays):
    pytest.importorskip("scipy.io").savemat(path, arrays)


def same(record, u, y, period, first):
    np.testing.assert_array_equal(record.u, u)
    np.testing.assert_array_equal(record.y, y)
    assert record.u.dtype == record.y.dtype == np.float64 and record.first == first
    np.testing.assert_allclose(record.period, period, rtol=1e-12)


@pytest.mark.parametrize("kind", ["csv", "mat"])
def test_cascaded_tanks(tmp_path, kind):
    path = tmp_path / "CascadedTanksFiles" / f"dataBenchmark.{kind}"
    if kind == "csv":
        write_csv(path, TANKS, {"Ts": 4.0})
    else:
        path.parent.mkdir()
        write_mat(path, {**{name: column[:, None] for name, column in TANKS.items()}, "Ts": [[4.0]]})
    for given in (path, path.parent, str(tmp_path)):
        train, test = datasets.cascaded_tanks(given)
        same(train, TANKS["uEst"], TANKS["yEst"], 4, 0)
        same(test, TANKS["uVal"], TANKS["yVal"], 4, 5)


@pytest.mark.parametrize("kind", ["csv", "mat"])
def test_silverbox(tmp_path, kind):
    v1, v2 = np.arange(131_072) / 8, -np.arange(131_072.0)
    if kind == "csv":
        write_csv(tmp_path / "SNLS80mV.csv", {"V1": v1, "V2": v2}, end=",")
    else:
        write_mat(tmp_path / "SNLS80mV.mat", {"V1": v1[None], "V2": v2[None]})
    train, multisine, arrow, within = datasets.silverbox(tmp_path)
    # the slices, as in the source of the package nonlinear_benchmarks
    tests = v1[40650:127400]
    count = int(len(tests) * 0.75)
    same(train, tests[:count], v2[40650:127400][:count], 1 / 610.35, 0)
    same(multisine, tests[count:], v2[40650:127400][count:], 1 / 610.35, 50)
    same(arrow, v1[100:40575], v2[100:40575], 1 / 610.35, 50)
    same(within, v1[100:40575][:32000], v2[100:40575][:32000], 1 / 610.35, 50)


def test_wiener_hammerstein(tmp_path):
    u, y = np.arange(188_000.0), -np.arange(188_000.0)
    path = tmp_path / "WienerHammerBenchMark.mat"
    write_mat(path, {"uBenchMark": u[:, None], "yBenchMark": y[:, None], "fs": [[51200.0]]})
    train, test = datasets.wiener_hammerstein(path)
    same(train, u[5200:184000][:100000], y[5200:184000][:100000], 1 / 51200, 0)
    same(test, u[5200:184000][100000:], y[5200:184000][100000:], 1 / 51200, 50)


@pytest.mark.parametrize(
    "load, page",
    [("cascaded_tanks", "cascaded-tanks"), ("silverbox", "silverbox"), ("wiener_hammerstein", "wiener-hammerstein")],
)
def test_a_missing_file_says_where_the_data_are(tmp_path, load, page):
    with pytest.raises(DataError, match=f"The library downloads nothing: get .* from {SITE}{page}") as raised:
        getattr(datasets, load)(tmp_path)
    assert str(tmp_path) in str(raised.value)


def spoiled(**changes):
    return {**TANKS, **changes}


@pytest.mark.parametrize(
    "columns, once, said",
    [
        ({"u": TANKS["uEst"], "y": TANKS["yEst"]}, {"Ts": 4}, "there is no column 'uEst'; there are 'u', 'y', 'Ts'"),
        (TANKS, None, "there is no column 'Ts'"),
        (spoiled(yVal=np.full(1024, np.nan)), {"Ts": 4}, "values of yVal that are missing"),
        (TANKS, {"Ts": 0}, "values of Ts that are"),
        (TANKS, {"Ts": "four"}, "line 2: column Ts must have a number, not 'four'"),
    ],
)
def test_other_columns(tmp_path, columns, once, said):
    write_csv(tmp_path / "dataBenchmark.csv", columns, once)
    with pytest.raises(DataError, match=said):
        datasets.cascaded_tanks(tmp_path)


def test_files_that_are_damaged(tmp_path):
    csv, mat = tmp_path / "dataBenchmark.csv", tmp_path / "SNLS80mV.mat"
    write_csv(csv, TANKS, {"Ts": 4})
    lines = csv.read_text("utf-8").splitlines()
    csv.write_text("\n".join([*lines[:9], "1,2,,4,", *lines[10:]]), encoding="utf-8")
    with pytest.raises(DataError, match="line 10: column yEst must have a number, not ''"):
        datasets.cascaded_tanks(csv)
    for content in (b"", b"\xff\xfe\x00uEst"):
        csv.write_bytes(content)
        with pytest.raises(DataError, match=r"there are none|cannot read .* as a CSV file"):
            datasets.cascaded_tanks(csv)
    write_mat(mat, {"V1": np.ones(1000), "V2": np.ones(1000)})
    with pytest.raises(DataError, match=r"1,000 rows of V1.*at least 127,400"):
        datasets.silverbox(mat)
    write_mat(mat, {"V1": "text", "V2": np.ones(1000)})
    with pytest.raises(DataError, match="must be arrays of numbers"):
        datasets.silverbox(mat)
    whole = mat.read_bytes()
    for content in (b"", b"no file of MATLAB at all", whole[: len(whole) // 2]):
        mat.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .* as a MATLAB file|there is no column 'V2'"):
            datasets.silverbox(mat)

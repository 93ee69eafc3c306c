"""Published problems of system identification: measurements of plants, read from the files that their authors offer."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checks import no_such
from ..errors import DataError
from ..extras import optional

__all__ = ["Record", "cascaded_tanks", "silverbox", "wiener_hammerstein"]

Floats = npt.NDArray[np.float64]
FilePath = str | os.PathLike[str]
SITE = "https://www.nonlinearbenchmark.org/benchmarks/"


class Record(NamedTuple):
    """Input and output of a plant, measured at equal distances in time.

    Attributes
    ----------
    u, y : ndarray of float64, shape (steps,)
        The input and the output, in volts.
    period : float
        Seconds from one step to the next.
    first : int
        In a test, the number of first values of y that may be used to begin a free run, and are not judged. 0 in
        training data.

    Examples
    --------
    >>> Record(np.zeros(1024), np.ones(1024), period=4.0, first=5).y.shape
    (1024,)
    """

    u: Floats
    y: Floats
    period: float
    first: int = 0


def cascaded_tanks(path: FilePath) -> tuple[Record, Record]:
    """Cascaded Tanks: two tanks, one above the other; a pump fills the upper one, which may overflow.

    Nothing is downloaded. The data are at https://www.nonlinearbenchmark.org/benchmarks/cascaded-tanks and
    https://doi.org/10.4121/12960104, in ``CascadedTanksFiles.zip``.

    Parameters
    ----------
    path : str or path
        ``dataBenchmark.csv`` or ``dataBenchmark.mat``, or the folder where the archive was unpacked. A .mat file needs SciPy.

    Returns
    -------
    train, test : Record
        1,024 steps of 4 seconds each: the voltage of the pump, and the voltage of the level sensor in the lower tank.

    Raises
    ------
    DataError
        If the file does not exist, or does not hold the columns of this data set.
    MissingExtraError
        If SciPy is needed, and is not installed.

    References
    ----------
    Schoukens and Noël, "Three benchmarks addressing open challenges in nonlinear system identification", IFAC-PapersOnLine
    50 (1), 2017. The splits and `first` of all three functions are those of the Python package nonlinear_benchmarks.

    Examples
    --------
    >>> cascaded_tanks("downloads")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: there is no dataBenchmark.csv or dataBenchmark.mat at downloads. The library
    downloads nothing: get CascadedTanksFiles.zip from https://www.nonlinearbenchmark.org/benchmarks/cascaded-tanks, and give
    the path of the file or of the unpacked folder
    """
    names = "uEst", "yEst", "uVal", "yVal"
    columns = _read(path, "dataBenchmark", "CascadedTanksFiles.zip", "cascaded-tanks", names, "Ts")
    u, y, u_test, y_test = (columns[name] for name in names)
    period = float(columns["Ts"][0])
    return Record(u, y, period), Record(u_test, y_test, period, 5)


def silverbox(path: FilePath) -> tuple[Record, Record, Record, Record]:
    """Silverbox: an electronic circuit that behaves like a mass on a spring that stiffens (a Duffing oscillator).

    Nothing is downloaded. The data are at https://www.nonlinearbenchmark.org/benchmarks/silverbox, in ``SilverboxFiles.zip``.

    Parameters
    ----------
    path : str or path
        ``SNLS80mV.csv`` or ``SNLS80mV.mat``, or the folder where the archive was unpacked. A .mat file needs SciPy.

    Returns
    -------
    train : Record
        65,062 steps of a multisine, at 610.35 Hz.
    multisine : Record
        A test of the same kind, the last quarter.
    arrow : Record
        A test with noise of growing amplitude, which in the end exceeds all amplitudes in the training data.
    arrow_within : Record
        The 32,000 steps of `arrow` that need no extrapolation.

    Raises
    ------
    DataError
        If the file does not exist, or does not hold the columns of this data set.
    MissingExtraError
        If SciPy is needed, and is not installed.

    References
    ----------
    Wigren and Schoukens, "Three free data sets for development and benchmarking in nonlinear system identification", European
    Control Conference, 2013.

    Examples
    --------
    >>> train, multisine, arrow, arrow_within = silverbox("SilverboxFiles/SNLS80mV.csv")  # doctest: +SKIP
    >>> len(train.y), len(arrow.y)  # doctest: +SKIP
    (65062, 40475)
    """
    columns = _read(path, "SNLS80mV", "SilverboxFiles.zip", "silverbox", ("V1", "V2"), rows=127_400)
    whole = Record(columns["V1"], columns["V2"], 1 / 610.35)
    middle = 40_650 + (127_400 - 40_650) * 3 // 4
    return (
        _part(whole, 40_650, middle),
        _part(whole, middle, 127_400, 50),
        _part(whole, 100, 40_575, 50),
        _part(whole, 100, 32_100, 50),
    )


def wiener_hammerstein(path: FilePath) -> tuple[Record, Record]:
    """Wiener–Hammerstein: a circuit with a static nonlinearity, a diode, between two linear filters.

    Nothing is downloaded. The data are at https://www.nonlinearbenchmark.org/benchmarks/wiener-hammerstein.

    Parameters
    ----------
    path : str or path
        ``WienerHammerBenchMark.mat`` or a .csv with the same names, or the folder of the file. A .mat file needs SciPy.

    Returns
    -------
    train, test : Record
        100,000 and 78,800 steps, at 51,200 Hz.

    Raises
    ------
    DataError
        If the file does not exist, or does not hold the columns of this data set.
    MissingExtraError
        If SciPy is needed, and is not installed.

    References
    ----------
    Schoukens, Suykens and Ljung, "Wiener-Hammerstein benchmark", IFAC Symposium on System Identification, 2009.

    Examples
    --------
    >>> train, test = wiener_hammerstein("WienerHammerBenchMark.mat")  # doctest: +SKIP
    >>> len(train.y), len(test.y)  # doctest: +SKIP
    (100000, 78800)
    """
    names = "uBenchMark", "yBenchMark"
    columns = _read(path, "WienerHammerBenchMark", "the data", "wiener-hammerstein", names, "fs", rows=184_000)
    whole = Record(columns["uBenchMark"], columns["yBenchMark"], 1 / float(columns["fs"][0]))
    return _part(whole, 5_200, 105_200), _part(whole, 105_200, 184_000, 50)


def _part(whole: Record, start: int, end: int, first: int = 0) -> Record:
    return Record(whole.u[start:end], whole.y[start:end], whole.period, first)


def _read(
    path: FilePath, stem: str, archive: str, page: str, names: tuple[str, ...], scalar: str | None = None, rows: int = 1
) -> dict[str, Floats]:
    """Columns of a published file, checked for a least number of rows, and a single number of the file."""
    file = _find(Path(path), stem, archive, page)
    wanted = names if scalar is None else (*names, scalar)
    columns = _from_csv(file, wanted) if file.suffix.lower() == ".csv" else _from_mat(file, wanted)
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) > 1 or min(lengths.values()) < rows:
        raise DataError(
            f"{file} has {', '.join(f'{n:,} rows of {name}' for name, n in lengths.items())}, but the published file has "
            "equally "
            f"many of each, at least {rows:,}; get the file again from {SITE}{page}"
        )
    for name in wanted:
        if not len(columns[name]) or not np.isfinite(columns[name]).all() or (name == scalar and columns[name][0] <= 0):
            raise DataError(
                f"{file} has values of {name} that are missing, infinite or out of range; get the file again from {SITE}{page}"
            )
    return columns


def _find(path: Path, stem: str, archive: str, page: str) -> Path:
    """The file itself, or the file in a folder or in its direct subfolders."""
    if path.is_file():
        return path
    for name in (f"{stem}.csv", f"{stem}.mat"):
        for found in (path / name, *sorted(path.glob(f"*/{name}"))):
            if found.is_file():
                return found
    raise DataError(
        f"there is no {stem}.csv or {stem}.mat at {path}. The library downloads nothing: get {archive} from {SITE}{page}, and "
        "give the path of the file or of the unpacked folder"
    )


def _from_csv(file: Path, names: tuple[str, ...]) -> dict[str, Floats]:
    """Columns by the names in the first line; a single number, such as a period, is in the first row of its column."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {file} as a CSV file: {error}") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    _check_names(file, names, header)
    columns = {}
    for name in names:
        k = header.index(name)
        cells = [row[k].strip() if k < len(row) else "" for row in rows[1:]]
        once = bool(cells) and not any(cells[1:])
        try:
            columns[name] = np.array(cells[:1] if once else cells, np.float64)
        except ValueError:
            n = next(n for n, cell in enumerate(cells, 2) if not _is_number(cell))
            raise DataError(f"{file}, line {n}: column {name} must have a number, not {cells[n - 2]!r}") from None
    return columns


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_mat(file: Path, names: tuple[str, ...]) -> dict[str, Floats]:
    """Columns from a file of MATLAB, up to version 7, which holds numbers and is not executed."""
    io = optional("scipy.io", "scipy", "MATLAB files need")
    try:
        found: dict[str, Any] = io.loadmat(file)
        held = [name for name in found if not name.startswith("__")]
    except Exception as error:  # SciPy raises errors of many kinds for a file that is damaged or of another kind
        raise DataError(f"cannot read {file} as a MATLAB file: {error}") from None
    _check_names(file, names, held)
    try:
        return {name: np.asarray(found[name], np.float64).ravel() for name in names}
    except (TypeError, ValueError):
        raise DataError(f"{file}: the variables {', '.join(names)} must be arrays of numbers") from None


def _check_names(file: Path, names: tuple[str, ...], there: list[str]) -> None:
    if missing := [name for name in names if name not in there]:
        raise DataError(f"{file}: {no_such('column', missing[0], filter(None, there))}")

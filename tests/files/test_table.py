"""Tables of numbers from CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.errors import DataError
from tinygrad_rnn.files import read_table


@pytest.mark.parametrize("text", ["x,y\n1,2\n3,4\n", "1;2\r\n3;4", "\ufeff1\t2\n\n3\t4e0\n", '"x","y"\n"1","2"\n3, 4'])
def test_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv"), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x\n", "no row"),
        ("", "no row"),
        ("1,2\n3", "line 2: the number of columns is 1, but 2"),
        ("1\nno\n", "line 2: a row must have only numbers, not 'no'"),
        ("1,2\n3,\n", "line 2"),
        ("x\n1\nnan\n", "line 3: a value is missing"),
    ],
)
def test_no_table(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_table(tmp_path / "t.csv")

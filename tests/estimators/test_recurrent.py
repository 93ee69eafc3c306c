"""RecurrentRegressor and RecurrentClassifier: windows, padding, and errors equal to a calculation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from plants import tank

from tinygrad_rnn.estimators import RecurrentClassifier, RecurrentRegressor
from tinygrad_rnn.estimators.recurrent import _Runs, _windows
from tinygrad_rnn.estimators.splitting import Part, split_in_time
from tinygrad_rnn.estimators.tables import read_table


@pytest.mark.parametrize("rows", [5, 8, 20, 21])
def test_windows_learn_from_each_row_once(rows):
    numbers = np.arange(rows, dtype=float)[:, None]
    pieces = _windows([Part(numbers, numbers)], 8)
    assert all(len(piece.x) <= 8 for piece in pieces)
    assert [piece.warmup for piece in pieces] == [0] + [2] * (len(pieces) - 1)
    assert np.concatenate([piece.x[piece.warmup :, 0] for piece in pieces]).tolist() == list(range(rows))


def test_padding_and_other_sequences_change_nothing():
    u, y = tank(60)
    model = RecurrentRegressor("gru", 3, max_iter=2, random_state=0).fit(u, y)
    together = model.predict([u[:7], u, u[:30]])
    for found, n in zip(together, (7, 60, 30), strict=True):
        np.testing.assert_allclose(found, model.predict(u[:n]), rtol=1e-5)


def test_the_error_is_of_the_later_rows_in_standard_units():
    """Each run begins one window before the rows that are tested; this window is ignored."""
    u, y = tank(100)
    model = RecurrentRegressor("rnn", 3, window=30, max_iter=3, random_state=0).fit(u, y)
    scale = model.y_scaler_.scale_[0]
    assert scale == pytest.approx(y[:80].std())
    expected = np.mean((model.predict(u[50:])[30:] - y[80:]) ** 2) / scale**2
    assert model.validation_error_ == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(model.residuals_[:, 0], y[80:] - model.predict(u[50:])[30:], rtol=1e-3, atol=1e-5)


def test_padding_does_not_count_in_training():
    u, y = tank(40)
    model = RecurrentRegressor("rnn", 3, max_iter=1, random_state=0).fit(u, y)
    parts = [Part(u[:9], y[:9, None]), Part(u, y[:, None], 5)]
    run = _Runs(model.module_, parts, one_value=False)
    assert run.mask.sum() == 9 + 35 and run.mask[9:, 0].sum() == 0 and run.mask[:5, 1].sum() == 0


def test_cross_entropy_and_probabilities_by_hand():
    u, y = tank(80)
    labels = np.where(y > 0, "high", "low")
    model = RecurrentClassifier("rnn", 3, window=20, max_iter=3, random_state=0).fit(u, labels)
    _, later = split_in_time(read_table(model, u, (labels == "low").astype(float), fitting=False), 0.2, 20)
    p = model.predict_proba(u[44:])[20:]
    assert len(later[0].x) - later[0].warmup == len(p) == 16
    truth = p[np.arange(16), (labels[64:] == "low").astype(int)]
    assert model.validation_error_ == pytest.approx(-np.log(truth).mean(), rel=1e-4)

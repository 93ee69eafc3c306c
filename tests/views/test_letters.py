"""The reader's letters: drawings and equations use the same mapping of names."""

import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.views.letters import Letters


@pytest.mark.parametrize(
    ("symbols", "notation", "name", "shown"),
    [
        ({}, None, "W_f", "W_f"),
        ({}, "UW", "W_f", "W_f"),
        ({}, "WU", "W_f", "U_f"),
        ({}, "WU", "U^{(2)}", "W^{(2)}"),
        ({}, "WU", "W_12", "W_12"),
        ({}, "WU", "W_0^{(1)}", "W_0^{(1)}"),
        ({"h": "s"}, None, "h'_1", "s'_1"),
        ({"h": "s"}, None, "hidden", "hidden"),
        ({"h": "隐藏"}, None, "h", "隐藏"),
        ({"隐": r"\hat{h}"}, None, "隐_1", r"\hat{h}_1"),
        ({r"\hat{y}": "p"}, None, r"\hat{y}_2", "p_2"),
        ({"W": "A", "W_f": "F"}, "WU", "W_f", "F"),
        ({"W": "A"}, "WU", "U", "W"),
        ({}, "WU", "", ""),
    ],
)
def test_a_name_in_the_readers_letters(symbols, notation, name, shown):
    assert Letters(symbols, notation)(name) == shown


def test_letters_that_cannot_be():
    with pytest.raises(ValueError, match='notation must be "UW"'):
        Letters(notation="VW")
    with pytest.raises(ValueError, match="symbols must be a dict"):
        Letters({"h": 3})
    Letters({"W": "A", "h_1": "s"}).check(["W_f", "h_1"])
    with pytest.raises(ValueError, match="there is no name 'q'; there are 'h', 'W'"):
        Letters({"q": "r", "h": "s"}).check(["h", "W"])


def test_a_symbol_set_by_hand_is_the_name_of_the_parameter():
    cell = nn.RNNCell(2, 3)
    cell.weight_ih.symbol = "W"
    assert cell.weight_ih.name == cell.weight_ih.symbol == "W"
    with pytest.raises(TypeError, match="symbol of a parameter must be a string"):
        cell.weight_ih.symbol = 3
    layer = nn.Sequential(nn.Recurrent(cell))
    assert [p.name for p in layer.parameters()] == ["W", "W", "b", "b'"]
    cell.weight_ih.data = cell.weight_ih.data * 2
    assert cell.weight_ih.name == "W"
    assert tr.Parameter([1.0]).symbol is None


def test_a_drawing_and_equations_take_the_same_letters():
    letters = {"notation": "WU", "symbols": {"c": "C", "W_g": "W_C", "h": "隐"}}
    for model in (nn.LSTMCell(3, 5), nn.LSTM(3, 5)):
        source, text = model.draw(**letters).source, model.equations(**letters)
        assert "隐" in source and "隐" in text and "W_C" in text.replace("{C}", "C")
        assert "C_t" in text and "c_t" not in text

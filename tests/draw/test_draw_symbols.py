"""Labels: names in mathematical notation, with subscripts and superscripts, and the widths of labels."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_rnn.draw.symbols import BASE, SMALLER, indexed, literal, parts, plain, pretty, text_width

FONTS = ("mathrm", "mathbf", "mathit", "text", "boldsymbol", "operatorname")
NAMES = st.text() | st.text("ab_^{}\\$'12 隐é", max_size=12)


@pytest.mark.parametrize("font", FONTS)
def test_a_font_is_left_out_and_its_text_is_not(font):
    assert pretty(rf"\{font}{{out}}") == "out"
    assert pretty(rf"\{font}{{W}}_1") == "W_{1}"
    assert pretty(rf"W_{{\{font}{{out}}}}") == pretty("W_{out}") == pretty("W_out") == "W_{out}"
    assert pretty(rf"W^{{\{font}{{in}}}}") == "W^{in}"


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        (r"\hat{y}", "ŷ"),
        (r"\tilde{c}", "c̃"),
        (r"\bar{x}_2", "x̄_{2}"),
        (r"\overline{x}", "x̄"),
        (r"\dot{x}", "ẋ"),
        (r"\vec{h}", "h→"),
        (r"\overrightarrow{h}_1", "h→_{1}"),
        (r"\overleftarrow{h}", "h←"),
        (r"W_\alpha", "W_{α}"),
        ("x^2", "x^{2}"),
        ("_x", r"\_x"),
        ("W_", r"W\_"),
    ],
)
def test_symbols_become_labels(symbol, shown):
    assert pretty(symbol) == shown


def test_a_gate_is_a_subscript_and_not_a_power():
    assert parts(pretty("W_z")) == (("W", 0), ("z", -1))
    assert parts(indexed("W_z", 3)) == (("W", 0), ("z,3", -1))


def test_the_name_of_an_operation_has_no_scripts():
    assert parts(literal("log_softmax")) == (("log_softmax", 0),)


def test_east_asian_letters_are_as_wide_as_they_are_high():
    assert text_width("隐藏状态", 13) == 52
    assert text_width("h隐", 13) == pytest.approx(text_width("h", 13) + 13)


@given(NAMES)
@example("a\\\\alpha")
@example("{}")
@example("\\_{x}")
def test_a_label_has_no_other_label(name):
    label = pretty(name)
    assert pretty(label) == label
    assert plain(label) == plain(pretty(label))


@given(st.text())
def test_a_literal_text_is_shown_as_it_is(text):
    assert plain(literal(text)) == text
    assert parts(literal(text)) == (((text, BASE),) if text else ())


@given(NAMES, st.sampled_from([9.0, 13.0]))
def test_a_label_is_as_wide_as_its_parts(name, size):
    for label in (name, pretty(name), literal(name)):
        pieces = [text_width(literal(text), size * (1 if level == BASE else SMALLER)) for text, level in parts(label)]
        assert text_width(label, size) == pytest.approx(sum(pieces))


@given(NAMES.filter(lambda name: pretty(name)), st.integers(-99, 9999) | st.just("t-1"))
def test_a_time_is_below_the_line(name, index):
    text, level = parts(indexed(name, index))[-1]
    assert level == -1 and text.endswith(str(index).replace("-", "−"))


@given(st.text(string.ascii_letters, min_size=1, max_size=3), st.integers(0, 99))
def test_scripts_take_less_room_than_letters(name, index):
    label = indexed(name, index)
    assert text_width(name, 13) < text_width(label, 13) < text_width(f"{name}{index}", 13)

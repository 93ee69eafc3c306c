"""Names as people write them."""

import pytest

from tinygrad_rnn.draw.symbols import pretty

FONTS = ("mathrm", "mathbf", "mathit", "text", "boldsymbol", "operatorname")


@pytest.mark.parametrize("font", FONTS)
def test_a_font_is_left_out_and_its_text_is_not(font):
    assert pretty(rf"\{font}{{out}}") == "out"
    assert pretty(rf"\{font}{{W}}_1") == "W₁"
    assert pretty(rf"W_{{\{font}{{out}}}}") == pretty("W_{out}") == "Wᵒᵘᵗ"
    assert pretty(rf"W^{{\{font}{{in}}}}") == "Wⁱⁿ"


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        (r"\hat{y}", "ŷ"),
        (r"\tilde{c}", "c̃"),
        (r"\bar{x}_2", "x̄₂"),
        (r"\overline{x}", "x̄"),
        (r"\dot{x}", "ẋ"),
        (r"\vec{h}", "h→"),
        (r"\overrightarrow{h}_1", "h→₁"),
        (r"\overleftarrow{h}", "h←"),
    ],
)
def test_accents_and_arrows_stand_behind_their_letter(symbol, shown):
    assert pretty(symbol) == shown

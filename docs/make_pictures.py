"""Make the pictures of README and docs: ``python docs/make_pictures.py``."""

import sys
from pathlib import Path

import tinygrad_rnn as tr
from tinygrad_rnn import nn

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
from draw_networks import Bidirectional  # noqa: E402

FOLDER = HERE / "pictures"


class LongShortTerm(nn.Cell):
    """A long short-term memory, as anyone may write it: pictures know nothing of it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for gate in "fiog":
            setattr(self, f"U_{gate}", nn.Parameter((input_size, hidden_size), symbol=f"U_{gate}"))
            setattr(self, f"W_{gate}", nn.Parameter((hidden_size, hidden_size), symbol=f"W_{gate}"))
        self.state_shape = ((hidden_size,), (hidden_size,))

    def step(self, x, state):
        """One time step."""
        h, c = state

        def inner(gate):
            return x @ getattr(self, f"U_{gate}") + h @ getattr(self, f"W_{gate}")

        f, i, o = (tr.sigmoid(inner(gate)).named(gate) for gate in "fio")
        c = (f * c + i * tr.tanh(inner("g")).named("g")).named("c")
        h = (o * tr.tanh(c)).named("h")
        return h, (h, c)


def main() -> None:
    """Write every picture."""
    elman = nn.Sequential(nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2))
    two_layers = nn.Sequential(nn.Recurrent(LongShortTerm(3, 5)), nn.Recurrent(LongShortTerm(5, 5)), nn.Linear(5, 2))
    pictures = {
        "elman-folded": elman.draw(loss=nn.mse),
        "elman-unrolled": elman.draw(time="unrolled", loss=nn.mse),
        "elman-elided": elman.draw(time="unrolled", loss=nn.mse, steps=50),
        "elman-ops": elman.draw(time="unrolled", detail="ops", loss=nn.mse, steps=2),
        "lstm-folded": LongShortTerm(3, 5).draw(),
        "lstm-unrolled": LongShortTerm(3, 5).draw(time="unrolled"),
        "layers": two_layers.draw(time="unrolled", detail="layers"),
        "bidirectional": Bidirectional().draw(time="unrolled"),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, drawing in pictures.items():
        print(drawing.save(FOLDER / f"{name}.png"))


if __name__ == "__main__":
    main()

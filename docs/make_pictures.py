"""Make the pictures of README and docs: ``python docs/make_pictures.py``."""

from pathlib import Path

from tinygrad_rnn import nn

FOLDER = Path(__file__).parent / "pictures"


def main() -> None:
    """Write every picture."""
    elman = nn.Sequential(nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2))
    lstm, two_layers = nn.LSTMCell(3, 5), nn.Sequential(nn.LSTM(3, 5, num_layers=2), nn.Linear(5, 2))
    pictures = {
        "elman-folded": elman.draw(loss=nn.mse),
        "elman-unrolled": elman.draw(time="unrolled", loss=nn.mse),
        "elman-elided": elman.draw(time="unrolled", loss=nn.mse, steps=50),
        "elman-ops": elman.draw(time="unrolled", detail="ops", loss=nn.mse, steps=2),
        "lstm-step": lstm.draw(time="step"),
        "lstm-folded": lstm.draw(),
        "lstm-unrolled": lstm.draw(time="unrolled"),
        "layers": two_layers.draw(time="unrolled", detail="layers"),
        "bidirectional": nn.RNN(3, 5, bidirectional=True).draw(time="unrolled"),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, drawing in pictures.items():
        print(drawing.save(FOLDER / f"{name}.png"))


if __name__ == "__main__":
    main()

"""``python -m tinygrad_rnn`` runs the command ``tinygrad-rnn``."""

import sys

from .cli import main

sys.exit(main())

"""Print one of README's two commands, so that what is tested is what README says.

python .ci/readme_commands.py Run     the first code block under "## Run"
python .ci/readme_commands.py Test    the first code block under "## Test"
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FENCE = re.compile(r"^(`{3,}|~{3,})\s*(?P<language>\w*)[^\n]*\n(?P<body>.*?)^\1\s*$", re.DOTALL | re.MULTILINE)


def command(readme: str, heading: str) -> str:
    """The one line of the first code block under a heading of the second level."""
    # code is blanked out first: a comment in a shell block is no heading
    blanked = FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block.group()), readme)
    starts = [match.start() for match in re.finditer(rf"^## +{re.escape(heading)}[^\S\n]*$", blanked, re.MULTILINE)]
    if len(starts) != 1:
        raise SystemExit(f"README has {len(starts)} headings '## {heading}', and needs one")
    end = re.compile(r"^#{1,2} ", re.MULTILINE).search(blanked, starts[0] + 3)
    block = FENCE.search(readme, starts[0], end.start() if end else len(readme))
    if block is None:
        raise SystemExit(f"README has no code block under '## {heading}'")
    lines = [line.removeprefix("$ ") for line in block["body"].splitlines() if line.strip()]
    if len(lines) != 1:
        raise SystemExit(f"the first code block under '## {heading}' has {len(lines)} lines, and needs one")
    return lines[0].strip()


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    print(command((root / "README.md").read_text(encoding="utf-8"), sys.argv[1]))

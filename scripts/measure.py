"""`python scripts/measure.py [FILE …]`: print the figures of README.md and docs/ anew.

A block that begins with `$ python -m mpckit bench …` shows that command's output, which is put in its place. A command
that fails, as one whose bound does not hold, leaves its block as it is, and the exit status is 1.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = "README.md", "docs/costs.md", "docs/accuracy.md"
BLOCK = re.compile(r"(?<=```\n)\$ (python -m mpckit bench[^\n]*)\n(.*?)(?=```)", re.S)


def measured(text: str) -> tuple[str, list[str]]:
    """The text with new figures, and the commands that have failed."""
    failed = []

    def run(block: re.Match) -> str:
        print(f"$ {block[1]}", flush=True)
        ran = subprocess.run([sys.executable, *shlex.split(block[1])[1:]], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        print(ran.stdout, flush=True)
        if ran.returncode:
            failed.append(block[1])
            return block[0]
        return f"$ {block[1]}\n{ran.stdout}"

    return BLOCK.sub(run, text), failed


if __name__ == "__main__":
    status = 0
    for name in sys.argv[1:] or FILES:
        path = ROOT / name
        text, failed = measured(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
        for command in failed:
            print(f"{name}: failed, and stays as it was: {command}")
            status = 1
    sys.exit(status)

"""Figures in README and docs are printed anew by the command that stands above them."""

import runpy
from pathlib import Path

measured = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "measure.py"))["measured"]

PAGE = """# A page

```
$ python -m mpckit bench mul_1 --suite bits
what it said before
```

```
$ python -m mpckit bench nothing_of_this_name
what stays
```

```
$ ls
not ours
```
"""


def test_a_block_is_printed_anew_and_one_that_fails_stays():
    new, failed = measured(PAGE)
    assert "mul_1                   2      72 B" in new and "what it said before" not in new
    assert failed == ["python -m mpckit bench nothing_of_this_name"] and "what stays" in new
    before, after = (text[text.index("```\n\n```\n$ python -m mpckit bench nothing") :] for text in (PAGE, new))
    assert after == before and new.startswith("# A page\n\n```\n$ python -m mpckit bench mul_1 --suite bits\n")

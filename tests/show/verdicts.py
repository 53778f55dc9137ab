"""What `check` has printed about an answer to a puzzle."""

from mpckit.show import check


def verdict(capsys, answer, **kwargs) -> list[str]:
    """All lines."""
    check(answer, **kwargs)
    return capsys.readouterr().out.splitlines()


def last(capsys, answer) -> str:
    """What was found to be wrong, or that nothing was."""
    lines = verdict(capsys, answer)
    return next((line for line in lines if line.startswith("✗")), lines[-1])

"""What the command line of `mpckit bench` may ask for; None leaves it to the bench."""

from dataclasses import dataclass, fields

from ..runtime.meter import Link


@dataclass(frozen=True)
class Options:
    parties: int | None = None
    link: Link | None = None
    suite: str | None = None
    device: str | None = None
    repeat: int | None = None
    samples: int | None = None  # for `agreement`: how many of each case
    json: bool | None = None  # one object a line instead of a table

    def given(self) -> list[str]:
        """The names of those that were asked for."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

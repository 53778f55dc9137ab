"""One-time material: what may be used once, must not be copied either."""

import os


class ReuseError(RuntimeError):
    """One-time randomness, or a mask bound to one value, was about to be used again."""


class OneTime:
    """Refuses to be copied or pickled: a copy of a mask or a key would be a second use of it.

    A forked process is a copy too, which nothing can refuse beforehand: what gives randomness out calls `stay_home`.
    """

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self._home = os.getpid()
        return self

    @property
    def at_home(self) -> bool:
        """Whether this is the process that it was made in."""
        return os.getpid() == self._home

    def stay_home(self) -> None:
        """Raises ReuseError in a forked process."""
        if not self.at_home:
            raise ReuseError(
                f"a forked process has a copy of this one's randomness ({type(self).__name__}): "
                "start a session of its own there"
            )

    def _refuse(self, *_):
        raise ReuseError(
            f"{type(self).__name__} holds one-time randomness: a copy would be used a second time; "
            "share the value itself, or start another session"
        )

    __copy__ = __deepcopy__ = __reduce_ex__ = _refuse

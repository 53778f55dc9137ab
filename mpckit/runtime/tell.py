"""What a program says while it runs: `tell(token)` reaches the notebook's `for token in team.stream(program)`."""

import torch

from .session import Session


def tell(value) -> None:
    """Say `value`, a public tensor, number or text, to the notebook that runs the program; nobody else hears it.

    A meta tensor, the shape of what this party may not know, says nothing. In the simulator nobody listens.
    What is longer than a megabyte is lost on the way. Raises SecretError for a secret, which must be revealed first,
    TypeError for an object that JSON cannot say.
    """
    if isinstance(value, torch.Tensor):
        value = None if value.is_meta else value.tolist()
    if value is not None:
        Session.current().tell(phase="tell", value=value)

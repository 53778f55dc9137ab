"""What torch does once in a process, done before a party's clock runs."""

from functools import cache

import torch


class _Foreign(torch.Tensor):
    """A tensor of a class that is not torch's own, as `SecretTensor` is."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return args[0]


@cache
def warm_up():
    """Show torch such a tensor: at the first one it imports what is for distributed tensors, half a second of CPU.

    In a first run that would be booked as what the program computes between two words, more than most programs do.
    """
    torch.Tensor._make_wrapper_subclass(_Foreign, (0,)).detach()

"""How public tensors come to where words are computed with: a GPU fetches them when it is their turn."""

import torch

MOST = 1 << 20  # bytes: torch keeps what it has locked, so what is large is copied with a wait


def placed(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The tensor on `device`, with its own strides. The host does not wait for a GPU that has other work before it.

    From memory that the card reads by itself, which torch keeps as it is until the card has done so.
    """
    device = torch.device(device)
    if device.type in ("cpu", "meta") or tensor.device.type != "cpu" or tensor.nbytes > MOST:
        return tensor.to(device)
    if device.type == "cuda" and tensor.numel():
        tensor = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
    return tensor.to(device, non_blocking=True)

"""What a model wants to be given, said before anything is sent: a plan meets it with shapes alone."""

from torch import Tensor, nn


class Expect(nn.Module):
    """Passes on pictures [n, channels, height, width] and refuses all else. `exact`: no other size than `size`.

    Raises ValueError, naming the shape that came and the one that is wanted.
    """

    def __init__(self, channels: int, size: int, exact: bool = True, batch: bool = True):
        super().__init__()
        self.channels, self.size, self.exact, self.batch = channels, size, exact, batch

    def forward(self, x: Tensor) -> Tensor:
        least = f"{self.size}{'' if self.exact else ' or more'}"
        want = f"[{'n, ' if self.batch else '[n,] '}{self.channels}, {least}, {least}]"
        shape, colours = list(x.shape), {1: "grey", 3: "red, green and blue", 4: "colours and transparency"}
        if x.dim() == 3 and self.batch:
            raise ValueError(f"a picture {shape} without a batch axis, but this model takes {want}: give it x[None]")
        if x.dim() not in (3, 4):
            raise ValueError(f"a tensor {shape} is no batch of pictures; this model takes {want}")
        if x.shape[-3] != self.channels:
            last = " Channels come first: x.movedim(-1, -3)." if x.shape[-1] == self.channels else ""
            kind = f" ({colours[x.shape[-3]]})" if x.shape[-3] in colours and not last else ""
            raise ValueError(
                f"pictures {shape} have {x.shape[-3]} channels{kind}, but this model takes {want}.{last}"
                f"{'' if last else ' mpckit.zoo.picture(file) converts.'}"
            )
        sides = x.shape[-2:]
        if any(side != self.size if self.exact else side < self.size for side in sides):
            raise ValueError(
                f"pictures {shape} are {sides[0]}×{sides[1]}, but this model takes {want}: "
                "resize or crop them first, as mpckit.zoo.picture(file) does"
            )
        if not x.is_floating_point():
            raise ValueError(f"pictures of {x.dtype}: scale and normalise them first, to what the model was trained on")
        return x

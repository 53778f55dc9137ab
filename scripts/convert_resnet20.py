"""Make the ResNet-20 weights that the package ships from the file that their author publishes, and check them.

    python scripts/convert_resnet20.py resnet20-12fca82f.th
    python scripts/convert_resnet20.py resnet20-12fca82f.th --cifar cifar-10-binary.tar.gz

The first is in https://github.com/akamaster/pytorch_resnet_cifar10 under pretrained_models/ (BSD-2-Clause, © 2018
Yerlan Idelbayev); nothing in it is executed. With the archive of https://www.cs.toronto.edu/~kriz/cifar.html the
10,000 test images are classified too, in a minute on one core: 91.73 % are right.
"""

import argparse
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save

from mpckit.zoo import cifar10
from mpckit.zoo.data import DATA, checksums, seal
from mpckit.zoo.vision import CIFAR10, ResNet20
from mpckit.zoo.vision.checkpoint import read, settle

NAME = "resnet20_cifar10.safetensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="resnet20-12fca82f.th")
    parser.add_argument("--cifar", type=Path, help="the archive with the test images")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's data)")
    args = parser.parse_args()

    content = convert(args.weights)
    published = checksums().get(NAME)
    if published and sha256(content).hexdigest() != published:
        raise SystemExit(f"{args.weights} gives other weights than those that were shipped (sha256 {published})")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / NAME).write_bytes(content)
    seal(NAME, folder=args.out)
    print(f"{args.out / NAME}: {len(content):,} bytes")
    if args.cifar:
        accuracy(args.out / NAME, args.cifar)


def convert(path: Path) -> bytes:
    """The same weights under the same names, without `module.` before them and without what only training uses."""
    state = {k: v.contiguous() for k, v in read(path).items() if not k.endswith("num_batches_tracked")}
    settle(ResNet20(), state, path)  # refuses those of another network
    return save(state)


def accuracy(weights: Path, archive: Path) -> None:
    """Print what share of the archive's test images is classified correctly, in all and by class."""
    model, data = ResNet20().eval(), cifar10(archive)
    settle(model, read(weights), weights)
    with torch.no_grad():
        right = torch.cat([model(images).argmax(1) for images in data.images.split(500)]) == data.labels
    print(f"{right.float().mean():.2%} of {len(data):,} test images")
    for k, name in enumerate(CIFAR10):
        print(f"{name:>12}  {right[data.labels == k].float().mean():.1%}")


if __name__ == "__main__":
    main()

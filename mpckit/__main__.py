"""The command line: `mpckit demo`, `mpckit bench`, `mpckit lab`."""

import argparse
import subprocess
import sys
from pathlib import Path

from .runtime.meter import LAN, WAN, Link

LINKS = {"lan": LAN, "wan": WAN}


def link(text: str) -> Link:
    """ "lan", "wan", or "MILLISECONDS,MBIT": a round-trip time and a bandwidth."""
    if text.lower() in LINKS:
        return LINKS[text.lower()]
    try:
        rtt, rate = (float(v) for v in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no link: lan, wan, or RTT_MS,MBIT_PER_S such as 20,100"
        ) from None
    return Link(text, rtt * 1e-3, rate * 1e6 / 8)


def lab() -> int:
    """Open JupyterLab on the course's first notebook, which comes with the repository, not with the wheel."""
    first = Path(__file__).parents[1] / "notebooks" / "00_a_prediction_nobody_saw.ipynb"
    if not first.exists():
        print("no notebooks beside the package: clone the repository and run `make lab` there", file=sys.stderr)
        return 1
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", str(first)])


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="mpckit", description="Secure multi-party computation to learn and prototype with."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="classify encrypted digits on ipyparallel engines, and print the bill")
    demo.add_argument("--digits", type=int, default=20, help="how many (default 20)")
    demo.add_argument("--parties", type=int, default=2)
    demo.add_argument("--html", default="demo.html", help="where the page with the plots goes (default demo.html)")
    bench = commands.add_parser("bench", help="measure protocols and models against plaintext torch")
    bench.add_argument("cases", nargs="*", help="default: all")
    bench.add_argument("--parties", type=int, default=2)
    bench.add_argument("--link", type=link, default=LAN, help="lan, wan, or RTT_MS,MBIT_PER_S")
    bench.add_argument("--suite", default="bits")
    bench.add_argument("--device", default="cpu")
    bench.add_argument("--repeat", type=int, default=3)
    bench.add_argument("--json", action="store_true", help="one object a line")
    commands.add_parser("lab", help="open the first notebook in JupyterLab")
    args = parser.parse_args(argv)
    if args.command == "bench":
        from . import bench

        return bench.main(args.cases, args.parties, args.link, args.suite, args.device, args.repeat, args.json)
    if args.command == "lab":
        return lab()
    from .demo import main as demo

    return demo(args.digits, args.parties, args.html)


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `mpckit demo`, `mpckit bench`, `mpckit lab`; `mpckit keys` and `mpckit party` to join others."""

import argparse
import runpy
import subprocess
import sys
from dataclasses import fields
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


def who(text: str) -> int:
    """A party's number, or "dealer"."""
    from .runtime.sockets import DEALER

    if text != "dealer" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is nobody: a party's number, or dealer")
    return DEALER if text == "dealer" else int(text)


def keys(party: int, folder: str) -> int:
    """Make a party's key pair."""
    from .runtime.tls import YEARS, Identity, fingerprint

    identity = Identity.make(party, YEARS)
    try:
        certificate, key = identity.save(folder, party)
    except FileExistsError as error:
        return _complain(f"{error.filename} is there already: remove it first to replace that party's key")
    except OSError as error:
        return _complain(f"{type(error).__name__}: {error}")
    print(f"{key}  stays here\n{certificate}  goes to all others, who put it beside their own\n")
    print(f"fingerprint, to compare by telephone:\n{fingerprint(identity.certificate)}")
    return 0


def party(args) -> int:
    """Join the others, and run a program file in that session; or deal for them."""
    from .runtime import connect
    from .runtime.sockets import DEALER, WireError

    if (args.party == DEALER) == bool(args.program):
        return _complain("a party runs a program file; the dealer needs none")
    file, *rest = args.program or [None]
    try:  # before the others are called, who would wait for it in vain
        if file is not None:
            compile(Path(file).read_bytes(), file, "exec")
    except (OSError, SyntaxError, ValueError) as error:
        return _complain(f"{file} cannot be run: {type(error).__name__}: {error}")
    places = args.addresses.split(",")
    try:
        if args.party == DEALER:
            place, waiting = args.listen or args.dealer, {"timeout": args.timeout, "patience": args.patience}
            connect.deal(len(places), place, args.keys, **waiting)
            return 0
        session = connect.connect(
            args.party, places, args.dealer, args.keys, listen_on=args.listen, timeout=args.timeout,
            patience=args.patience, suite=args.suite,
        )  # fmt: skip
    except (WireError, ValueError, OSError) as error:
        return _complain(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        return _complain("interrupted before the program began, or while it dealt")
    sys.argv, sys.path[0] = [file, *rest], str(Path(file).resolve().parent)
    try:
        with session:
            try:
                runpy.run_path(file, run_name="__main__")
            except SystemExit as end:
                if end.code:
                    raise
    except WireError as error:  # the others' fault, so where we were in the program says little
        return _complain(f"{type(error).__name__}: {error}")
    print(session.report(), file=sys.stderr)
    return 0


def _complain(text: str) -> int:
    print(f"mpckit: {text}", file=sys.stderr)
    return 1


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
    bench.add_argument(
        "cases",
        nargs="*",
        metavar="[BENCH] [NAME …]",
        help="costs (default), fss, engines, events, accuracy, agreement, speech, gpt, kernels, shapes or gpu; and "
        "which of its cases (all)",
    )
    bench.add_argument("--parties", type=int)
    bench.add_argument("--link", type=link, help="lan, wan, or RTT_MS,MBIT_PER_S")
    bench.add_argument("--suite", help="default: bits; for `accuracy` and `agreement`: all that there are")
    bench.add_argument("--device")
    bench.add_argument("--repeat", type=int)
    bench.add_argument("--samples", type=int, help="for `agreement`, `gpt`: how many of a case (default: its bound's)")
    bench.add_argument("--json", action="store_const", const=True, help="one object a line")
    commands.add_parser("lab", help="open the first notebook in JupyterLab")
    make = commands.add_parser("keys", help="make the key pair with which a party proves who it is")
    make.add_argument("--party", type=who, required=True, help="its number, or dealer")
    make.add_argument("folder", help="where the pair goes, beside the others' certificates")
    join = commands.add_parser("party", help="join others as one party and run a program, or deal for them")
    join.add_argument("--party", type=who, required=True, help="who this is: a number, or dealer")
    join.add_argument("--addresses", required=True, help="HOST:PORT of every party, in order, with commas")
    join.add_argument("--dealer", required=True, help="HOST:PORT of the dealer")
    join.add_argument("--keys", required=True, help="folder with the own key pair and the others' certificates")
    join.add_argument("--listen", help="HOST:PORT to listen on, where that is not one's own address")
    join.add_argument("--timeout", type=float, default=60, help="seconds to wait for the others (default 60)")
    join.add_argument("--patience", type=float, default=300, help="seconds of silence that end it (default 300)")
    join.add_argument("--suite", help="family of protocols, the same for all")
    join.add_argument("program", nargs=argparse.REMAINDER, help="Python file, and its arguments")
    args = parser.parse_args(argv)
    if args.command == "keys":
        return keys(args.party, args.folder)
    if args.command == "party":
        return party(args)
    if args.command == "bench":
        from . import bench

        wanted = {field.name: getattr(args, field.name) for field in fields(bench.Options)}
        return bench.main(args.cases, bench.Options(**wanted))
    if args.command == "lab":
        return lab()
    from .demo import main as demo

    return demo(args.digits, args.parties, args.html)


if __name__ == "__main__":
    sys.exit(main())

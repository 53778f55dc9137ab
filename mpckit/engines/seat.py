"""What happens on the engines: a party opens its door, meets the others, and runs a program in a session."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..offline.source import DealerService
from ..runtime.dealing import DealerClient, serve
from ..runtime.session import Session
from ..runtime.sockets import Listener, listen
from ..runtime.telemetry import EventSender
from ..runtime.wire import TCPWire, describe

EVERY = 0.05  # seconds between two events about the same thing
_doors: dict[str, Listener] = {}


@dataclass
class Seat:
    """A party's place in one run: its number, its wire to the others, its lines to the dealer and to the notebook."""

    party: int
    parties: int
    wire: TCPWire
    dealer: DealerClient | None
    events: EventSender


@dataclass(frozen=True)
class Directory:
    """Where everybody is in one run, and the tokens that prove it. The dealer's is another: it is not on the wire."""

    run: str
    addresses: tuple[tuple[str, int], ...]
    token: bytes
    dealer: tuple[str, int] | None
    dealer_token: bytes
    events: str
    events_token: bytes


def open_door(run: str) -> tuple[str, int]:
    """Listen for the other parties of this run; the address."""
    for run_before in list(_doors):  # a run that failed before everybody had come
        _doors.pop(run_before).close()
    _doors[run] = listen()
    return _doors[run].address


def take_seat(directory: Directory, party: int, function: Callable, args: tuple):
    """Join the others and return `function(seat, *args)`. If it fails, all others are told why at once."""
    events = EventSender(directory.events, party, directory.events_token)
    dealer = None
    try:
        with TCPWire.connect(_doors.pop(directory.run), party, directory.addresses, directory.token) as wire:
            if directory.dealer:
                dealer = DealerClient(directory.dealer, party, directory.dealer_token)
            value = function(Seat(party, wire.parties, wire, dealer, events), *args)
            wire.finish()
            if dealer:
                dealer.close()
            return value
    except BaseException as error:
        if dealer:
            dealer.abort(describe(error))
        raise
    finally:
        events.close()


def deal(directory: Directory, parties: int):
    """The dealer's part of a run: answer the parties until they have all they need."""
    service = DealerService(parties)

    def answer(party, kind, request):
        if kind == "deal" and len(service.seeds) < parties:
            return None  # every piece depends on every party's seed
        return service(party, kind, request)

    serve(_doors.pop(directory.run), directory.dealer_token, range(parties), answer)


def run_program(seat: Seat, program: Callable, args: tuple, draws: list, options: dict):
    """A party's part of `Team.run`: offline phase, then the program → (its value, its report)."""
    session = Session(seat.parties, here=(seat.party,), wire=seat.wire, dealer=seat.dealer, **options)
    start = time.perf_counter()
    _warm_up()
    session.prepare(draws, _throttled(lambda done, total: seat.events.send(phase="offline", done=done, total=total)))
    ledger = _ledger_events(seat.events)
    session.meter.listeners.append(ledger)
    with session:
        value = program(*args)
    ledger.flush()
    seat.events.send(phase="end", seconds=time.perf_counter() - start)
    return value, session.report()


def _warm_up():
    """Have the kernels loaded before anything is measured: numba fetches each from its cache at the first call."""
    with Session(2) as session, session.meter.phase_of("setup"):
        session.run(session.suite.relu, session.share(torch.zeros(1), owner=0))


def _throttled(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    last = 0.0

    def progress(done: int, total: int):
        nonlocal last
        if done == total or time.monotonic() - last > EVERY:
            last = time.monotonic()
            tell(done, total)

    return progress


def _ledger_events(events: EventSender):
    """A listener for the meter: tells the notebook what each layer, and all of it, has cost so far."""
    told, rounds_so_far = 0.0, 0
    where, new = None, {}

    def tell():
        nonlocal told, new
        told = time.monotonic()
        if where is not None:
            events.send(phase=where[0], path=where[1], time=time.time(), done=rounds_so_far, **new)
        new = {"rounds": 0, "bytes": 0, "compute": 0.0}

    def listener(phase, path, rounds, sent, compute):
        nonlocal rounds_so_far, where
        if (phase, path) != where or time.monotonic() - told > EVERY:
            tell()
            where = (phase, path)
        rounds_so_far += rounds
        new["rounds"] += rounds
        new["bytes"] += sum(sent.values())
        new["compute"] += compute

    listener.flush = tell
    return listener

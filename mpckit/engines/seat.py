"""What happens on the engines: a party opens its door, meets the others, and runs a program in a session."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..runtime import pause
from ..runtime.connect import answering
from ..runtime.dealing import DealerClient, serve
from ..runtime.doors import Listener, listen
from ..runtime.session import Session
from ..runtime.telemetry import EventSender
from ..runtime.tls import Identity, Pinned
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
    events: "EventSender | Unheard"


@dataclass(frozen=True)
class Directory:
    """Where everybody is in one run, and the tokens that prove it. The dealer's is another: it is not on the wire.

    `certificates` of the parties, and of the dealer, where the connections between them are encrypted.
    """

    run: str
    addresses: tuple[tuple[str, int], ...]
    token: bytes
    dealer: tuple[str, int] | None
    dealer_token: bytes
    events: str | None
    events_token: bytes
    certificates: dict[int, str] | None = None


class Door(NamedTuple):
    """Where an engine listens for one run, and its certificate for it."""

    address: tuple[str, int]
    certificate: str | None


class Unheard:
    """Takes the events of a party that is too far from the notebook to send them."""

    dropped = 0

    def send(self, **event):
        pass

    def hear(self, event):
        pass

    def close(self):
        pass


def open_door(run: str, party: int, host: str | None) -> Door:
    """Listen for the other parties of this run: on `host`, encrypted, or (None) on this machine alone."""
    for run_before in list(_doors):  # a run that failed before everybody had come
        _doors.pop(run_before).close()
    identity = Identity.make(party) if host else None
    _doors[run] = listen(host, tls=Pinned(identity, {})) if host else listen()
    return Door(_doors[run].address, identity.certificate if host else None)


def _door(directory: Directory) -> Listener:
    door = _doors.pop(directory.run)
    if directory.certificates is not None:
        door.tls = Pinned(door.tls.identity, directory.certificates)
    return door


def take_seat(directory: Directory, party: int, function: Callable, args: tuple, timeout: float = 20.0):
    """Join the others and return `function(seat, *args)`. If it fails, all others are told why at once."""
    events = EventSender(directory.events, party, directory.events_token) if directory.events else Unheard()
    dealer, door = None, _door(directory)
    try:
        with TCPWire.connect(door, party, directory.addresses, directory.token, timeout, tls=door.tls) as wire:
            if directory.dealer:
                dealer = DealerClient(directory.dealer, party, directory.dealer_token, tls=door.tls)
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


def deal(directory: Directory, parties: int, timeout: float = 20.0):
    """The dealer's part of a run: answer the parties until they have all they need."""
    serve(_door(directory), directory.dealer_token, range(parties), answering(parties), timeout)


def run_program(seat: Seat, program: Callable, args: tuple, draws: list, options: dict, near: bool, grad: bool):
    """A party's part of `Team.run`: offline phase, then the program → (its value, its report).

    `near`: all parties are on this machine, so that its seconds can tell those on another link. `grad`: whether torch
    keeps what a gradient would ask for, as where the program was planned.
    """
    session = Session(seat.parties, here=(seat.party,), wire=seat.wire, dealer=seat.dealer, **options)
    start = time.perf_counter()
    session.prepare(draws, _throttled(lambda done, total: seat.events.send(phase="offline", done=done, total=total)))
    session.meter.listeners.append(seat.events.hear)
    if near and not session.emulate_link:
        session.meter.pause = pause.cost(seat.wire)
    with session, torch.set_grad_enabled(grad):
        value = program(*args)
    seat.events.send(phase="end", seconds=time.perf_counter() - start, exchange=session.exchange)
    return value, session.report()


def load():
    """Have the kernels loaded before anything runs: numba fetches each from its cache at the first call."""
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

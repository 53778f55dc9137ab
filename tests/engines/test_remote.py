"""Engines that ipyparallel's own `Cluster` started: the team runs on them, encrypted, and leaves them as they were."""

import os
import signal
import sys
import threading
import time

import cloudpickle
import ipyparallel
import pytest
import torch
from talk import seconds, speak

import mpckit as mk
from mpckit.engines.remote import RemoteEngines, _perform, introduce
from mpckit.engines.team import PartyError, TeamError

cloudpickle.register_pickle_by_value(
    sys.modules[__name__]
)  # as with a notebook's functions: engines cannot import them

PROFILE = "mpckit-test"


def on(view, function, *args):
    return view.apply_async(_perform, cloudpickle.dumps((function, args)))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A cluster of four, in a profile of its own, as `ipcluster start -n 4` makes one."""
    before, os.environ["IPYTHONDIR"] = os.environ.get("IPYTHONDIR"), str(tmp_path_factory.mktemp("ipython"))
    cluster = ipyparallel.Cluster(n=4, profile=PROFILE, cluster_id="", log_level=40, engine_timeout=120)
    cluster.start_cluster_sync()
    client = cluster.connect_client_sync()
    client.wait_for_engines(4, interactive=False, timeout=120)
    yield client
    client.close()
    cluster.stop_cluster_sync()
    os.environ.pop("IPYTHONDIR")
    if before is not None:
        os.environ["IPYTHONDIR"] = before


@pytest.fixture(scope="module")
def team(ours):
    with mk.cluster(client=ours) as team:
        yield team


def product(x, y):
    return (mk.secret(x, owner=0) * mk.secret(y, owner=1)).reveal(to=0)


def test_a_program_runs_as_on_a_team_of_ones_own(team):
    x, y = torch.tensor([1.5, -2.0]), torch.tensor([4.0, 0.25])
    (value, other), report = team.run(product, mk.only(0, x), mk.only(1, y), progress=False)
    assert torch.allclose(value, x * y, atol=1e-3) and other.is_meta and not report.unplanned
    assert {e["party"] for e in team.events.events} >= {0, 1}, "engines on this machine tell how far they are"


def test_every_connection_is_encrypted_with_a_key_of_this_run(team):
    def look(seat):
        sock, line = seat.wire._peers[1 - seat.party].sock, seat.dealer._sock
        return sock.version(), line.version(), sock.getpeercert(binary_form=True), line.getpeercert(binary_form=True)

    first, second = team.wired(look), team.wired(look)
    assert all(seen[:2] == ("TLSv1.3", "TLSv1.3") for seen in first)
    certificates = {seen[i] for run in (first, second) for seen in run for i in (2, 3)}
    assert len(certificates) == 6, "two parties and a dealer, each with a fresh certificate in each of two runs"


def test_an_engine_that_is_no_party_cannot_come_in(team, ours):
    """The fourth engine knows the address and the token; without a pinned certificate it is refused."""
    from mpckit.engines import seat
    from mpckit.runtime.doors import dial
    from mpckit.runtime.sockets import CertificateError
    from mpckit.runtime.tls import Identity, Pinned

    def intrude(address, token, certificate):
        own = Identity.make(1)
        try:
            dial(address, 1, 0, token, tls=Pinned(own, {0: certificate, 1: own.certificate}))
        except CertificateError as error:
            return str(error)
        return "came in"

    def accept():
        seat._doors["a run"].accept(0, {1}, bytes(32), 5)

    zero, stranger = ours[team._engines.engine(0).number], ours[ours.ids[3]]
    on(stranger, introduce, None).get(60)  # it loads torch, which takes longer than the door is open
    door = on(zero, seat.open_door, "a run", 0, "127.0.0.1").get(20)
    waiting = on(zero, accept)
    said = on(stranger, intrude, door.address, bytes(32), door.certificate).get(20)
    assert "does not know party 1's certificate" in said
    with pytest.raises(ipyparallel.RemoteError, match="1 callers were refused"):
        waiting.get(20)


def test_a_party_that_raises(team):
    def fail(seat):
        speak(seat, b"one")
        if seat.party == 1:
            raise ValueError("no such label: 11")
        speak(seat, b"two", 1)

    start = time.perf_counter()
    with pytest.raises(PartyError, match="party 1 failed: ValueError: no such label: 11") as caught:
        team.wired(fail)
    assert seconds(start) < 5 and "in fail" in str(caught.value)
    assert team.spmd(lambda: 1) == [1, 1], "and the next run works"


def test_ctrl_c_ends_the_run_everywhere(team):
    def program(seat):
        if seat.party == 0:
            speak(seat, b"")
        time.sleep(60)

    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        team.wired(program)
    assert seconds(start) < 6
    assert team.spmd(lambda: 1) == [1, 1]


def test_an_engine_that_does_not_listen_is_left_alone(ours):
    def deaf(seat):
        if seat.party == 1:
            raise ValueError("early")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        time.sleep(7)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    team = mk.cluster(client=ours)
    start = time.perf_counter()
    with pytest.raises(PartyError, match="(?s)party 1 failed: ValueError: early.*party 0 did not .*still computes"):
        team.wired(deaf)
    assert seconds(start) < 10
    with pytest.raises(TeamError, match="party 0 .engine 0. still computes. Restart them where you started them"):
        team.spmd(lambda: 1)
    time.sleep(max(0.0, 8.0 - seconds(start)))
    assert team.restart().spmd(lambda: 1) == [1, 1], "it has finished"
    assert len(ours.ids) == 4


def test_engines_may_be_chosen_and_stay(ours):
    pids = {i: ours[i].apply_sync(os.getpid) for i in ours.ids}
    with mk.cluster(client=ours, engines=[3, 1, 0]) as team:
        assert team.spmd(os.getpid) == [pids[3], pids[1]]
    assert [ours[i].apply_sync(os.getpid) for i in ours.ids] == [pids[i] for i in ours.ids]
    with pytest.raises(TeamError, match=r"4 engines are needed .3 parties, a dealer.; .* you chose \[0, 1, 2, 9\]"):
        mk.cluster(3, client=ours, engines=[0, 1, 2, 9])
    with pytest.raises(TeamError, match=r"6 engines are needed .5 parties, a dealer.; the cluster has \[0, 1, 2, 3\]"):
        mk.cluster(5, client=ours)
    with pytest.raises(TeamError, match="2 hosts for 3 engines"):
        mk.cluster(client=ours, hosts=["127.0.0.1"] * 2)
    with pytest.raises(ValueError, match="give profile= or client= too"):
        mk.cluster(hosts=["127.0.0.1"] * 3)


def test_a_profile_is_enough(ours):
    with mk.cluster(profile=PROFILE, dealer=False) as team:
        assert team.spmd(lambda: 1) == [1, 1] and team.client is not ours
    assert ours[0].apply_sync(os.getpid), "the cluster goes on"


def test_a_profile_without_a_cluster():
    with pytest.raises(TeamError, match="(?s)no cluster answers for profile 'nowhere-at-all'.*ipcluster start"):
        mk.cluster(profile="nowhere-at-all")


def test_an_engine_that_dies(tmp_path):
    """A cluster of its own, since one engine will be missing."""

    def die(seat):
        if seat.party:
            os._exit(3)
        speak(seat, b"")

    cluster = ipyparallel.Cluster(n=3, profile_dir=str(tmp_path), log_level=40, engine_timeout=120)
    client = cluster.start_and_connect_sync(activate=False)
    try:
        with mk.cluster(client=client) as team:
            team.spmd(lambda: 1)
            start = time.perf_counter()
            with pytest.raises(PartyError, match="party 1 is gone: its process .engine 1. has left the cluster"):
                team.wired(die)
            assert seconds(start) < 10
            with pytest.raises(TeamError, match="has left the cluster. Restart them where you started them"):
                team.spmd(lambda: 1)
    finally:
        client.close()
        cluster.stop_cluster_sync()


# what engines on several machines say, without several machines

HERE = introduce(None)


def several(answers, **options):
    """Engines that introduced themselves like this."""
    engines = RemoteEngines.__new__(RemoteEngines)
    engines.parties, engines.count, engines.who = 2, len(answers), answers
    return engines


def test_other_versions_are_refused(ours, monkeypatch):
    mine = HERE | {"versions": HERE["versions"] | {"torch": "1.0"}}
    monkeypatch.setattr("mpckit.engines.remote.introduce", introduce)
    real = RemoteEngines._ask

    def ask(self, work, function, *args):
        return [mine] * self.count if function is introduce else real(self, work, function, *args)

    monkeypatch.setattr(RemoteEngines, "_ask", ask)
    with pytest.raises(TeamError, match="party 0 .engine 0. has other versions: torch .* here and 1.0 there"):
        mk.cluster(client=ours)


def test_engines_behind_tunnels_do_not_know_where_they_are():
    far = HERE | {"machine": ("elsewhere", "", "")}
    with pytest.raises(TeamError, match=r"reach the controller through tunnels.*hosts=\["):
        several([HERE, far, far])._find_hosts()
    assert several([HERE, HERE, HERE])._find_hosts() == ["127.0.0.1"] * 3


def test_an_engine_beside_the_controller_says_where_others_reach_it(ours):
    engines = several([HERE, HERE | {"host": "192.0.2.7"}, HERE])
    engines._views = [ours[i] for i in ours.ids[:3]]
    try:
        hosts = engines._find_hosts()
    except ipyparallel.RemoteError as error:
        pytest.skip(f"this machine has no way to any network: {error.evalue}")
    assert hosts[1] == "192.0.2.7" and hosts[0] == hosts[2] != "127.0.0.1"

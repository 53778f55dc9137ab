"""The wire off this machine: mutual TLS 1.3, each end the owner of one pinned certificate, and nothing else gets in."""

import datetime
import os
import secrets
import socket
import ssl
import stat
import threading
import time

import numpy as np
import pytest
from beside import TOKEN, admitting, in_threads
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from mpckit.runtime.dealing import DealerClient, serve
from mpckit.runtime.doors import dial, listen
from mpckit.runtime.sockets import DEALER, CertificateError, PeerError, ProtocolError, TokenError, WireError
from mpckit.runtime.tls import Identity, Pinned, fingerprint, load
from mpckit.runtime.wire import Expected, Outgoing, TCPWire, Word

WHO = [0, 1, 2, DEALER]
IDENTITY = {party: Identity.make(party) for party in WHO}
PINS = {party: identity.certificate for party, identity in IDENTITY.items()}
TLS = {party: Pinned(IDENTITY[party], PINS) for party in WHO}


def connect_all(parties, **options):
    doors = [listen(tls=TLS[p]) for p in range(parties)]
    addresses = [door.address for door in doors]
    return in_threads(
        [lambda p=p: TCPWire.connect(doors[p], p, addresses, TOKEN, tls=TLS[p], **options) for p in range(parties)]
    )


def turn(wire, payload=b"", step=0):
    peers = [q for q in range(wire.parties) if q != wire.party]
    out, expect = dict.fromkeys(peers, Outgoing(5, payload)), dict.fromkeys(peers, Expected(5, len(payload)))
    return wire.exchange(step, Word.ROUND, "a test", out, expect)


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("size", [0, 8, (64 << 10) + 1, 3 << 20])
def test_all_sizes_over_tls(parties, size):
    wires = connect_all(parties)
    assert all(peer.sock.version() == "TLSv1.3" for wire in wires for peer in wire._peers.values())
    sent = [np.frombuffer(secrets.token_bytes(size), np.uint8) for _ in range(parties)]

    def run(wire):
        got = [turn(wire, sent[wire.party], step) for step in range(3)]
        wire.finish()
        wire.close()
        return got

    for p, rounds in enumerate(in_threads([lambda w=w: run(w) for w in wires])):
        for got in rounds:
            assert all(np.array_equal(got[q], sent[q]) for q in range(parties) if q != p)


def test_64_mib_both_ways_at_once_over_tls():
    """An encrypted connection is for one thread, which must read while it cannot write."""
    wires = connect_all(2)
    sent = [np.full(64 << 20, p, np.uint8) for p in range(2)]
    start = time.perf_counter()
    got = in_threads([lambda w=w: turn(w, sent[w.party]) for w in wires])
    assert got[0][1][-1] == 1 and got[1][0][0] == 0 and len(got[0][1]) == 64 << 20
    assert time.perf_counter() - start < 20


def test_a_failing_party_tells_why_over_tls():
    wires = connect_all(3)

    def run(wire):
        with wire:
            turn(wire, b"one")
            if wire.party == 1:
                raise ValueError("secret")
            turn(wire, bytes(1 << 20), 1)

    start = time.perf_counter()
    errors = in_threads([lambda w=w: run(w) for w in wires])
    assert [str(e) for e in errors] == ["party 1 failed: ValueError", "secret", "party 1 failed: ValueError"]
    assert time.perf_counter() - start < 5


HEADER = 5  # bytes before a TLS record: its kind, version, and length in two


class Between:
    """Somebody on the network between two ends: sees all bytes, and may change each TLS record (`meddle(record)`)."""

    def __init__(self, address):
        self.address_behind, self.seen = address, bytearray()
        self.meddle = lambda data: data
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        near, _ = self._server.accept()
        far = socket.create_connection(self.address_behind)
        for a, b in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        buffer = b""
        try:
            while data := a.recv(1 << 16):
                self.seen += data
                buffer += data
                # Record by record: how many a read brings is chance.
                while len(buffer) >= (size := HEADER + int.from_bytes(buffer[HEADER - 2 : HEADER], "big")):
                    record, buffer = buffer[:size], buffer[size:]
                    if record := self.meddle(record):
                        b.sendall(record)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            a.close(), b.close()


def through(between_of):
    """Wires of two parties with somebody in between."""
    doors = [listen(tls=TLS[p]) for p in range(2)]
    between = between_of(doors[0].address)
    addresses = [between.address, doors[1].address]
    wires = in_threads([lambda p=p: TCPWire.connect(doors[p], p, addresses, TOKEN, tls=TLS[p]) for p in range(2)])
    return between, wires


def test_who_is_in_between_reads_nothing():
    between, wires = through(Between)
    payload = b"attack at dawn, all of you. " * 100
    got = in_threads([lambda w=w: turn(w, payload) for w in wires])
    assert bytes(got[0][1]) == bytes(got[1][0]) == payload
    assert len(between.seen) > 2 * len(payload) and b"at dawn" not in between.seen and TOKEN not in between.seen


def test_who_is_in_between_changes_nothing():
    """One bit: the connection ends with an error on both sides, and no party takes the frame."""
    between, wires = through(Between)
    in_threads([lambda w=w: turn(w, b"one") for w in wires])
    between.meddle = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    start = time.perf_counter()
    errors = in_threads([lambda w=w: turn(w, b"two", 1) for w in wires])
    assert all(isinstance(error, PeerError) for error in errors), errors
    assert any(isinstance(error, ProtocolError) and "changed on the way" in str(error) for error in errors), errors
    assert time.perf_counter() - start < 5


def test_who_is_in_between_cannot_send_a_record_twice():
    between, wires = through(Between)
    in_threads([lambda w=w: turn(w, b"one") for w in wires])
    between.meddle = lambda data: data + data
    errors = in_threads([lambda w=w: [turn(w, b"two", step) for step in (1, 2)] for w in wires])
    assert all(isinstance(error, PeerError) for error in errors), errors


def test_who_is_in_between_can_cut_the_line_and_is_noticed():
    between, wires = through(Between)
    in_threads([lambda w=w: turn(w, b"one") for w in wires])

    def cut(data):
        raise OSError

    between.meddle = cut
    errors = in_threads([lambda w=w: turn(w, b"two", 1) for w in wires])
    assert all(isinstance(error, PeerError) and "is gone" in str(error) for error in errors), errors


# who gets in


def test_a_wrong_certificate_gets_nobody_in():
    """The right token and the right number, with a key pair of one's own."""
    door, thread, result = admitting({1}, 3, TLS[0])
    mallory = Identity.make(1)
    with pytest.raises(CertificateError, match="party 0 at .* does not know party 1's certificate"):
        dial(door.address, 1, 0, TOKEN, tls=Pinned(mallory, PINS | {1: mallory.certificate}))
    with pytest.raises(TokenError, match="refused party 1: .*wrong number"):
        dial(door.address, 1, 0, TOKEN, tls=TLS[2])  # pinned, but as party 2's
    thread.join(9)
    assert "party 1 did not connect to party 0 within 3 s; 2 callers were refused" in str(result["error"])


def test_a_wrong_certificate_is_not_called():
    """A listener with the right token and another certificate than the pinned one hears nothing from us."""
    mallory = Identity.make(0)
    door, thread, result = admitting({1}, 2, Pinned(mallory, PINS | {0: mallory.certificate}))
    with pytest.raises(CertificateError, match="party 0 at .* has another certificate than the one that is pinned"):
        dial(door.address, 1, 0, TOKEN, tls=TLS[1])
    thread.join(5)
    assert "did not connect" in str(result["error"])


def test_a_certificate_signed_by_a_pinned_one_is_worth_nothing():
    """Party 2 signs a certificate in the name of party 1: nobody may stand surety for another one."""
    fresh = Identity.make(1)
    theirs = x509.load_pem_x509_certificate(fresh.certificate.encode())
    issuer = x509.load_pem_x509_certificate(PINS[2].encode())
    key = serialization.load_pem_private_key(IDENTITY[2].key.encode(), None)
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder().subject_name(theirs.subject).issuer_name(issuer.subject)
        .public_key(theirs.public_key()).serial_number(7).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    chain = signed.public_bytes(serialization.Encoding.PEM).decode() + PINS[2]
    door, thread, result = admitting({1}, 2, TLS[0])
    with pytest.raises(CertificateError, match="does not know party 1's certificate"):
        dial(door.address, 1, 0, TOKEN, tls=Pinned(Identity(chain, fresh.key), PINS | {1: fresh.certificate}))
    thread.join(5)
    assert "1 callers were refused" in str(result["error"])


def test_a_wrong_token_gets_nobody_in_either():
    door, thread, result = admitting({1}, 2, TLS[0])
    with pytest.raises(TokenError, match="has another token"):
        dial(door.address, 1, 0, b"x" * 32, tls=TLS[1])
    thread.join(5)


def test_plaintext_against_tls():
    start = time.perf_counter()
    door, thread, result = admitting({1}, 2, TLS[0])
    with pytest.raises(PeerError, match="party 0 does not answer .*does it expect TLS"):
        dial(door.address, 1, 0, TOKEN)
    thread.join(5)
    assert time.perf_counter() - start < 8


def test_tls_against_plaintext():
    start = time.perf_counter()
    door, thread, result = admitting({1}, 2)
    with pytest.raises(CertificateError, match="party 0 at .* does not speak TLS 1.3 with us"):
        dial(door.address, 1, 0, TOKEN, tls=TLS[1])
    thread.join(5)
    assert time.perf_counter() - start < 8


def test_an_older_tls_is_refused():
    door, thread, result = admitting({1}, 2, TLS[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(door.address) as sock, pytest.raises(OSError, match="(?i)protocol version|reset"):
        context.wrap_socket(sock)
    thread.join(5)
    assert door.refused == 1


def test_a_silent_server_is_left_after_the_time_given():
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.perf_counter()
        with pytest.raises(PeerError, match="does not answer .*timed out"):
            dial(server.getsockname(), 1, 0, TOKEN, timeout=1, tls=TLS[1])
        assert time.perf_counter() - start < 3


def test_with_certificates_any_address_may_be_listened_on():
    door = listen("0.0.0.0", tls=TLS[0])
    assert door.address[0] == "0.0.0.0"
    door.close()
    with pytest.raises(ValueError, match="plaintext"):
        listen("0.0.0.0")
    with pytest.raises(ValueError, match="plaintext"):
        dial(("192.0.2.1", 9), 1, 0, TOKEN)


def test_the_line_to_the_dealer_over_tls():
    """Small and large answers; the dealer must not overlook what TLS has read ahead."""
    door = listen(tls=TLS[DEALER])
    served = threading.Thread(
        target=lambda: serve(door, TOKEN, {0, 1}, lambda p, kind, n: ({"n": n}, bytes(n))), daemon=True
    )
    served.start()
    lines = [DealerClient(door.address, p, TOKEN, tls=TLS[p]) for p in range(2)]
    for n in (0, 1, 100_000, 20 << 20, 3):
        for line in lines:
            answer, payload = line.request("bytes", n)
            assert answer == {"n": n} and len(payload) == n
    for line in lines:
        line.close()
    served.join(5)
    assert not served.is_alive()


# keys in files


def test_keys_are_made_once_and_kept_private(tmp_path):
    for party in WHO:
        certificate, key = IDENTITY[party].save(tmp_path, party)
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{n}.{s}" for n in ("party-0", "party-1", "party-2", "dealer") for s in ("crt", "key")
    )
    with pytest.raises(FileExistsError):
        Identity.make(0).save(tmp_path, 0)
    assert "PRIVATE" not in repr(IDENTITY[0])
    assert load(tmp_path, 0, [1, 2, DEALER]).certificates == PINS
    (tmp_path / "party-2.crt").unlink()
    with pytest.raises(FileNotFoundError, match="party-2.crt is missing: ask its owner for it"):
        load(tmp_path, 0, [1, 2])
    (tmp_path / "party-0.key").chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        load(tmp_path, 0, [1])
    (tmp_path / "party-0.key").unlink()
    with pytest.raises(FileNotFoundError, match="mpckit keys --party 0"):
        load(tmp_path, 0, [1])


def dated(party, begins, lasts=7) -> Identity:
    """A pair whose certificate is valid from `begins` days after now on."""
    fresh, day = Identity.make(party), datetime.timedelta(days=1)
    mine, key = (
        x509.load_pem_x509_certificate(fresh.certificate.encode()),
        serialization.load_pem_private_key(fresh.key.encode(), None),
    )
    start = datetime.datetime.now(datetime.UTC) + begins * day
    certificate = (
        x509.CertificateBuilder().subject_name(mine.subject).issuer_name(mine.issuer).public_key(mine.public_key())
        .serial_number(7).not_valid_before(start).not_valid_after(start + lasts * day).sign(key, hashes.SHA256())
    )  # fmt: skip
    return Identity(certificate.public_bytes(serialization.Encoding.PEM).decode(), fresh.key)


def encrypted(key: str) -> str:
    kind = serialization.BestAvailableEncryption(b"a word")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return serialization.load_pem_private_key(key.encode(), None).private_bytes(*form, kind).decode()


BAD_FILES = {
    "party-0.key": {
        "is not the key to the certificate beside it: remove both, and make a pair": IDENTITY[1].key,
        "is no private key, or a damaged one: make a pair with `mpckit keys --party 0": "hello",
        "party-0.key is no private key": "",
        "is encrypted, and a party starts without anybody to ask": encrypted(IDENTITY[0].key),
    },
    "party-1.crt": {
        "is no certificate, or a damaged one: ask its owner for it": PINS[1][:300],
        "party-1.crt is no certificate": "\xff\xfe",
        "party-1.crt is no certificate, or": IDENTITY[1].key,
        "has 2 certificates, and a party is known by one alone": PINS[1] + PINS[2],
        "is valid from .*and this machine's clock says": dated(1, -30).certificate,
        "is valid from .*set it right, or ask its owner for it": dated(1, 30).certificate,
    },
}


@pytest.mark.parametrize(
    ("name", "message"), [(name, message) for name, cases in BAD_FILES.items() for message in cases]
)
def test_a_bad_file_is_named_with_what_to_do(name, message, tmp_path):
    """Nobody is asked for a passphrase at the terminal, and no library's riddle reaches the user."""
    for party in WHO:
        IDENTITY[party].save(tmp_path, party)
    (tmp_path / name).write_text(BAD_FILES[name][message], encoding="latin-1")
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, 0, [1, 2, DEALER])
    assert str(tmp_path / name) in str(caught.value) and not isinstance(caught.value, UnicodeError)


def test_text_around_a_certificate_and_other_line_ends_make_no_other_party(tmp_path):
    for party in WHO:
        IDENTITY[party].save(tmp_path, party)
    (tmp_path / "party-1.crt").write_bytes(b"my certificate\r\n" + PINS[1].replace("\n", "\r\n").encode())
    assert load(tmp_path, 0, [1, 2, DEALER]).certificates == PINS


@pytest.mark.skipif(os.name != "posix", reason="a system with other permissions")
@pytest.mark.parametrize("name", [".", "party-1.crt", "party-0.crt"])
def test_where_anybody_may_change_a_pin_it_is_none(name, tmp_path):
    for party in (0, 1):
        IDENTITY[party].save(tmp_path, party)
    (tmp_path / name).chmod(0o777)
    with pytest.raises(PermissionError, match="anybody on this machine may change .*chmod o-w"):
        load(tmp_path, 0, [1])


def test_half_a_pair_is_not_replaced(tmp_path):
    """A new certificate beside an old key would be no pair, and the error later a riddle."""
    certificate, key = IDENTITY[0].save(tmp_path, 0)
    certificate.unlink()
    with pytest.raises(FileExistsError) as caught:
        Identity.make(0).save(tmp_path, 0)
    assert caught.value.filename == str(key) and not certificate.exists() and key.read_text() == IDENTITY[0].key


def test_a_certificate_that_is_not_valid_now_is_no_stranger_s():
    """Who listens with one, and who calls with one, is told what it is about."""
    for begins, message in ((-30, "is not valid now .certificate has expired"), (30, "is not valid now .*not yet")):
        old = dated(0, begins)
        door, thread, _ = admitting({1}, 2, Pinned(old, PINS | {0: old.certificate}))
        with pytest.raises(CertificateError, match=f"certificate of party 0 at .*{message}"):
            dial(door.address, 1, 0, TOKEN, tls=Pinned(IDENTITY[1], PINS | {0: old.certificate}))
        thread.join(5)
    old = dated(1, -30)
    door, thread, _ = admitting({1}, 2, Pinned(IDENTITY[0], PINS | {1: old.certificate}))
    with pytest.raises(CertificateError, match="finds party 1's certificate expired: make another one"):
        dial(door.address, 1, 0, TOKEN, tls=Pinned(old, PINS | {1: old.certificate}))
    thread.join(5)


def test_a_fingerprint_is_that_of_openssl():
    der = ssl.PEM_cert_to_DER_cert(PINS[0])
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert fingerprint(PINS[0]) == digest.finalize().hex(":") and fingerprint(PINS[1]) != fingerprint(PINS[0])


def test_two_parties_with_one_certificate():
    with pytest.raises(ValueError, match="same certificate"):
        Pinned(IDENTITY[0], {0: PINS[0], 1: PINS[0]})


def test_every_error_is_a_wire_error():
    assert all(issubclass(kind, WireError) for kind in (CertificateError, TokenError, ProtocolError, PeerError))

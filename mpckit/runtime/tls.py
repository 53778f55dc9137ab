"""Mutual TLS 1.3 with pinned certificates: who is who is settled before the run, and no authority is asked.

Each party has a key pair and a self-signed certificate, and the one certificate of every other party. A certificate
that is merely valid, or signed by a pinned one, is refused. For a run on engines each engine makes a pair that ends
with the run; parties that join by themselves keep theirs in files.
"""

import datetime
import errno
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .sockets import DEALER

A_RUN, YEARS = datetime.timedelta(days=7), datetime.timedelta(days=3650)
EARLIER = datetime.timedelta(days=1)  # clocks differ


def label(party: int) -> str:
    """The name of a party's files: "party-1", or "dealer"."""
    return "dealer" if party == DEALER else f"party-{party}"


@dataclass(frozen=True)
class Identity:
    """A self-signed certificate, and the private key to it; both as PEM text."""

    certificate: str
    key: str = field(repr=False)

    @classmethod
    def make(cls, party: int, valid: datetime.timedelta = A_RUN) -> "Identity":
        """A fresh key pair (P-256) and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mpckit {label(party)}")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLIER)
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())

    def save(self, folder: str | Path, party: int) -> tuple[Path, Path]:
        """Write NAME.crt, for everybody, and NAME.key, for this user alone; the paths. Raises FileExistsError."""
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = tuple(Path(folder, label(party) + suffix) for suffix in (".crt", ".key"))
        for path in paths:  # both or none: a new certificate beside an old key would be no pair
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        for path, text, mode in zip(paths, (self.certificate, self.key), (0o644, 0o600)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(text)
        return paths


def fingerprint(certificate: str) -> str:
    """SHA-256 of a certificate, for people to compare: "3f:09:…"."""
    return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256()).hex(":")


class Pinned:
    """My identity and everybody's certificate ({party: PEM}): makes encrypted sockets whose ends are known."""

    def __init__(self, identity: Identity, certificates: dict[int, str]):
        self.identity, self.certificates = identity, dict(certificates)
        if len(set(certificates.values())) < len(certificates):
            raise ValueError("two parties have the same certificate: each makes its own (`mpckit keys`)")
        self._exact = {p: ssl.PEM_cert_to_DER_cert(pem) for p, pem in certificates.items()}
        self._server = self._context(ssl.PROTOCOL_TLS_SERVER, list(certificates.values()))

    def _context(self, side: int, trusted: list[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # who is meant is the owner of the pinned certificate, wherever the address is
        context.verify_mode = ssl.CERT_REQUIRED
        if trusted:
            context.load_verify_locations(cadata="\n".join(trusted))
        if side == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # no session is resumed
        # Of this user alone, since ssl reads keys from files only.
        with tempfile.TemporaryDirectory(prefix="mpckit-") as folder:
            crt, key = self.identity.save(folder, 0)
            context.load_cert_chain(crt, key, password="")  # never asked for at the terminal
        return context

    def call(self, sock, peer: int) -> ssl.SSLSocket:
        """The caller's end, before the handshake: nobody but `peer` can answer."""
        context = self._context(ssl.PROTOCOL_TLS_CLIENT, [self.certificates[peer]])
        return context.wrap_socket(sock, do_handshake_on_connect=False, suppress_ragged_eofs=False)

    def answer(self, sock) -> ssl.SSLSocket:
        """The listener's end, before the handshake: nobody without one of the certificates can have called."""
        return self._server.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )

    def knows(self, sock: ssl.SSLSocket, peer: int) -> bool:
        """Whether the other end has exactly the certificate of `peer`."""
        return peer in self._exact and sock.getpeercert(binary_form=True) == self._exact[peer]


def load(folder: str | Path, party: int, others: list[int]) -> Pinned:
    """The keys of `party` from a folder: its own NAME.crt and NAME.key, and NAME.crt of each of `others`.

    Raises FileNotFoundError, PermissionError, and ValueError for what is no certificate that is valid now, or no key to
    it; each says what to do.
    """
    folder = Path(folder)
    anew = f"make a pair with `mpckit keys --party {party if party != DEALER else 'dealer'} {folder}`"
    todo = {p: anew if p == party else "ask its owner for it" for p in (party, *others)}
    private = folder / f"{label(party)}.key"
    files = {p: folder / f"{label(p)}.crt" for p in (party, *others)}
    for path, what in ((private, anew), *((files[p], todo[p]) for p in files)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is {'no file' if path.exists() else 'missing'}: {what}")
    if os.name == "posix":
        if private.stat().st_mode & 0o077:
            raise PermissionError(f"others may read the private key {private}: chmod 600 {private}")
        for path in (folder, *files.values()):  # who can put another certificate there is let in as that party
            if path.stat().st_mode & 0o002:
                raise PermissionError(f"anybody on this machine may change {path}: chmod o-w {path}")
    found = {p: _certificate(path, todo[p]) for p, path in files.items()}
    key = _key(private, found[party], anew)
    return Pinned(Identity(_pem(found[party]), key), {p: _pem(certificate) for p, certificate in found.items()})


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _certificate(path: Path, todo: str) -> x509.Certificate:
    """The one certificate in a file, valid now."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path} is no certificate, or a damaged one: {todo}") from None
    if len(found) != 1:
        raise ValueError(f"{path} has {len(found)} certificates, and a party is known by one alone: {todo}")
    first, last, now = found[0].not_valid_before_utc, found[0].not_valid_after_utc, datetime.datetime.now(datetime.UTC)
    if not first <= now <= last:
        raise ValueError(
            f"{path} is valid from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: set it right, or {todo}"
        )
    return found[0]


def _key(path: Path, certificate: x509.Certificate, todo: str) -> str:
    """The private key in a file, which belongs to the certificate; PEM."""
    content = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise ValueError(f"{path} is encrypted, and a party starts without anybody to ask: {todo}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{path} is no private key, or a damaged one: {todo}") from None
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{path} is not the key to the certificate beside it: remove both, and {todo}")
    return content.decode()

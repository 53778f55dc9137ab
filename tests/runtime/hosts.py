"""Several hosts on one machine: network namespaces, joined by a link that delays, loses and shows every packet.

The kernel's own `netem` is not everywhere; here each host has a TUN device whose packets this process carries. Needs
root and /dev/net/tun.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
MTU = 9000
NEVER = 1e9


def ip(*args: str):
    done = subprocess.run(["ip", *args], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(args)}: {done.stderr.strip()}")


class Hosts:
    """`count` hosts with addresses 10.231.0.1, 2 …; each packet takes `delay` seconds, or is lost with odds `loss`.

    `cut()` cuts all cables. `seen` has all packets that were carried.
    """

    def __init__(self, count: int, delay: float = 0.0, loss: float = 0.0):
        self.count, self.delay, self.loss, self.seen = count, delay, loss, bytearray()
        self.packets = self.lost = 0
        self._names = [f"mpckit-{os.getpid()}-{i}" for i in range(count)]
        self._devices: list[int] = []
        self._processes: list[subprocess.Popen] = []
        self._closing, self._cut = threading.Event(), False
        self._odds = random.Random(1)

    def address(self, i: int) -> str:
        return f"10.231.0.{i + 1}"

    def __enter__(self):
        try:
            for i, name in enumerate(self._names):
                ip("netns", "add", name)
                device = f"mpc{os.getpid() % 100000}-{i}"
                tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                self._devices.append(tun)
                fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
                ip("link", "set", device, "netns", name)
                ip("-n", name, "addr", "add", f"{self.address(i)}/24", "dev", device)
                ip("-n", name, "link", "set", device, "mtu", str(MTU), "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._closing.set()
        if hasattr(self, "_thread"):
            self._thread.join(2)
        for tun in self._devices:
            os.close(tun)
        for process in self._processes:
            process.kill()  # no harm if it has ended
            process.communicate()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def run(self, i: int, *command, **options) -> subprocess.Popen:
        """Start a process on host i."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self._names[i], *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, **options,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def cut(self):
        self._cut = True

    def _carry(self):
        under_way, number = [], 0
        while not self._closing.is_set():
            due = under_way[0][0] if under_way else NEVER
            rest = max(0.0, min(0.05, due - time.monotonic()))
            for tun in select.select(self._devices, [], [], rest)[0]:  # `poll` would sleep whole milliseconds
                for _ in range(64):
                    try:
                        packet = os.read(tun, MTU + 100)
                    except BlockingIOError:
                        break
                    target = packet[19] - 1 if packet[0] >> 4 == 4 else -1
                    self.packets += 1
                    if not 0 <= target < self.count or self._cut or self._odds.random() < self.loss:
                        self.lost += 1
                        continue
                    self.seen += packet
                    number += 1
                    heapq.heappush(under_way, (time.monotonic() + self.delay, number, target, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(under_way)
                try:
                    os.write(self._devices[target], packet)
                except OSError:  # its queue is full, as a router's may be
                    self.lost += 1

"""A notebook's kernel as a test runs it: cells, and the memory of all processes that it has started."""

import contextlib
import queue
import re
from pathlib import Path

import psutil
from jupyter_client import KernelManager


class Notebook:
    """A kernel and its cells."""

    def __init__(self):
        self.manager = KernelManager()
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(60)
        self.process = psutil.Process(self.manager.provisioner.pid)

    def begin(self, cell: str) -> str:
        return self.client.execute(cell)

    def end(self, cell: str, timeout: float = 120.0) -> dict:
        """The reply to a cell; its text is printed."""
        while True:
            reply = self.client.get_shell_msg(timeout=timeout)
            if reply["parent_header"]["msg_id"] == cell:
                return reply["content"]

    def run(self, cell: str) -> dict:
        """The values of the user's expressions `answer`."""
        reply = self.end(self.client.execute(cell, user_expressions={"answer": "answer"}))
        assert reply["status"] == "ok", reply
        return reply["user_expressions"]["answer"]["data"]["text/plain"]

    def memory(self) -> float:
        """Bytes of kernel, engines and all, what they share divided among them (PSS)."""
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(OSError, psutil.Error):  # it has just ended
                text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) << 10
        return total

    def most_memory(self, cell: str) -> tuple[float, dict]:
        """(the most memory while the cell runs, the reply to it)."""
        running, most, reply = self.begin(cell), 0.0, None
        while reply is None:
            most = max(most, self.memory())
            with contextlib.suppress(queue.Empty):
                reply = self.end(running, 0.2)
        return most, reply

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

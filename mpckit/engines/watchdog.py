"""Ends a team's processes when the notebook that started them is gone. Runs as a process of its own, by path.

A kernel that is killed (nbval does so after a failure, "restart kernel" too) cannot clean up behind itself, and its
engines would stay for ever. The team's processes carry the name of its private folder in their environment, so they are
found even where their parents are gone.
"""

import os
import shutil
import sys
import time
from contextlib import suppress

import psutil

MARK = "MPCKIT_TEAM"  # the environment variable that names the team's folder
PERIOD = 0.5  # seconds


def processes(folder: str) -> list[psutil.Process]:
    """All processes of this user that belong to the team with this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == folder:
                found.append(process)
        except psutil.Error:  # somebody else's, or gone in the meantime
            continue
    return found


def end(folder: str):
    """End all processes of the team, at once, and remove its folder. Nothing in them is worth saving."""
    deadline = time.monotonic() + 20.0
    # Again until none is left: a process may start another one while we look.
    while (left := [p for p in processes(folder) if not is_over(p)]) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def is_over(process: psutil.Process) -> bool:
    """Whether the process has ended; one that nobody has waited for yet (a zombie) has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def main(owner: int, created: float, folder: str):
    """Wait until process `owner` is gone, then end the team."""
    with suppress(psutil.NoSuchProcess):  # gone already
        process = psutil.Process(owner)
        # A process id can be given to a new process; the time of creation tells them apart.
        while process.create_time() == created and not is_over(process) and os.path.isdir(folder):
            time.sleep(PERIOD)
    end(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])

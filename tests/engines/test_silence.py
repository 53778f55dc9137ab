"""A program is planned before it runs: what it prints then is not heard, and what others print is."""

import sys
import threading

import pytest

from mpckit.engines.silence import silently


def test_one_thread_is_silent_and_another_is_heard(capsys):
    def program(x):
        print("planned", x)
        sys.stdout.writelines(["planned, too\n"])
        thread = threading.Thread(target=print, args=("a button was pressed",))
        thread.start(), thread.join()
        sys.stdout.flush()
        return x + 1

    assert silently(program, 41) == 42
    print("here again")
    assert capsys.readouterr().out == "a button was pressed\nhere again\n"


def test_it_ends_with_the_program_that_fails(capsys):
    stdout = sys.stdout
    with pytest.raises(ValueError):
        silently(int, "none")
    assert sys.stdout is stdout


@pytest.mark.parametrize("first", [0, 1])
def test_two_at_the_same_time_leave_nothing_behind(first, capsys):
    """Whichever of two teams, each in a thread of its own, is planned first."""
    stdout, begun, over = sys.stdout, [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def program(k):
        print("planned", k)
        begun[k].set()
        assert begun[1 - k].wait(10) and (k == first or over[first].wait(10))

    def plan(k):
        if k:  # the second lies on the first
            assert begun[0].wait(10)
        silently(program, k)
        print("over", k)
        over[k].set()

    threads = [threading.Thread(target=plan, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is stdout
    assert capsys.readouterr().out == f"over {first}\nover {1 - first}\n"

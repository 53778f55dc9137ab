"""One thread per process, as on an engine: parties share the cores, and timings repeat."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start; before torch is imported

import torch  # noqa: E402

torch.set_num_threads(1)

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children too: some are about it.
signal.signal(signal.SIGINT, signal.default_int_handler)

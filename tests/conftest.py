"""One thread per process, as on an engine: parties share the cores, and timings repeat."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start; before torch is imported

import torch  # noqa: E402

torch.set_num_threads(1)

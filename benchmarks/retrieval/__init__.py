"""How well a server finds what was said, measured over its API: ``python -m benchmarks.retrieval DATA``."""

import os

# As the server does, before numpy is loaded: the matrices are small, and more threads only fight over the processor.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

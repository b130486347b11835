"""How search, insert, memory and file size grow with the number of memories.

``python -m benchmarks.scale`` fills stores through the service layer, in this process, and measures at every size. Users hold a
hundred memories each, spread among those of ninety-nine others.
"""

import os

# As the server does, before numpy is loaded: the matrices are small, and more threads only fight over the processor.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

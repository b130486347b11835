"""What goes on behind the requests: compaction of large stores, and messages that become memories.

``python -m benchmarks.background`` fills stores through the service layer, compacts them, and lets a scripted model without
latency, and the rules of local mode, extract from conversations. Model and embedding calls are counted, not estimated.
"""

import os

# As the server does, before numpy is loaded: the matrices are small, and more threads only fight over the processor.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

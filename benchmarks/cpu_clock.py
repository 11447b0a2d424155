"""Import it first: clocks count the CPU time of this process, so other work on the machine shortens no training."""

import time

time.monotonic = time.perf_counter = time.process_time

"""What every test run begins with."""

import os

# One thread each: tests are tiny, and a process forked from one whose OpenMP threads have started
# waits for them for ever (the two-process tests fork).
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

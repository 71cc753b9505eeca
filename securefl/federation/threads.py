"""A thread for each partner that trains: partners share no state, so threads change nothing but the time.

Two threads on two partners keep two cores busy; two threads inside each small product mostly wait for one another.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from securefl.learning.local import limit_threads


def threads_for(jobs: int) -> ThreadPoolExecutor:
    """Return a pool of as many threads as torch may use, at most ``jobs``; inside each of them torch computes with one."""
    return ThreadPoolExecutor(min(torch.get_num_threads(), jobs), initializer=limit_threads, initargs=(1,))

"""Makes the process that imports it, the server that others are forked from, end with the process that started it.

The server imports what it is told to before it forks, and nothing else can be asked of it.
"""

import os

from refers_bench.machine import FORK_SERVER_OF, STARTER_GONE, killed_with_parent

# Absent where `multiprocessing` itself has started the server again, from a thread that may end before the process.
if (_starter := os.environ.pop(FORK_SERVER_OF, None)) is not None:
    killed_with_parent()
    _server = os.getpid()
    # Not what these fork in turn, from threads that may end before the process.
    os.register_at_fork(after_in_child=lambda: killed_with_parent() if os.getppid() == _server else None)
    if os.getppid() != int(_starter):  # it was gone before
        os._exit(STARTER_GONE)

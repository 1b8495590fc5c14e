"""Repeats a function in a thread of its own, beside what the process does."""

import threading
from collections.abc import Callable


def repeat(look: Callable[[], object], every_s: float) -> Callable[[], None]:
    """Call a function again and again, from a thread that does not keep the process alive.

    Args:
        look: called at once and then every so many seconds, until it returns something true.
        every_s: seconds between two calls.

    Returns:
        A function that ends the thread and waits for the call that it is in.
    """
    over = threading.Event()

    def loop() -> None:
        while not look() and not over.wait(every_s):
            pass

    thread = threading.Thread(target=loop, daemon=True)

    def end() -> None:
        over.set()
        thread.join()

    thread.start()
    return end

"""Writes a time in words."""


def duration(seconds: float, *, decimals: int = 0) -> str:
    """A time in words: "3 s", "4 min 05 s", "2 h 07 min".

    Args:
        seconds: of the time.
        decimals: of seconds below a minute.

    Example:
        >>> duration(7620)
        '2 h 07 min'
        >>> duration(3.21, decimals=1)
        '3.2 s'
    """
    if round(seconds, decimals) < 60:
        return f"{seconds:.{decimals}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

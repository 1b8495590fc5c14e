"""Words a number of things."""


def quantity(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> quantity(1, "job"), quantity(0, "job"), quantity(2, "class")
        ('1 job', '0 jobs', '2 classes')
    """
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{number} {noun}{'' if number == 1 else ending}"

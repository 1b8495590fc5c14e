"""Gives each method of a page its colour, marker and line: told apart by readers with any colour vision, on white."""

#: Dark enough on white (contrast of 3:1 and more, as WCAG 2.2 asks of graphical objects), and far apart in full colour
#: vision, protanopia, deuteranopia and tritanopia; found by a search for the largest smallest distance.
COLOURS = ("#1B37EE", "#F16617", "#005E4B", "#CF6EB0", "#A29062", "#502185", "#702800", "#000000")
#: Greys of curves that are no method's.
GREYS = ("#333333", "#8A8A8A")
#: No divisor is common to the numbers of colours and of markers, so 72 methods differ in one of them.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", ":", "-.")


def look(number: int, *, grey: bool = False) -> tuple[str, str, str]:
    """Colour, marker and line of a method by its place in the manifest; in grey, of a curve that is no method's."""
    colours = GREYS if grey else COLOURS
    return colours[number % len(colours)], MARKERS[number % len(MARKERS)], LINES[number // len(colours) % len(LINES)]

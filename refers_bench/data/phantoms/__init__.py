"""Procedural images: radiographs with findings and reports, and coloured scenes."""

"""Writes tables and figures as HTML, LaTeX, Markdown, CSV, JSON, plain text, SVG and PDF."""

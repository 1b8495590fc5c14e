"""How does a table or figure become HTML, LaTeX, Markdown, CSV or SVG?"""

"""What several reports share: grids, the paper's rows and columns, footnotes, the page."""

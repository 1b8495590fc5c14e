"""What the stored predictions say: AUCs, summaries over seeds, tests, comparisons, the paper's claims."""

"""What do the stored predictions say: AUCs, seed statistics, tests?"""

"""Which jobs, in which order, which are done, what will they cost?"""

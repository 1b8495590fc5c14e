"""The statements and figures of the paper, and which of them hold on our results."""

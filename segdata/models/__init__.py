"""Networks, their losses, targets and weights; no training loop."""

"""Networks, their weights as files, and what a trained one answers: no training here."""

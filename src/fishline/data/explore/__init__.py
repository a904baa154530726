"""What is in the data, as pictures and one page."""

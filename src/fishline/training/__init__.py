"""How a network learns: batches, augmentation, the loop, and the tracked run around it."""

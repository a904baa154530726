"""A user's folder or archive of photographs, brought into data/raw."""

"""Questions answered by many trainings: how many photographs are enough, does the split leak?"""

"""`fishline doctor`: is everything here that the workflow needs?"""

"""Before the input is there: deal joint randomness, keep it once, plan how much of it a program needs."""

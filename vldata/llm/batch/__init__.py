"""The Batch API: requests go in files, answers come back within a day, at about half the price."""

"""A finished build: what is in its folder, read in one place, looked at, compared, verified and exported."""

"""Where finished pieces of work are kept by the hash of what decided them: atomic, shared, disposable."""

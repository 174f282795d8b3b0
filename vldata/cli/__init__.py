"""The commands: each parses, calls one function, prints, and sets the exit code. One file a command group."""

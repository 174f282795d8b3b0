"""What all readers of native files share: files, rows, tables, fields, JSON, lines, pickles, conversations."""

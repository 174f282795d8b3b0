"""The store: content-addressed objects that builds share, written so that a crash leaves nothing half done."""

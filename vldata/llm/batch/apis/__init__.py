"""One module for each provider's Batch API."""

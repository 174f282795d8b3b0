"""An endpoint and its money: requests, sending, answers, budgets, batches; nothing here knows the kinds of requests."""

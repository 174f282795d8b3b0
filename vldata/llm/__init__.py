"""An endpoint and its money: requests, sending, answers, budgets, batches. It knows nothing of what is asked."""

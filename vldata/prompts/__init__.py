"""From canonical columns to words: the templates of the tasks, checked and rendered in Jinja's sandbox."""

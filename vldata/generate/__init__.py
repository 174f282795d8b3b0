"""The job of `vldata synth`: synthetic sources -> samples, requests, answers, and the turns that a build reads."""

"""Mixture weights from small runs: mixtures are drawn, their losses fitted, and the best prediction proposed."""

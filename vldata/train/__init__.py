"""The reference trainer: packed, masked, resumable; torch is loaded here and nowhere else."""

"""Songs as data: the record and manifest, readers of real data, and the synthetic corpus."""

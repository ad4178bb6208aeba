"""MuDiT and MuSiT: conditions to latents."""

"""ear-VAE: waveform to latents and back."""

"""The group autoencoder and the latent diffusion of DMGASR (arXiv 2402.17285)."""

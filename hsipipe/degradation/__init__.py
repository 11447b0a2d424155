"""From the HR-HSI to what a coarser and a broader-band sensor would have seen."""

"""What every model is compared with: baselines that need no training, and ceilings that know the truth."""

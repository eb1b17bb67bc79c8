"""Training: recipes, the trainer and its methods."""

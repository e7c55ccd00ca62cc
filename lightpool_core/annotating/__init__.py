"""What is known of samples, read from files: metadata, predictions and active-learning scores."""

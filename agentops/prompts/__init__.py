"""What a model is told: versioned templates with a closed set of variables."""

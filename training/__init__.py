"""Training: everything that makes the model, measures it and hands it to SageMaker."""

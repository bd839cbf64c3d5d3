"""What the claims about speed and accuracy rest on, measured side by side."""

"""What is differentiated, and what is made of tangents and custom rules."""

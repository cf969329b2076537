"""The pages of the guide, and the command that shows them."""

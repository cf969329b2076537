"""What `typedfilter check` prints."""

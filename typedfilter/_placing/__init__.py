"""Where arrays are to be: from `PartitionSpec`s and options to shardings."""

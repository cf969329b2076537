"""Trees and Python values: taken apart, compared, described, remembered. Knows no annotation."""

"""From a parameter file to results: the order in which the parts are called."""

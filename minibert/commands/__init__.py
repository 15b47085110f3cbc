"""The verbs of the command line, one file per verb; its ``add`` defines the options."""

"""The verbs of the command line, a file each; each file's ``add`` says how its verb is called."""

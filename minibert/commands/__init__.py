"""The verbs of the command line, a file a subject; each file's ``add`` says how its verbs are called."""

"""The command ``openmsra``: a thin layer over ``tools/`` and the inferencers, and what only a command line needs.

- main: commands and where they lead; forwarding: the scripts of ``tools/`` under a command's name
- listing, inference, doctor, weights, completion: one command each
- new: configs for data of one's own; app: a page in the browser
"""

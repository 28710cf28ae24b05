"""Configs for data of one's own: look at the data, check them, write what depends on them, inherit everything else.

- main: the command; text: the file that is written; looking: files, sizes, splits and leaks
- one module for each paper, with ``add_arguments(parser)`` and ``build(args, report)``
"""

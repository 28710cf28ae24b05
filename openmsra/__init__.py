"""openmsra: six ICCV 2021 methods of Microsoft Research Asia in one registry codebase.

Importing this package imports neither torch nor any mm* library; each paper is a sub-package of its own.
"""

__version__ = '0.1.0'

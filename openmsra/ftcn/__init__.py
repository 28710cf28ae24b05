"""FTCN: fully temporal convolutions and a temporal transformer detect forged face videos (ICCV 2021, arXiv 2108.06693).

network, model      the network with its options, loss and prediction
"""

from openmsra.ftcn.model import FTCN, ClipDataPreprocessor

__all__ = ['FTCN', 'ClipDataPreprocessor']

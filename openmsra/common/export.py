"""Networks as TorchScript or ONNX files; what is written is read again and run, so that callers can compare."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn


def export_torchscript(network: nn.Module, inputs: dict[str, Tensor], target: Path) -> Tensor:
    """Trace a network and write it; the batch size stays free.

    Args:
        network: in evaluation mode, called with the values of ``inputs`` in order.
        inputs: tensors (B, ...) by name, B at least 2.
        target: file to write.

    Returns:
        what the written file gives for ``inputs``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.trace(network, tuple(value[:2] for value in inputs.values())).save(str(target))
    return torch.jit.load(str(target))(*inputs.values())


def export_onnx(network: nn.Module, inputs: dict[str, Tensor], output: str, target: Path) -> Tensor:
    """Write a network as ONNX, with the names of the inputs and of the one output; the batch size stays free.

    Args:
        network, inputs, target: see :func:`export_torchscript`.
        output: name of the output.

    Returns:
        what onnxruntime gives for ``inputs``.
    """
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            tuple(value[:2] for value in inputs.values()),
            str(target),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: 'batch'} for name in (*inputs, output)},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(str(target))
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])

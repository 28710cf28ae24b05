"""What the inferencers of all papers share: batches, a progress bar, results as they come, no file that spoils the others."""

import inspect
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from tqdm import tqdm

from openmsra.engine.model import init_model
from openmsra.errors import CheckpointError, DataError, ToolError, UserError

RESULTS = 'results.jsonl'
# What an odd input can cause: own sentences, files that cannot be read, values that a transform refuses, sides of length 0, no
# memory, shapes that a network does not take (RuntimeError of torch). A TypeError or a missing name is a fault of the program.
INPUT_ERRORS = (UserError, OSError, ValueError, ArithmeticError, MemoryError, RuntimeError, cv2.error)


class Inferencer(ABC):
    """Inference with the call of mmengine's ``BaseInferencer``; a child says how an input is read, run and described.

    A child may give keyword-only arguments to :meth:`list_inputs`, :meth:`preprocess`, :meth:`forward`, :meth:`postprocess` and
    :meth:`draw`; they become options of the call.

    Args:
        config: of the training.
        checkpoint: its weights; there is no inference without.
        device: where the network runs.
        cfg_options: overrides with dotted keys.

    Raises:
        CheckpointError: no checkpoint, or it does not fit the config.
    """

    key = 'image'  # under which a row names its input
    batch_size = 1  # unless the call says otherwise

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        device: str | torch.device = 'cpu',
        cfg_options: dict | None = None,
    ) -> None:
        if not checkpoint:
            raise CheckpointError(f'{type(self).__name__}: give a checkpoint; what random weights say means nothing.')
        self.model = self.load_model(config, checkpoint, device, cfg_options)

    def load_model(
        self, config: str | Path | Config, checkpoint: str | Path, device: str | torch.device, cfg_options: dict | None
    ) -> nn.Module:
        """The network, ready to be used."""
        return init_model(config, checkpoint, device, cfg_options)

    @torch.inference_mode()
    def __call__(
        self,
        inputs: Any,
        batch_size: int | None = None,
        return_datasamples: bool = False,
        show: bool = False,
        out_dir: str | Path | None = None,
        show_progress: bool = False,
        **options,
    ) -> list[dict]:
        """Run the network on files or arrays.

        Args:
            inputs: a file, a folder, a pattern, an array, or several of these; see the child.
            batch_size: inputs in a forward pass; by default what suits the child.
            return_datasamples: add what the network gave to each row, as ``data_sample``.
            show: open the drawings in a viewer, where the child draws.
            out_dir: folder for ``results.jsonl``, a line for each input as soon as it is done, and for the drawings; ``None``
                writes nothing.
            show_progress: show a progress bar.
            options: of the child.

        Returns:
            a row for each input, in order. An input that cannot be read spoils nothing: its row has the reason as ``error``.

        Raises:
            MissingFileError: an input does not exist, or a folder holds nothing of use.
            ToolError: ``out_dir`` cannot be written; before the work.
            DataError: no input at all could be read.
            ValueError: an unknown option, a batch size below 1.
            TypeError, KeyError, ...: a fault of the program, which is not taken for one of the input.
        """
        steps = self._with_options(options)
        batch_size = self.batch_size if batch_size is None else batch_size
        if batch_size < 1:
            raise ValueError(f'{type(self).__name__}: batch_size={batch_size}; at least 1.')
        named = steps['list_inputs'](inputs)
        folder = Path(out_dir) if out_dir is not None else None
        if folder is not None:
            _begin_results(folder)
        rows: list[dict] = []
        with tqdm(total=len(named), disable=not show_progress) as bar:
            for start in range(0, len(named), batch_size):
                chunk = named[start : start + batch_size]
                for (_, item), row in zip(chunk, self._run(chunk, steps, return_datasamples), strict=True):
                    drawing = steps['draw'](item, row) if (folder or show) and 'error' not in row else None
                    if drawing is not None:
                        self._present(drawing, row, len(rows), folder, show)
                    if folder is not None:
                        append_row(folder / RESULTS, row)
                    rows.append(row)
                bar.update(len(chunk))
        if rows and all('error' in row for row in rows):
            raise DataError(f'none of the {len(rows)} inputs could be read; the first: {rows[0]["error"]}')
        return rows

    @abstractmethod
    def list_inputs(self, inputs: Any) -> list[tuple[str | int, Any]]:
        """Name and input of everything that is meant; nothing is read yet."""

    @abstractmethod
    def preprocess(self, item: Any) -> Any:
        """What the network takes.

        Raises:
            INPUT_ERRORS: the input cannot be used; its row says why, the others go on. Other kinds end the call.
        """

    @abstractmethod
    def forward(self, batch: list) -> Sequence:
        """What the network gives, for each of the preprocessed inputs."""

    @abstractmethod
    def postprocess(self, prediction: Any) -> dict:
        """A row of plain values and numpy arrays."""

    def draw(self, item: Any, row: dict) -> np.ndarray | None:
        """A picture of the result (H, W, 3) RGB, or ``None``."""
        return None

    def _run(self, chunk: list[tuple], steps: dict[str, Callable], return_datasamples: bool) -> list[dict]:
        rows, prepared = [{self.key: name} for name, _ in chunk], {}
        for number, (_, item) in enumerate(chunk):
            try:
                prepared[number] = steps['preprocess'](item)
            except NotImplementedError:  # a RuntimeError, but one of the program
                raise
            except INPUT_ERRORS as error:
                rows[number]['error'] = _reason(error)
        predictions = self._predictions(prepared, steps['forward'])
        for number, prediction in predictions.items():
            if isinstance(prediction, Exception):
                rows[number]['error'] = _reason(prediction)
                continue
            rows[number] |= steps['postprocess'](prediction)
            if return_datasamples:
                rows[number]['data_sample'] = prediction
        return rows

    @staticmethod
    def _predictions(prepared: dict[int, Any], forward: Callable) -> dict[int, Any]:
        """What the network gives by number of input; of a batch that fails the inputs run alone, one that fails has its error."""
        if not prepared:
            return {}
        try:
            return dict(zip(prepared, forward(list(prepared.values())), strict=True))
        except NotImplementedError:
            raise
        except INPUT_ERRORS as error:  # inputs of several shapes, too small ones, no memory for so many
            if len(prepared) == 1:
                return dict.fromkeys(prepared, error)
        return {
            number: prediction
            for number, item in prepared.items()
            for prediction in Inferencer._predictions({number: item}, forward).values()
        }

    def _with_options(self, options: dict) -> dict[str, Callable]:
        """The steps of a run, each with those of the options that it reads."""
        steps, left = {}, set(options)
        for name in ('list_inputs', 'preprocess', 'forward', 'postprocess', 'draw'):
            step = getattr(self, name)
            read = {key: options[key] for key in self._keywords(step) if key in options}
            steps[name], left = _bound(step, read), left - read.keys()
        if left:
            valid = sorted({key for name in steps for key in self._keywords(getattr(self, name))})
            raise ValueError(f'{type(self).__name__}: unknown option {", ".join(sorted(left))}; valid are {", ".join(valid)}.')
        return steps

    @staticmethod
    def _keywords(step: Callable) -> list[str]:
        return [key for key, value in inspect.signature(step).parameters.items() if value.kind is value.KEYWORD_ONLY]

    def _present(self, drawing: np.ndarray, row: dict, number: int, folder: Path | None, show: bool) -> None:
        from PIL import Image

        picture = Image.fromarray(drawing)
        if folder is not None:  # the number: two inputs may have one name
            row['drawing'] = numbered_name(number, row[self.key], '.png')
            picture.save(folder / row['drawing'])
        if show:
            picture.show()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | OSError) else f'{type(error).__name__}: {error}'


def _begin_results(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS).write_text('', encoding='utf-8')
    except OSError as error:
        raise ToolError(f'{folder}: no folder for results ({error.strerror or error}); name another one.') from None


def numbered_name(number: int, source: object, suffix: str) -> str:
    """A file name for the result of an input: the number, since two inputs may have one name, and what of that name has room."""
    stem = os.fsencode(Path(str(source)).stem)[:200].decode('utf-8', 'ignore')
    return f'{number:05d}_{stem}{suffix}'


def _bound(step: Callable, keywords: dict) -> Callable:
    return lambda *arguments: step(*arguments, **keywords)


def append_row(file: Path, row: dict) -> None:
    """Write the plain part of a row as a JSON line behind those that are there."""
    plain = {key: value for key, value in row.items() if key != 'data_sample'}
    with file.open('a', encoding='utf-8', errors='backslashreplace') as stream:  # a name need not be UTF-8
        stream.write(json.dumps(plain, default=_plain, ensure_ascii=False) + '\n')


def _plain(value: Any) -> Any:
    """What JSON has no word for: arrays, tensors and their scalars as lists and numbers."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    raise TypeError(f'{type(value).__name__} cannot be written as JSON')

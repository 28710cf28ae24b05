"""mmengine's Runner with the two loads that must not be silent or unsafe."""

import logging

from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from openmsra.core.checkpoint import PlainLogBuffersHook, load_file, load_weights


@RUNNERS.register_module()
class OpenMSRARunner(Runner):
    """Runner whose checkpoints are read without executing them and loaded strictly.

    ``load_from`` and ``resume`` fail when a key is missing, unexpected or misshapen (mmengine logs and goes on), and
    config text inside a checkpoint is never evaluated (mmengine evaluates it on resume).
    """

    def build_logger(self, *args, **kwargs):
        """mmengine's logger without its warning that a scope fills only some of the registries, which is meant."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(not_an_unfilled_registry)
        return logger

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """The config's hooks, and the one without which a saved checkpoint could not be read safely."""
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(PlainLogBuffersHook(), priority='VERY_LOW')

    def load_checkpoint(self, filename: str, map_location='cpu', strict: bool = True, revise_keys=()) -> dict:
        """Load the weights of ``filename`` and return the checkpoint without its config text.

        Raises:
            CheckpointError: the file is unsafe, damaged or does not fit.
        """
        if not strict or revise_keys:
            raise ValueError('Weights are loaded strictly; rename keys with a tool of tools/model_converters/ instead.')
        checkpoint = load_file(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_weights(self.model.module if is_model_wrapper(self.model) else self.model, checkpoint, filename)
        checkpoint.get('meta', {}).pop('config', None)
        self._has_loaded = True
        self.logger.info(f'Loaded every weight of {filename}')
        return checkpoint


def not_an_unfilled_registry(record: logging.LogRecord) -> bool:
    """A log filter: mmengine's warning that a scope fills only some of the registries, which is meant, is left out."""
    return not record.getMessage().startswith('Failed to search registry with scope "openmsra"')

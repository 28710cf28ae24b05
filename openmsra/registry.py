"""The registries that openmsra fills: children of mmengine's, in the scope ``openmsra``.

``locations`` is empty on purpose: a paper is imported by the ``custom_imports`` of its configs, so that a missing
dependency of one paper cannot break another.
"""

from mmengine import registry as root

from openmsra.suggest import unresolved_type_message


class Registry(root.Registry):
    """A registry whose failed look-up names the nearest registered names and the import that is missing."""

    def __init__(self, parent: root.Registry) -> None:
        super().__init__(parent.name, parent=parent, scope='openmsra', locations=[])

    def get(self, key: str) -> type:
        """Return the class or function registered as ``key``, here or in mmengine's parent registry.

        Raises:
            KeyError: nothing has this name; the message names the nearest ones.
        """
        try:
            registered = super().get(key)
        except RuntimeError:  # mmengine's "Failed to get KEY", after its own last resort
            registered = None
        if registered is None:
            raise KeyError(unresolved_type_message(key, self.parent))
        return registered

    def __contains__(self, key: str) -> bool:
        return key in self.module_dict or key in self.parent.module_dict


MODELS = Registry(root.MODELS)
DATASETS = Registry(root.DATASETS)
TRANSFORMS = Registry(root.TRANSFORMS)
DATA_SAMPLERS = Registry(root.DATA_SAMPLERS)
HOOKS = Registry(root.HOOKS)
LOOPS = Registry(root.LOOPS)
OPTIM_WRAPPERS = Registry(root.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(root.OPTIM_WRAPPER_CONSTRUCTORS)
METRICS = Registry(root.METRICS)
INFERENCERS = Registry(root.INFERENCERS)
VISUALIZERS = Registry(root.VISUALIZERS)

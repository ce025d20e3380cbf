"""Breeding values from pedigrees of any size: Henderson's mixed model equations, set up and solved out of core.

`henderson.solve("model.toml")` returns the solutions as pandas objects, `henderson.reml(...)` a fit of variance
components, from a parameter file or from formulas and data frames; `henderson.read(folder)` the results of a run.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from henderson.errors import HendersonError
    from henderson.jobs.api import Result, reml, solve
    from henderson.jobs.fit import Fit
    from henderson.jobs.saved import Saved, read

__version__ = "0.1.0"
__all__ = ["Fit", "HendersonError", "Result", "Saved", "__version__", "read", "reml", "solve"]


class _Package(ModuleType):
    """The package itself: `reml` is the function, though a part of the package has the same name."""

    @property
    def reml(self) -> Any:
        """Return the function `henderson.jobs.api.reml`."""
        from henderson.jobs import api

        return api.reml

    @reml.setter
    def reml(self, _: Any) -> None:
        """Ignore the part of that name, which the import system sets here; importing from it works all the same."""


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Return a public name; what it needs is imported only now, so that `import henderson` stays quick."""
    if name in ("Fit", "Result", "solve"):
        from henderson.jobs import api

        return getattr(api, name)
    if name in ("Saved", "read"):
        from henderson.jobs import saved

        return getattr(saved, name)
    if name == "HendersonError":
        from henderson.errors import HendersonError

        return HendersonError
    raise AttributeError(f"module 'henderson' has no attribute {name!r}")

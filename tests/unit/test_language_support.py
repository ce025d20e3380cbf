"""What cannot be computed yet is said for each part of a model, and nothing is said of a model that can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from henderson.language.spec import (
    BlocksSpec,
    DataSpec,
    Equation,
    GammaSpec,
    JobSpec,
    ModelSpec,
    PedigreeSpec,
    SubFactor,
    Term,
    VarianceSpec,
)
from henderson.language.support import unsupported

G = VarianceSpec("g", ((1.0,),), gamma=GammaSpec("pedigree", "ped"))
RES = VarianceSpec("res", ((1.0,),))
MODEL = ModelSpec(
    DataSpec(("r.csv",)),
    (Equation("y", (Term("1", "m"), Term("id", "u"))),),
    (SubFactor("m"), SubFactor("u", "g", (1,))),
    (G, RES),
    pedigrees=(PedigreeSpec("ped", "p.csv"),),
    jobs=(JobSpec("solve", (("rtol", 1e-8),)), JobSpec("pev")),
)


def test_an_animal_model_is_supported() -> None:
    assert unsupported(MODEL) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"jobs": (JobSpec("reml", (("REML", False), ("method", "mc-em"))),)}, "maximum likelihood"),
        ({"variances": (replace(G, sigma=None), RES)}, "without sigma of variance 'g'"),
        (
            {"jobs": (JobSpec("reml"),), "variances": (replace(G, by="line"), RES)},
            "'g' has a Sigma of its own for levels",
        ),
        (
            {"jobs": (JobSpec("reml"),), "variances": (G, replace(RES, sigma=None, blocks=BlocksSpec("r.bin")))},
            "'res' has a Sigma of its own for records",
        ),
        ({"variances": (replace(G, gamma=GammaSpec("H", "ped")), RES)}, "kind H"),
    ],
)
def test_each_part_is_named_once(change: dict[str, object], word: str) -> None:
    problems = unsupported(replace(MODEL, **change))  # type: ignore[arg-type]
    assert len(problems) == 1
    assert word in problems[0].message
    assert problems[0].message.endswith("not supported yet")

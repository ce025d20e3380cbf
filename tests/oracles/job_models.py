"""Files of one model: two traits, direct, maternal and permanent effects; jobs of all kinds, in TOML and XML."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oracles.file_blup import Effect, Recipe

SIGMA_G = np.array([[4.0, 0.8, -0.5], [0.8, 3.0, 0.4], [-0.5, 0.4, 1.5]])
SIGMA_RES = np.array([[8.0, 1.5], [1.5, 6.0]])
EQUATIONS = """
y1 = herd*h1 + age(t(co))*c1 + id*u1(v(g(1))) + dam*m1(v(g(3))) + id*p1(v(pe(1)))
y2 = herd*h2 + sex*s2 + id*u2(v(g(2)))
"""
XML = """<root>
  <data>
    datafile: records.csv
    DATA
  </data>
  <pedigrees>
    pedigrees: ped
    <ped>
      file: pedigree.csv
    </ped>
  </pedigrees>
  <models>
    <eqn attributes="strings">
EQUATIONS
    </eqn>
  </models>
  <vars>
    <res>
      <sigma>
        <matrix attributes="array">
RES
        </matrix>
      </sigma>
    </res>
    vars: g,pe
    <g>
      <sigma>
        <matrix attributes="array">
G
        </matrix>
      </sigma>
      <gamma>
        <A>
          pedigree: ped
        </A>
      </gamma>
    </g>
    <pe>
      <sigma>
        <matrix attributes="array">
2.0
        </matrix>
      </sigma>
    </pe>
  </vars>
JOBS
</root>
"""
TOML = f"""
[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
[model]
equations = \"\"\"{EQUATIONS}\"\"\"
[variance.g]
sigma = {SIGMA_G.tolist()}
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.pe]
sigma = [[2.0]]
[variance.res]
sigma = {SIGMA_RES.tolist()}
"""
CHOSEN = """
[solvers.tight]
rtol = 1e-13
preconditioner = "sweep"
[jobs]
run = ["solve", "pev", "yhat", "residuals"]
solve = { solver = "tight" }
pev = { solver = "tight", factor = ["g", "h1"], levels = ["3", "17"], levelfile = "more.csv", nrhs = 3 }
"""
LMT_JOBS = """  <jobs>
    jobs: solve,pevsolve,yhat,residuals
    <solve>
      solver: rough,last
    </solve>
    <pevsolve>
      solver: tight
      factor: g,h1
      levels: 3,17
      levelfile: more.csv
      nrhs: 3
    </pevsolve>
  </jobs>
  <solvers>
    solvers: rough,last,tight
    <rough>
      <pcgiod>
        conv: -9.21
      </pcgiod>
    </rough>
    <last>
      <pcgiod>
        conv: -29.93
        convtype: CD
      </pcgiod>
    </last>
    <tight>
      <pcgiod>
        conv: -29.93
        convtype: CR
      </pcgiod>
    </tight>
  </solvers>"""
LEVELS = {"3", "17", "40", "1"}  # the last is a herd, too
MODELS = {
    "chosen.toml": TOML + CHOSEN,
    "chosen.xml": XML.replace("JOBS", LMT_JOBS).replace("    DATA\n", ""),
    "all.toml": TOML + '[jobs]\nrun = ["pev", "yhat"]\npev = { rtol = 1e-12 }\n',
    "flags.toml": TOML.replace('"records.csv"', '"records.csv"\nmissing_file = "flags.csv"')
    + '[jobs]\nlmt_files = true\nrun = ["residuals"]\n',
    "flags.xml": XML.replace("JOBS", "  <jobs>\n    jobs: residuals\n  </jobs>").replace(
        "DATA", "missingfile: flags.csv"
    ),
}


def rows_of(matrix: np.ndarray) -> str:
    return "\n".join(",".join(map(str, row)) for row in matrix.tolist())


def write_models(folder: Path) -> None:
    """The files: 60 animals, 90 records with gaps, herd 4 without any observation of y2."""
    rng = np.random.default_rng(11)
    n = 60
    sire = [0] * 12 + [int(rng.integers(1, k // 2) * 2 - 1) if k > 14 else 1 for k in range(12, n)]
    dam = [0] * 12 + [int(rng.integers(1, k // 2) * 2) for k in range(12, n)]
    order = rng.permutation(n)
    lines = [f"{k + 1},{sire[k]},{dam[k]}" for k in order]
    (folder / "pedigree.csv").write_text("#id,sire,dam\n" + "\n".join(lines) + "\n")
    lines, flagged, flags = [], [], []
    for record in range(90):
        animal = int(rng.integers(0, n))
        herd, sex = int(rng.integers(1, 5)), int(rng.integers(1, 3))
        y1, y2 = (10 + 2 * rng.normal() + herd, 5 + 2 * rng.normal() - sex)
        text = [f"{y1:.3f}", f"{y2:.3f}"]
        flag = rng.random(2) < 0.15
        if herd == 4:
            text[1] = "NA"
        if rng.random() < 0.2:
            text[record % 2] = "NA"
        fields = f"{animal + 1},{dam[animal]},{herd},{sex},{rng.integers(20, 40)}"
        lines.append(f"{fields},{text[0]},{text[1]}")
        flagged.append(f"{fields},{','.join('NA' if f else t for f, t in zip(flag, text, strict=True))}")
        flags.append(",".join("T" if f else "F" for f in flag[::-1]))
    header = "#id,dam,herd,sex,age,y1,y2\n"
    (folder / "records.csv").write_text(header + "\n".join(lines) + "\n")
    (folder / "flagged.csv").write_text(header + "\n".join(flagged) + "\n")
    (folder / "flags.csv").write_text("# missing\n#y2,y1\n" + "\n".join(flags) + "\n")
    (folder / "more.csv").write_text("# animals and a herd\n40\n1\n")
    for name, text in MODELS.items():
        text = text.replace("EQUATIONS", EQUATIONS).replace("\nRES\n", f"\n{rows_of(SIGMA_RES)}\n")
        (folder / name).write_text(text.replace("\nG\n", f"\n{rows_of(SIGMA_G)}\n"))


def recipe(records: Path) -> Recipe:
    effects = [
        Effect("y1", "herd", "h1"),
        Effect("y1", "age", "c1", covariate=True, centred=True),
        Effect("y1", "id", "u1"),
        Effect("y1", "dam", "m1"),
        Effect("y1", "id", "p1"),
        Effect("y2", "herd", "h2"),
        Effect("y2", "sex", "s2"),
        Effect("y2", "id", "u2"),
    ]
    random = {"u1": ("g", (0,)), "u2": ("g", (1,)), "m1": ("g", (2,)), "p1": ("pe", (0,))}
    sigma = {"g": SIGMA_G, "pe": np.array([[2.0]]), "res": SIGMA_RES}
    gamma = {"g": ("pedigree", records.with_name("pedigree.csv"), True)}
    return Recipe(records, ["y1", "y2"], effects, random, sigma, gamma)

"""The page of a run: what it says is what is in the files, and a browser lays it out without overlaps."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.cli.main import main
from henderson.jobs.background import background_of
from henderson.jobs.run import understand
from henderson.jobs.simulate import simulate_from_options
from henderson.results.background import Background

LOOK = """<script>
addEventListener('load', () => {
  const found = {wide: document.documentElement.scrollWidth - innerWidth, width: innerWidth, pictures: [], bad: []};
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    found.pictures.push([frame.width, frame.height, texts.length]);
    texts.forEach(([one, a], i) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        found.bad.push(['cut', one]);
      for (const [other, b] of texts.slice(i + 1))
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
          found.bad.push(['overlap', one, other]);
    });
  }
  found.texts = document.body.innerText.length;
  document.body.innerHTML = '<pre id="found">' + encodeURIComponent(JSON.stringify(found)) + '</pre>';
});
</script></body>"""

CHECKS = '\n[checks]\naction = "drop"\noutliers = { y1 = 1.8 }\nsmallest = { herd = 4 }\n'


class Tables(HTMLParser):
    """The rows of all tables of a page, by the heading above them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self._heading, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = tag
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.rows.setdefault(self._heading, []).append([])
        if tag in ("td", "th"):
            self.rows[self._heading][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "h2":
            self._heading += data
        if self._inside in ("td", "th"):
            self.rows[self._heading][-1][-1] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two traits: variances are estimated, accuracies computed, some values edited."""
    folder = tmp_path_factory.mktemp("report")
    simulate_from_options(
        folder, animals=400, pedigree="dairy", traits=2, records=280, herds=12, missing=0.2, seed=5, file_format="csv",
        scale=None, integer_ids=False, progress=None,
    )  # fmt: skip
    model = folder / "model.toml"
    text = model.read_text().replace('run = ["solve"]', 'run = ["reml", "solve", "pev"]') + CHECKS
    model.write_text(text)
    henderson.solve(model, out=folder / "out", threads=1)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "out" / "report.html").read_text()


@pytest.fixture(scope="module")
def background(folder: Path) -> Background:
    model = folder / "model.toml"
    return background_of(understand(model), folder / "out" / "store.zarr")


def test_nothing_is_fetched_and_every_part_is_there(page: str) -> None:
    assert not re.findall(r"(?:src|href)=['\"](?!#)", page.replace("xlink:href", "local").replace('local="#', ""))
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert titles == [
        *("Model", "Variances", "Data", "Pedigree ped", "Convergence", "Variance components", "Effects"),
        *("Distribution of solutions", "Genetic trend", "Largest solutions", "Reliabilities", "Time and memory"),
    ]
    assert len(page) < 400_000


def test_data_and_edits_are_those_of_the_files(folder: Path, page: str, background: Background) -> None:
    records = pd.read_csv(folder / "records.csv")
    edits = pd.read_csv(folder / "out" / "store.edits.csv")
    assert len(edits) > 5
    for line, trait in zip(edits["line"], edits["trait"], strict=True):
        records.loc[line - 2, trait] = np.nan
    used = records[records[["y1", "y2"]].notna().any(axis=1)]
    rows = {r[0]: r for r in reversed(Tables(page).rows["Data"])}  # the first of each name
    for facts in background.data.traits:
        y = records[facts.trait].dropna()
        assert (facts.observed, facts.missing) == (len(y), len(used) - len(y))
        assert (facts.mean, facts.sd) == pytest.approx((y.mean(), y.std()), rel=1e-10)
        assert (facts.minimum, facts.maximum) == (y.min(), y.max())
        assert rows[facts.trait][1] == f"{len(y):,}"
    assert (background.data.records, background.data.rows) == (len(used), used.index[-1] + 1)
    assert background.edits is not None
    found = {(e.trait, e.reason): e.count for e in background.edits}
    assert found == edits.groupby(["trait", "reason"]).size().to_dict()
    first = background.edits[0]
    assert len(first.first) == min(3, first.count)
    assert all(text in page for text in first.first)


def test_pedigree_and_trends_are_those_of_the_files(folder: Path, background: Background) -> None:
    pedigree = pd.read_csv(folder / "pedigree.csv", dtype=str).set_index("id")
    truth = pd.read_csv(folder / "truth_animals.csv", dtype={"id": str}).set_index("id")
    records = pd.read_csv(folder / "records.csv", dtype={"id": str})
    (facts,) = background.pedigrees
    known = pedigree[["sire", "dam"]].replace("0", np.nan).notna().sum(axis=1)
    assert (facts.animals, facts.founders, facts.one_parent_unknown) == (400, (known == 0).sum(), (known == 1).sum())
    parents = {c: pedigree[c].replace("0", np.nan).dropna() for c in ("sire", "dam")}
    assert (facts.sires, facts.dams) == tuple(p.nunique() for p in parents.values())
    assert facts.progeny_per_sire == pytest.approx(len(parents["sire"]) / facts.sires)
    F = truth["inbreeding"]
    assert (facts.inbred, facts.mean_inbreeding) == ((F > 0).sum(), pytest.approx(F.mean()))
    born = records.drop_duplicates("id").set_index("id")["born"]
    expected = F.loc[born.index].groupby(born).agg(["mean", "size"])
    means = facts.inbreeding_by_group
    assert means is not None
    assert means.title == "birth year"
    assert [int(y) for y in means.labels] == list(expected.index)
    assert means.n.tolist() == expected["size"].tolist()
    assert means.mean == pytest.approx(expected["mean"].to_numpy(), abs=1e-12)
    assert means.unknown == 400 - len(born)


def test_trend_intervals_and_top_animals(folder: Path, page: str) -> None:
    results = henderson.read(folder / "out")
    born = pd.read_csv(folder / "records.csv", dtype={"id": str}).drop_duplicates("id").set_index("id")["born"]
    u = results.effect("u1")
    rows = {r[0]: r for r in Tables(page).rows["Genetic trend"]}
    for year, mean in u["value"].loc[born.index].groupby(born).mean().items():
        assert float(rows[str(year)][2]) == pytest.approx(mean, rel=2e-3, abs=1e-3)
    best = u["value"].idxmax()
    assert any(best in row for row in Tables(page).rows["Largest solutions"])
    parameters = json.loads((folder / "out" / "variances.json").read_text())["parameters"]
    rows = {r[0]: r for r in Tables(page).rows["Variance components"]}
    for p in parameters:
        low, high = (float(v) for v in rows[p["name"]][3].split(" to "))
        if p["kind"] == "variance":
            width = 1.959964 * p["se"] / p["value"]
            assert (np.log(low), np.log(high)) == pytest.approx(
                np.log(p["value"]) + np.array([-width, width]), abs=2e-3
            )
        else:
            assert high - low == pytest.approx(2 * 1.959964 * p["se"], rel=2e-3)


def looked_at(page: str, width: int, chromium: str, folder: Path) -> dict[str, Any]:
    """What a browser finds: what sticks out, sizes of pictures, texts that are cut or overlap."""
    (folder / "look.html").write_text(page.replace("</body>", LOOK))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += [f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "look.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert text is not None
    found: dict[str, Any] = json.loads(unquote(text[1]))
    return found


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_lays_it_out(width: int, page: str, chromium: str, tmp_path: Path) -> None:
    found = looked_at(page, width, chromium, tmp_path)
    assert found["width"] == width
    assert found["wide"] <= 0  # nothing sticks out of the page
    assert found["texts"] > 2000
    assert len(found["pictures"]) == page.count("<svg") > 10
    assert all(w > 100 and h > 80 and n > 4 for w, h, n in found["pictures"])
    assert found["bad"] == []


def test_the_browser_would_see_what_is_wrong(page: str, chromium: str, tmp_path: Path) -> None:
    text = "<text x='10' y='20'>one</text><text x='12' y='22'>two</text><text x='90' y='50'>beyond</text>"
    wrong = f"<svg width='100' height='80'>{text}</svg><div style='width: 3000px'>wide</div></body>"
    found = looked_at(page.replace("</body>", wrong), 1200, chromium, tmp_path)
    assert found["bad"] == [["overlap", "one", "two"], ["cut", "beyond"]]
    assert found["wide"] > 1000


def test_a_model_without_checks_says_so(folder: Path, tmp_path: Path) -> None:
    text = (folder / "model.toml").read_text().replace(CHECKS, "").replace('["reml", "solve", "pev"]', '["solve"]')
    (folder / "plain.toml").write_text(text)
    henderson.solve(folder / "plain.toml", out=tmp_path, threads=1)
    page = (tmp_path / "report.html").read_text()
    assert "has no [checks]" in page
    assert "Reliabilities" not in page
    with (tmp_path / "solutions.csv").open(newline="") as file:
        assert sum(row["subfactor"] == "u1" for row in csv.DictReader(file)) == 400


def test_approximate_accuracies_on_page_and_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "model.toml").read_text().replace(CHECKS, "")
    text = text.replace('["reml", "solve", "pev"]', '["solve", "pev"]\npev = { method = "approximate" }')
    (folder / "near.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["henderson", "run", str(folder / "near.toml"), "--out", str(folder / "near")])
        main()
    assert re.search(r"pev: [\d,]+ equations, \d+ rounds$", capsys.readouterr().out, re.MULTILINE)
    page = (folder / "near" / "report.html").read_text()
    assert "approximate, 1 round over the pedigree" in page
    assert len(Tables(page).rows["Largest solutions"][1]) == 4

"""What `--help` tells of a command besides its options: what it reads and writes, examples, exit codes, relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

CODES = {
    0: "done",
    2: "the command line is wrong",
    3: "an input file is missing, or holds what it must not",
    4: "the store is missing, damaged, or of another format",
    5: "the parameter file or the model in it is wrong",
    6: "an iteration did not converge; no solutions were written",
    7: "too little memory, disk or time, or stopped by a signal: the same command goes on from the checkpoint",
    8: "results differ",
}
RUNNING = (0, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class Help:
    """Text of a command: paragraphs, files (name, what), examples (command, what for), exit codes, related commands.

    The examples run, in this order over all commands, where `henderson simulate --out .` has written; tests do so.
    codes: numbers of `CODES`, or pairs of a number and what it means here.
    """

    text: Sequence[str] = ()
    files: Sequence[tuple[str, str]] = ()
    examples: Sequence[tuple[str, str]] = ()
    codes: Sequence[int | tuple[int, str]] = (0, 2)
    see: Sequence[str] = ()


RESULTS = (
    ("FILE", "parameter file: TOML, or lmt's XML (*.xml); paths in it are relative to it"),
    ("solutions.csv", "factor, subfactor, level, value; se, reliability if computed (.parquet above a million rows)"),
    ("run.json", "what was run, on which inputs, by which versions, how it ended: enough to do it again"),
    ("report.html", "the run on one page"),
    ("log.jsonl", "the log of the run, for `henderson watch`"),
    ("checksums.sha256", "checksums of the results, for `henderson verify` and sha256sum --check"),
    ("store.zarr/", "the data, read, checked, recoded and sorted; used again as long as the inputs are the same"),
    ("checkpoint/", "the state of a solve that was stopped"),
)

HELP: dict[str, Help] = {
    "simulate": Help(
        files=(("model.toml", "a model to solve them, with the true variances"), ("truth.*", "true breeding values")),
        examples=(
            ("henderson simulate --out demo --animals 500 --traits 2", "500 animals, two traits"),
            ("henderson simulate testday --out testday --scale 0.0001", "9,000 test days of three parities"),
        ),
        codes=(0, 2, 7),
        see=("run",),
    ),
    "check": Help(
        text=(
            "With a store, levels and equations are counted, and the memory of a solve is estimated.",
            "With --data the records are read: traits, groups of one record, what breaks [checks] with the first "
            "offenders, traits that are almost the same, fixed classes that are nested, impossible parents; with a "
            "store, columns of fixed effects that depend on others.",
        ),
        examples=(
            ("henderson check model.toml", "factors, sub-factors, positions"),
            ("henderson check model.toml --data --edits edits.csv", "and what the records hold"),
            ("henderson check model.toml --json > understood.json", "the same for a program"),
        ),
        codes=(0, 2, 3, 5),
        see=("convert", "ingest"),
    ),
    "convert": Help(
        text=("What the other language cannot say is an error, what is lost without harm a note on stderr.",),
        examples=(
            ("henderson convert model.toml --out para.xml", "for lmt"),
            ("henderson convert para.xml --out back.toml", "and back"),
        ),
        codes=(0, 2, 3, 5),
        see=("check",),
    ),
    "pedigree": Help(
        files=(("FILE", "id, sire, dam in the first three columns, rows in any order; 0, empty, NA: unknown"),),
        examples=(
            ("henderson pedigree pedigree.csv", "a table, and reports in pedigree.pedigree"),
            ("henderson pedigree pedigree.csv --no-inbreeding --json", "numbers for a program"),
        ),
        codes=(0, 2, 3, 7),
    ),
    "ingest": Help(
        text=("An ingest that was cut off goes on where it stopped when the same command runs again.",),
        files=RESULTS[:1] + RESULTS[6:7],
        examples=(
            ("henderson ingest model.toml", "into model.out/store.zarr"),
            ("henderson ingest model.toml --store data.zarr --threads 2 --memory 4GiB", "elsewhere, within 4 GiB"),
        ),
        codes=(0, 2, 3, 4, 5, 7),
        see=("verify", "slurm"),
    ),
    "plan": Help(
        text=(
            "Pieces of the store are solved here, of growing size; what they take is carried on to the whole, and cut "
            "by the ranks. Without a store only sizes are guessed, from the files. One rank is the embedded engine; "
            "more are the petsc engine, whose messages are reckoned, not measured. Cores and caches are taken to be "
            "those of this machine.",
        ),
        files=(
            *RESULTS[:1],
            *RESULTS[6:7],
            ("SITE.toml", "memory, cores and time limit: see cluster/sites/README.md"),
        ),
        examples=(
            ("henderson plan model.toml --threads 1", "on this machine, by one thread"),
            ("henderson plan model.toml --nodes 2 --ranks-per-node 8 --site generic", "on a cluster"),
            ("henderson plan model.toml --preconditioner sweep --json > plan.json", "with another preconditioner"),
        ),
        codes=(0, 2, 3, 4, 5, (7, "the solve takes more than there is; the plan is printed")),
        see=("check", "slurm", "solve"),
    ),
    "solve": Help(
        files=RESULTS,
        examples=(
            ("henderson solve model.toml", "into model.out"),
            ("henderson solve model.toml --rtol 1e-10 --out tight", "a tighter tolerance on ||b - Cx|| / ||b||"),
            ("henderson solve model.toml --start model.out --out warm", "from the solutions of an earlier run"),
            ("mpiexec -n 2 henderson solve model.toml --engine petsc --out two", "by two processes"),
        ),
        codes=RUNNING,
        see=("run", "watch", "compare", "rerun"),
    ),
    "run": Help(
        text=("The jobs are those of [jobs] run in FILE, `solve` if it names none.",),
        files=(*RESULTS, ("variances.json", "estimates of variance components, after a job reml")),
        examples=(
            ("henderson run model.toml --quiet --json > record.json", "no tables; the content of run.json on stdout"),
            ("henderson run model.toml --out second --store model.out/store.zarr", "other results from the same store"),
        ),
        codes=RUNNING,
        see=("solve", "reml", "watch", "verify"),
    ),
    "reml": Help(
        text=("Values of sigma in FILE are start values; without them the start comes from the data.",),
        files=(
            *RESULTS,
            ("variances.json", "estimates, standard errors, likelihood"),
            ("reml.checkpoint.json", "the state of a fit that was stopped"),
        ),
        examples=(
            ("henderson reml model.toml --out fit", "exact REML of small problems, else Monte Carlo"),
            ("henderson watch fit --once", "rounds and components from its log"),
        ),
        codes=RUNNING,
        see=("run", "watch"),
    ),
    "watch": Help(
        text=("Only the log is read, so the run may be on another node that shares the folder.",),
        files=(("log.jsonl", "what every run writes into --out, one JSON object a line, or where --json-log says"),),
        examples=(
            ("henderson watch model.out", "until the run ends"),
            ("henderson watch model.out/log.jsonl --once", "where it is now"),
        ),
        codes=(
            (0, "the run is done (with --once: it may still run)"),
            (3, "with --once: there is no log"),
            (7, "the process of the run is gone without a word"),
            (6, "and others: the exit code of the run"),
        ),
        see=("run",),
    ),
    "verify": Help(
        text=("Names each file that is damaged, missing, or does not belong to the store.",),
        examples=(
            ("henderson verify model.out", "results, and the store in the folder"),
            ("henderson verify data.zarr", "a store"),
        ),
        codes=(0, 2, (4, "a file is damaged or missing")),
        see=("rerun",),
    ),
    "rerun": Help(
        text=(
            "The inputs must have the checksums of the record; those that do not are named. What is not as it was "
            "(versions, processor, threads) is a warning. Of a run by several processes start as many: mpiexec -n N "
            "henderson rerun.",
        ),
        examples=(
            ("henderson rerun model.out/run.json", "into model.out.rerun, from the input files"),
            ("henderson rerun tight/run.json --out again --store model.out/store.zarr", "from a store that is there"),
        ),
        codes=(0, 2, (3, "an input is not what it was, or RUN.JSON is no record"), 4, 5, 6, 7, 8),
        see=("verify", "compare"),
    ),
    "compare": Help(
        text=(
            "Solutions are matched by factor, sub-factor and level. Reasons come from the stores of both runs: "
            "records, progeny, records of progeny, parents.",
        ),
        files=(("compare.html", "tables and pictures on one page"), ("compare.json", "all of it as numbers")),
        examples=(
            ("henderson compare model.out tight", "page and data into tight"),
            ("henderson compare model.out tight --top 50 --out . --json > differences.json", "for a program"),
        ),
        codes=(0, 2, (3, "a folder holds no results, or the two have nothing in common")),
        see=("rerun", "solve"),
    ),
    "validate": Help(
        text=(
            "Solves FILE twice, without the records from the cut-off on and with all. Then for each random effect "
            "related by a pedigree: bias, dispersion, ratio of accuracies and reliability (Legarra & Reverter 2018), "
            "and the genetic trend, foretold and found; method III of Interbull, the bias of the trend by bulls with "
            "new daughters. Intervals are by bootstrap of families, where there are few also by the model. Variances "
            "are those of FILE or, if it lists the job reml, estimated from all data. In FILE: "
            '[validation] date = "column", cut_off = 2015.',
        ),
        files=(
            ("partial/, whole/", "the two runs, as `henderson solve` leaves them"),
            ("validation.html", "tables and pictures on one page"),
            ("validation.json, .csv", "the statistics, with intervals"),
            ("focal.csv", "focal individuals with both predictions"),
        ),
        examples=(
            ("henderson validate model.toml --date-column born --cut-off 2009", "into model.validation"),
            (
                "mpiexec -n 2 henderson validate model.toml --date-column born --cut-off 2009 --engine petsc --out lr",
                "by two processes",
            ),
        ),
        codes=(0, 2, (3, "an input file is wrong, or there are no focal individuals"), 4, 5, 6, 7),
        see=("solve", "compare"),
    ),
    "slurm": Help(
        files=(("SITE.toml", "partition, account, modules, launcher, cores, memory: see cluster/sites/README.md"),),
        examples=(
            ("henderson slurm model.toml --site generic", "print the scripts"),
            ("henderson slurm model.toml --site generic --job solve --nodes 2 --time 2:00:00 --out slurm", "write one"),
        ),
        codes=(0, 2, 3, 5),
        see=("ingest", "solve"),
    ),
    "completion": Help(
        text=("Commands, options, choices and file names are completed by the program itself.",),
        examples=(
            ("henderson completion bash > henderson.bash", "then, in ~/.bashrc: source henderson.bash"),
            ("henderson completion zsh > _henderson", "into a folder of $fpath, or source it in ~/.zshrc"),
            ("henderson completion fish > henderson.fish", "into ~/.config/fish/completions"),
        ),
        codes=(0, 2),
    ),
}


class Documented(click.Command):
    """A command whose help goes on with `HELP`."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what `HELP` has of the command, after its options."""
        about = HELP.get(self.name or "")
        if about is None:
            return
        for text in about.text:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(text)
        if about.files:
            with formatter.section("Files"):
                formatter.write_dl(list(about.files))
        with formatter.section("Examples"):
            for command, what in about.examples:
                formatter.write(f"{'':>{formatter.current_indent}}# {what}\n")
                formatter.write(f"{'':>{formatter.current_indent}}{command}\n")
        with formatter.section("Exit codes"):
            codes = [(c, CODES[c]) if isinstance(c, int) else c for c in about.codes]
            formatter.write_dl([(str(code), meaning) for code, meaning in codes])
        if about.see:
            with formatter.section("See also"):
                formatter.write_text(", ".join(f"henderson {name}" for name in about.see))


class Commands(click.Group):
    """The group of all commands."""

    command_class = Documented

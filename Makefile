# diffgauss: `make run` and `make test` need Python 3.11+, git and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Python compiles what is imported, once, and keeps it, whatever the environment says; pip need not compile the rest.
export PYTHONDONTWRITEBYTECODE :=
TESTS ?= tests
FOLDER ?= notebooks

.PHONY: help run test quick lab colab newest kaggle image lowest browser attack bench notebooks results claims student assignment site slides pdf release address constraints clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("got Python %d.%d; diffgauss needs 3.11 or newer (make PYTHON=...)" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

.venv/.torch: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[torch]'
	@touch $@

run: .venv/.installed  ## execute every notebook; executed copies and HTML pages go to build/
	$(BIN)/python tools/execute.py --out build

test: .venv/.torch  ## everything that CI runs: lint, types, unit tests, notebooks under nbval (some with Colab's versions) and in a browser, packaging
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder --durations=15 $(TESTS)

quick: .venv/.torch  ## lint, types and the fast tests, five minutes on 2 cores
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m "not slow"

lab: .venv/.installed  ## JupyterLab on the notebooks; FOLDER=build/student: on the students' copies
	$(BIN)/jupyter lab $(FOLDER)

colab: .venv/.installed  ## every notebook under nbval with the versions that Colab ships, in build/colab
	$(BIN)/python tools/colab.py
	COLAB=all $(BIN)/python -m pytest tests/colab --durations=10

newest: .venv/.installed  ## the tests and all notebooks with the newest release of everything, from scratch, in build/newest
	$(BIN)/python tools/newest.py newest

kaggle: .venv/.installed  ## notebooks 1 to 3 with the versions that Kaggle ships, in build/kaggle
	$(BIN)/python tools/newest.py kaggle

image: .venv/.installed  ## the Dockerfile's steps without a container, and a notebook in it without a network, in build/image
	$(BIN)/python tools/image.py

lowest: .venv/.installed  ## the kernels' tests with every lower bound of pyproject.toml, in build/lowest
	$(BIN)/python tools/newest.py lowest

browser: .venv/.installed  ## notebooks in JupyterLab in Chromium, sliders dragged; pictures go to build/browser
	BROWSER=all $(BIN)/python -m pytest tests/browser --durations=10

attack: .venv/.installed  ## kills, damage, edits, full disks, races and hostile archives by the hundred; counts go to docs/attacks.md
	ATTACK=1 $(BIN)/python -m pytest tests/attack --durations=10

bench: .venv/.installed  ## the table of speed ratios against peers, in build/bench.md and build/bench.json
	$(BIN)/python benchmarks/bench.py

notebooks: .venv/.torch  ## re-execute the notebooks in place, normalise and stamp them (before a commit)
	$(BIN)/python tools/execute.py

results: .venv/.installed  ## write RESULTS.md from the executed notebooks
	$(BIN)/python tools/results.py

claims: .venv/.installed  ## write the tables of docs/claims.md from the list of claims, claims.toml
	$(BIN)/python tools/claims.py

student: .venv/.installed  ## copies for students, without answers and outputs, in build/student
	$(BIN)/python tools/student.py

assignment: .venv/.installed  ## graded assignments for nbgrader and otter-grader, in build/assignment
	$(BIN)/python tools/assignment.py

site: .venv/.installed  ## pages of the executed notebooks, results, guides and docstrings, in build/site
	$(BIN)/python tools/web.py

slides: .venv/.installed  ## reveal.js decks of the notebooks and of the lecture, in build/slides
	$(BIN)/python tools/decks.py

pdf: .venv/.installed  ## all notebooks as one PDF of lecture notes, in build/diffgauss.pdf
	$(BIN)/python tools/pdf.py

release: .venv/.installed  ## what a course hands out, in build/release: students' part without answers, instructors' part
	$(BIN)/python tools/release.py

address: .venv/.installed  ## make address REPO=owner/name: stamp badges, setup cells, README and CITATION.cff
	$(BIN)/python tools/stamp.py $(REPO)

constraints: .venv/.torch  ## write constraints.txt anew from what .venv holds
	(echo "# The exact set that CI runs: make constraints writes it anew."; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > constraints.txt

clean:  ## remove .venv and build
	rm -rf .venv build

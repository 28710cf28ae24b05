# make help lists the targets. PYTHON= chooses the interpreter, VENV= the environment (see requirements/README.md).
SHELL := bash
VENV ?= .venv
export VENV
ifdef PYTHON
export PYTHON
endif
IN_VENV = "$(VENV)/bin/python"

.PHONY: help demo docs test test-recipes test-reliability lint install install-full

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

install:  ## environment without compiled operators
	@requirements/install.sh light

install-full:  ## environment with everything
	@requirements/install.sh full

demo: install  ## every paper in miniature, in minutes; writes work_dirs/demo/report.html; PAPER=soft_teacher for one
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYTHONWARNINGS=ignore $(IN_VENV) tools/demo.py $(PAPER)

test: install-full  ## install everything and run all tests
	@OMP_NUM_THREADS=1 $(IN_VENV) -m pytest -q -n 2 --dist loadfile

test-reliability: install-full  ## kills, exact resume, broken and malicious files, leaks: the slow tests, an hour and a half on one core
	@OMP_NUM_THREADS=1 $(IN_VENV) -m pytest -q -m reliability --timeout 3600

test-recipes: install-full  ## two steps, validation, save, resume and test of every published recipe at its size: an hour on two cores; OPENMSRA_RECIPES=K/6 takes a sixth
	@OMP_NUM_THREADS=1 $(IN_VENV) -m pytest -m recipes tests/recipes -n 2 --durations=0 --durations-min=1

lint: install-full  ## ruff: rules and format
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m ruff format --check .

docs: install  ## the documentation as a site in work_dirs/docs; warnings are errors
	@$(IN_VENV) -m pip install -q 'sphinx>=8' 'myst-parser>=4' furo
	@$(IN_VENV) -m sphinx -q -W --keep-going -c docs . work_dirs/docs
	@echo open work_dirs/docs/docs/index.html

# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench faults servers engines clean

# Cameras, worker, page on http://127.0.0.1:8080 ; FOR=60 ends by itself ; FOOTAGE=file.mp4 ; PORT=8090 ; SCALE=1: over
# real Kafka, S3 and PostGIS
demo: $(if $(SCALE),.venv/scale.done engines,.venv/demo.done)
	@$(BIN)/linli demo $(if $(FOR),--for $(FOR)) $(if $(FOOTAGE),--footage $(FOOTAGE)) $(if $(PORT),--port $(PORT)) \
	  $(if $(SCALE),--scale)

test: .venv/test.done servers  ## all tests; ARGS='-k name' for some
	@$(BIN)/python -m pytest $(ARGS)

check: .venv/test.done       ## lint, format, types, floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/bench.done servers  ## the benchmarks, one JSON line each; ONLY='replay kill' for some
	@$(BIN)/python -m benchmarks $(ONLY)

# About two hours. ONLY='broker_away' for some of the disasters, and without the tests after them.
faults: .venv/test.done servers  ## the whole fault suite: the store compared with the journals after each disaster
	@$(BIN)/python -m benchmarks.faults --json $(foreach name,$(ONLY),--only $(name))
	@$(if $(ONLY),:,LINLI_SWAPS=50 LINLI_KILLS=100 LINLI_RELAY_KILLS=500 $(BIN)/python -m pytest -s --timeout 7200 \
	  tests/test_membership.py tests/test_relay.py tests/test_shipping.py -k 'swaps or killed')

servers:                     # what the tests talk to: GStreamer's RTSP server, Chromium (Debian packages)
	@deploy/test-servers.sh

engines:                     # what `make demo SCALE=1` needs from Debian: Java and Maven (Kafka), PostGIS
	@deploy/test-servers.sh scale

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Linli needs Python 3.11 or later; call make with PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo 'no venv module: apt-get install python3-venv' >&2; exit 1; }

.venv/demo.done: pyproject.toml | .venv/bin/python
	@echo 'installing into .venv ...' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]' >&2
	@touch $@

.venv/scale.done: pyproject.toml | .venv/bin/python
	@echo 'installing into .venv ...' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,scale]' >&2
	@touch $@

.venv/test.done: pyproject.toml | .venv/bin/python
	@echo 'installing into .venv ...' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,test,check]' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'trackeval==1.3.*' >&2
	@touch $@

# supervision, trackers and trackeval ask for a second OpenCV; without their dependencies the headless one does.
.venv/bench.done: .venv/test.done
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'supervision==0.31.*' 'trackers==2.6.*' >&2
	@touch $@

clean:                       ## all that was made here; the cache of models and footage stays
	rm -rf .venv var .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# SPDX-License-Identifier: Apache-2.0
# The short ways. `make` builds; `make demo` shows what slidewise does; `make check` proves that it works.
#   make demo [SLIDES=DIR LABELS=CSV [WEIGHTS=FILE]] [OUT=DIR] [OPTIONS='...of slidewise run']
#   make bench [QUICK=1] [BREAKDOWN=1] [OPTIONS='...of bench/bench.py']; make bench SLIDES='FILE|DIR...' [OPTIONS='...of bench/tile.py']
#   make install [PREFIX=/usr/local] [DESTDIR=...]
PRESET ?= release
BUILD ?= build/$(PRESET)
PREFIX ?= /usr/local
OUT ?= demo-out
JOBS ?= $(shell nproc)
DATA ?= ../shared/data
# One cmake and one ninja work at a time; the tools below them run in parallel.
.NOTPARALLEL:
.PHONY: all deps build demo demo-real check bench install clean

all: build

deps:
	@tools/deps

build: deps
	@mkdir -p build
	@cmake --preset $(PRESET) -B $(BUILD) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS)

demo: build
	@SLIDES='$(SLIDES)' LABELS='$(LABELS)' WEIGHTS='$(WEIGHTS)' OPTIONS='$(OPTIONS)' OUT='$(OUT)' tools/demo $(BUILD)/bin/slidewise

demo-real: build
	@SLIDES='$(DATA)/atlas-mini/slides' LABELS='$(DATA)/atlas-mini/labels.csv' \
	 WEIGHTS='$(DATA)/weights/resnet18_upto_layer3.safetensors' OPTIONS='--patch-px 128 --set augment.crop_px=128' OUT='$(if $(filter demo-out,$(OUT)),demo-out/real,$(OUT))' \
	 tools/demo $(BUILD)/bin/slidewise

check: build
	@tests/run $(BUILD)

bench: build
	@cmake --build $(BUILD) -j $(JOBS) --target slidewise_bench
	@SLIDEWISE_BUILD='$(abspath $(BUILD))' SLIDES='$(SLIDES)' bench/run.sh $(if $(QUICK),--quick) $(if $(BREAKDOWN),--breakdown) $(OPTIONS)
	@$(if $(QUICK)$(BREAKDOWN)$(SLIDES),,SLIDEWISE_BUILD='$(abspath $(BUILD))' bench/memory.sh)

install: build
	@DESTDIR='$(DESTDIR)' cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD)

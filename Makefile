# The README's commands. The build itself is meson's: meson.build.
BUILD ?= build
DESTDIR ?=

.PHONY: all deps lab test bench asan install clean help
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

# Each step installs what it is missing, so that a fresh machine needs nothing but make.
deps:
	@lab/deps

lab:
	@lab/deps build lab
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) lab/lab prove

test:
	@lab/deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) tests/run

bench:
	@lab/deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) tests/bench/run

asan:
	@[ -e build-asan/build.ninja ] || meson setup build-asan -Db_sanitize=address,undefined
	@ninja -C build-asan

install: all
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-*

help:
	@echo "make            build into $(BUILD)/"
	@echo "make lab        the article's four hosts and their tunnel, with the proof (LAB=x: another one beside it)"
	@echo "make test       every test; tests/run SUITE... for some of them"
	@echo "make bench      throughput, latency, processor time and memory beside the peers', and the bars"
	@echo "make asan       build with AddressSanitizer and UBSan into build-asan/"
	@echo "make install    install (DESTDIR=, meson configure -Dprefix=)"
	@echo "make deps       install the packages that all of these need"
	@echo "make clean      remove the build directories"

# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Verbs only: each is one script of scripts/, which says more with --help.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# What a verb can be given: make build-kernel FLAVOUR=debug
FLAVOUR ?= plain
PREFIX ?= /usr/local

##@ Everything

help: ## this list
	@scripts/help $(MAKEFILE_LIST)

run: ## from nothing to a verdict: builds, boots and tests flavour plain
	@scripts/run

test: ## everything that guards the project, both flavours; T=NAME runs one case of a built kernel
	@scripts/test $(if $(T),'$(T)')

shell: ## a prompt inside the guest (FLAVOUR=)
	@scripts/shell $(FLAVOUR)

##@ The steps of a run

setup: ## install what is missing on this machine
	@scripts/setup

fetch: ## the kernel source; KERNEL_TREE=dir or KERNEL_TARBALL=file for your own
	@scripts/fetch

apply: ## the series of kernel-patches/ on it
	@scripts/apply

configure: ## the kernel's configuration (FLAVOUR=)
	@scripts/configure $(FLAVOUR)

build-kernel: ## the kernel (FLAVOUR=)
	@scripts/build-kernel $(FLAVOUR)

build-user: ## library, tests and initramfs
	@scripts/build-user

boot: ## run the tests in the guest (FLAVOUR=)
	@scripts/boot $(FLAVOUR)

report: ## what the last boot said (FLAVOUR=)
	@scripts/report $(FLAVOUR)

##@ The proof

fastpath: ## the data path with and without the series: code, layouts, sizes, instruction counts
	@scripts/fastpath

bench-udp: ## dump and restore of UDP sockets with the series and without: system calls, time
	@scripts/bench-udp

bench-recovery: ## goodput round trip by round trip around a move of a TCP connection; BENCH='--runs 5' and the like
	@scripts/bench-recovery $(BENCH)

bench-tcp: ## moving TCP connections, and locking them: system calls, time, memory
	@scripts/bench-tcp

bench-criu: ## moving a process with TCP connections: CRIU and sockrepair, whole commands
	@scripts/bench-criu

check-series: ## all that reviewers' bots would say, patch by patch; CHECK='--fast' and the like
	@scripts/check-series $(CHECK)

submit-dry-run: ## send the series to an SMTP server on loopback and apply what arrives
	@scripts/submit-dry-run

submit: ## write a series out as it would be mailed; mails nothing; SUBMIT='--series net-next-udp' and the like
	@scripts/submit $(SUBMIT)

migrate: ## a TCP connection between three guests, moved 1000 times under netem (N=, T=)
	@scripts/migrate

kunit: ## the series' unit tests by the kernel's own tool, in User-Mode Linux
	@scripts/kunit

fuzz: ## 10,000,000 random calls of TCP_REPAIR in the debug kernel (N=, SEED=)
	@scripts/fuzz

##@ To use it elsewhere

install: ## library and tool, to DESTDIR= and PREFIX=
	@scripts/install

##@ For developers

fuzz-image: ## random images for the library, for SECONDS=300
	@scripts/fuzz-image $(SECONDS)

export-series: ## write the kernel tree's commits back into kernel-patches/
	@scripts/export-series

gen-series: ## write selftests/ and Documentation/ into the series
	@scripts/gen-series

# Every verb is one.
# Every verb is one.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.* ##.*/\1/p' $(MAKEFILE_LIST))

# mailhaul. `make` builds build/mailhaul; `make check` proves it; `make demo` shows it; `make bench`
# measures it. Variants stand beside each other: make SAN=address,undefined, make CC=clang.
#   make test T=pipe       one unit test file        make sim SEED=7      one simulated run
#   make sim RUNS=1000 SEED=1   so many simulated worlds, each with other accidents
#   make fuzz F=imap T=60  a fuzz target, so many seconds; make fuzz: which there are
#   make BUILD=build/mine  a build folder of its own

SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules
ifeq ($(origin CC),default)
CC := gcc
endif
comma := ,
BUILD ?= build
VARIANT := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
OUT := $(BUILD)/$(VARIANT)
DEPS := build/deps
JOBS ?= $(shell nproc)

# What gcc does with sanitizers: a sixth of the time to link with gold, and false warnings below -O2.
ifneq ($(and $(SAN),$(findstring gcc,$(CC))),)
SAN_GCC_WARN := -Wno-maybe-uninitialized -Wno-format-truncation
SAN_GCC_LD := $(if $(shell command -v ld.gold),-fuse-ld=gold)
endif
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
  -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wconversion -Wno-sign-conversion -Wnull-dereference \
  $(if $(SAN),$(SAN_GCC_WARN),-Wframe-larger-than=4096) $(if $(WERROR),-Werror)
# Sanitized code and tests are compiled often and measured never: -O1 takes half of -O2's time.
OPT ?= $(if $(SAN),-O1,-O2)
$(OUT)/tests/%.o: OPT := -O1
CFLAGS += -std=gnu17 $(OPT) -g -pthread -fno-omit-frame-pointer $(WARN) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined)
CPPFLAGS += -I. -D_GNU_SOURCE $(if $(filter %/version.c %/imap_session.c,$<),-DMAILHAUL_VERSION='"$(VERSION)"') $(if $(filter-out fuzzer,$(SAN)),,-D_FORTIFY_SOURCE=2)
LDFLAGS += -pthread $(if $(SAN),-fsanitize=$(SAN) $(SAN_GCC_LD))
LDLIBS := -luring -lhwloc -lssl -lcrypto -lsodium -lzstd -letpan -lsqlite3 -lcyaml -lyaml -lmicrohttpd -lseccomp -lz -lexpat
TEST_LIBS := -ljansson -lm # another reader of the JSON we write
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# BLAKE3: the official C and assembly, compiled from Debian's package (tools/deps puts it there).
BLAKE3 = $(firstword $(wildcard $(DEPS)/usr/share/cargo/registry/blake3-*/c))
BLAKE3_NAMES := blake3 blake3_dispatch blake3_portable
ifeq ($(shell uname -m),x86_64)
BLAKE3_NAMES += blake3_sse2_x86-64_unix blake3_sse41_x86-64_unix blake3_avx2_x86-64_unix blake3_avx512_x86-64_unix
endif
ifeq ($(shell uname -m),aarch64)
BLAKE3_NAMES += blake3_neon
endif
BLAKE3_OBJECTS := $(BLAKE3_NAMES:%=$(OUT)/blake3/%.o)

PRODUCT := $(wildcard engine/*.c engine/*.S crypto/*.c transport/*.c)
TOOLS := $(filter-out tools/main.c,$(wildcard tools/*.c))
OBJECTS := $(patsubst %,$(OUT)/%.o,$(basename $(PRODUCT) $(TOOLS)))
LIBRARY := $(OUT)/libmailhaul.a

UNIT := $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(wildcard tests/unit/*_test.c))
SIM_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(filter-out %_test.c %_main.c,$(wildcard tests/sim/*.c)))
SIM := $(patsubst tests/sim/%.c,$(OUT)/tests/sim/%,$(wildcard tests/sim/*_test.c))
WIRE_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(filter-out %_test.c,$(wildcard tests/wire/*.c)))
WIRE := $(patsubst tests/wire/%.c,$(OUT)/tests/wire/%,$(wildcard tests/wire/*_test.c))
# The stand-in for S3 without the simulated network: behind real sockets (tests/real/s3_standin.c).
S3_MODEL_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(filter-out %_test.c %_net.c,$(wildcard tests/sim/s3_model*.c)))
MODEL_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/model/*.c))
TORTURE := $(patsubst tests/torture/%.c,$(OUT)/tests/torture/%,$(wildcard tests/torture/*_probe.c))
# Fuzz targets are one program, with the simulated ring, clock and network, and with libetpan built
# from Debian's source beside it: of the shared library a fuzzer would see nothing (tests/fuzz/etpan).
FUZZ_SIM := clock_sim disk_sim disk_tree net_sim offload_sim ring_sim ring_verbs sim tls_sim
FUZZ_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/fuzz/*.c)) $(FUZZ_SIM:%=$(OUT)/tests/sim/%.o)
ETPAN := $(DEPS)/libetpan/src
ETPAN_OBJECTS := $(patsubst $(ETPAN)/%.c,$(OUT)/libetpan/%.o,$(filter-out %lmdb.c,\
  $(wildcard $(addprefix $(ETPAN)/,main/libetpan_version.c data-types/*.c low-level/imap/*.c low-level/imf/*.c low-level/mime/*.c))))
ETPAN_FLAGS := $(addprefix -I,$(wildcard $(ETPAN)/*/ $(ETPAN)/*/*/)) -I/usr/include/libetpan -D_GNU_SOURCE \
  $(patsubst %,-DHAVE_%_H,INTTYPES UNISTD NETDB SYS_SOCKET NETINET_IN ARPA_INET SYS_SELECT SYS_PARAM SYS_MMAN PTHREAD) -DLIBETPAN_REENTRANT
FUZZ := $(MAKE) --no-print-directory CC=clang SAN=fuzzer,address,undefined OPT=-O1
BENCH := $(patsubst bench/%.c,$(OUT)/bench/%,$(wildcard bench/*_bench.c))
BENCH_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(filter-out %_bench.c,$(wildcard bench/*.c)))

.PHONY: all deps check test test-syntax sim lint unit-binaries sim-binaries wire-binaries model-server s3-standin \
  bench-binaries bench torture demo fuzz fuzz-binary fuzz-links clean
.SECONDARY:
# build/mailhaul is gcc's without sanitizers; other variants stay in their own folder.
all: $(OUT)/mailhaul $(if $(filter gcc,$(VARIANT)),$(BUILD)/mailhaul)

$(BUILD)/mailhaul: $(OUT)/mailhaul
	@cp -f $< $@.new && mv -f $@.new $@
$(OUT)/mailhaul: $(OUT)/tools/main.o $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(LIBRARY): $(OBJECTS) $(BLAKE3_OBJECTS)
	@rm -f $@ && ar rcsP $@ $^

$(OUT)/%.o: %.c | $(DEPS)/ready
	@mkdir -p $(dir $@)
	$(CC) $(CPPFLAGS) $(if $(findstring crypto/digest,$<),-I$(BLAKE3)) $(CFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/%.o: %.S | $(DEPS)/ready
	@mkdir -p $(dir $@)
	$(CC) $(CPPFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/blake3/%.o: $(DEPS)/ready
	@mkdir -p $(dir $@)
	@$(CC) -O3 -g -w -c -o $@ $(firstword $(wildcard $(BLAKE3)/$*.c $(BLAKE3)/$*.S))
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

$(DEPS)/ready: tools/deps
	tools/deps
deps: $(DEPS)/ready

# Tests link the product from the library. What tests/sim replaces (ring, clock, offload, tls) comes
# before it on the command line, so the library's own is not pulled in: replaced by linking.
$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(OUT)/tests/test_main.o $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(TEST_LIBS)
# Its allocations fail when the test says so.
$(OUT)/tests/unit/xml_test: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=free
$(OUT)/tests/sim/%: $(OUT)/tests/sim/%.o $(SIM_OBJECTS) $(OUT)/tests/test_main.o $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(TEST_LIBS)
# Conversations run over the real ring and loopback sockets, with TLS passed through.
$(OUT)/tests/wire/%: $(OUT)/tests/wire/%.o $(WIRE_OBJECTS) $(OUT)/tests/sim/tls_sim.o $(OUT)/tests/test_main.o $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(TEST_LIBS)
$(OUT)/bench/%: $(OUT)/bench/%.o $(BENCH_OBJECTS) $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lpthread -lm
$(OUT)/tests/model/model_server: $(MODEL_OBJECTS) $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/tests/real/s3_standin: $(OUT)/tests/real/s3_standin.o $(S3_MODEL_OBJECTS) $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/tests/fuzz/fuzz: $(FUZZ_OBJECTS) $(ETPAN_OBJECTS) $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@.new $^ $(if $(ETPAN_OBJECTS),$(filter-out -letpan,$(LDLIBS)),$(LDLIBS)) && mv -f $@.new $@
ifneq ($(findstring fuzzer,$(SAN)),)
# Coverage is the product's: which way the dice fell is none. Of tools/ little is fuzzed, and a build is soon made.
$(OUT)/tests/%.o: CFLAGS += -fno-sanitize=fuzzer
$(OUT)/tools/%.o: CFLAGS += -O0
endif
$(OUT)/libetpan/%.o: $(ETPAN)/%.c
	@mkdir -p $(dir $@)
	@$(CC) -w -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=undefined $(ETPAN_FLAGS) -c -o $@ $<
$(OUT)/tests/torture/%: $(OUT)/tests/torture/%.o $(LIBRARY)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
# Two makes: what there is of libetpan is known when the second begins.
fuzz-binary:
	@tests/fuzz/etpan
	+@$(FUZZ) fuzz-links
fuzz-links: $(OUT)/tests/fuzz/fuzz
	@for t in $$($<); do ln -sf fuzz $(OUT)/tests/fuzz/$$t; done
model-server: $(OUT)/tests/model/model_server
s3-standin: $(OUT)/tests/real/s3_standin
unit-binaries: $(UNIT)
sim-binaries: $(SIM)
wire-binaries: $(WIRE)
bench-binaries: $(BENCH)

# What a compiler says of the tests that another one has built.
test-syntax:
	@printf '%s\n' $(wildcard tests/*.c tests/*/*.c) | xargs -P $(JOBS) -n 8 $(CC) $(CPPFLAGS) $(CFLAGS) -fsyntax-only

test: unit-binaries wire-binaries
	@tests/run $(if $(T),$(filter %/$(T)_test,$(UNIT) $(WIRE)),$(UNIT) $(WIRE))
sim: sim-binaries
	@SEED=$(SEED) $(if $(RUNS),RUNS=$(RUNS) $(OUT)/tests/sim/seeds_test,$(if $(SIM_ALL),TEST_SECONDS=14400) tests/run $(SIM))
fuzz: fuzz-binary
	@tests/fuzz/fuzz.py $(F) $(if $(F),$(T))
lint:
	@tools/lint.py
check:
	@tests/check
demo:
	@tests/demo
bench:
	@bench/run
torture: $(TORTURE) all model-server
	@PROBE=$(abspath $(OUT))/tests/torture/numa_probe MAILHAUL=$(abspath $(OUT))/mailhaul KILLS=$(or $(KILLS),200) SEED=$(SEED) \
	  TEST_SECONDS=7200 tests/run tests/torture/*_test
clean:
	rm -rf build

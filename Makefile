# viaduct: a vhost-user bridge. `make help` lists the targets.
# Plain make. Sources are found by folder; headers by -MMD.

VERSION := 0.1.0
CC ?= gcc
SHELL := /bin/bash
CLANG ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=

WARN := -Wall -Wextra -Werror
CPPFLAGS += -D_GNU_SOURCE -DVIADUCT_VERSION='"$(VERSION)"' -Iinclude -Iuser -I$(BUILD)
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 $(WARN) -pthread
LIBS := -lxdp -lbpf -lelf -lz -lmnl -ljansson -linih -lsystemd -lnuma -lpthread
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

# The library holds everything but the main programs: both binaries, tests and benchmarks link it.
LIB_SRC := $(sort $(wildcard user/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
ASAN_OBJ := $(LIB_SRC:%.c=$(BUILD)/asan/%.o)
TESTS := $(patsubst tests/%.c,%,$(sort $(wildcard tests/test_*.c)))
FUZZERS := $(patsubst tests/%.c,%,$(sort $(wildcard tests/fuzz_*.c)))
TOOLS := $(patsubst tools/%.c,%,$(sort $(wildcard tools/*.c)))
BPF_OBJ := $(patsubst bpf/%.bpf.c,$(BUILD)/%.bpf.o,$(wildcard bpf/*.bpf.c))
BPF_SKEL := $(BPF_OBJ:.bpf.o=.skel.h)
ARCH_BPF := $(shell uname -m | sed -e s/x86_64/x86/ -e s/aarch64/arm64/)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

.PHONY: all help clean install deps demo check check-unit bench fuzz unit fuzzers rootprogs
.SECONDARY:
all: $(BUILD)/viaduct $(TOOLS:%=$(BUILD)/%) $(BPF_OBJ)

help:
	@echo 'make              build build/viaduct and build/viaduct-guest'
	@echo 'sudo make demo    install what is missing, build, show packets flowing, clean up'
	@echo 'sudo make check   install what is missing, run all tests; ends with "N passed, N failed"'
	@echo 'make check-unit   unit tests only (no root, ASan and UBSan)'
	@echo 'make fuzz         fuzz messages, rings and forwarding; FUZZ_SECONDS=60'
	@echo 'sudo make bench   benchmarks beside DPDK testpmd; prints ratios'
	@echo 'make install      DESTDIR= PREFIX=/usr/local'
	@echo 'make clean        remove build/'
	@echo 'sudo make deps    install the packages that building and testing need'

$(BUILD)/%.bpf.o: bpf/%.bpf.c $(wildcard include/*.h bpf/*.h)
	@mkdir -p $(@D)
	@echo "  BPF   $@"
	@$(CLANG) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH_BPF) $(WARN) -Iinclude -Ibpf \
		$(if $(MULTIARCH),-I/usr/include/$(MULTIARCH)) -c $< -o $@

$(BUILD)/viaduct_bound.bpf.o: bpf/viaduct.bpf.c

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	@$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@.tmp && mv $@.tmp $@

$(LIB_OBJ) $(ASAN_OBJ): | $(BPF_SKEL)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/asan/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -O1 $(SAN) -MMD -MP -c $< -o $@

$(BUILD)/libviaduct.a: $(LIB_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^
$(BUILD)/libviaduct-asan.a: $(ASAN_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/viaduct: $(BUILD)/user/main.o $(BUILD)/libviaduct.a
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/%: $(BUILD)/tools/%.o $(BUILD)/libviaduct.a
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/test_%: $(BUILD)/asan/tests/test_%.o $(BUILD)/libviaduct-asan.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
FUZZ_LAYERS := user/base/% user/ring/% user/vhost/%
$(BUILD)/tests/fuzz_forward: FUZZ_LAYERS += user/xdp/% user/bridge/%
$(BUILD)/tests/fuzz_%: tests/fuzz_%.c $(LIB_SRC) $(wildcard include/*.h user/*/*.h tests/*.h) | $(BPF_SKEL)
	@mkdir -p $(@D)
	@echo "  FUZZ  $@"
	@$(CLANG) $(CPPFLAGS) -std=gnu11 -O1 -g $(WARN) -fsanitize=fuzzer,address,undefined -o $@ $< \
		$(filter $(FUZZ_LAYERS),$(LIB_SRC)) $(LIBS)

$(BUILD)/selftests/%: selftests/%.c selftests/xdp_env.c $(wildcard selftests/*.h) $(BUILD)/libviaduct.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.a,$^) -lcmocka $(LIBS)

unit: $(TESTS:%=$(BUILD)/tests/%)
fuzzers: $(FUZZERS:%=$(BUILD)/tests/%)
rootprogs: $(BUILD)/selftests/prog_verdicts $(BUILD)/selftests/prog_ports $(BUILD)/selftests/uplink_veth $(BUILD)/selftests/uplink_features \
	$(BUILD)/selftests/uplink_tags $(BUILD)/selftests/uplink_host $(BUILD)/selftests/uplink_settings \
	$(BUILD)/selftests/offload_corpus $(BUILD)/selftests/linkwatch

deps:
	@selftests/deps.sh check

demo:
	@selftests/deps.sh demo
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@BUILD=$(abspath $(BUILD)) selftests/isolate.sh selftests/demo.sh

check:
	@selftests/deps.sh check
	@BUILD=$(abspath $(BUILD)) selftests/check.sh

check-unit:
	@BUILD=$(abspath $(BUILD)) selftests/check.sh unit

bench:
	@selftests/deps.sh bench
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@BUILD=$(abspath $(BUILD)) selftests/vm-images.sh >/dev/null || echo 'no virtual machine could be prepared: part (e) will not be measured'
	@BUILD=$(abspath $(BUILD)) selftests/bench.sh

FUZZ_SECONDS ?= 60
fuzz: fuzzers
	@set -o pipefail; for f in $(FUZZERS); do echo "== $$f, $(FUZZ_SECONDS) s"; \
		$(BUILD)/tests/$$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/ -print_final_stats=1 \
			2>&1 | tail -n 12 || exit 1; done

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(BUILD)/viaduct $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(BUILD)/viaduct-guest $(DESTDIR)$(PREFIX)/bin/
	install -m 644 doc/viaduct.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 doc/viaduct-guest.1 $(DESTDIR)$(PREFIX)/share/man/man1/

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Disks as large as the formats go: tables that are not held in memory.
. "$(dirname "$0")/../lib/e2e.sh"
needs prlimit python3 "$IMGCTL"

limit=65536 # KiB
if grep -q __asan_init "$IMGCTL" || grep -q __tsan_init "$IMGCTL"; then
	limit=$((limit * 16)) # a sanitizer's own memory
fi
# within ARGS...: imgctl, with at most so much memory
within()
{
	python3 - "$limit" "$IMGCTL" "$@" <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert kib < int(sys.argv[1]), "%d KiB used: %s" % (kib, sys.argv[3:])
END
}

# A sparse disk is walked in steps that grow with it.
within create -q -f qcow2 -o cluster_size=2M large 512P
for cmd in 'convert -O qcow2 -o cluster_size=2M' 'compare -F qcow2' \
	'map --output=json' 'measure -O qcow2 -o cluster_size=2M'; do
	case $cmd in
	convert*) to=copy ;;
	compare*) to=large ;;
	*) to= ;;
	esac
	# shellcheck disable=SC2086
	within $cmd -f qcow2 large $to
done
rm large copy

while read -r format options; do
	within create -q -f "$format" -o "$options" large
	# To be opened is not to be read.
	prlimit --cpu=2 "$IMGCTL" info -f "$format" large >/dev/null ||
		fail "info of $format"
	within bench -q -f "$format" -w -c 8 -s 4096 -S 90G --pattern=7 large
	within map -f "$format" --output=json large
	within check -q -f "$format" large
	rm large
done <<'END'
vpc size=2040G
vhdx size=16T,block_size=1M,block_state_zero=off
vdi size=8T
parallels size=16T
qed size=60T,table_size=16
qcow size=4T
END

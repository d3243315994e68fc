# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Encrypted images, for scripts that have sourced e2e.sh and peer.sh.

secrets=(--object "secret,id=s,data=hush" --object "secret,id=n,data=new" \
	--object "secret,id=w,data=wrong")

# qemu-img measures its own speed, which it gives up on a machine that is busy.
steady()
{
	local rc
	for _ in {1..20}; do
		rc=0
		qemu-img "$@" >steady.out 2>steady.err || rc=$?
		grep -q 'accurate CPU usage' steady.err || break
	done
	cat steady.err >&2
	cat steady.out
	return "$rc"
}
THEIRS=steady

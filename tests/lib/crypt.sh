# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Encrypted images, for scripts that have sourced e2e.sh and peer.sh.

secrets=(--object "secret,id=s,data=hush" --object "secret,id=n,data=new" \
	--object "secret,id=w,data=wrong")

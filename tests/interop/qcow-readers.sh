#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Readers of qcow and qcow2 that share nothing with QEMU: 7z unpacks what we
# write, and qcowinfo (libqcow) says the same of it as we.
. "$(dirname "$0")/../lib/e2e.sh"
needs 7z qcowinfo jq "$IMGCTL" "$IMGD" nbdcopy

random_file noise 1500000
{
	cat noise
	head -c 2M /dev/zero
	seq -w 300000
	cat noise
} >disk
truncate -s %65536 disk

# known IMAGE VERSION SNAPSHOTS ENCRYPTION: what qcowinfo says of it.
known()
{
	qcowinfo "$1" >said
	grep -q "Format version.*: $2\$" said || fail "$1: version"
	grep -q "($(stat -c %s disk) bytes)" said || fail "$1: size"
	grep -q "Number of snapshots.*: $3\$" said || fail "$1: snapshots"
	grep -q "Encryption method.*: $4" said || fail "$1: encryption"
}

# unpacks IMAGE: 7z finds the disk in it.
unpacks()
{
	7z x -so "$1" 2>/dev/null >back
	same disk back
}

# image FORMAT VERSION [-o OPTIONS]: a converted one, and one that a server has
# written.
image()
{
	local format=$1 version=$2
	shift 2
	echo "$format" "$@"
	"$IMGCTL" convert -q -f raw -O "$format" "$@" disk made
	known made "$version" 0 None
	unpacks made
	"$IMGCTL" create -q -f "$format" "$@" served "$(stat -c %s disk)"
	start_imgd -f "$format" served
	nbdcopy disk "$URI"
	stop_server
	known served "$version" 0 None
	unpacks served
}

image qcow2 3
image qcow2 2 -o compat=0.10
image qcow2 3 -o cluster_size=4k
image qcow2 3 -o cluster_size=2M
image qcow 1

# 7z does not unpack version 1.
"$IMGCTL" convert -q -c -f raw -O qcow2 disk packed
known packed 3 0 None
unpacks packed
"$IMGCTL" convert -q -c -f raw -O qcow disk packed
known packed 1 0 None

"$IMGCTL" convert -q -f raw -O qcow2 disk snap
"$IMGCTL" snapshot -c one snap
"$IMGCTL" snapshot -c two snap
known snap 3 2 None
unpacks snap
"$IMGCTL" resize -q -f qcow2 snap +64k
"$IMGCTL" resize -q --shrink -f qcow2 snap -64k
unpacks snap

secret=secret,id=s,data=passphrase
"$IMGCTL" convert -q -f raw -O qcow2 --object "$secret" \
	-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
	disk luks
known luks 3 0 '.*LUKS'
"$IMGCTL" convert -q -f raw -O qcow --object "$secret" \
	-o encrypt.format=aes,encrypt.key-secret=s disk aes
known aes 1 0 'AES'

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl create: what it prints, makes and refuses, against qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

# What the peer finds in an image of $1/.
examine()
{
	local rc=0
	cd "$1"
	qemu-img info --output=json "$2" | grep -v actual-size
	qemu-img check -q "$2" || rc=$?
	echo "check: $rc"
}

# made NAME: the peer finds in ours what it finds in its own.
made()
{
	(examine ours "$1") >ours.info 2>&1
	(examine theirs "$1") >theirs.info 2>&1
	diff -u theirs.info ours.info >&2 || fail "not the image wanted: $1"
}

create()
{
	agree create "$@"
}

# Operands and sizes.
create
create a
create a 1M x
create a 1025
[ "$(stat -c %s ours/a)" = 1536 ]
create a 10Q
create a ''
create a 1.5
create a 8E
create a 1M -o size=1M
create a -o size=1M
create a -o size=abc
create -o size=1G -f qcow2 b
made b
create -f qcow2 b 1.5G
made b
create -f qcow2 b 0x10000
made b
create b 0 -f qcow2
made b
create -f qcow2 b 3000b
made b
create -f qcow2 -- b 1M

# Formats and their options.
create -f bogus a 1M
create -f qcow2 -o foo=1 a 1M
create -f qcow2 -o ,a=b a 1M
create -f qcow2 -o a=b, a 1M
create -f qcow2 -o '' a 1M
create -f qcow2 -o cluster_size=abc a 1M
create -f qcow2 -o lazy_refcounts=maybe a 1M
create -f qcow2 -o refcount_bits=x a 1M
create -f qcow2 -o lazy_refcounts a 1M
made a
create -f qcow2 -o cluster_size=128k,refcount_bits=1 -o compat=1.1 a 1M
made a
for o in cluster_size={512,4k,2M} refcount_bits={2,4,8,32,64} \
	compat={0.10,v2,v3} extended_l2=on compression_type=zstd \
	preallocation={off,metadata,falloc,full} lazy_refcounts=on; do
	create -f qcow2 -o "$o" o.qcow2 5M
	made o.qcow2
done
create -f qcow2 -o data_file=d.raw,data_file_raw=on df.qcow2 1M
made df.qcow2
for o in preallocation={off,falloc,full}; do
	create -f raw -o "$o" r.raw 1M
	made r.raw
done
create -q q.raw 1M

# Backing files.
create -q -f qcow2 base.qcow2 5M
both mkdir sub
create -f qcow2 -b base.qcow2 x
create -f qcow2 -b '' x
create -f qcow2 -b '' -F qcow2 x 1M
create -f qcow2 -b nope -F qcow2 x
create -f qcow2 -b nope -F qcow2 x 1M
create -f qcow2 -b nope -F qcow2 -u x
create -f qcow2 -b nope -u x 1M
create -f qcow2 -b nope -F qcow2 -u x 1M
made x
create -f qcow2 -b base.qcow2 -F qcow2 base.qcow2
create -f raw -b base.qcow2 -F qcow2 x
create -f qcow2 -b base.qcow2 -F qcow2 x
made x
create -f qcow2 -b base.qcow2 -F qcow2 x 7M
made x
create -f qcow2 -b ../base.qcow2 -F qcow2 sub/y
made sub/y
create -f qcow2 -b base.qcow2 -F qcow2 sub/z
create -f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2 x
made x
create -f qcow2 -b base.qcow2 -F qcow2 -o backing_file=nope x
made x
create -f qcow2 -o 'backing_file=a b,,c,backing_fmt=raw' -u x 1M
made x

# Names.
create 'a b,c' 1M
create file:n 1M
create a:b 1M
create ./a:b 1M
create --object secret,id=s,data=x n 1M
create --object bogus,id=s n 1M
create --object secret n 1M

# Only we know: a wrong value destroys nothing.
echo precious >precious
cp precious kept
for o in cluster_size={100,0,4M} preallocation=bogus refcount_bits=3 \
	compat=2 compression_type=lz4 extended_l2=on,cluster_size=4k; do
	expect_exit 1 "$IMGCTL" create -f qcow2 -o "$o" precious 1M
	expect_err 'imgctl: precious: '
	same kept precious
done
expect_exit 1 "$IMGCTL" create -o preallocation=metadata precious 1M
expect_err 'Unsupported preallocation mode: metadata'
same kept precious
expect_exit 1 "$IMGCTL" create -f qcow2 precious 7E
same kept precious
expect_exit 1 "$IMGCTL" create -f qcow2 -b precious -F raw ./precious
same kept precious

qemu-img create -q -f qcow2 -b precious -F raw middle
expect_exit 1 "$IMGCTL" create -f qcow2 -b middle -F qcow2 precious
expect_err 'in its backing chain'
same kept precious

# An image that would be its own data file.
expect_exit 1 "$IMGCTL" create -f qcow2 -o data_file=precious precious 1M
same kept precious
expect_exit 1 "$IMGCTL" create -f qcow2 -o data_file=own own 1M
expect_err 'own: '

# -o help lists every option, sorted.
expect_exit 0 "$IMGCTL" create -f qcow2 -o help
for o in backing_file backing_fmt cluster_size compat compression_type \
	data_file data_file_raw extended_l2 lazy_refcounts preallocation \
	refcount_bits size; do
	grep -qE "^  $o=<.*> +- " out || fail "no $o in -o help"
done
expect_out 'Supported qcow2 options:'
grep '^  ' out | LC_ALL=C sort -c
expect_exit 0 "$IMGCTL" create -f qcow2 -o cluster_size=4k,help name
expect_out 'Supported options:'
expect_exit 0 "$IMGCTL" create -o '?'
[ ! -e name ]

# What stood there is replaced as a whole: mode, link and owner stay.
umask 027
"$IMGCTL" create -q new.raw 1M
[ "$(stat -c %a new.raw)" = 640 ]
chmod 604 new.raw
ln -s new.raw link.raw
"$IMGCTL" create -q -f qcow2 link.raw 1M
[ -L link.raw ] && [ "$(stat -c %a new.raw)" = 604 ]
qemu-img info new.raw | grep >/dev/null 'file format: qcow2'
if [ "$(id -u)" = 0 ]; then
	chown 1234:5678 new.raw
	"$IMGCTL" create -q new.raw 1M
	[ "$(stat -c %u:%g new.raw)" = 1234:5678 ]
fi
# A link to nothing makes the file that it names.
ln -s made.raw dangling
"$IMGCTL" create -q dangling 1M
[ -f made.raw ] && [ -L dangling ]

# In use: refused, and left alone.
hold_lock new.raw
before=$(sha new.raw)
expect_exit 1 "$IMGCTL" create -f qcow2 new.raw 1M
expect_err 'Failed to get "write" lock'
[ "$(sha new.raw)" = "$before" ]

# Nothing is left behind.
[ -z "$(find . -name '.*.??????')" ]

# Hints for the file system go with every format.
for f in raw qcow2; do
	create -f $f -o nocow=on,extent_size_hint=1M b 1M
	create -f $f -o nocow=x b 1M
	create -f $f -o extent_size_hint=8G b 1M
	create -f $f b 1M -o nocow
	made b
done
expect_exit 0 "$IMGCTL" create -f qcow2 -o help
if grep -q nocow out; then
	fail "an option of the file in the list of the format"
fi
expect_exit 0 "$IMGCTL" create -f qcow2 -o help name
expect_out '  nocow='
expect_exit 0 "$IMGCTL" measure -O qcow2 -o nocow=on --size 1M

# An option that the format does not have is said before anything else.
for o in backing_file=b backing_fmt=raw cluster_size=4k foo=1; do
	create -f raw -o $o -b b -F raw a 1M
	create -f raw -o $o,size=1M a 1M
done
create -f raw -F raw a 1M
create -f raw -b b a 1M
create -f raw -b b -o size=1M a 1M
create -o preallocation=bogus a 1M

# LUKS2, which qemu-img does not make.
expect_exit 0 "$IMGCTL" create -f luks -o help
expect_out '  version=<num>'
expect_out '  pbkdf=<str>'
for kdf in argon2id pbkdf2; do
	expect_exit 0 "$IMGCTL" create --object secret,id=s,data=x -f luks \
		-o "key-secret=s,version=2,iter-time=1,pbkdf=$kdf" x.luks 1M
	expect_exit 0 "$IMGCTL" info x.luks
	expect_out 'version: 2'
	expect_out "kdf: $kdf"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl amend: the same images through imgctl and qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/layers.sh"

# What the peer says of an image of $1/, and what its disk holds.
examine()
{
	(cd "$1" && qemu-img info -U "$2") | sed -E -e '/^image: /d' -e '/^disk size: /d' \
		-e 's/ [0-9-]{10} [0-9:]{8} / DATE /'
	bytes_of "$1" "$2" bytes
	sha bytes
}

# Both tools left the same image, and ours is whole.
alike()
{
	examine ours "$1" >ours.info
	examine theirs "$1" >theirs.info
	diff -u theirs.info ours.info >&2 || fail "not the image wanted: $1"
	(cd ours && qemu-img check -q "$1" && "$IMGCTL" check -q "$1")
}

# amended IMAGE ARGS...
amended()
{
	local img=$1
	shift
	agree amend "$@" "$img"
	alike "$img"
}

# refused IMAGE ARGS...: with the same words, and nothing changed.
refused()
{
	local img=$1 before
	shift
	before=$(sha "ours/$img")
	agree amend "$@" "$img"
	grep -qx 'exit code 1' ours.rc
	[ "$(sha "ours/$img")" = "$before" ] || fail "$img changed"
}

# The same where the peer changes something before it refuses, or does not
# refuse, or gives advice: exit code 1 and these words.
refused_alone()
{
	local img=$1 words=$2 before
	shift 2
	before=$(sha "ours/$img")
	expect_exit 1 "$IMGCTL" amend "$@" "ours/$img"
	expect_err "$words"
	[ "$(sha "ours/$img")" = "$before" ] || fail "$img changed"
}

data=('write -P 1 0 700k' 'write -P 2 1M 300k' 'write -z 256k 64k'
	'write -zu 1M 100k' 'write -z 3M 64k' 'write -P 3 4000k 20k')

# ---- the width of the counts, and versions -----------------------------------

# with_both IMAGE ARGS..., or alone: the peer looks at each count that there
# could be, which takes it long with large clusters.
with_both()
{
	amended "$@"
}

alone()
{
	local img=$1
	shift
	bytes_of ours "$img" before
	expect_exit 0 "$IMGCTL" amend "$@" "ours/$img"
	bytes_of ours "$img" after
	same before after
	qemu-img check -q "ours/$img"
	"$IMGCTL" check -q "ours/$img"
}

# versions HOW IMAGE: all widths, with a snapshot too, and down and up.
versions()
{
	local how=$1 img=$2 bits
	for bits in 1 64 2 32 4 8 16; do
		$how "$img" -o refcount_bits=$bits
	done
	both qemu-img snapshot -c one "$img"
	both qemu-io -c 'write -P 5 100k 200k' -c 'write -z 320k 64k' \
		-c 'write -z 600k 64k' "$img"
	both qemu-img convert -O raw -l one "$img" "$img.one"
	$how "$img" -o refcount_bits=8
	refused_alone "$img" 'Cannot decrease refcount entry width to 1 bits' \
		-o refcount_bits=1
	$how "$img" -o compat=1.1,refcount_bits=16,lazy_refcounts=on
	amended "$img" -o compat=0.10
	both qemu-img convert -O raw -l one "$img" "$img.new"
	same "ours/$img.one" "ours/$img.new"
	amended "$img" -o compat=v2
	$how "$img" -o compat=1.1,refcount_bits=8,lazy_refcounts=on
	$how "$img" -o compat=v3 -o lazy_refcounts=off
	refused_alone "$img" 'compat=0.10 requires refcount_bits=16' \
		-o compat=0.10
	$how "$img" -o refcount_bits=16,compat=0.10
}

for size in 512 4k; do
	layer c$size.qcow2 5M - cluster_size=$size "${data[@]}"
	versions with_both c$size.qcow2
done
for size in 64k 2M; do
	layer c$size.qcow2 5M - cluster_size=$size "${data[@]}"
	versions alone c$size.qcow2
done

# Zeroes must go on hiding what is below.
layer base.qcow2 5M - '' 'write -P 9 0 5M'
layer top.qcow2 - base.qcow2 '' "${data[@]}"
both qemu-img snapshot -c one top.qcow2
both qemu-io -c 'write -P 5 100k 200k' -c 'write -z 3M 128k' top.qcow2
amended top.qcow2 -o compat=0.10
both qemu-img snapshot -a one top.qcow2
alike top.qcow2

# Clusters of zeroes that two tables share are not zeroed for both when one of
# them has data there: two snapshots, the zeroes of one made from the other's.
layer shared.qcow2 1M - '' 'write -P 1 0 1M'
both qemu-img snapshot -c one shared.qcow2
both qemu-io -c 'write -z 0 512k' shared.qcow2
bytes_of ours shared.qcow2 before
qemu-img convert -O raw -l one ours/shared.qcow2 one.raw
expect_exit 0 "$IMGCTL" amend -o compat=0.10 ours/shared.qcow2
bytes_of ours shared.qcow2 after
same before after
qemu-img convert -O raw -l one ours/shared.qcow2 one.new
same one.raw one.new
qemu-img check -q ours/shared.qcow2

# A snapshot of an old program has no extra data; version 3 asks for it.
layer old.qcow2 1M - compat=0.10,cluster_size=4k 'write -P 1 0 100k'
both qemu-img snapshot -c first old.qcow2
both qemu-img snapshot -c second old.qcow2
strip_extra()
{
	python3 - "$1" <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(60)
    n, table = struct.unpack(">IQ", f.read(12))
    f.seek(table)
    old, new, at = f.read(4096), b"", 0
    for _ in range(n):
        id_len, name_len = struct.unpack_from(">HH", old, at + 12)
        extra, = struct.unpack_from(">I", old, at + 36)
        end = at + 40 + extra + id_len + name_len
        new += old[at:at + 36] + bytes(4) + old[at + 40 + extra:end]
        new += bytes(-len(new) % 8)
        at = end + -end % 8
    f.seek(table)
    f.write(new.ljust(4096, b"\0"))
PY
}
both strip_extra old.qcow2
amended old.qcow2 -o compat=1.1
amended old.qcow2 -o compat=0.10

# ---- size ---------------------------------------------------------------------

layer s.qcow2 5M - cluster_size=4k "${data[@]}"
amended s.qcow2 -o size=6M
amended s.qcow2 -o size=2M,lazy_refcounts=on
amended s.qcow2 -o size=0
amended s.qcow2 -o size=100M -o refcount_bits=8
amended s.qcow2 -o size=3M,refcount_bits=16,compat=0.10
amended s.qcow2 -o size=4M
refused s.qcow2 -o size=513
refused s.qcow2 -o size=1E
both qemu-img snapshot -c one s.qcow2
refused s.qcow2 -o size=5M
amended s.qcow2 -o size=5M,compat=1.1
refused s.qcow2 -o compat=0.10
refused_alone s.qcow2 'Internal snapshots prevent downgrade of image' \
	-o size=6M,compat=0.10
amended s.qcow2 -o size=4M,compat=0.10

# ---- data files ---------------------------------------------------------------

layer d.qcow2 1M - cluster_size=1k,data_file=d.raw,data_file_raw=on 'write -P 1 0 1M'
amended d.qcow2 -o data_file_raw=on
amended d.qcow2 -o data_file_raw=on,refcount_bits=1,lazy_refcounts=on
amended d.qcow2 -o data_file_raw=off
refused d.qcow2 -o data_file_raw=on
both cp d.raw e.raw
both qemu-io -f raw -c 'write -P 7 0 64k' e.raw
amended d.qcow2 -o data_file=e.raw
refused d.qcow2 -o compat=0.10
refused_alone d.qcow2 'Cannot downgrade an image with a data file' \
	-o compat=0.10,refcount_bits=16
refused_alone d.qcow2 "data file 'd.qcow2' is the image" -o data_file=d.qcow2
agree amend -o data_file= d.qcow2
expect_exit 1 "$IMGCTL" amend -o data_file=e.raw ours/d.qcow2
expect_err "'data-file' is required for this image"
agree amend --image-opts -o data_file=d.raw \
	driver=qcow2,file.filename=d.qcow2,data-file.filename=d.raw
alike d.qcow2

# ---- refusals -----------------------------------------------------------------

layer a.qcow2 1M - cluster_size=1k 'write -P 1 0 100k'
refused a.qcow2 -o data_file=x.raw
refused a.qcow2 -o data_file_raw=on
amended a.qcow2 -o data_file_raw=off
for o in cluster_size=4k preallocation=metadata extended_l2=on \
	compression_type=zstd foo=1 refcount_bits=3 refcount_bits=0 \
	refcount_bits=128 refcount_bits=x lazy_refcounts=x compat=foo compat= \
	size=x size=-1 size=16E encrypt.state=active encrypt.iter-time=5 \
	encrypt.keyslot=abc encrypt.new-secret=s encrypt.old-secret=s \
	lazy_refcounts=on,compat=0.10 refcount_bits=8,compat=0.10 foo=1,size=2M \
	size=513,compat=foo,refcount_bits=7 ',' '' =x 'size=2M,'; do
	refused a.qcow2 -o "$o"
done
refused_alone a.qcow2 "Invalid parameter 'encryption'" -o encryption=on
refused_alone a.qcow2 "Invalid parameter 'encrypt.format'" \
	-o encrypt.format=luks
refused_alone a.qcow2 'Failed to grow the L1 table' -o size=9E
layer v2.qcow2 1M - compat=0.10 'write -P 1 0 100k'
refused v2.qcow2 -o refcount_bits=8
refused v2.qcow2 -o lazy_refcounts=on
amended v2.qcow2 -o lazy_refcounts=off
amended v2.qcow2 -o refcount_bits=16,compat=v2
layer x.qcow2 1M - cluster_size=16k,extended_l2=on 'write -P 1 0 100k'
refused x.qcow2 -o compat=0.10
amended x.qcow2 -o refcount_bits=64,size=3M
layer z.qcow2 1M - compression_type=zstd ''
amended z.qcow2 -o compat=0.10
layer z.raw 1M - '' 'write -P 1 0 1M'
both qemu-img convert -c -O qcow2 \
	-o cluster_size=4k,compression_type=zstd z.raw z.qcow2
refused z.qcow2 -o compat=0.10
amended z.qcow2 -o refcount_bits=32

# The peer loses bitmaps.
layer b.qcow2 1M - cluster_size=1k 'write -P 1 0 100k'
both qemu-img bitmap --add b.qcow2 dirty
refused_alone b.qcow2 'with dirty bitmaps' -o compat=0.10
amended b.qcow2 -o refcount_bits=64
amended b.qcow2 -o size=2M,lazy_refcounts=on

# The backing file is for rebase; as it is, it may be named.
layer o.qcow2 - a.qcow2 '' 'write -P 2 0 10k'
for o in backing_file=x backing_fmt=qcow2 backing_file=a.qcow2 backing_file= \
	backing_file=a.qcow2,backing_fmt=raw; do
	refused_alone o.qcow2 'Cannot amend the backing file' -o $o
	refused_alone a.qcow2 'Cannot amend the backing file' -o $o
done
amended o.qcow2 -o backing_file=a.qcow2,backing_fmt=qcow2

# ---- the command line ----------------------------------------------------------

layer r.raw 1M - ''
agree amend
agree amend a.qcow2
agree amend -o
agree amend -o size=1M
agree amend -o size=1M a.qcow2 b.qcow2
agree amend -o help
agree amend -f raw -o help
agree amend -f nope -o help
agree amend -o help r.raw
agree amend -o help nope
agree amend -f nope -o size=1M a.qcow2
agree amend -o size=2M r.raw
agree amend -f raw -o size=2M r.raw
agree amend -o size=2M nope
agree amend -U -o size=2M a.qcow2
agree amend -t nope -o size=2M a.qcow2
agree amend --object nope,id=a -o size=2M a.qcow2
agree amend --image-opts -f qcow2 -o size=2M driver=qcow2,file.filename=a.qcow2
amended a.qcow2 --force -o size=2M
amended a.qcow2 -t none -o size=3M
amended a.qcow2 -q -p -f qcow2 -o refcount_bits=8
amended a.qcow2 --object secret,id=a,data=b -o size=4M
agree amend --image-opts -o size=5M driver=qcow2,file.filename=a.qcow2
alike a.qcow2

# The list of what can be amended.
run_in theirs "$THEIRS" amend -f qcow2 -o help
for args in '-f qcow2 -o help' '-o ? a.qcow2' '-o size=1M,help a.qcow2'; do
	# shellcheck disable=SC2086
	run_in ours "$OURS" amend $args
	same ours.out theirs.out
	same ours.rc theirs.rc
done

# Progress.
for o in refcount_bits=16 refcount_bits=16,compat=0.10 size=6M; do
	expect_exit 0 "$IMGCTL" amend -p -o $o ours/a.qcow2
	tr '\r' '\n' <out >lines
	[ "$(head -n 1 lines)" = '    (0.00/100%)' ]
	grep -qx '    (100.00/100%)' lines
	[ "$(tail -c 1 out)" = '' ]
done

# A virtual machine has it.
hold_lock ours/o.qcow2
expect_exit 1 "$IMGCTL" amend -o size=2M ours/o.qcow2
expect_err 'Failed to get "write" lock'

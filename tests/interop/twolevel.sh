#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# QED and QCOW: qemu-img reads what we write, and the other way round.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq qemu-img qemu-io "$IMGCTL"

random_file noise 300000
{
	cat noise
	seq -w 200000
	head -c 3M /dev/zero
	cat noise
} >disk
truncate -s %512 disk
truncate -s 8M disk
# Where data is and where holes are is what the file system says of this one.
truncate -s 3G holes
for at in 0 70 3000 4100; do
	dd if=noise of=holes bs=64k seek=${at}0 count=4 conv=notrunc status=none
done

# same_text ARG...: both programs print the same.  What only newer ones print
# is left out, and the space that a file takes: it changes by itself.
same_text()
{
	qemu-img "$@" | grep -v '^disk size' >theirs.txt
	"$IMGCTL" "$@" | sed -e '/^Child node/,$d' -e '/^disk size/d' \
		-e 's/, "compressed": [a-z]*//' >ours.txt
	diff theirs.txt ours.txt || fail "$*"
}

# same_facts FILE: what JSON says of it, without what only newer ones say.
same_facts()
{
	qemu-img info --output=json "$1" |
		jq -S 'del(."actual-size")' >theirs.txt
	"$IMGCTL" info --output=json "$1" |
		jq -S 'del(.children, ."actual-size")' >ours.txt
	diff theirs.txt ours.txt || fail "info $1"
}

# agree FILE FORMAT CONTENT HOW: on all that there is to say of an image.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F "$2" "$3" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F "$2" "$3" "$1"
	same_text info "$1"
	same_facts "$1"
	if [ "$4" != -c ]; then
		same_text map "$1"
	fi
	same_text map --output=json "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	if [ "$2" = qed ]; then
		same_text check "$1"
	fi
}

# There and back with options of create.
both_ways()
{
	local format=$1
	shift
	# With -c QEMU 7.2 makes good qcow images, and says that it failed.
	qemu-img convert -f raw -O "$format" "$@" disk theirs ||
		[ "$*" = -c ]
	agree theirs "$format" disk "${1:-}"
	"$IMGCTL" convert -f raw -O "$format" "$@" disk ours
	agree ours "$format" disk "${1:-}"
	if [ "${1:-}" != -c ]; then
		"$IMGCTL" measure -f raw -O "$format" "$@" --output=json \
			holes >measured
		"$IMGCTL" convert -f raw -O "$format" "$@" holes ours
		[ "$(jq .required measured)" = "$(stat -c %s ours)" ] ||
			fail "measure $*: $(cat measured)"
	fi
	"$IMGCTL" convert -f "$format" -O raw theirs back
	same disk back
	rm theirs ours back
}

both_ways qed
both_ways qed -o cluster_size=4k,table_size=2
both_ways qed -o cluster_size=1M
both_ways qcow
both_ways qcow -c

# Encrypted, both ways.
key=(--object 'secret,id=s,data=hush')
aes=encrypt.format=aes,encrypt.key-secret=s
opened=driver=qcow,encrypt.key-secret=s,file.filename
qemu-img convert "${key[@]}" -f raw -O qcow -o $aes disk theirs
"$IMGCTL" convert "${key[@]}" -f raw -O qcow -o $aes disk ours
for f in theirs ours; do
	for tool in qemu-img "$IMGCTL"; do
		expect_exit 0 "$tool" compare "${key[@]}" --image-opts \
			driver=raw,file.filename=disk $opened=$f
	done
	same_text info $f
	expect_exit 1 "$IMGCTL" convert -O raw $f back
	expect_err "Parameter 'encrypt.key-secret' is required for cipher"
done
rm theirs ours

# Overlays: written by both in turns.
for format in qed qcow; do
	"$IMGCTL" create -q -f $format -b disk -F raw over
	same_text info over
	cp disk content
	for i in 1 2 3; do
		for io in "write -P $i $((i * 777))k 70k" \
			"write -P $((i + 8)) $((i * 1000 + 1))k 3k"; do
			qemu-io -f $format -c "$io" over >/dev/null
			qemu-io -f raw -c "$io" content >/dev/null
		done
		"$IMGCTL" dd -f raw -O raw if=noise of=piece bs=512 count=300
		"$IMGCTL" bench -q -f $format -w -c 1 -s 4096 -o ${i}M \
			--pattern=$((i + 3)) over >/dev/null
		qemu-io -f raw -c "write -P $((i + 3)) ${i}M 4k" content \
			>/dev/null
	done
	expect_exit 0 qemu-img compare -f raw -F $format content over
	expect_exit 0 "$IMGCTL" compare -f raw -F $format content over
	expect_exit 0 "$IMGCTL" check over

	# Another base that reads otherwise, none, and back into the base.
	qemu-img convert -f raw -O qcow2 noise other.qcow2
	expect_exit 0 "$IMGCTL" rebase -f $format -b other.qcow2 -F qcow2 over
	expect_exit 0 qemu-img compare -f raw -F $format content over
	expect_exit 0 "$IMGCTL" rebase -f $format -b '' over
	expect_exit 0 qemu-img compare -f raw -F $format content over
	cp disk base
	"$IMGCTL" create -q -f $format -b base -F raw top
	qemu-io -f $format -c 'write -P 9 5M 100k' -c 'write -P 8 0 5k' top \
		>/dev/null
	qemu-io -f raw -c 'write -P 9 5M 100k' -c 'write -P 8 0 5k' disk \
		>/dev/null
	expect_exit 0 "$IMGCTL" commit -q -f $format top
	same disk base
	expect_exit 0 qemu-img compare -f raw -F $format disk top
	expect_exit 0 "$IMGCTL" check top
	rm over base top other.qcow2 content
done

# Sizes.
for format in qed qcow; do
	"$IMGCTL" convert -f raw -O $format disk sized
	expect_exit 0 "$IMGCTL" resize -f $format sized 40G
	truncate -s 40G disk
	expect_exit 0 qemu-img compare -f raw -F $format disk sized
	expect_exit 0 "$IMGCTL" resize -q --shrink -f $format sized 1000448
	truncate -s 1000448 disk
	expect_exit 0 "$IMGCTL" resize -f $format sized 3M
	truncate -s 3M disk
	expect_exit 0 qemu-img compare -f raw -F $format disk sized
	"$IMGCTL" check sized >/dev/null 2>&1 || [ $? = 3 ]
	rm sized
done

# A QED image that was not closed is put right when it is written to; what
# points outside of the file is found.
"$IMGCTL" convert -f raw -O qed disk broken.qed
printf '\x02' | dd of=broken.qed bs=1 seek=16 conv=notrunc status=none
expect_exit 0 "$IMGCTL" info broken.qed
expect_out 'cleanly shut down: no'
expect_exit 0 "$IMGCTL" bench -q -f qed -w -c 1 -s 512 broken.qed
expect_exit 0 "$IMGCTL" info broken.qed
expect_exit 1 grep -q 'cleanly shut' "$TMP/out"
l2=$(python3 -c 'import struct
print(struct.unpack("<Q", open("broken.qed", "rb").read()[65536:65544])[0])')
printf '\0\0\xff\xff' | dd of=broken.qed bs=1 seek="$l2" conv=notrunc \
	status=none
expect_exit 2 qemu-img check broken.qed
expect_exit 2 "$IMGCTL" check broken.qed
expect_exit 3 "$IMGCTL" check -r all broken.qed
expect_exit 3 qemu-img check broken.qed

# Two entries with one cluster, data on a table: each gets a copy of what it
# reads, and another one changes nothing of it.  Two entries with one table
# are seen, and the image is only read.
"$IMGCTL" convert -f raw -O raw holes small.raw
truncate -s 100M small.raw
for format in qed qcow; do
	cat >cross.py <<'END'
import struct, sys
name, how = sys.argv[1:]
with open(name, "r+b") as f:
    head = f.read(64)
    if head[:3] == b"QED":
        order, (cluster, size) = "<", struct.unpack_from("<II", head, 4)
        n = cluster * size // 8
        l1 = struct.unpack_from("<Q", head, 40)[0]
    else:
        order, cluster, n = ">", 1 << head[32], 1 << head[33]
        l1 = struct.unpack_from(">Q", head, 40)[0]
    def get(at):
        f.seek(at)
        return struct.unpack(order + "Q", f.read(8))[0]
    def put(at, value):
        f.seek(at)
        f.write(struct.pack(order + "Q", value))
    tables = [i for i in range(100 * 2**20 // cluster // n + 1)
              if get(l1 + 8 * i)]
    l2 = get(l1 + 8 * tables[0])
    used = [i for i in range(n) if get(l2 + 8 * i)]
    if how == "data":
        put(l2 + 8 * used[1], get(l2 + 8 * used[0]))
    elif how == "table":
        put(l2 + 8 * used[0], l2)
    else:
        put(l1 + 8 * (tables[0] + 1), l2)
END
	for how in data table; do
		"$IMGCTL" convert -f raw -O $format small.raw crossed
		python3 cross.py crossed $how
		"$IMGCTL" convert -f $format -O raw crossed before
		expect_exit 2 "$IMGCTL" check -f $format crossed
		expect_err 'cluster with more than one owner'
		cp crossed same
		expect_exit 2 "$IMGCTL" check -f $format -r leaks crossed
		cmp -i 64 same crossed || fail "a repair of leaks changed it"
		cp same crossed
		rm same
		# A cluster is left over: what the entry meant before.
		expect_exit 3 "$IMGCTL" check -f $format -r all crossed
		expect_exit 3 "$IMGCTL" check -f $format crossed
		if [ $how = data ]; then
			expect_exit 0 "$IMGCTL" compare -f raw -F $format \
				before crossed
		fi
		if [ $format = qed ]; then
			expect_exit 3 qemu-img check crossed
		fi
		qemu-io -f $format -c 'write -P 9 0 512' crossed >/dev/null
		qemu-io -f raw -c 'write -P 9 0 512' before >/dev/null
		if [ $how = data ]; then
			expect_exit 0 qemu-img compare -f raw -F $format \
				before crossed
		fi
	done
	"$IMGCTL" convert -f raw -O $format small.raw crossed
	python3 cross.py crossed tables
	expect_exit 1 "$IMGCTL" bench -q -f $format -w -c 1 crossed
	expect_err 'can only be read'
	cp crossed same
	expect_exit 2 "$IMGCTL" check -f $format -r all crossed
	expect_err 'table with more than one owner'
	cmp -i 64 -n $(($(stat -c %s crossed) - 64)) same crossed ||
		fail "what both tables have was changed"
	rm same
	# So it is still said to need a check.
	if [ $format = qed ]; then
		expect_exit 1 "$IMGCTL" bench -q -f qed -w -c 1 crossed
		expect_err 'was not closed properly, and'
	fi
	# What nobody uses at the end of the file goes.
	"$IMGCTL" convert -f raw -O $format small.raw crossed
	len=$(stat -c %s crossed)
	for how in leaks all; do
		truncate -s +300k crossed
		expect_exit 3 "$IMGCTL" check -f $format crossed
		expect_exit 0 "$IMGCTL" check -f $format -r $how crossed
		[ "$(stat -c %s crossed)" = "$len" ] || fail "not cut"
		expect_exit 0 "$IMGCTL" compare -f raw -F $format small.raw \
			crossed
	done
	rm crossed before
done

# A name that is longer than the first lies behind the tables: commit cuts off
# the clusters, not the name.
qemu-img create -q -f raw under 1M
qemu-img create -q -f raw other 1M
"$IMGCTL" create -q -f qcow -b under -F raw over
expect_exit 0 "$IMGCTL" rebase -u -f qcow -b ././other -F raw over
qemu-io -f qcow -c 'write -P 5 4k 8k' over >/dev/null
expect_exit 0 "$IMGCTL" commit -q -f qcow over
"$IMGCTL" info over | grep >/dev/null '^backing file: ././other'
qemu-img info over | grep >/dev/null '^backing file: ././other'
expect_exit 0 qemu-io -f qcow -c 'write -P 6 64k 4k' -c 'read -P 5 4k 8k' over

# One that is not longer stays behind the header, where the peer's commit leaves
# it.
"$IMGCTL" create -q -f qcow -b under -F raw over
for base in other up; do
	cp other up
	expect_exit 0 "$IMGCTL" rebase -u -f qcow -b $base -F raw over
	"$IMGCTL" check -q -f qcow over
	qemu-io -f qcow -c 'write -P 7 4k 8k' over >/dev/null
	qemu-img commit -q -f qcow over
	[ "$(qemu-img info over | sed -n 's/^backing file: //p')" = $base ] ||
		fail "the name of $base is gone"
	expect_exit 0 qemu-io -f qcow -c 'read -P 7 4k 8k' over
done
# Of the formats of a backing file QED records raw, and no other.
"$IMGCTL" convert -f raw -O qcow2 under other
"$IMGCTL" create -q -f qed -b other -F qcow2 over
for base in "under raw" "other qcow2" "under raw"; do
	expect_exit 0 "$IMGCTL" rebase -u -f qed -b "${base% *}" \
		-F "${base#* }" over
	same_text info over
	[ "$(grep -c 'file format: raw' ours.txt)" = \
		"$(grep -cw raw <<<"$base")" ] || fail "$base: $(cat ours.txt)"
done
rm under other up over

# What neither makes.
"$IMGCTL" create -f qcow none 0 2>"$TMP/err" && fail 'made'
expect_err 'Image size is too small, cannot be zero length'
for options in cluster_size=5k table_size=3 table_size=32; do
	expect_exit 1 qemu-img create -f qed -o $options none 1M
	sed 's/^qemu-img/imgctl/' "$TMP/err" >theirs.txt
	expect_exit 1 "$IMGCTL" create -f qed -o $options none 1M
	diff theirs.txt "$TMP/err"
done

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl resize: against qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

both qemu-img create -q -f qcow2 a.qcow2 10M
both qemu-img create -q -f raw a.raw 10M
both qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 10M
both qemu-io -c 'write -P 1 0 1M' -c 'write -P 2 8M 1M' a.qcow2
both qemu-io -f raw -c 'write -P 1 0 1M' -c 'write -P 2 8M 1M' a.raw

# resize ARGS...; then the images have the same size and content.
resize()
{
	agree resize "$@"
	for f in a.qcow2 a.raw v2.qcow2; do
		qemu-img compare -s -f raw -F raw <(:) <(:) >cmp.log 2>&1 || true
		qemu-img compare "ours/$f" "theirs/$f" >cmp.log ||
			fail "$f: $(cat cmp.log)"
		if grep -q 'size mismatch' cmp.log; then
			fail "$f: $(cat cmp.log)"
		fi
	done
	qemu-img check -q ours/a.qcow2
}

resize a.qcow2 20M
resize a.qcow2 +1M
resize a.qcow2 +0
resize a.qcow2 5M
resize --shrink a.qcow2 5M
resize --shrink a.qcow2 -- -1M
resize --shrink a.qcow2 -1M
resize a.qcow2 -1M
resize --shrink a.qcow2 -100M
resize --shrink a.qcow2 0
resize -f qcow2 -q a.qcow2 +3M
for mode in off metadata falloc full; do
	resize --preallocation="$mode" a.qcow2 +4M
done
resize --preallocation full a.qcow2 --shrink 1M
resize --preallocation=foo a.qcow2 +1M
resize -f raw a.raw 20M
resize -f raw a.raw --shrink 1025
resize -f raw a.raw 4M
resize -f raw --preallocation=falloc a.raw +1M
resize -f raw --preallocation=full a.raw +1M
resize -f raw --preallocation=metadata a.raw +1M
resize a.raw +1M
resize -q a.raw 1M
resize v2.qcow2 1G
resize --image-opts driver=raw,file.filename=a.raw 12M
resize -f raw --image-opts driver=raw,file.filename=a.raw 4M
resize --object secret,id=a,data=x a.qcow2 +1M

resize
resize a.raw
resize a b c 10
resize nope 4M
resize a.qcow2 1x
resize a.qcow2 ''
resize a.qcow2 +
resize a.qcow2 99999999999999999999
resize -f qcow2 a.raw 1M
resize --bogus a.qcow2 1M

# The size may stand anywhere; data is kept.
random_file data 1048576
"$IMGCTL" convert -f raw -O qcow2 data mine.qcow2
expect_exit 0 "$IMGCTL" resize mine.qcow2 3M --shrink
expect_exit 0 "$IMGCTL" resize --shrink -1M mine.qcow2
expect_exit 0 "$IMGCTL" resize -1M --shrink mine.qcow2
qemu-img convert -O raw mine.qcow2 back
same data back

# In use.
hold_lock mine.qcow2
expect_exit 1 "$IMGCTL" resize mine.qcow2 +1M
expect_err 'Failed to get "write" lock'

# ---- other formats ----------------------------------------------------------

# What a disk gains is zeroes, though the image below goes on; what it had of
# that stays.
random_file noise 4194304
head -c 1000448 noise >want
truncate -s 3M want
for f in qcow2 qcow qed vmdk vdi parallels vpc vhdx; do
	rm -f below over
	below=raw
	opts=driver=$f,file.filename=over
	new=(create -q -f "$f")
	case $f in
	vpc | vhdx | vmdk) below=$f ;;
	esac
	case $f in
	vdi | parallels)
		opts+=,backing.driver=raw,backing.file.filename=below
		;;
	vpc) new+=(-o force_size=on -b below -F vpc) ;;
	*) new+=(-b below -F "$below") ;;
	esac
	"$IMGCTL" convert -f raw -O $below noise below
	"$IMGCTL" "${new[@]}" over 1000448
	expect_exit 0 "$IMGCTL" resize --image-opts "$opts" 3M
	expect_exit 0 "$IMGCTL" compare --image-opts "$opts" \
		driver=raw,file.filename=want
	[ "$(cat out)" = 'Images are identical.' ] || fail "$f: $(cat out)"
done

# New space is there at once where that is asked for.
for f in parallels vdi vhdx luks; do
	secret=()
	new=(create -q -f "$f")
	opts=driver=$f,file.filename=grown
	modes=(falloc full)
	if [ $f = luks ]; then
		secret=(--object "secret,id=s,data=hush")
		new+=("${secret[@]}" -o "key-secret=s,iter-time=1")
		opts+=,key-secret=s
	else
		modes+=(metadata)
	fi
	for how in "${modes[@]}"; do
		rm -f grown
		"$IMGCTL" "${new[@]}" grown 1M
		had=$(stat -c %b grown)
		expect_exit 0 "$IMGCTL" resize "${secret[@]}" \
			--preallocation="$how" --image-opts "$opts" 9M
		[ "$(stat -c %s grown)" -ge $((8 << 20)) ] || fail "$f: $how"
		[ $f = luks ] || "$IMGCTL" check -q --image-opts "$opts"
		[ "$how" != metadata ] || continue
		[ $((($(stat -c %b grown) - had) * 512)) -ge $((8 << 20)) ] ||
			fail "$f: $how: no space"
	done
done

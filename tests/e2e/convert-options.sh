#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl convert: options together, against qemu-img; and sources that cannot
# be read everywhere.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs nbdkit

cd theirs
qemu-img create -q -f qcow2 base.qcow2 2M
qemu-io -c 'write -P 1 0 1M' base.qcow2 >io.log
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
qemu-io -c 'write -P 4 512k 70k' top.qcow2 >io.log
qemu-img snapshot -c s1 top.qcow2
qemu-io -c 'write -P 5 1M 70k' top.qcow2 >io.log
qemu-img bitmap --add -g 4k top.qcow2 b0
qemu-img bitmap --add --disable top.qcow2 b1
qemu-io -c 'write -P 6 1536k 4k' top.qcow2 >io.log
qemu-img convert -O raw top.qcow2 top.raw
cd ..
cp -r theirs/. ours/

# The target as it is before each run.
qemu-img create -q -f qcow2 to.qcow2 2M
qemu-io -c 'write -P 9 0 2M' to.qcow2 >io.log

# same_result ARGS... TARGET: the same exit code, and the same disk in `to`.
same_result()
{
	cp to.qcow2 ours/to
	cp to.qcow2 theirs/to
	run_in ours timeout 60 "$OURS" "$@"
	run_in theirs timeout 60 "$THEIRS" "$@"
	diff theirs.rc ours.rc >&2 || fail "$*: $(cat ours.err)"
	if [ "$(cat ours.rc)" = 'exit code 0' ]; then
		qemu-img compare -q ours/to theirs/to || fail "$*: other content"
	else
		[ -s ours.err ] || fail "$*: no message"
		cmp -s to.qcow2 ours/to || fail "$*: the target has changed"
	fi
}

alone=(-c -C -n '-S 0' '-S 4k' -W '-m 3' '-B base.qcow2'
	'-B base.qcow2 -F qcow2' '-o cluster_size=4k'
	'-o preallocation=metadata' '-o compat=0.10' '-o backing_file=base.qcow2'
	'-l s1' '-O raw' '-f raw' --salvage --bitmaps --skip-broken-bitmaps
	--image-opts --target-image-opts '-r 100M' top.raw)
for ((i = 0; i < ${#alone[@]}; i++)); do
	for ((j = i + 1; j < ${#alone[@]}; j++)); do
		# The peer cannot pack what has a place already.
		[ "${alone[i]} ${alone[j]}" != '-c -n' ] || continue
		# shellcheck disable=SC2086
		same_result convert -O qcow2 ${alone[i]} ${alone[j]} top.qcow2 to
	done
done

# Zeroes take nothing of the rate.
qemu-img create -q -f qcow2 zeroes.qcow2 200M
truncate -s 200M zeroed
expect_exit 0 timeout 60 "$IMGCTL" convert -n -r 64k -O raw zeroes.qcow2 zeroed

# The order in which faults are told.
for o in '-c -o cluster_size=4k' '-B base.qcow2' '-F qcow2' '-o foo=1' \
	'-o backing_file=base.qcow2' '-c --image-opts' '-c --bitmaps' \
	'--target-is-zero --skip-broken-bitmaps' \
	'-O qcow2 -o compat=x' '-O qcow2 -o lazy_refcounts=x' \
	'-S 1' '-S 4k -S 511' '-S 0x200x' '-S 16385k' '-m 1.5' '-m -1' \
	'-r 1Q' '-r' \
	'-t ""' '-O ""'; do
	eval "words=($o)"
	agree convert "${words[@]}" top.qcow2 to
	[ "$(cat ours.rc)" = 'exit code 1' ] || fail "no error: $o"
done
for o in '-S -1' '-r -1' '-l snapshot.foo=1' '-l snapshot.id=' '-l nope' \
	'-l snapshot.id=7' '-f bogus' '-f raw -l s1' '-B nope -F qcow2 -O qcow2'
do
	# shellcheck disable=SC2086
	same_result convert $o top.qcow2 to
	[ "$(cat ours.rc)" = 'exit code 1' ] || fail "no error: $o"
done
for o in '-S 512' '-S 1536' '-S 0x1000' '-S 0.5k' '-S 16M' '-r 1E' '-r 1.5G' \
	'-m 0x10' '-t off' '-l snapshot.name=s1,snapshot.id=1'; do
	# shellcheck disable=SC2086
	same_result convert $o top.qcow2 to
	[ "$(cat ours.rc)" = 'exit code 0' ] || fail "an error: $o"
done

# Bitmaps keep name, state, granularity and bits.
for o in '' -c '-S 0' '-W -m 4'; do
	# shellcheck disable=SC2086
	same_result convert --bitmaps $o -O qcow2 top.qcow2 to
	for d in ours theirs; do
		qemu-img info --output=json $d/to |
			jq '."format-specific".data.bitmaps | sort_by(.name)' \
				>$d.bitmaps
		qemu-img bitmap --merge b0 $d/to merged 2>log || true
	done
	same theirs.bitmaps ours.bitmaps
	jq -e 'length == 2' ours.bitmaps >log
done
same_result convert --bitmaps -O qcow2 -o compat=0.10 top.qcow2 to
same_result convert --bitmaps -n -O qcow2 top.qcow2 to
[ "$(qemu-img info ours/to | grep -c 'name: b')" = 2 ]

# A source with places that cannot be read.
random_file data 32768
cat >server.sh <<'END2'
#!/usr/bin/env bash
case $1 in
get_size) echo 32768 ;;
pread)
	# count $3, offset $4
	for bad in 0 7000 16384 32256; do
		if [ "$4" -le $bad ] && [ $bad -lt $(($3 + $4)) ]; then
			echo EIO >&2
			exit 1
		fi
	done
	dd if="$DATA" bs=65536 skip="$4" count="$3" \
		iflag=skip_bytes,count_bytes status=none
	;;
*) exit 2 ;;
esac
END2
chmod +x server.sh
DATA=$TMP/data start_nbdkit sh "$TMP/server.sh"
same_result convert -f raw -O qcow2 "$URI" to
[ "$(cat ours.rc)" = 'exit code 1' ]
for o in '-O raw' '-c -O qcow2' '-n -O qcow2'; do
	# shellcheck disable=SC2086
	same_result convert --salvage -f raw $o "$URI" to
	[ "$(cat ours.rc)" = 'exit code 0' ]
	# Each lost sector once, in any order.
	for d in ours theirs; do
		grep -oE 'warning: error while reading offset [0-9]+' $d.err |
			sort >$d.lost
	done
	same theirs.lost ours.lost
	[ "$(wc -l <ours.lost)" = 4 ]
done
expect_exit 0 "$IMGCTL" convert -q --salvage -f raw "$URI" to
[ ! -s err ]
stop_server

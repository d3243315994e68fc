# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# All formats and their main variants, for scripts that have sourced e2e.sh and
# do the same to each of them: see every-table.sh.  To compare what imgctl
# prints with the peer, source peer.sh before.

needs qemu-img qemu-io nbdsh python3 jq bximage create_compressed_fs \
	"$IMGCTL" "$IMGD"

. "$SRC/tests/lib/every-table.sh"

secret=(--object "secret,id=s,data=hush")
disk_len=$(((9 << 20) + 1536))

# disk.raw and base.raw: what is in each variant, and what is below an overlay.
# Noise, text, bytes that are all ones, zeroes; nothing ends at a round number
# but the sector.  base.raw has bytes that the overlay must hide.
make_disks()
{
	python3 - "$disk_len" <<'END'
import random, sys
size = int(sys.argv[1])
rnd = random.Random(3)
base = bytearray(size)
for at, n in ((0, 70144), (2 << 20, 300032), (6 << 20, 65536)):
    base[at:at + n] = rnd.randbytes(n)
disk = bytearray(base)
disk[1024:5120] = b"overlay!" * 512
disk[2 << 20:(2 << 20) + 200192] = bytes(200192)
for at, n in (((1 << 20) + 512, 131072), (size - 700, 700)):
    disk[at:at + n] = (b"in the disk only, %d " % at * n)[:n]
disk[4 << 20:(4 << 20) + 65536] = b"\xff" * 65536
for name, data in (("base.raw", base), ("disk.raw", disk)):
    with open(name, "wb") as f:
        f.truncate(size)
        for at in range(0, size, 4096):
            if any(data[at:at + 4096]):
                f.seek(at)
                f.write(data[at:at + 4096])
END
}

# patch IMAGE FROM TO: an image that holds the bytes of the file FROM is written
# through a server, where TO has others, until it holds those.
patch()
{
	start_imgd --discard=unmap "${secret[@]}" --image-opts "$1"
	FROM=$2 TO=$3 nbdsh -u "$URI" -c - <<'END'
import os
old, new = (open(os.environ[name], "rb").read() for name in ("FROM", "TO"))
at = 0
while at < len(new):
    n = 512
    while old[at:at + n] != new[at:at + n] and n < 65536 and at + n < len(new):
        n += 512
    part = new[at:at + n]
    if part != old[at:at + n]:
        if any(part):
            h.pwrite(part, at)
        else:
            h.zero(len(part), at)
    at += len(part)
h.flush()
END
	stop_server
}

generate()
{
	case $1 in
	bochs)
		bximage -q -func=create -hd=10M -imgmode=flat b.flat >/dev/null
		dd if=disk.raw of=b.flat conv=notrunc,sparse bs=64k status=none
		bximage -q -func=convert -imgmode=growing b.flat \
			"$2/disk.bochs" >/dev/null
		mv b.flat "$2/oracle"
		;;
	cloop)
		create_compressed_fs -q -B 65536 disk.raw "$2/disk.cloop" \
			>/dev/null 2>&1
		cp --remove-destination disk.raw "$2/oracle"
		truncate -s %65536 "$2/oracle"
		;;
	dmg)
		python3 "$SRC/tests/lib/udif.py" "$2/disk.dmg" disk.raw \
			--types=zlib,raw --chunk=256
		;;
	esac
}

# make_variant NAME: in gallery/NAME, with its oracle.
make_variant()
{
	local dir=$TMP/gallery/$1 new=(-f raw -O)
	load_variant "$1"
	mkdir -p "$dir"
	ln -sf "$TMP/disk.raw" "$dir/oracle"
	case $made in
	new)
		(cd "$dir" && "$IMGCTL" convert "${secret[@]}" "${new[@]}" \
			"$format" "${options[@]}" oracle "$image")
		;;
	over)
		"$IMGCTL" convert "${new[@]}" "$format" "${options[@]}" \
			base.raw "$dir/base.$format"
		"$IMGCTL" create -q -f "$format" "${options[@]}" \
			-b "base.$format" -F "$format" "$dir/$image"
		patch "driver=$format,file.filename=$dir/$image" \
			base.raw disk.raw
		;;
	gen) generate "$1" "$dir" ;;
	esac
}

# fresh: the variant as it was made; the script is in its folder.  (That is
# called "theirs" since both tools of peer.sh work there.)
fresh()
{
	cd "$TMP"
	rm -rf theirs
	cp -a "gallery/$name" theirs
	cd theirs
}

# every FUNCTION...: each of them for each variant; all that fail are named at
# the end.  $ONLY: for that variant alone.
every()
{
	local variant todo rc failed=()
	make_disks
	for variant in $(every_table | awk 'NR > 1 { print $1 }'); do
		[ "${ONLY:-$variant}" = "$variant" ] || continue
		make_variant "$variant"
		for todo; do
			echo "$variant: $todo"
			set +e
			(cell "$todo")
			rc=$?
			set -e
			[ $rc = 0 ] || failed+=("$variant:$todo")
		done
		rm -rf "gallery/$variant"
	done
	[ ${#failed[@]} = 0 ] || fail "failed: ${failed[*]}"
}

# In a process of its own: what it starts ends with it.
cell()
{
	exit_cmds=()
	trap run_exit_cmds EXIT
	set -e
	fresh
	"$1"
}

# as_json OPTS: the same options as a json: name.
as_json()
{
	echo "json:$(jq -n --arg t "$1" '$t | split(",") |
		map(split("=") | {(.[0]): .[1]}) | add')"
}

# ours ARG...: imgctl must succeed; output in $TMP/out.
ours()
{
	expect_exit 0 "$IMGCTL" "$@"
}

# both_say ARG...: imgctl and qemu-img print the same, in the folder theirs.
both_say()
{
	(cd "$TMP" && agree_on_theirs "$@")
}

# holds OPTS RAW: an image, given as --image-opts takes it, has these bytes and
# the same length; and so says qemu-img where it reads it.
holds()
{
	ours compare "${secret[@]}" --image-opts "$1" \
		"driver=raw,file.filename=$2"
	[ "$(cat "$TMP/out")" = "Images are identical." ] ||
		fail "$(cat "$TMP/out")"
	[ "$peer" = - ] ||
		expect_exit 0 qemu-img compare "${secret[@]}" --image-opts \
			"$1" "driver=raw,file.filename=$2"
}

# whole OPTS: check finds nothing wrong in it.
whole()
{
	expect_exit "$check" "$IMGCTL" check "${secret[@]}" --image-opts "$1"
}

# used OPTS: the same after space was given up.
used()
{
	local rc=0
	"$IMGCTL" check "${secret[@]}" --image-opts "$1" \
		>"$TMP/out" 2>"$TMP/err" || rc=$?
	[ "$rc" = "$check" ] || [ "$leaks:$rc" = yes:3 ] ||
		fail "check: $rc; $(cat "$TMP/out")"
}

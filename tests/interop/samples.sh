#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Images made by other programs, hostile ones too: each opens, or is refused
# with one clear message, in little time and memory, and is never written.
. "$(dirname "$0")/../lib/e2e.sh"
needs prlimit qemu-img e2fsck nbdkit "$IMGCTL" "$PLUGIN"
needs_samples

# bounded CMD...: 10 seconds of processor time, 1 GiB of memory, and an end; the
# exit code.
bounded()
{
	local rc=0
	prlimit --cpu=10 --as=$((1 << 30)) timeout 120 "$@" \
		>out 2>err || rc=$?
	return $rc
}

# opens_or_refuses CMD...: 0, or a failure with a message that names the file.
opens_or_refuses()
{
	local rc=0
	bounded "$@" || rc=$?
	case $rc in
	0) ;;
	1 | 2) # compare has 2 for what does not open
		grep -qF "$name" err || {
			dump_output
			fail "the message does not name the file: $*"
		}
		;;
	*)
		dump_output
		fail "exit code $rc: $*"
		;;
	esac
}

for packed in "$SAMPLES"/*; do
	name=$(basename "$packed" .bz2)
	[ "$name" != README.md ] || continue
	file=$(sample "$name")
	before=$(sha "$file")
	opens_or_refuses "$IMGCTL" info "$file"
	opens_or_refuses "$IMGCTL" info --output=json "$file"
	opens_or_refuses "$IMGCTL" map --output=json "$file"
	opens_or_refuses "$IMGCTL" convert -O qcow2 "$file" converted.qcow2
	opens_or_refuses "$IMGCTL" info -f qcow2 "$file"
	opens_or_refuses "$IMGCTL" compare "$file" "$file"
	expect_exit 0 "$IMGCTL" convert -f raw -O raw "$file" copy.raw
	cmp -n "$(stat -c %s "$file")" "$file" copy.raw
	[ "$before" = "$(sha "$file")" ] || fail "$name was changed"
	rm -f "$file" converted.qcow2 copy.raw
	echo "$name"
done

# The hostile one as what it is not.
hostile=$(sample afl5.img)
expect_exit 1 bounded "$IMGCTL" info -f qcow2 "$hostile"

# A file system that another program wrote into a qcow2 image.
disk=$(sample ext2.qcow2)
expect_exit 0 "$IMGCTL" check "$disk"
"$IMGCTL" convert -O raw "$disk" ours.raw
qemu-img convert -O raw "$disk" theirs.raw
same theirs.raw ours.raw
expect_exit 0 e2fsck -fn ours.raw
nbdkit -r -U - "$PLUGIN" "$disk" --run 'nbdcopy "$uri" nbd.raw'
same theirs.raw nbd.raw

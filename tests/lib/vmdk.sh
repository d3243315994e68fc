# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# VMDK images, for tests of them.  Source it after e2e.sh; then there are
#	disk		12000256 bytes of data and holes
#	noise		600064 bytes without order
#	subformats	all that can be made
#	vmdk_py		tests/interop/vmdk.py

needs jq qemu-img qemu-io python3 "$SRC" "$IMGCTL"
vmdk_py=$SRC/tests/interop/vmdk.py

random_file noise 600064
{
	cat noise
	head -c 1M /dev/zero
	seq 50000
	cat noise
} >disk
truncate -s 12000256 disk
fallocate -d disk
subformats=(monolithicSparse monolithicFlat twoGbMaxExtentSparse
	twoGbMaxExtentFlat streamOptimized)

# agree FILE RAW: both find the same content, and no fault.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F vmdk "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F vmdk "$2" "$1"
	expect_exit 0 qemu-img check "$1"
	expect_exit 0 "$IMGCTL" check "$1"
}

# extent TYPE LINES: a descriptor of them.
extent()
{
	printf '# Disk DescriptorFile\nversion=1\nCID=12345678\n'
	printf 'parentCID=ffffffff\ncreateType="%s"\n%s\n' "$1" "$2"
}

# make_foreign KIND...: KIND.vmdk, of a kind that nothing here makes, with what
# small.raw has; c.vmdk, e.vmdk, v.vmdk are descriptors of cowd.vmdk,
# sesparse.vmdk and small.raw, which has $sectors.
make_foreign()
{
	local kind
	head -c 3M disk >small.raw
	dd if=disk of=small.raw bs=1M count=1 seek=4 skip=1 status=none
	for kind in "$@"; do
		python3 "$vmdk_py" make "$kind" "$kind.vmdk" small.raw
	done
	sectors=$(($(stat -c %s small.raw) / 512))
	extent vmfsSparse "RW $sectors VMFSSPARSE \"cowd.vmdk\"" >c.vmdk
	extent seSparse "RW $sectors SESPARSE \"sesparse.vmdk\"" >e.vmdk
	extent vmfs "RW $sectors VMFS \"small.raw\"" >v.vmdk
}

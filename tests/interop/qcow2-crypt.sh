#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Encrypted qcow2: qemu-img reads what we write and we read what it writes; no
# plain text is in the file.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
needs jq

# opts FILE [SECRET]: how an encrypted qcow2 file is opened.
opts()
{
	echo "driver=qcow2,encrypt.key-secret=${2:-s},file.filename=$1"
}

# same RAW FILE: both tools find the same in it, and nothing is damaged.
same()
{
	for tool in "$IMGCTL" qemu-img; do
		expect_exit 0 "$tool" compare "${secrets[@]}" --image-opts \
			"driver=raw,file.filename=$1" "$(opts "$2")"
		expect_exit 0 "$tool" check "${secrets[@]}" --image-opts \
			"$(opts "$2")"
	done
}

head -c 400k /dev/urandom >plain.raw
printf 'plain text %.0s' {1..20000} >>plain.raw
truncate -s 2M plain.raw
luks=encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1
aes=encrypt.format=aes,encrypt.key-secret=s

# ---- commands and messages --------------------------------------------------

for o in $luks $aes encryption=on,encrypt.key-secret=s \
	$luks,cluster_size=4k,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv \
	$luks,compat=0.10 $luks,extended_l2=on; do
	agree create "${secrets[@]}" -f qcow2 -o "$o" a.qcow2 1M
	agree_on_theirs info a.qcow2
	agree_on_theirs info --output=json a.qcow2
	agree_on_theirs check "${secrets[@]}" --image-opts "$(opts a.qcow2)"
	agree_on_theirs map "${secrets[@]}" --output=json --image-opts \
		"$(opts a.qcow2)"
	agree measure "${secrets[@]}" -O qcow2 -o "$o" --size 1G
done
for o in encrypt.format=luks encrypt.format=foo encrypt.cipher-alg=aes-256 \
	encrypt.format=luks,encryption=on,encrypt.key-secret=s encryption=on \
	encryption=on,encrypt.key-secret=s,encrypt.hash-alg=sha1 \
	encryption=off,encrypt.key-secret=s encrypt.key-secret=s \
	$aes,encrypt.iter-time=5 $luks,encrypt.cipher-alg=x \
	encrypt.format=luks,encrypt.key-secret=none; do
	agree create "${secrets[@]}" -f qcow2 -o "$o" b.qcow2 1M
done
agree_on_theirs convert "${secrets[@]}" --image-opts "$(opts a.qcow2 w)" x.raw
agree_on_theirs convert a.qcow2 x.raw
agree_on_theirs resize a.qcow2 2M
agree_on_theirs snapshot -c x a.qcow2
agree_on_theirs info --image-opts driver=qcow2,encrypt.format=aes,"$(
)"file.filename=a.qcow2
agree_on_theirs convert "${secrets[@]}" -c -O qcow2 -o $luks --image-opts \
	"$(opts a.qcow2)" x.qcow2
expect_exit 1 "$IMGCTL" create "${secrets[@]}" -f qcow2 \
	-o $luks,compat=0.10,preallocation=metadata x.qcow2 1M
expect_err 'Preallocation of encrypted images is only supported'
expect_exit 1 "$IMGCTL" create "${secrets[@]}" -f qcow2 \
	-o $luks,data_file=y,data_file_raw=on x.qcow2 1M
expect_err 'Encryption and data-file-raw cannot be used at the same time'
# What needs no data needs no key.
expect_exit 0 "$IMGCTL" check theirs/a.qcow2

# ---- both ways --------------------------------------------------------------

for o in $luks $aes $luks,cluster_size=512,encrypt.cipher-alg=serpent-256 \
	$luks,extended_l2=on,cluster_size=16k $luks,compat=0.10 \
	$aes,compat=0.10,cluster_size=4k $luks,preallocation=metadata \
	$aes,preallocation=full $luks,data_file=$TMP/body; do
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O qcow2 -o "$o" \
		plain.raw ours.qcow2
	same plain.raw ours.qcow2
	if grep -q 'plain text' ours.qcow2 body 2>err; then
		fail "plain text is in the file: $o"
	fi
	expect_exit 0 qemu-io "${secrets[@]}" -c 'write -P 9 30001 70001' \
		-c 'write -z 1M 300k' -c 'discard 1500k 200k' \
		-c 'write -P 10 1600k 512' --image-opts "$(opts ours.qcow2)"
	expect_exit 0 qemu-img convert "${secrets[@]}" -O raw --image-opts \
		"$(opts ours.qcow2)" changed.raw
	same changed.raw ours.qcow2
	rm -f body
done
for o in $luks $aes,cluster_size=4k; do
	expect_exit 0 qemu-img convert "${secrets[@]}" -O qcow2 -o "$o" \
		plain.raw theirs.qcow2
	same plain.raw theirs.qcow2
done

# Each cluster of a preallocated image reads as zeroes, and can be written.
for how in metadata falloc full; do
	expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f qcow2 \
		-o $luks,preallocation=$how new.qcow2 1M
	truncate -s 1M zeroes.raw
	same zeroes.raw new.qcow2
	expect_exit 0 "$IMGCTL" resize "${secrets[@]}" --preallocation=$how \
		--image-opts "$(opts new.qcow2)" 2M
	truncate -s 2M zeroes.raw
	same zeroes.raw new.qcow2
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -n --image-opts \
		--target-image-opts driver=raw,file.filename=plain.raw \
		"$(opts new.qcow2)"
	same plain.raw new.qcow2
done

# ---- chains, snapshots, versions --------------------------------------------

expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O qcow2 -o $luks plain.raw \
	base.qcow2
expect_exit 0 qemu-img create -u "${secrets[@]}" -f qcow2 -o $aes \
	-b base.qcow2 -F qcow2 over.qcow2 3M
chain=$(opts over.qcow2),backing.driver=qcow2,backing.encrypt.key-secret=s
chain+=,backing.file.filename=base.qcow2
expect_exit 0 qemu-io "${secrets[@]}" -c 'write -P 9 10001 70001' \
	-c 'write -z 1M 100k' -c 'write -P 3 2500k 5k' --image-opts "$chain"
for tool in "$IMGCTL" qemu-img; do
	expect_exit 0 "$tool" convert "${secrets[@]}" -O raw --image-opts \
		"$chain" "$(basename "$tool").raw"
done
cmp imgctl.raw qemu-img.raw
cp imgctl.raw chain.raw
expect_exit 1 "$IMGCTL" convert "${secrets[@]}" --image-opts \
	"$(opts over.qcow2)" x.raw
expect_err "Parameter 'encrypt.key-secret' is required for cipher"

for o in $luks $aes; do
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O qcow2 -o $o \
		plain.raw snap.qcow2
	expect_exit 0 "$IMGCTL" snapshot "${secrets[@]}" -c one --image-opts \
		"$(opts snap.qcow2)"
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -n --image-opts \
		--target-image-opts driver=raw,file.filename=changed.raw \
		"$(opts snap.qcow2)"
	same changed.raw snap.qcow2
	# Zeroes become clusters, or holes.
	expect_exit 0 qemu-io "${secrets[@]}" -c 'write -z 0 200k' \
		--image-opts "$(opts snap.qcow2)"
	expect_exit 0 qemu-img convert "${secrets[@]}" -O raw --image-opts \
		"$(opts snap.qcow2)" zeroed.raw
	expect_exit 0 "$IMGCTL" amend "${secrets[@]}" -o compat=0.10 \
		--image-opts "$(opts snap.qcow2)"
	same zeroed.raw snap.qcow2
	expect_exit 0 "$IMGCTL" snapshot "${secrets[@]}" -a one --image-opts \
		"$(opts snap.qcow2)"
	same plain.raw snap.qcow2
done
expect_exit 0 "$IMGCTL" amend "${secrets[@]}" -o compat=0.10 --image-opts \
	"$chain"
for tool in "$IMGCTL" qemu-img; do
	expect_exit 0 "$tool" compare "${secrets[@]}" --image-opts "$chain" \
		driver=raw,file.filename=chain.raw
done

# ---- key slots --------------------------------------------------------------

for dir in ours theirs; do
	expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f qcow2 -o $luks \
		$dir/a.qcow2 1M
done
for o in encrypt.state=active encrypt.state=inactive,encrypt.keyslot=0 \
	encrypt.state=active,encrypt.new-secret=n,encrypt.iter-time=1; do
	agree amend "${secrets[@]}" -o "$o" --image-opts "$(opts a.qcow2)"
done
agree amend "${secrets[@]}" -o encrypt.state=inactive,encrypt.old-secret=s \
	--image-opts "$(opts a.qcow2 n)"
agree map "${secrets[@]}" --output=json --image-opts "$(opts a.qcow2 n)"
agree map "${secrets[@]}" --output=json --image-opts "$(opts a.qcow2 s)"
# Over one that is in use, and the last one: only by force.
over=encrypt.state=active,encrypt.new-secret=w,encrypt.iter-time=1
over+=,encrypt.keyslot=1
for o in $over encrypt.state=inactive,encrypt.keyslot=1; do
	agree amend "${secrets[@]}" -o $o --image-opts "$(opts a.qcow2 n)"
	[ "$(cat ours.rc)" = 'exit code 1' ] || fail "not refused: $o"
done
agree amend "${secrets[@]}" --force -o $over --image-opts "$(opts a.qcow2 n)"
for s in n w; do
	agree map "${secrets[@]}" --output=json --image-opts \
		"$(opts a.qcow2 $s)"
done
agree amend "${secrets[@]}" --force -o encrypt.state=inactive,$(
)encrypt.old-secret=w --image-opts "$(opts a.qcow2 w)"
agree map "${secrets[@]}" --output=json --image-opts "$(opts a.qcow2 w)"
expect_exit 0 "$IMGCTL" check ours/a.qcow2
expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f qcow2 -o $aes ours/a.qcow2 1M
cp ours/a.qcow2 theirs
agree amend "${secrets[@]}" -o encrypt.state=active,encrypt.new-secret=n \
	--image-opts "$(opts a.qcow2)"

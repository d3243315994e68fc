#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# luks: qemu-img and cryptsetup open what we make and we open what they make,
# with every cipher, mode and hash that both have.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
needs cryptsetup

# opts FILE [SECRET]: how a luks file is opened.
opts()
{
	echo "driver=luks,key-secret=${2:-s},file.filename=$1"
}

# ours_is RAW FILE, theirs_is RAW FILE: what is in FILE, each tool's word.
ours_is()
{
	expect_exit 0 "$IMGCTL" compare "${secrets[@]}" --image-opts \
		"driver=raw,file.filename=$1" "$(opts "$2")"
}

theirs_is()
{
	expect_exit 0 qemu-img compare "${secrets[@]}" --image-opts \
		"driver=raw,file.filename=$1" "$(opts "$2")"
}

opens()
{
	echo -n "${2:-hush}" | cryptsetup open --test-passphrase "$1"
}

head -c 300k /dev/urandom >plain.raw
truncate -s 700k plain.raw
head -c 324k /dev/urandom >>plain.raw

# ---- commands and messages --------------------------------------------------

for o in iter-time=10 iter-time=10,cipher-alg=aes-128 \
	hash-alg=sha1,iter-time=10,cipher-mode=cbc,ivgen-alg=essiv; do
	agree create "${secrets[@]}" -f luks -o "key-secret=s,$o" a.luks 1M
	agree_on_theirs info a.luks
	agree_on_theirs info --output=json a.luks
	agree_on_theirs info --output=json -f luks a.luks
done
agree create -f luks b.luks 1M
agree create -f luks -o key-secret=none b.luks 1M
agree create "${secrets[@]}" -f luks -o key-secret=s,cipher-alg=x b.luks 1M
agree create "${secrets[@]}" -f luks -o key-secret=s,hash-alg=x b.luks 1M
for o in '' cipher-alg=aes-128 cipher-mode=cbc,cipher-alg=serpent-256; do
	agree measure "${secrets[@]}" -O luks -o "key-secret=s${o:+,$o}" \
		--size 10M
done
agree measure -O luks --size 10M
agree_on_theirs map "${secrets[@]}" --output=json --image-opts \
	"$(opts a.luks)"
agree_on_theirs map "${secrets[@]}" --image-opts "$(opts a.luks)"
agree_on_theirs map a.luks
agree_on_theirs compare a.luks a.luks
agree_on_theirs compare "${secrets[@]}" --image-opts "$(opts a.luks w)" \
	"$(opts a.luks)"
agree_on_theirs check "${secrets[@]}" --image-opts "$(opts a.luks)"
agree_on_theirs info -f luks no-such-file
truncate -s 1M theirs/zero
agree_on_theirs info -f luks zero
agree_on_theirs convert -c "${secrets[@]}" -O luks -o key-secret=s zero x.luks
agree_on_theirs create "${secrets[@]}" -f luks -o key-secret=s -b zero -F raw \
	x.luks
for size in 3M 512k 1M; do
	agree_on_theirs resize "${secrets[@]}" --shrink --image-opts \
		"$(opts a.luks)" "$size"
	agree_on_theirs info a.luks
done
agree_on_theirs resize "${secrets[@]}" --preallocation=metadata --image-opts \
	"$(opts a.luks)" 2M

# The key is in no message, and the file has no trace of it.
expect_exit 2 "$IMGCTL" compare "${secrets[@]}" --image-opts \
	"$(opts theirs/a.luks w)" "$(opts theirs/a.luks)"
expect_err 'Invalid password'
grep -e hush -e wrong out err && fail 'a secret is in a message'

# ---- both ways, with each algorithm -----------------------------------------

# shared OPTIONS [MAKER]: each tool reads what the other has written.
shared()
{
	expect_exit 0 "${2:-$IMGCTL}" create "${secrets[@]}" -f luks \
		-o "key-secret=s,iter-time=1,$1" theirs.luks 1M
	expect_exit 0 qemu-img convert "${secrets[@]}" -n --image-opts \
		--target-image-opts driver=raw,file.filename=plain.raw \
		"$(opts theirs.luks)"
	ours_is plain.raw theirs.luks
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O luks \
		-o "key-secret=s,iter-time=1,$1" plain.raw ours.luks
	theirs_is plain.raw ours.luks
}

for o in cipher-alg={aes-128,aes-192,aes-256,serpent-256} \
	cipher-alg=twofish-{128,192,256} \
	cipher-alg={serpent-128,cast5-128},cipher-mode=cbc \
	cipher-mode=ctr,ivgen-alg=essiv ivgen-alg=plain cipher-mode=ecb \
	cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=md5 \
	hash-alg={md5,sha224,sha512,ripemd160}; do
	shared "$o"
done
for o in cipher-alg=twofish-192 cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1; do
	shared "$o" qemu-img
done
# What cryptsetup can do without a device mapper: ciphers of its own library.
for o in cipher-alg=aes-{128,256} cipher-alg=aes-192,cipher-mode=cbc \
	cipher-mode=cbc,ivgen-alg=essiv hash-alg={sha1,sha512,whirlpool}; do
	expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks \
		-o "key-secret=s,iter-time=1,$o" cs.luks 1M
	opens cs.luks || fail "cryptsetup cannot open it: $o"
	! opens cs.luks wrong 2>err || fail 'cryptsetup opens it with any key'
	expect_exit 0 cryptsetup luksDump cs.luks
done

# made_by_cryptsetup OPTION...: by it, filled by qemu-img where that can.
made_by_cryptsetup()
{
	truncate -s 6M cs.luks
	echo -n hush | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 \
		"$@" cs.luks - || fail "cryptsetup luksFormat $*"
	expect_exit 0 "$IMGCTL" info cs.luks
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" --image-opts \
		-O raw "$(opts cs.luks)" got.raw
	expect_exit 1 "$IMGCTL" convert "${secrets[@]}" --image-opts \
		-O raw "$(opts cs.luks w)" other.raw
	expect_err 'Invalid password, cannot unlock any keyslot'
}

for c in aes-xts-plain64 aes-cbc-essiv:sha256 aes-cbc-plain64; do
	made_by_cryptsetup -c "$c" -s 256
	theirs_is got.raw cs.luks
done
made_by_cryptsetup -c aes-cbc-plain64 -s 192
made_by_cryptsetup -h sha512
made_by_cryptsetup -h whirlpool
made_by_cryptsetup --align-payload 8192
theirs_is got.raw cs.luks

# ---- a header of its own ----------------------------------------------------

expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks \
	-o key-secret=s,iter-time=1,detached-header=on head.luks 0
opens head.luks
expect_exit 0 "$IMGCTL" info head.luks
expect_out 'detached header: true'
truncate -s 1M body
detached=$(opts body),header.filename=head.luks
expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -n --image-opts \
	--target-image-opts driver=raw,file.filename=plain.raw "$detached"
expect_exit 0 "$IMGCTL" compare "${secrets[@]}" --image-opts \
	driver=raw,file.filename=plain.raw "$detached"
[ "$(stat -c %s body)" = 1048576 ] || fail 'the data has another size'
expect_exit 2 "$IMGCTL" compare "${secrets[@]}" --image-opts \
	"$(opts head.luks)" "$detached"
expect_err 'holds no data, only the header for it'
truncate -s 1M cs.body
echo -n hush | cryptsetup luksFormat -q --type luks1 --header cs.head \
	--pbkdf-force-iterations 1000 cs.body -
expect_exit 0 "$IMGCTL" convert "${secrets[@]}" --image-opts -O raw \
	"$(opts cs.body),header.filename=cs.head" got.raw
[ "$(stat -c %s got.raw)" = 1048576 ] || fail 'the disk has another size'

# ---- key slots --------------------------------------------------------------

both rm -f a.luks
expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks \
	-o key-secret=s,iter-time=1 a.luks 1M
cp a.luks ours
cp a.luks theirs

# slots SECRET OPTION...: both tools say the same.
slots()
{
	local key=$1
	shift
	agree amend "${secrets[@]}" "$@" --image-opts "$(opts a.luks "$key")"
}

for o in state=active state=active,new-secret=n,old-secret=s \
	state=active,new-secret=n,keyslot={0,9} state=inactive state=foo \
	state=inactive,new-secret=n state=inactive,keyslot={0,3} \
	state=inactive,old-secret={s,n} state=inactive,iter-time=10,keyslot=0 \
	new-secret=n state=active,new-secret=none keyslot=1,old-secret=s foo=1 \
	cipher-alg=aes-256; do
	slots s -o "$o"
done
cmp ours/a.luks theirs/a.luks
slots s -o state=active,new-secret=n,iter-time=1
opens ours/a.luks new
opens ours/a.luks hush
slots n -o state=active,new-secret=w,iter-time=1,keyslot=6
opens ours/a.luks wrong
slots n -o state=inactive,keyslot=1,old-secret=s
slots n -o state=inactive,old-secret=s
! opens ours/a.luks hush 2>err || fail 'the old key still opens it'
for dir in ours theirs; do
	expect_exit 0 "$IMGCTL" info --output=json "$dir/a.luks"
	jq -c '[."format-specific".data.slots[].active]' out >$dir.slots
done
cmp ours.slots theirs.slots
# Over one that is in use, and the last ones.
slots n --force -o state=active,new-secret=s,iter-time=1,keyslot=6
! opens ours/a.luks wrong 2>err || fail 'a key that was replaced opens it'
for i in {0,2,3,4,5,7}; do
	slots n -o "state=active,new-secret=w,iter-time=1,keyslot=$i"
done
slots n -o state=active,new-secret=w,iter-time=1
slots n -o state=inactive,old-secret=w
slots n -o state=inactive,keyslot=6
slots n -o state=inactive,keyslot=1
slots n --force -o state=inactive,keyslot=1
agree info -f luks a.luks
slots n -o state=active,new-secret=n
run_in ours "$OURS" amend -f luks -o help
run_in theirs "$THEIRS" amend -f luks -o help
same_answers amend -o help

# What is erased is gone from the file, and each slot has a salt of its own and
# as many iterations as its time allows.
rm -f a.luks
expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks \
	-o key-secret=s,iter-time=1 a.luks 1M
for o in iter-time=1 iter-time=500,keyslot=2; do
	expect_exit 0 "$IMGCTL" amend "${secrets[@]}" --image-opts \
		-o "state=active,new-secret=n,$o" "$(opts a.luks)"
done
expect_exit 0 "$IMGCTL" info --output=json a.luks
cp out slots.json
jq -e '[."format-specific".data.slots[:3][].iters] |
	.[1] < 50000 and .[2] > 4 * .[1]' out >iters.ok || fail "$(cat out)"
expect_exit 0 cryptsetup luksDump a.luks
[ "$(grep -A 1 Salt: out | grep -oE '([0-9a-f]{2} ?){16}' | sort -u |
	wc -l)" = 6 ] || fail "$(cat out)"
at=$(jq '."format-specific".data.slots[1]."key-offset"' slots.json)
dd if=a.luks of=saved bs=4096 skip=$((at / 4096)) count=62 status=none
expect_exit 0 "$IMGCTL" amend "${secrets[@]}" --image-opts \
	-o state=inactive,keyslot=1 "$(opts a.luks)"
dd if=a.luks of=now bs=4096 skip=$((at / 4096)) count=62 status=none
[ "$(cmp -l saved now | wc -l)" -gt 250000 ] ||
	fail 'what was erased is still there'
expect_exit 1 "$IMGCTL" amend "${secrets[@]}" --image-opts \
	-o state=active,new-secret=n,iter-time=100000000000 "$(opts a.luks)"
expect_err "Parameter 'iter-time' must be at most"

# Slots that cryptsetup fills.
made_by_cryptsetup
printf 'hush' >old.key
printf 'new' >new.key
expect_exit 0 cryptsetup luksAddKey -q --pbkdf-force-iterations 1000 \
	--key-file old.key cs.luks new.key
expect_exit 0 "$IMGCTL" amend "${secrets[@]}" --image-opts \
	-o state=inactive,old-secret=s "$(opts cs.luks n)"
! opens cs.luks hush 2>err || fail 'the old key still opens it'
opens cs.luks new

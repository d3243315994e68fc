#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# LUKS2: what cryptsetup has encrypted we read, and it decrypts what we have
# written; each opens what the other one has made, and the key slots that it has
# filled; headers that are damaged or say what cannot be.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
needs cryptsetup python3 prlimit

opts()
{
	echo "driver=luks,key-secret=${2:-s},file.filename=$1"
}
detached=$(opts body),header.filename=head

head -c 300k /dev/urandom >plain.raw
truncate -s 2M plain.raw
head -c 1M /dev/urandom >other.raw
truncate -s 2M other.raw
printf hush >key
quick=(--pbkdf pbkdf2 --pbkdf-force-iterations 1000)

# ---- the data, both ways ----------------------------------------------------

# both_ways OPTION...: cryptsetup encrypts a file in place, without the device
# mapper; at the end it decrypts what we have written.
both_ways()
{
	rm -f head
	cp plain.raw body
	expect_exit 0 cryptsetup reencrypt -q --encrypt --type luks2 \
		--header head --key-file key --force-offline-reencrypt \
		"${quick[@]}" "$@" body
	! cmp -s plain.raw body || fail 'nothing was encrypted'
	expect_exit 0 "$IMGCTL" compare "${secrets[@]}" --image-opts \
		driver=raw,file.filename=plain.raw "$detached"
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -n --image-opts \
		--target-image-opts driver=raw,file.filename=other.raw "$detached"
	expect_exit 0 cryptsetup reencrypt -q --decrypt --header head \
		--key-file key --force-offline-reencrypt body
	cmp body other.raw
}

both_ways
both_ways --sector-size 4096
both_ways --sector-size 1024 -s 256
both_ways -c aes-cbc-essiv:sha256 -s 256
both_ways -c aes-cbc-plain64 -s 192

# ---- keys -------------------------------------------------------------------

format()
{
	rm -f disk
	truncate -s 20M disk
	expect_exit 0 cryptsetup luksFormat -q --type luks2 "$@" disk key
}

for kdf in argon2id argon2i; do
	format --pbkdf $kdf --pbkdf-force-iterations 4 --pbkdf-memory 8192 \
		--pbkdf-parallel 2
	expect_exit 0 "$IMGCTL" info disk
	expect_out "kdf: $kdf"
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" --image-opts \
		"$(opts disk)" got.raw
	[ "$(stat -c %s got.raw)" = 4194304 ] || fail 'the disk has another size'
	expect_exit 1 "$IMGCTL" convert "${secrets[@]}" --image-opts \
		"$(opts disk w)" got.raw
	expect_err 'Invalid password, cannot unlock any keyslot'
done
format "${quick[@]}" -h sha512
printf new >new.key
expect_exit 0 cryptsetup luksAddKey -q "${quick[@]}" --key-file key \
	--key-slot 7 disk new.key
for s in s n; do
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" --image-opts \
		"$(opts disk $s)" got.raw
done
expect_exit 1 "$IMGCTL" resize "${secrets[@]}" --image-opts "$(opts disk)" 4000k+1
expect_exit 0 "$IMGCTL" resize "${secrets[@]}" --image-opts "$(opts disk)" 5M
expect_exit 0 cryptsetup open --test-passphrase --key-file key disk

# ---- made here --------------------------------------------------------------

# opens FILE KEYFILE: cryptsetup can.
opens()
{
	cryptsetup open --test-passphrase --key-file "$2" "$1"
}

printf wrong >wrong.key
made=(-f luks -o "key-secret=s,version=2,iter-time=1")
expect_exit 0 "$IMGCTL" create "${secrets[@]}" "${made[@]}" a.luks 2M
expect_exit 0 cryptsetup luksDump a.luks
for text in 'offset: 16777216 [bytes]' 'cipher: aes-xts-plain64' \
	'PBKDF:      argon2id' 'Time cost:  4' 'Memory:     65536' \
	'AF stripes: 4000' 'Area offset:32768 [bytes]' 'Epoch:         ' \
	'Area length:258048 [bytes]' 'Keyslots area: 	16744448 [bytes]'; do
	expect_out "$text"
done
opens a.luks key
expect_exit 2 opens a.luks wrong.key
expect_exit 0 "$IMGCTL" measure "${secrets[@]}" --size 2M -O luks \
	-o key-secret=s,version=2
expect_out "required size: $(stat -c %s a.luks)"
for o in '' cipher-alg=aes-128 cipher-mode=cbc cipher-alg=serpent-256 \
	hash-alg=sha512 cipher-mode=cbc,ivgen-alg=essiv,cipher-alg=aes-192; do
	o=key-secret=s,version=2,iter-time=1,pbkdf=pbkdf2${o:+,$o}
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O luks -o "$o" \
		plain.raw a.luks
	[[ $o == *serpent* ]] || opens a.luks key
	expect_exit 0 cryptsetup luksDump a.luks
	expect_out 'PBKDF:      pbkdf2'
	expect_exit 0 "$IMGCTL" compare "${secrets[@]}" --image-opts \
		driver=raw,file.filename=plain.raw "$(opts a.luks)"
done
for o in version=3 version=0 version=x version=2,pbkdf=scrypt pbkdf=argon2id; do
	expect_exit 1 "$IMGCTL" create "${secrets[@]}" -f luks \
		-o "key-secret=s,$o" x.luks 1M
	expect_err "Parameter '$(grep -oE '[a-z]+' <<<"${o##*,}" | head -n 1)'"
done
expect_err "Parameter 'pbkdf' does not accept value 'argon2id'"
# Both copies are there.
damage_at()
{
	printf x | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
for at in 4200 20600; do
	cp a.luks b.luks
	damage_at b.luks $at
	opens b.luks key
done
# The header alone; cryptsetup decrypts the data behind ours.
rm -f head
expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks -o "key-secret=s,$(
)version=2,iter-time=1,pbkdf=pbkdf2,detached-header=on" head 0
expect_exit 0 "$IMGCTL" info head
expect_out 'detached header: true'
truncate -s 2M body
expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -n --image-opts \
	--target-image-opts driver=raw,file.filename=plain.raw "$detached"
[ "$(stat -c %s body)" = 2097152 ] || fail 'the data has another size'
expect_exit 0 cryptsetup open --test-passphrase --key-file key --header head \
	body
expect_exit 0 cryptsetup reencrypt -q --decrypt --header head --key-file key \
	--force-offline-reencrypt body
cmp body plain.raw

# ---- key slots --------------------------------------------------------------

# amend SECRET OPTION...: of a.luks, opened with that.
amend()
{
	local key=$1
	shift
	"$IMGCTL" amend "${secrets[@]}" "$@" --image-opts \
		"$(opts a.luks "$key")"
}

# keys FILE...: those that open it, of all there are; cryptsetup's word.
keys()
{
	local k
	for k in key new.key wrong.key; do
		if [[ " $* " == *" $k "* ]]; then
			opens a.luks $k || fail "$k does not open it"
		else
			expect_exit 2 opens a.luks $k
		fi
	done
}

# gone AT: nothing of what saved.area has is in the area there.
gone()
{
	dd if=a.luks of=now.area bs=4096 skip=$(($1 / 4096)) count=63 status=none
	[ "$(cmp -l saved.area now.area | wc -l)" -gt 250000 ] ||
		fail 'what was erased is still there'
}

for kdf in pbkdf2 argon2id; do
	expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O luks -o "$(
	)key-secret=s,version=2,iter-time=1,pbkdf=$kdf" plain.raw a.luks
	expect_exit 0 amend s -o state=active,new-secret=n,iter-time=1
	keys key new.key
	expect_exit 0 cryptsetup luksDump a.luks
	[ "$(grep -c "PBKDF:      $kdf" out)" = 2 ]
	expect_out 'Area offset:290816'
	dd if=a.luks of=saved.area bs=4096 skip=8 count=63 status=none
	expect_exit 0 amend n -o state=inactive,old-secret=s
	keys new.key
	gone 32768
	# What is over goes where there is space; the old area is overwritten.
	dd if=a.luks of=saved.area bs=4096 skip=71 count=63 status=none
	expect_exit 1 amend n -o state=active,new-secret=w,keyslot=1
	expect_err 'Refusing to overwrite active keyslot 1'
	expect_exit 0 amend n --force \
		-o state=active,new-secret=w,iter-time=1,keyslot=1
	keys wrong.key
	gone 290816
	expect_exit 0 amend w -o state=active,new-secret=s,iter-time=1,keyslot=31
	expect_exit 0 cryptsetup luksDump a.luks
	expect_out '31: luks2'
	# Nothing is lost, whichever copy was damaged before.
	for at in 4200 20600; do
		damage_at a.luks $at
		expect_exit 0 amend s -o state=active,new-secret=n,iter-time=1
		expect_exit 0 amend s -o state=inactive,old-secret=n
		for other in 20600 4200; do
			cp a.luks b.luks
			damage_at b.luks $other
			opens b.luks key
		done
	done
	expect_exit 0 "$IMGCTL" compare "${secrets[@]}" --image-opts \
		driver=raw,file.filename=plain.raw "$(opts a.luks)"
done
# As many iterations as the time allows.
cp a.luks b.luks
expect_exit 0 "$IMGCTL" convert "${secrets[@]}" -O luks -o "$(
)key-secret=s,version=2,iter-time=1,pbkdf=pbkdf2" plain.raw a.luks
for o in iter-time=1 iter-time=500; do
	expect_exit 0 amend s -o state=active,new-secret=n,$o
done
expect_exit 0 cryptsetup luksDump a.luks
sed -n '/^Keyslots:/,/^Digests:/s/.*Iterations: *//p' out >iters
awk '{ n[NR] = $1 } END { exit !(NR == 3 && n[3] > 4 * n[2]) }' iters ||
	fail "$(cat iters)"
mv b.luks a.luks
expect_exit 1 amend s -o state=active,new-secret=n,keyslot=32
expect_err 'must be between 0 and 31'
expect_exit 1 amend s -o state=inactive,keyslot=3
expect_err 'already erased'
expect_exit 0 amend s -o state=inactive,keyslot=1
expect_exit 1 amend s -o state=inactive,keyslot=31
expect_err 'only active keyslot'
# What cryptsetup adds, we open, and the other way round.
expect_exit 0 cryptsetup luksAddKey -q "${quick[@]}" --key-file key a.luks new.key
expect_exit 0 amend n -o state=inactive,old-secret=s
keys new.key
# Slots of other keys, and tokens, stay as they are.
expect_exit 0 cryptsetup luksAddKey -q "${quick[@]}" --unbound --key-size 256 \
	--key-slot 2 a.luks - <wrong.key
expect_exit 0 cryptsetup token add --key-description d --key-slot 0 a.luks
for o in --force,state=active,new-secret=s,keyslot=2 \
	--force,state=inactive,keyslot=2; do
	expect_exit 1 amend n --force -o "${o#*,}"
	expect_err 'key slot 2 is for something else than the data'
done
for _ in 1 2 3; do
	expect_exit 0 amend n -o state=active,new-secret=s,iter-time=1
done
expect_exit 0 cryptsetup luksDump a.luks
expect_out '2: luks2 (unbound)'
expect_out 'Keyslot:    0'
expect_exit 0 amend s -o state=inactive,keyslot=0
expect_exit 0 cryptsetup luksDump a.luks
! grep -q 'Keyslot:    0' out || fail 'a token names a slot that is gone'
expect_exit 0 cryptsetup luksDump -q --unbound --key-slot 2 \
	--key-file wrong.key a.luks
# All of them.
expect_exit 1 amend s -o state=inactive,old-secret=s
expect_err 'All the active keyslots match'
expect_exit 0 amend s --force -o state=inactive,old-secret=s
expect_exit 1 opens a.luks key
expect_err 'No usable keyslot'
expect_exit 0 "$IMGCTL" info a.luks
expect_exit 1 amend s -o state=active,new-secret=n
expect_err 'no key slot for the data'

# The slots of a header in a file of its own.
for version in 1 2; do
	expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f luks -o "$(
	)key-secret=s,version=$version,iter-time=1,pbkdf=pbkdf2,$(
	)detached-header=on" head 0
	for change in s:state=active,new-secret=n,iter-time=1 \
		n:state=inactive,old-secret=s; do
		expect_exit 0 "$IMGCTL" amend "${secrets[@]}" -o "${change#*:}" \
			--image-opts \
			"$(opts body "${change%%:*}"),header.filename=head"
	done
	expect_exit 0 cryptsetup open --test-passphrase --key-file new.key \
		--header head body
	expect_exit 2 cryptsetup open --test-passphrase --key-file key \
		--header head body
done

# ---- inside qcow2 -----------------------------------------------------------

# A header of version 2, whose sectors may be longer than clusters are.
expect_exit 0 "$IMGCTL" create "${secrets[@]}" -f qcow2 -o "$(
)encrypt.format=luks,encrypt.key-secret=n,encrypt.iter-time=1" a.qcow2 1M
python3 - <<'END'
import struct
with open("a.qcow2", "r+b") as f, open("head", "rb") as head:
    start = f.read(65536)
    at = start.index(struct.pack(">II", 0x0537be77, 16))
    f.seek(struct.unpack_from(">Q", start, at + 8)[0])
    f.write(head.read(290816))
END
expect_exit 1 "$IMGCTL" map "${secrets[@]}" --image-opts \
	driver=qcow2,encrypt.key-secret=n,file.filename=a.qcow2
expect_err 'LUKS version 2 is not supported inside qcow2'
expect_exit 1 "$IMGCTL" create "${secrets[@]}" -f qcow2 -o "$(
)encrypt.format=luks,encrypt.key-secret=n,encrypt.version=2" b.qcow2 1M

# ---- headers ----------------------------------------------------------------

cp disk good

# change EXPRESSION: Python that changes the metadata `m`, in both copies.
change()
{
	cp good disk
	python3 - "$1" <<'END'
import hashlib, json, struct, sys
with open("disk", "r+b") as f:
    for at in (0, 16384):
        f.seek(at)
        p = bytearray(f.read(16384))
        m = json.loads(p[4096:].split(b"\0")[0])
        slot, data = m["keyslots"]["0"], m["segments"]["0"]
        digest = m["digests"]["0"]
        exec(sys.argv[1])
        text = json.dumps(m).encode()
        p[4096:] = text[:12288].ljust(12288, b"\0")
        p[448:512] = bytes(64)
        p[448:480] = hashlib.sha256(p).digest()
        f.seek(at)
        f.write(p)
END
}

# refused TEXT EXPRESSION: opening says so, soon, and in little memory.
refused()
{
	change "$2"
	expect_exit 1 prlimit --cpu=20 --as=$((1 << 30)) "$IMGCTL" convert \
		"${secrets[@]}" --image-opts "$(opts disk w)" x.raw
	expect_err "$1"
}

change pass
expect_exit 0 "$IMGCTL" map "${secrets[@]}" --output=json --image-opts \
	"$(opts disk)"
# The disk is shorter than the file where the header says so.
change 'data["size"] = "65536"'
expect_exit 0 "$IMGCTL" info --output=json disk
[ "$(jq '."virtual-size"' out)" = 65536 ] || fail "$(cat out)"
expect_exit 1 "$IMGCTL" resize "${secrets[@]}" --image-opts "$(opts disk)" 1M
expect_err 'the LUKS header says how large the disk is'
huge='slot["kdf"] = {"type": "argon2id", "salt": "c2FsdHNhbHQ=", '
refused 'Argon2 with time 4, memory 4294967295 KiB' \
	"$huge"'"time": 4, "memory": 4294967295, "cpus": 1}'
refused 'Argon2 with time 4294967295' \
	"$huge"'"time": 4294967295, "memory": 65536, "cpus": 1}'
refused 'does not say how much Argon2' \
	"$huge"'"time": 1e99, "memory": -1, "cpus": []}; m["keyslots"].pop("7")'
refused 'must be 1 to 268435456' 'slot["kdf"]["iterations"] = 4294967295'
refused 'must be 1 to 268435456' 'digest["iterations"] = 0'
refused 'impossible number of stripes' \
	'slot["af"]["stripes"] = 4294967295; m["keyslots"].pop("7")'
refused 'lies outside of the file' \
	'slot["area"]["offset"] = "18446744073709551615"; m["keyslots"].pop("7")'
refused 'lies outside of the file' \
	'slot["area"]["offset"] = "512"; m["keyslots"].pop("7")'
refused 'holds a key of another length' \
	'slot["key_size"] = 1; m["keyslots"]["7"]["key_size"] = 2
m["keyslots"]["9"] = dict(slot, key_size=64, area=dict(slot["area"],
offset=str(1 << 20))); digest["keyslots"] = ["0", "7"]
slot["key_size"] = 64; m["keyslots"]["7"]["key_size"] = 32'
refused 'no key slot for the data' 'm["keyslots"] = {}'
refused 'no key slot for the data' 'digest["keyslots"] = [0, None, {}]'
refused 'there are no key slots' 'm["keyslots"] = [slot]'
refused "slot's name is not 0 to 31" 'm["keyslots"]["32"] = slot'
refused "slot's name is not 0 to 31" 'm["keyslots"]["00"] = slot'
refused "slot's name is not 0 to 31" \
	'm["keyslots"]["4294967296"] = m["keyslots"].pop("7")'
refused 'areas of key slots 0 and 7 overlap' \
	'm["keyslots"]["7"]["area"]["offset"] = str(32768 + 4096)'
refused 'areas of key slots 3 and 7 overlap' \
	'm["keyslots"]["3"] = m["keyslots"]["7"]; digest["keyslots"] = ["0", "7"]'
refused 'size of the area for key slots is missing' 'm["config"] = []'
refused 'size of the area for key slots is missing' \
	'm["config"]["keyslots_size"] = str(1 << 40)'
refused 'size of the area for key slots is missing' \
	'm["config"]["keyslots_size"] = 16744448'
refused 'lies outside of the file' \
	'm["config"]["keyslots_size"] = "4096"; m["keyslots"].pop("7")'
refused 'is longer than the area for it' \
	'slot["area"]["size"] = "4096"; m["keyslots"].pop("7")'
refused 'no digest of the volume key' 'm["digests"] = []'
refused 'no value of the digest' 'digest["digest"] = "x"'
refused "feature 'online-reencrypt-v2' is not supported" \
	'm["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}'
refused '2 segments of data: must be one' 'm["segments"]["1"] = data'
refused "data of type 'linear' is not supported" 'data["type"] = "linear"'
refused 'with integrity is not supported' 'data["integrity"] = {}'
refused 'place or sectors are impossible' 'data["sector_size"] = 777'
refused 'place or sectors are impossible' 'data["sector_size"] = 8192'
refused 'place or sectors are missing' 'data["offset"] = "-1"'
refused 'the data begins at' 'data["offset"] = str(1 << 60)'
refused 'the data has 1152921504606846976 bytes' 'data["size"] = str(1 << 60)'
refused 'no cipher and mode' 'data["encryption"] = "aes"'
change 'data["encryption"] = "aes-lrw-benbi"'
expect_exit 1 "$IMGCTL" map "${secrets[@]}" --image-opts "$(opts disk)"
expect_err "Cipher 'aes' in mode 'lrw-benbi'"
refused 'LUKS2 metadata: line' 'm = {"x": [[0] * 20000]}'

# damage AT...: a byte of each of these places.
damage()
{
	cp good disk
	for at; do
		printf x | dd of=disk bs=1 seek="$at" conv=notrunc status=none
	done
}
for at in 4200 449 16; do
	damage $at
	expect_exit 0 "$IMGCTL" map "${secrets[@]}" --output=json --image-opts \
		"$(opts disk)"
done
damage 0
expect_exit 0 "$IMGCTL" map "${secrets[@]}" --output=json --image-opts \
	"$(opts disk)"
damage 4200 20600
expect_exit 1 "$IMGCTL" info disk
expect_err 'both copies are damaged'
damage 0 16384
expect_exit 1 "$IMGCTL" info -f luks disk
expect_err 'Volume is not in LUKS format'
truncate -s 4000 disk
expect_exit 1 "$IMGCTL" info -f luks disk
# The newer of two copies.
change 'data["offset"] = str((16 << 20) + at * 64)
p[16:24] = struct.pack(">Q", 1000 + at)'
expect_exit 0 "$IMGCTL" info disk
expect_out 'payload offset: 17825792'
change 'data["offset"] = str((16 << 20) + at * 64)
p[16:24] = struct.pack(">Q", 1000000 - at)'
expect_exit 0 "$IMGCTL" info disk
expect_out 'payload offset: 16777216'

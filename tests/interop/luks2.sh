#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# LUKS2: what cryptsetup has encrypted we read, and it decrypts what we have
# written; headers that are damaged or say what cannot be.
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
expect_exit 1 "$IMGCTL" amend "${secrets[@]}" --image-opts \
	-o state=active,new-secret=w "$(opts disk)"
expect_err 'key slots of LUKS2 cannot be changed'
expect_exit 1 "$IMGCTL" resize "${secrets[@]}" --image-opts "$(opts disk)" 4000k+1
expect_exit 0 "$IMGCTL" resize "${secrets[@]}" --image-opts "$(opts disk)" 5M
expect_exit 0 cryptsetup open --test-passphrase --key-file key disk

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
m["keyslots"]["9"] = dict(slot, key_size=64); digest["keyslots"] = ["0", "7"]
slot["key_size"] = 64; m["keyslots"]["7"]["key_size"] = 32'
refused 'no key slot for the data' 'm["keyslots"] = {}'
refused 'no key slot for the data' 'digest["keyslots"] = [0, None, {}]'
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

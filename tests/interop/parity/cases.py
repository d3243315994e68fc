# SPDX-License-Identifier: BSD-3-Clause
"""Command lines for parity.py.

CONSUMERS has those that other programs are known to run, one case a program;
what such a program parses is thereby the same as qemu-img's.  LINES_OF_ALL
are done for every format.  drawn() puts options and values together at
random.
"""
DATA = ("sh: { head -c 300000 /dev/zero | tr '\\0' x; head -c 700000 "
        "/dev/zero; head -c 500000 /dev/zero | tr '\\0' y; } >n; "
        "truncate -s 3M n")
WRITABLE = ("raw qcow2 qcow qed vdi vpc vhdx vmdk parallels".split())
MAKE_LUKS = ("sh: qemu-img create -q -f luks --object secret,id=s,data=abc "
             "-o key-secret=s,iter-time=10 enc 1M")

CONSUMERS = {
    "libvirt": [
        "create -f qcow2 -o compat=1.1,lazy_refcounts base 1M",
        "create -f qcow2 -b base -o backing_fmt=qcow2 vol 2M",
        "create -f qcow2 -o backing_fmt=qcow2,lazy_refcounts -b base vol2",
        "info --output=json --force-share -U vol",
        "info --output=json --force-share -U --backing-chain vol",
        "create -f qcow2 -o preallocation=metadata,cluster_size=64k,"
        "compat=0.10 meta 3M",
        "convert -f qcow2 -O qcow2 -o compat=1.1,lazy_refcounts vol out",
        "resize vol 5368709120",
        "snapshot -c one vol", "snapshot -a one vol", "snapshot -d one vol",
        MAKE_LUKS, "info --output=json enc", "info enc"],
    "nova, glance, cinder": [
        DATA, "convert -t none -O qcow2 -f raw n q",
        "info q --output=json -f qcow2", "info --force-share q",
        "convert -t none -O vmdk -f qcow2 -o subformat=streamOptimized q v",
        "info -f vmdk v", "info -f vmdk --output=json v",
        "convert -O raw -t writeback -f vmdk v r", "sh: cmp n r",
        "convert -c -O qcow2 -f raw n c",
        "measure -O qcow2 -f raw n --output=json",
        "create -f qcow2 -o backing_file=q,backing_fmt=qcow2 over",
        "create -f qcow2 -o cluster_size=512 over2 1G",
        "rebase -u -F qcow2 -b q over", "commit over", "rebase -b '' over",
        "resize over --shrink 2097152", "info -f vpc n",
        "snapshot -l q", "amend -o compat=0.10 q"],
    "vdsm, imageio": [
        DATA, "create -f qcow2 -o compat=1.1 base 3M",
        "convert -p -t none -T none -f raw n -n -W -O qcow2 base",
        "create -f qcow2 -u -o compat=1.1 -b base -F qcow2 top 4194304",
        "info --output json -U top", "info --output json -f qcow2 top",
        "check --output json -f qcow2 base",
        "measure --output json -O qcow2 base",
        "measure --output json -O qcow2 "
        "'json:{\"file\": {\"driver\": \"file\", \"filename\": \"base\"}, "
        "\"driver\": \"qcow2\", \"backing\": null}'",
        "~ map --output json base",
        "bitmap --add base b0 -g 65536", "bitmap --disable base b0",
        "info --output json -U base",
        "convert -p -t none -T none -f qcow2 -O qcow2 -o compat=1.1 base "
        "copy --bitmaps",
        "compare -p -f qcow2 -F qcow2 base copy",
        "commit -p -t none -b base -f qcow2 top",
        "rebase -u -t none -f qcow2 -b '' top", "amend -o compat=1.1 top"],
    "Proxmox": [
        DATA, "create -f qcow2 -o preallocation=metadata vm 1024K",
        "info --output=json vm -f qcow2", "info -f qcow2 n",
        "create -F qcow2 -b vm -f qcow2 clone",
        "resize -f qcow2 clone 2097152", "resize -f raw n 4194304",
        "snapshot -c snap vm",
        "convert -p -n -t none -T none -f raw -O qcow2 n clone",
        "convert -l snapshot.name=snap -f qcow2 -O raw vm r",
        "convert -p -f qcow2 -O vmdk vm v", "convert -p -O qcow2 v z",
        "snapshot -d snap vm"],
    "CDI, KubeVirt": [
        DATA, "convert -f raw -O qcow2 n q", "info --output=json q",
        "info --output json q",
        "convert -t writeback -p -O raw q out",
        "convert -t none -p -O raw q out2 -o preallocation=falloc",
        "info --output=json "
        "'json: {\"file.driver\": \"file\", \"file.filename\": \"out\"}'",
        "resize -f raw out 5242880", "create -f raw blank 1048576",
        "create -f raw -o preallocation=falloc full 1048576",
        "rebase -p -u -F raw -b out q", "info --output=json q"],
    "libguestfs, lima, packer, cloud images": [
        DATA, "convert -f raw -O qcow2 n q",
        "info -U --output json q", "info --output=json --force-share q",
        "convert -o compression_type=zlib -O qcow2 -c q p",
        "info --output=json p", "check -q q", "check -r all p",
        "convert -n --target-is-zero -S 512 -O raw q n",
        "convert -O vpc -o subformat=fixed,force_size n azure",
        "info -f vpc --output=json azure",
        "convert -O vdi n vbox", "info --output=json vbox",
        "convert -O vhdx -o subformat=dynamic n hyperv",
        "info --output=json hyperv", "compare n hyperv"],
}

# {f}: the format, x: an image of 3 MiB of it, n: what it was made of.
LINES_OF_ALL = [
    "info -f {f} x", "info -f {f} --output=json x", "check -f {f} x",
    "info --image-opts driver={f},file.filename=x", "check -f {f} -q x",
    "info 'json:{{\"driver\":\"{f}\",\"file.filename\":\"x\"}}'",
    "compare -f {f} -F raw x n", "compare -q -f raw -F {f} n x",
    "map -f {f} -s 100M --output=json x", "map -f {f} -l x x",
    "map --output=xml x", "check -r bogus x", "check -U -r all x",
    "measure -f {f} -O raw x", "info -f {f} nope", "info -f {f} --bogus",
    "convert -f {f} -O raw x r", "sh: md5sum r; stat -c %s r",
    "dd -f {f} if=x of=d bs=64k count=5", "sh: md5sum d; stat -c %s d",
    "snapshot -l x", "~ bitmap -f {f} --remove x b",
    "amend -f {f} -o bogus=1 x", "amend -f {f} x", "commit -f {f} x",
    "resize -f {f} x -1M", "resize -f {f} --preallocation=bogus x 5M",
    "bench -f {f} -c 0 x", "convert -f {f} -O bogus x y",
    "convert -f {f} -m 0 x y", "convert -f {f} -S 513 x y",
    "~ convert -f {f} -l none x y", "convert -f {f} -c -C x y",
]
# Create: messages, and options that all formats take.
CREATE_OF_ALL = [
    "create -f {f} a", "create -f {f} -o bogus=1 a 1M",
    "create -f {f} -o size=1M a 2M", "create -f {f} a 1M 2M",
    "create -f {f} a 1x", "create -f {f} nodir/a 1M",
    "create -f {f} foo:bar 1M", "create -f {f} -b nope -F vmdk a",
    "create -f {f} -o preallocation=off a 1M",
    "create -f {f} -o preallocation=zz b 1M", "create -f {f} -o nocow=1 a 1M",
    "~ measure -O {f} -o nocow=1 --size 1M",
    "measure -O {f} --size x", "measure -O {f}",
]
SINGLE = [
    [f"create -f {f} -o backing_fmt=raw a 1M", f"info -f {f} a"]
    for f in ("qcow", "qed")
] + [
    ["create -f qcow2 -F raw a 1M"],
    ["create -f qcow2 -o lazy_refcounts=yes,extended_l2=true a 1M"],
    ["create -f qed -o help a"], ["create -f vdi -o help a"],
    ["create -f raw -o help a"], ["create -f luks -o key-secret=s a 1M"],
    ["create --object secret,id=1a,data=x a 1M"],
    [f"info --object {kind},help a" for kind in (
        "secret", "authz-list", "authz-list-file", "authz-simple",
        "tls-creds-anon", "tls-creds-psk", "tls-creds-x509")],
    ["info -f bogus a", "convert -f bogus -O raw a b", "check -f bogus a"],
    ["create -f qcow2 -o cluster_size=x,cluster_size=64k a 1M",
     "create -f qcow2 -o lazy_refcounts=z -o lazy_refcounts=on a 1M",
     "create -f qcow2 -o size=x a 1M", "create -f vmdk -o compat=z,compat=1 a",
     "~ measure -O qcow2 -o refcount_bits=z,refcount_bits=16 --size 1M",
     "~ measure -O qcow2 -o refcount_bits=z --size 1M",
     "convert -O qcow2 -o nocow=z,nocow=on n a"],
    ["create -f qcow2 -u -b nope -F raw a 1M", "map a", "info a",
     "rebase -b none -F raw a"],
]


def alike(f, line):
    """We can resize and measure more formats, and give more a parent."""
    line = line.removeprefix("~ ")
    return not (line.startswith("resize -f") and
                f not in ("raw", "qcow2", "qed") or
                line.startswith("create") and " -b " in line and
                f in ("vpc", "vhdx") or
                line.startswith("measure -O") and
                f not in ("raw", "qcow2"))


def all_of(f, lines):
    return [line.format(f=f) for line in lines if alike(f, line)]


FIXED = list(CONSUMERS.values()) + SINGLE
for fmt in WRITABLE:
    FIXED.append([DATA, f"convert -f raw -O {fmt} n x",
                  *all_of(fmt, LINES_OF_ALL)])
    FIXED.append(all_of(fmt, CREATE_OF_ALL))

VALUES = {
    "raw": ["preallocation=off", "preallocation=x"],
    "qcow2": ["cluster_size=512", "cluster_size=2M", "cluster_size=3k",
              "cluster_size=4M", "compat=0.10", "compat=1.1", "compat=2",
              "lazy_refcounts", "lazy_refcounts=off", "refcount_bits=1",
              "refcount_bits=3", "refcount_bits=64", "extended_l2=on",
              "preallocation=metadata", "compression_type=zstd",
              "compression_type=lz4"],
    "qcow": ["nocow=on", "encryption=off"],
    "qed": ["cluster_size=4k", "cluster_size=5k", "cluster_size=1M",
            "table_size=2", "table_size=3", "table_size=16"],
    "vdi": ["static=on", "static=off", "static=x"],
    "vpc": ["subformat=fixed", "subformat=dynamic", "subformat=x",
            "force_size", "force_size=off"],
    "vhdx": ["log_size=2M", "block_size=1M", "block_size=3M",
             "block_size=256M", "subformat=fixed", "subformat=x",
             "block_state_zero=off"],
    "vmdk": ["adapter_type=lsilogic", "adapter_type=x", "compat6=on",
             "hwversion=8", "subformat=monolithicFlat", "zeroed_grain=on",
             "subformat=streamOptimized", "subformat=x", "toolsversion=3",
             "subformat=twoGbMaxExtentSparse"],
    "parallels": ["cluster_size=64k", "cluster_size=1M"],
}
SIZES = ["513", "1M", "1048577", "10M", "1.5M", "2G", "0x100000",
         "-1", "x", "1kk", "8E"]


def drawn(rng, count):
    """Images with options taken at random, made and looked at."""
    for _ in range(count):
        f = rng.choice(WRITABLE)
        pick = rng.sample(VALUES[f], rng.randrange(min(4, len(VALUES[f]))))
        options = f" -o {','.join(pick)}" if pick else ""
        size = rng.choice(SIZES)
        lines = [f"create -f {f}{options} x {size}"]
        if size[-1] in "M0137":
            lines += [f"~ info -f {f} x", f"~ check -q -f {f} x"]
        yield lines

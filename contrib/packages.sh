# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034
#
# Sourced by contrib/quickstart and tests/run: which Debian 12 packages are
# needed, and how to get those that are missing (as root, or with sudo).

# To build.
packages_build=(gcc libc6-dev meson ninja-build pkg-config libjansson-dev
	zlib1g-dev libbz2-dev liblzma-dev libdeflate-dev libisal-dev
	libzstd-dev liburing-dev libmnl-dev libnbd-dev libgnutls28-dev
	libgcrypt20-dev nettle-dev nbdkit-plugin-dev)
# To make, serve and look at the demo disk.
packages_demo=(e2fsprogs file libnbd-bin nbdkit)
# To test: other compilers and checkers, and the peers.
packages_test=(bsdextrautils btrfs-progs bximage bzip2 clang clang-format
	cloop-utils cppcheck cryptsetup-bin curl dmg2img e2fsprogs fdisk file
	fio gnutls-bin jq libclang-rt-14-dev libcmocka-dev libnbd-bin
	libqcow-utils libvhdi-utils libvmdk-utils mandoc nbdkit openssl
	p7zip-full procps python3 python3-libnbd qemu-utils shellcheck strace
	util-linux xfsprogs
	busybox-static cpio qemu-system-x86)

missing_packages()
{
	local p
	for p; do
		dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null |
			grep -qx installed || echo "$p"
	done
}

# install_packages NAME...: nothing is asked of the network if all are there.
install_packages()
{
	local missing sudo=()
	command -v dpkg-query >/dev/null || {
		echo "not a Debian system: install by hand: $*" >&2
		return
	}
	mapfile -t missing < <(missing_packages "$@")
	[ "${#missing[@]}" -gt 0 ] || return 0
	echo "installing ${missing[*]}"
	[ "$(id -u)" = 0 ] || sudo=(sudo)
	"${sudo[@]}" apt-get update -q >/dev/null
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
		--no-install-recommends "${missing[@]}" >/dev/null
}

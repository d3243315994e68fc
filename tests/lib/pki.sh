# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Certificates and keys for TLS, in folders as tls-creds-x509 and libnbd want
# them.  Sourced after e2e.sh.

# new_ca DIR: an authority of its own.
new_ca()
{
	mkdir "$1"
	printf '%s\n' 'cn = "Test CA"' ca cert_signing_key \
		'expiration_days = 30' >"$1/template"
	certtool --generate-privkey --key-type=ecdsa \
		--outfile "$1/ca-key.pem" 2>/dev/null
	certtool --generate-self-signed --load-privkey "$1/ca-key.pem" \
		--template "$1/template" --outfile "$1/ca-cert.pem" 2>/dev/null
}

# new_cert CA DIR server|client LINE...: a key and a certificate, with these
# lines of a certtool template.
new_cert()
{
	local ca=$1 dir=$2 who=$3
	shift 3
	mkdir -p "$dir"
	cp "$ca/ca-cert.pem" "$dir"
	printf '%s\n' "$@" "tls_www_$who" signing_key \
		'expiration_days = 30' >"$dir/template"
	certtool --generate-privkey --key-type=ecdsa \
		--outfile "$dir/$who-key.pem" 2>/dev/null
	certtool --generate-certificate --template "$dir/template" \
		--load-privkey "$dir/$who-key.pem" \
		--load-ca-certificate "$ca/ca-cert.pem" \
		--load-ca-privkey "$ca/ca-key.pem" \
		--outfile "$dir/$who-cert.pem" 2>/dev/null
}

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: TLS with certificates and with keys, who may, and what stays secret.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/pki.sh"
needs certtool psktool nbdinfo nbdcopy qemu-nbd "$IMGD"

new_ca ca
new_ca strange-ca
new_cert ca server server 'cn = "localhost"' 'dns_name = "localhost"'
new_cert ca alice client 'cn = "alice"' 'organization = "Example"'
new_cert ca bob client 'cn = "bob"'
new_cert strange-ca stranger client 'cn = "alice"'
cp ca/ca-cert.pem stranger
mkdir nobody keys
cp ca/ca-cert.pem nobody
psktool -u alice -p keys/keys.psk >/dev/null 2>&1
random_file data.raw 3000000
cp data.raw disk.raw

x509=tls-creds-x509,id=tls,endpoint=server,dir=$TMP/server
psk=tls-creds-psk,id=tls,endpoint=server,dir=$TMP/keys

# as WHO [EXPORT]: the URI of somebody with certificates.
as()
{
	echo "nbds+unix:///${2-}?socket=$SOCK&tls-certificates=$TMP/$1"
}

# refused CMD...: it fails, and the server lives.
refused()
{
	expect_exit 1 "$@"
	kill -0 "$SERVER_PID"
}

# In and out.  (Other programs: tests/interop/peers.sh.)
start_imgd -e 0 -f raw --object "$x509" --tls-creds tls disk.raw
expect_exit 0 nbdinfo "$(as alice)"
expect_out 'with TLS'
random_file new.raw 3000000 2
nbdcopy --connections=4 --flush new.raw "$(as alice)"
nbdcopy --connections=4 "$(as alice)" out.raw
same new.raw out.raw

# Nobody else gets in, or learns a thing.
refused nbdinfo "$URI"
refused nbdinfo --list "$URI"
refused nbdinfo "$(as nobody)"
refused nbdinfo "$(as stranger)"
refused qemu-nbd -L -k "$SOCK"
expect_err 'TLS negotiation required'
expect_exit 0 nbdinfo "$(as bob)"
stop_server

# A client that has no certificate, where none is asked for; over TCP; a name
# that is not the server's.
expect_exit 0 "$IMGD" -e 0 -f raw -b 127.0.0.1 -p 0 --tls-creds tls \
	--object "$x509,verify-peer=no" disk.raw --run '
	echo "$uri"
	for host in localhost 127.0.0.1; do
		nbdinfo --size "nbds://$host:$port/?tls-certificates='"$TMP"'/nobody" ||
			echo "not $host"
	done'
expect_out 'nbds://127.0.0.1:'
expect_out 3000000
expect_out 'not 127.0.0.1'
grep -q 'not localhost' out && fail 'the name is not accepted'

# A certificate that was revoked; what TLS may use.
cp -r server strict
printf 'expiration_days = 30\ncrl_number = 1\n' >crl
certtool --generate-crl --load-ca-privkey ca/ca-key.pem --template crl \
	--load-ca-certificate ca/ca-cert.pem \
	--load-certificate bob/client-cert.pem \
	--outfile strict/ca-crl.pem 2>/dev/null
start_imgd -e 0 -f raw --tls-creds tls disk.raw \
	--object "${x509/%server/strict},priority=NORMAL:-VERS-ALL:+VERS-TLS1.2"
expect_exit 0 nbdinfo "$(as alice)"
refused nbdinfo "$(as bob)"
expect_exit 0 /usr/bin/python3 - "$SOCK" <<'END'
import socket, ssl, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18)
s.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 5, 0))
assert s.recv(20)[12:16] == b"\0\0\0\1"
c = ssl.create_default_context(cafile="ca/ca-cert.pem")
c.load_cert_chain("alice/client-cert.pem", "alice/client-key.pem")
c.minimum_version = ssl.TLSVersion.TLSv1_3
try:
    c.wrap_socket(s, server_hostname="localhost")
except (ssl.SSLError, OSError):
    sys.exit(0)
sys.exit("TLS 1.3 was taken")
END
stop_server

# Plain clients too, where TLS is optional.
start_imgd -e 0 -f raw --object "$x509" --tls-creds tls --tls-optional disk.raw
expect_exit 0 nbdinfo "$URI"
expect_out 'without TLS'
expect_exit 0 nbdinfo "$(as alice)"
expect_out 'with TLS'
stop_server

expect_exit 0 "$IMGD" -f raw --object "$x509" --tls-creds tls --tls-optional \
	disk.raw --run 'echo "$uri"; nbdinfo --size "$uri"'
expect_out nbd+unix://
expect_out 3000000

# Who may connect; who may see which export.
start_imgd -e 0 -f raw --object "$x509" --tls-creds tls --tls-authz who \
	--object 'authz-simple,id=who,identity=CN=bob' disk.raw
expect_exit 0 nbdinfo "$(as bob)"
refused nbdinfo "$(as alice)"
stop_server
# (An export that is hidden hides the file of its name, too.)
mkdir share
truncate -s 1M share/hers share/more
start_imgd -e 0 --object "$x509" --tls-creds tls --tls-optional \
	--object 'authz-list,id=a,rules.0.match=*CN=alice*,rules.0.policy=allow,'`
	`'rules.0.format=glob' \
	--export hers=disk.raw,format=raw,tls-authz=a \
	--export all=data.raw,format=raw,read-only=on --exports-dir share
expect_exit 0 nbdinfo --list "$(as alice)"
expect_out 'export="hers"'
expect_out 'export="more"'
expect_exit 0 nbdinfo --size "$(as alice hers)"
for uri in "$URI" "$(as bob)"; do
	expect_exit 0 nbdinfo --list "$uri"
	expect_out 'export="all"'
	grep -q hers out && fail 'the export is listed'
	refused nbdinfo "${uri/:\/\/\//:///hers}"
done
stop_server

# Keys instead of certificates.
start_imgd -e 0 -f raw --object "$psk" --tls-creds tls disk.raw
uri="nbds+unix://alice@/?socket=$SOCK&tls-psk-file=$TMP/keys/keys.psk"
expect_exit 0 nbdinfo "$uri"
expect_out 'with TLS'
nbdcopy "$uri" out.raw
same disk.raw out.raw
refused nbdinfo "${uri/alice/bob}"
stop_server

# A key that has a password.  Secrets are not shown.
certtool --load-privkey server/server-key.pem --to-p8 --password geheim \
	--outfile p8 2>/dev/null
mv p8 server/server-key.pem
printf geheim >password
printf Z2VoZWlt >password64
for secret in "file=$TMP/password" "file=$TMP/password64,format=base64" \
	data=geheim; do
	start_imgd -v -e 0 -f raw --object "secret,id=pw,$secret" \
		--object "$x509,passwordid=pw" --tls-creds tls disk.raw
	expect_exit 0 nbdinfo --size "$(as alice)"
	tr '\0' '\n' <"/proc/$SERVER_PID/cmdline" >cmdline
	grep -q -- --tls-creds cmdline
	grep geheim cmdline && fail 'the password is on the command line'
	refused nbdinfo "$(as stranger)"
	stop_server
	grep -e geheim -e PRIVATE "$TMP/server-$server_n.log" &&
		fail 'a secret is in the log'
done
expect_exit 1 "$IMGD" -f raw --object "$x509" --tls-creds tls disk.raw
expect_err 'Cannot load certificate and key'
expect_exit 1 "$IMGD" -f raw --object secret,id=pw,data=geheim disk.raw \
	--object secret,id=pw,data=geheim
grep geheim err && fail 'a secret is in a message'

# What is wrong is said as the reference says it.
ln -s "$IMGD" qemu-nbd
check()
{
	expect_exit 1 timeout 20 qemu-nbd -k "$TMP/s" "$@" -f raw disk.raw
	mv err want
	expect_exit 1 ./qemu-nbd -k "$TMP/s" "$@" -f raw disk.raw
	same want err
}
mkdir half
cp ca/ca-cert.pem half
check --tls-creds nope
check --object secret,id=s,data=x --tls-creds s
check --object "${x509/server/client}" --tls-creds tls
check --object "${x509/$TMP/\/nope}" --tls-creds tls
check --object tls-creds-x509,id=t,endpoint=server --tls-creds t
check --object "${x509/%server/half}" --tls-creds tls
check --object "${psk/%keys/half}" --tls-creds tls
check --object "$x509,endpoint=bogus" --tls-creds tls
check --object "$x509,verify-peer=maybe" --tls-creds tls
check --object bogus,id=x
check --object "$x509,bogus=1"
check --object secret,id=s
check --object secret,id=s,data=a,file=b
check --object secret,id=s,data=a --object secret,id=s,data=b
check --object authz-simple,id=a
check --object authz-list,id=a,policy=bogus
check --tls-authz a
rm -f "$TMP/s"
expect_exit 1 "$IMGD" --tls-optional -f raw disk.raw
expect_err '--tls-optional is not permitted without --tls-creds'
expect_exit 1 timeout 20 "$IMGD" --object "$psk" --tls-creds tls --tls-optional \
	--tls-authz a --object authz-simple,id=a,identity=x -f raw disk.raw
expect_err '--tls-optional and --tls-authz are mutually exclusive'
expect_exit 1 "$IMGD" --export 'a=disk.raw,tls-authz=x'
expect_err 'not permitted without --tls-creds'
expect_exit 1 "$IMGD" --object "$psk" --tls-creds tls --tls-authz x disk.raw
expect_err "No authorization object with id 'x'"
expect_exit 1 "$IMGD" --object "$psk,priority=BOGUS" --tls-creds tls disk.raw
expect_err 'Unable to set TLS session priority'
expect_exit 0 "$IMGD" --object help
expect_out authz-list
